//! Writing metrics that are looked up at a scrape.

use std::fmt::Error;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// A label and its value.
pub(super) type Label = [(&'static str, String); 1];

pub(super) const NO_LABELS: Option<Label> = None;
pub(super) const BYTES: Option<Unit> = Some(Unit::Bytes);
pub(super) const SECONDS: Option<Unit> = Some(Unit::Seconds);

/// Writer of metrics, each with all of its series.
pub(super) struct MetricWriter<'a>(DescriptorEncoder<'a>);

impl<'a> MetricWriter<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    pub(super) fn gauge(&mut self, name: Name, help: &str, value: f64) -> Result<(), Error> {
        self.family(name, help, [(NO_LABELS, value)])
    }

    pub(super) fn family<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        help: &str,
        rows: impl IntoIterator<Item = (Option<L>, f64)>,
    ) -> Result<(), Error> {
        self.write(name, help, MetricType::Gauge, rows, ConstGauge::new)
    }

    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        help: &str,
        rows: impl IntoIterator<Item = (Option<L>, u64)>,
    ) -> Result<(), Error> {
        self.write(name, help, MetricType::Counter, rows, ConstCounter::new)
    }

    pub(super) fn float_counters<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        help: &str,
        rows: impl IntoIterator<Item = (Option<L>, f64)>,
    ) -> Result<(), Error> {
        self.write(name, help, MetricType::Counter, rows, ConstCounter::new)
    }

    fn write<L: EncodeLabelSet, V, M: EncodeMetric>(
        &mut self,
        (name, unit): Name,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Option<L>, V)>,
        metric: fn(V) -> M,
    ) -> Result<(), Error> {
        let help = format!("{help}.");
        let mut encoder = self.0.encode_descriptor(name, &help, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            let Some(labels) = labels else {
                // The only sample.
                return metric(value).encode(encoder);
            };
            metric(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The name of a metric without prefix and unit, and the unit.
pub(super) type Name = (&'static str, Option<Unit>);

#[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
pub(super) fn whole(value: u64) -> f64 {
    value as f64
}

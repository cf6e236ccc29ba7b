//! How a store grew lately, and how long appends took.

use std::{collections::VecDeque, time::Duration};

/// How often a sample is taken.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// How many samples are kept: those of the last hour.
const SAMPLES_MAX: usize = 720;

/// A store and its appends at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Assertions.
    pub(super) count: u64,
    /// Bytes of the log.
    pub(super) log_bytes: u64,
    /// Append latency, 99th percentile; `None` without appends.
    pub(super) append_p99: Option<Duration>,
}

/// Samples, [`SAMPLE_EVERY`] apart, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    samples: VecDeque<Sample>,
}

impl Growth {
    pub(super) fn note(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }
}

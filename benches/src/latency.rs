//! Latencies of many operations: quantiles, and what reading the clock costs.

use std::time::{Duration, Instant};

/// Durations in nanoseconds, capped at 4.29 s.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn with_capacity(operations: usize) -> Self {
        Self(Vec::with_capacity(operations))
    }

    #[inline]
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Quantiles in nanoseconds, each `share` of 0 to 1, by nearest rank; 0 of nothing.
    pub(crate) fn quantiles<const N: usize>(&mut self, shares: [f64; N]) -> [f64; N] {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        shares.map(|share| {
            self.0.get((last as f64 * share).round() as usize).map_or(0.0, |&ns| f64::from(ns))
        })
    }
}

/// Times `operation` on each of `items`, one clock reading between two operations.
pub(crate) fn each<T>(
    items: impl ExactSizeIterator<Item = T>,
    mut operation: impl FnMut(T),
) -> Latencies {
    let mut latencies = Latencies::with_capacity(items.len());
    let mut before = Instant::now();
    for item in items {
        operation(item);
        let after = Instant::now();
        latencies.push(after.duration_since(before));
        before = after;
    }
    latencies
}

/// Nanoseconds that [`each`] adds to every operation: the median of timing nothing.
pub(crate) fn clock_overhead() -> f64 {
    let [median] = each(0..200_000_u32, |number| {
        std::hint::black_box(number);
    })
    .quantiles([0.5]);
    median
}

//! How a store grew lately.

use std::collections::VecDeque;

/// How often its size is noted.
pub(super) const SAMPLE_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// How many samples are kept: those of the last hour.
const SAMPLES_MAX: usize = 720;

/// Counts of assertions and bytes of the log, [`SAMPLE_EVERY`] apart, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    samples: VecDeque<(u64, u64)>,
}

impl Growth {
    pub(super) fn note(&mut self, count: u64, log_bytes: u64) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((count, log_bytes));
    }

    /// Counts and bytes.
    pub(super) fn samples(&self) -> (Vec<u64>, Vec<u64>) {
        self.samples.iter().copied().unzip()
    }
}

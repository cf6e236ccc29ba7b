//! How long something took. The command line is where the wall clock comes in.

use std::time::{Duration, Instant};

/// A running stopwatch.
#[derive(Debug)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[expect(clippy::disallowed_methods, reason = "the demonstration tells how long it took")]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start in milliseconds.
    pub(super) fn millis(&self) -> f64 {
        self.elapsed().as_secs_f64() * 1e3
    }
}

//! Progress of a session that moves many bodies: when it is logged.

use std::time::Duration;

/// Time after which progress is logged first, and from one line to the next.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Progress of one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    began: Duration,
    logged: Duration,
}

impl Progress {
    pub(super) fn new(now: Duration) -> Self {
        Self { began: now, logged: now }
    }

    /// Bodies a second since the session began, if bodies have moved and it is time to log that.
    pub(super) fn due(&mut self, bodies: u64, now: Duration) -> Option<f64> {
        if bodies == 0 || now.saturating_sub(self.logged) < LOG_EVERY {
            return None;
        }
        self.logged = now;
        #[expect(clippy::cast_precision_loss, reason = "a rate to show")]
        let rate = bodies as f64 / now.saturating_sub(self.began).as_secs_f64();
        Some(rate.round())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_logged_now_and_then_with_its_rate() {
        let at = |seconds: u64| Duration::from_secs(100 + seconds);
        let mut progress = Progress::new(at(0));
        assert_eq!(progress.due(0, at(30)), None, "nothing has moved");
        assert_eq!(progress.due(1_000, at(9)), None, "it is too early");
        assert_eq!(progress.due(1_000, at(10)), Some(100.0));
        assert_eq!(progress.due(4_000, at(19)), None, "it was logged lately");
        assert_eq!(progress.due(4_000, at(20)), Some(200.0));
    }
}

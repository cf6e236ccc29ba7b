//! Reasons for which no session begins.

use std::time::Duration;

use super::{options::Window, status::PauseReason};

/// After a pause for clients' sake it goes on once appends take less than this share of the bound,
/// so that it does not flicker.
const RESUME_SHARE: f64 = 0.8;

/// Reasons for which no session begins.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a reason of its own")]
pub(super) struct Pauses {
    asked: bool,
    window: bool,
    disk: bool,
    latency: bool,
}

impl Pauses {
    /// The reason that an operator is told: the first of several.
    pub(super) fn reason(&self) -> Option<PauseReason> {
        let reasons = [
            (self.asked, PauseReason::Asked),
            (self.disk, PauseReason::Disk),
            (self.window, PauseReason::Window),
            (self.latency, PauseReason::Latency),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

    /// Whether clients wait too long.
    pub(super) fn is_for_clients(&self) -> bool {
        self.latency
    }

    pub(super) fn set_asked(&mut self, asked: bool) {
        self.asked = asked;
    }

    pub(super) fn set_disk(&mut self, low: bool) {
        self.disk = low;
    }

    /// Notes the time, in seconds since 1970 UTC.
    pub(super) fn set_window(&mut self, windows: &[Window], seconds: u64) {
        let second = seconds % (24 * 60 * 60);
        let inside = |window: &Window| {
            let (from, to) = (u64::from(window.from), u64::from(window.to));
            if from <= to { (from..to).contains(&second) } else { second >= from || second < to }
        };
        self.window = !windows.is_empty() && !windows.iter().any(inside);
    }

    /// Notes append latency, 99th percentile; `None` if there were no appends lately.
    pub(super) fn set_latency(&mut self, taken: Option<Duration>, bound: Option<Duration>) {
        self.latency = match (taken, bound) {
            (Some(taken), Some(bound)) if self.latency => taken > bound.mul_f64(RESUME_SHARE),
            (Some(taken), Some(bound)) => taken > bound,
            _ => false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_may_go_over_midnight() {
        let hour = |hour: u32| hour * 60 * 60;
        let night = Window { from: hour(22), to: hour(6) };
        let noon = Window { from: hour(12), to: hour(13) };
        let mut pauses = Pauses::default();
        let mut open = |windows: &[Window], hour: u32| {
            pauses.set_window(windows, u64::from(hour) * 60 * 60 + 7 * 24 * 60 * 60);
            pauses.reason().is_none()
        };
        for (at, expected) in
            [(21, false), (22, true), (23, true), (0, true), (5, true), (6, false)]
        {
            assert_eq!(open(&[night], at), expected, "{at}");
        }
        assert!(open(&[night, noon], 12));
        assert!(!open(&[night, noon], 13));
        assert!(open(&[], 13));
    }

    #[test]
    fn a_pause_for_clients_ends_below_the_bound() {
        let mut pauses = Pauses::default();
        let millis = Duration::from_millis;
        for (taken, paused) in [(49, false), (51, true), (45, true), (39, false), (45, false)] {
            pauses.set_latency(Some(millis(taken)), Some(millis(50)));
            assert_eq!(pauses.reason().is_some(), paused, "{taken} ms");
        }
        pauses.set_latency(Some(millis(51)), Some(millis(50)));
        pauses.set_latency(None, Some(millis(50)));
        assert_eq!(pauses.reason(), None, "nobody appends any more");
    }
}

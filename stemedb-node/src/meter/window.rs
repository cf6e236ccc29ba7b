//! How long something took lately, in fixed memory.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Significant digits of a duration: quantiles are at most a hundredth too much.
const DIGITS: u8 = 2;
/// The longest duration that is told apart, in microseconds: 19 hours.
const MICROS_MAX: u64 = 1 << 36;

/// Durations of the last while, in two histograms that take turns.
#[derive(Clone, Debug)]
pub(super) struct LatencyWindow {
    /// Half of the window.
    half: Duration,
    /// The number of the half that `present` counts.
    number: u128,
    present: Histogram<u32>,
    previous: Histogram<u32>,
}

impl LatencyWindow {
    /// Keeps durations for `span`, or down to half of it. Takes 30 KB.
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    pub(super) fn new(span: Duration) -> Self {
        let empty = Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("bounds that fit");
        let half = (span / 2).max(Duration::from_millis(1));
        Self { half, number: 0, present: empty.clone(), previous: empty }
    }

    /// Notes at time `now` that something took so long. O(1).
    pub(super) fn note(&mut self, now: Duration, took: Duration) {
        self.forget(now);
        self.present.saturating_record(u64::try_from(took.as_micros()).unwrap_or(MICROS_MAX));
    }

    /// The duration that the share `q` of those noted lately does not exceed, at most a hundredth
    /// too much, and a microsecond; `None` if there are none. O(1).
    pub(super) fn quantile(&mut self, now: Duration, q: f64) -> Option<Duration> {
        self.forget(now);
        let mut all = self.present.clone();
        // Histograms of the same bounds always add.
        let _ = all.add(&self.previous);
        (!all.is_empty()).then(|| Duration::from_micros(all.value_at_quantile(q)))
    }

    /// Forgets what is too old. A clock that goes back stays in the present half.
    fn forget(&mut self, now: Duration) {
        let number = now.as_nanos() / self.half.as_nanos();
        if number <= self.number {
            return;
        }
        std::mem::swap(&mut self.present, &mut self.previous);
        self.present.reset();
        if number > self.number + 1 {
            self.previous.reset();
        }
        self.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantile by definition.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks of a test"
    )]
    fn sorted_quantile(mut took: Vec<Duration>, q: f64) -> Option<Duration> {
        took.sort_unstable();
        let rank = ((took.len() as f64 * q).ceil() as usize).max(1);
        took.get(rank - 1).copied()
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_list() {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        let span = Duration::from_secs(10);
        let mut window = LatencyWindow::new(span);
        let mut noted: Vec<(Duration, Duration)> = Vec::new();
        let mut now = Duration::ZERO;
        for step in 0..20_000 {
            now += Duration::from_micros(random() % 5_000);
            if step % 5_000 == 4_999 {
                // A while without any.
                now += Duration::from_secs(11);
                assert_eq!(window.quantile(now, 0.99), None);
                noted.clear();
            }
            let took = Duration::from_micros(random() % (1 << (random() % 30)).max(1));
            window.note(now, took);
            noted.push((now, took));
            if step % 97 == 0 {
                // Those of the present half, and of the one before it.
                let half = |time: Duration| time.as_nanos() / (span / 2).as_nanos();
                noted.retain(|(time, _)| half(*time) + 1 >= half(now));
                for q in [0.0, 0.5, 0.9, 0.99, 1.0] {
                    let took = noted.iter().map(|(_, took)| *took).collect();
                    let exact = sorted_quantile(took, q).unwrap();
                    let found = window.quantile(now, q).unwrap();
                    let most = exact + exact / 100 + Duration::from_micros(1);
                    assert!(exact <= found && found <= most, "{step} {q}: {exact:?} {found:?}");
                }
            }
        }
    }

    #[test]
    fn what_takes_longer_than_anything_is_the_longest() {
        let mut window = LatencyWindow::new(Duration::from_secs(10));
        window.note(Duration::ZERO, Duration::MAX);
        let longest = window.quantile(Duration::ZERO, 1.0).unwrap();
        assert!(longest >= Duration::from_hours(19), "{longest:?}");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_does_no_harm() {
        let mut window = LatencyWindow::new(Duration::from_secs(10));
        let (early, late) = (Duration::from_secs(5), Duration::from_secs(500));
        window.note(late, Duration::from_millis(1));
        window.note(early, Duration::from_millis(9));
        assert!(window.quantile(late, 1.0).is_some());
        assert_eq!(window.quantile(Duration::from_secs(5000), 1.0), None);
    }
}

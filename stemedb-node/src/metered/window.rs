//! How long something took lately, in fixed memory.
//!
//! Time is cut into ticks, a tenth of the window each; each tick counts its durations in buckets
//! whose bounds grow by a sixteenth. What is older than the window is forgotten a tick at a time.

use std::time::Duration;

/// Ticks that are kept.
const TICKS: u8 = 10;
/// Buckets for each power of two, as a power of two.
const FINE_BITS: u32 = 4;
const FINE: usize = 1 << FINE_BITS;
/// Powers of two: to 2^36 µs, 19 hours; what takes longer counts as that.
const BUCKETS: usize = FINE * (36 - FINE_BITS as usize + 1);

/// Durations of the last while.
#[derive(Clone, Debug)]
pub struct LatencyWindow {
    tick: Duration,
    ticks: Vec<Tick>,
}

#[derive(Clone, Debug)]
struct Tick {
    number: u64,
    counts: Box<[u32]>,
}

impl LatencyWindow {
    /// Keeps durations for `span`, give or take a tenth. Takes 21 KB.
    pub fn new(span: Duration) -> Self {
        let tick = Tick { number: 0, counts: vec![0; BUCKETS].into() };
        Self {
            tick: (span / u32::from(TICKS)).max(Duration::from_millis(1)),
            ticks: vec![tick; TICKS.into()],
        }
    }

    /// Notes at time `now` that something took so long. O(1).
    pub fn note(&mut self, now: Duration, took: Duration) {
        let number = self.number(now);
        let slot = usize::try_from(number % u64::from(TICKS)).unwrap_or(0);
        let Some(tick) = self.ticks.get_mut(slot) else { return };
        if tick.number < number {
            tick.number = number;
            tick.counts.fill(0);
        }
        if let Some(count) = tick.counts.get_mut(bucket(took)) {
            *count = count.saturating_add(1);
        }
    }

    /// The duration below which the share `q` of those noted lately lies, at most a sixteenth too
    /// much, and a microsecond; `None` if there are none. O(1).
    pub fn quantile(&self, now: Duration, q: f64) -> Option<Duration> {
        let number = self.number(now);
        let lately: Vec<&Tick> = self
            .ticks
            .iter()
            .filter(|tick| tick.number + u64::from(TICKS) > number && tick.number <= number)
            .collect();
        let sum = |place: usize| -> u64 {
            lately.iter().filter_map(|tick| tick.counts.get(place)).copied().map(u64::from).sum()
        };
        let total: u64 = (0..BUCKETS).map(sum).sum();
        if total == 0 {
            return None;
        }
        let rank = rank(total, q);
        let mut seen = 0;
        let place = (0..BUCKETS).find(|place| {
            seen += sum(*place);
            seen >= rank
        });
        Some(upper_bound(place.unwrap_or(BUCKETS - 1)))
    }

    fn number(&self, now: Duration) -> u64 {
        let number = now.as_nanos() / self.tick.as_nanos().max(1);
        u64::try_from(number).unwrap_or(u64::MAX / 2)
    }
}

/// Which of `total` sorted durations is the quantile, counted from 1.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what there is"
)]
fn rank(total: u64, q: f64) -> u64 {
    ((total as f64 * q).ceil() as u64).clamp(1, total)
}

/// The bucket of a duration: microseconds up to 16 one by one, then 16 buckets an octave.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < FINE as u64 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let shift = micros.ilog2() - FINE_BITS;
    let fine = usize::try_from(micros >> shift).unwrap_or(0) & (FINE - 1);
    (FINE * (shift as usize + 1) + fine).min(BUCKETS - 1)
}

/// What no duration of the bucket reaches.
fn upper_bound(bucket: usize) -> Duration {
    let (octave, fine) = (bucket / FINE, bucket % FINE);
    let micros = match octave {
        0 => fine as u64 + 1,
        _ => (FINE + fine + 1) as u64 * (1 << (octave - 1)),
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantile by definition.
    fn sorted_quantile(mut took: Vec<Duration>, q: f64) -> Option<Duration> {
        took.sort_unstable();
        let rank = usize::try_from(rank(took.len() as u64, q)).unwrap();
        took.get(rank.checked_sub(1)?).copied()
    }

    #[test]
    fn each_duration_is_below_its_bucket_s_bound_and_not_far() {
        for micros in (0..5000).chain((0..36).flat_map(|n| [1 << n, (1 << n) * 3 / 2 + 1])) {
            let took = Duration::from_micros(micros);
            let bound = upper_bound(bucket(took));
            assert!(bound > took, "{micros}");
            assert!(bound <= took + took / 16 + Duration::from_micros(1), "{micros} {bound:?}");
        }
        for micros in 0..5000 {
            let [one, next] = [micros, micros + 1].map(|n| bucket(Duration::from_micros(n)));
            assert!(next == one || next == one + 1, "{micros}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
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
                // What is in the ticks that are kept, the present one included.
                let tick = |time: Duration| time.as_nanos() / (span / u32::from(TICKS)).as_nanos();
                noted.retain(|(time, _)| tick(*time) + u128::from(TICKS) > tick(now));
                for q in [0.0, 0.5, 0.9, 0.99, 1.0] {
                    let took = noted.iter().map(|(_, took)| *took).collect();
                    let exact = sorted_quantile(took, q).unwrap();
                    let found = window.quantile(now, q).unwrap();
                    let most = exact + exact / 16 + Duration::from_micros(1);
                    assert!(exact < found && found <= most, "{step} {q}: {exact:?} {found:?}");
                }
            }
        }
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

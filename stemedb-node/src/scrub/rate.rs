//! How fast the check in the background reads.

use std::time::Duration;

/// The most that is read at once, in bytes.
const STEP_LEN_MAX: u64 = 1 << 20;

/// The least, which is what the disk reads in one go anyway.
const STEP_LEN_MIN: u64 = 64 << 10;

/// Bytes a second, kept over any longer time: who reads more than was meant waits longer.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// `None` for as fast as the disk can.
    bytes_per_second: Option<u64>,
    /// The time up to which all that was read is paid for.
    paid: Duration,
}

impl Rate {
    /// So many bytes a second, at least 1; `None` for no limit.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = bytes_per_second.map(|rate| rate.max(1));
        Self { bytes_per_second, paid: Duration::ZERO }
    }

    /// Another rate from now on; what is owed stays owed.
    pub fn set(&mut self, bytes_per_second: Option<u64>) {
        self.bytes_per_second = bytes_per_second.map(|rate| rate.max(1));
    }

    /// How many bytes to read next.
    pub fn budget(&self) -> u64 {
        self.bytes_per_second
            .map_or(STEP_LEN_MAX, |rate| (rate / 4).clamp(STEP_LEN_MIN, STEP_LEN_MAX))
    }

    /// How long to wait before the next step, when so much was read by `now`.
    pub fn wait(&mut self, now: Duration, read: u64) -> Duration {
        let Some(rate) = self.bytes_per_second else { return Duration::ZERO };
        let cost = u128::from(read) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
        // What was not read in time past is not read now.
        self.paid = self.paid.max(now.saturating_sub(cost)).saturating_add(cost);
        self.paid.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_idle_time_is_not_made_up_for() {
        for rate in [1_000_u64, 4 << 20, 1 << 30] {
            let mut limit = Rate::new(Some(rate));
            let (mut now, mut total) = (Duration::from_secs(7), 0);
            let begin = now;
            for n in 0..1_000_u32 {
                // Now and then a whole segment is read at once, and reading takes time itself.
                let read = if n % 100 == 50 { 64 << 20 } else { limit.budget() };
                now += Duration::from_micros(300);
                total += read;
                now += limit.wait(now, read);
            }
            #[expect(clippy::cast_precision_loss, reason = "a rate of a test")]
            let found = total as f64 / now.saturating_sub(begin).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate of a test")]
            let most = rate as f64 * 1.01 + 1.0;
            assert!(found <= most, "{found} for {rate}");
            now += Duration::from_secs(3600);
            let wait = limit.wait(now, limit.budget());
            assert!(wait <= Duration::from_secs(66), "{wait:?}");
            let wait = limit.wait(now, 2 * rate);
            assert!(wait >= Duration::from_secs(2), "an hour of rest is no credit: {wait:?}");
        }
        let mut none = Rate::new(None);
        assert_eq!(none.wait(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert_eq!(Rate::new(Some(0)).budget(), STEP_LEN_MIN);
    }
}

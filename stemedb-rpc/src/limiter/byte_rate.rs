//! Bound of bytes a second.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// The limiter counts in units of so many bytes: it counts to 2^32.
const UNIT: u64 = 64;
/// Time of rest that is made up for at once, in parts of a second.
const BURST_SHARE: u64 = 4;

/// Bytes a second, kept over any longer time.
#[derive(Debug)]
pub struct ByteRate {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
}

impl ByteRate {
    /// A bound of so many bytes a second.
    pub fn new(bytes_per_second: u64) -> Self {
        let units = |bytes: u64| {
            let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
            NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN)
        };
        let (rate, burst) = (units(bytes_per_second), units(bytes_per_second / BURST_SHARE));
        let quota = Quota::per_second(rate).allow_burst(burst);
        Self { limiter: RateLimiter::direct(quota), burst }
    }

    /// Notes bytes, and waits until they are within the bound.
    pub async fn spend(&self, bytes: u64) {
        let mut units = bytes.div_ceil(UNIT);
        while units > 0 {
            let now = u32::try_from(units).map_or(self.burst, |units| {
                NonZeroU32::new(units).unwrap_or(NonZeroU32::MIN).min(self.burst)
            });
            // It is never more than the limiter gives at once.
            let _ = self.limiter.until_n_ready(now).await;
            units -= u64::from(now.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn more_than_a_burst_waits() {
        let moment = Duration::from_millis(200);
        for rate in [1, 4 << 10, 4 << 20, 1 << 36] {
            let limit = ByteRate::new(rate);
            assert!(timeout(Duration::from_secs(60), limit.spend(rate / 4)).await.is_ok());
            let much = rate.max(UNIT).saturating_mul(10);
            assert!(timeout(moment, limit.spend(much)).await.is_err(), "{rate}");
        }
    }
}

//! The clock, the randomness and the sleep of the system that this runs on.

use std::{
    io,
    sync::LazyLock,
    thread,
    time::{Duration, Instant, SystemTime},
};

use stemedb_merkle::{Timestamp, TimestampRangeError};

use crate::clock::{Environment, NTP64};

/// The system's clock, randomness and sleep.
pub const ENVIRONMENT: Environment = Environment { clock, entropy, sleep: thread::sleep };

/// The wall clock; 0 before 1970, and the last moment there is after 2106.
#[expect(clippy::disallowed_methods, reason = "here is where the clock comes from")]
fn clock() -> NTP64 {
    let time = Timestamp::try_from(SystemTime::now()).unwrap_or_else(|error| match error {
        TimestampRangeError::TooEarly => Timestamp::MIN,
        TimestampRangeError::TooLate => Timestamp::MAX,
    });
    NTP64(time.as_ntp64())
}

/// The time since this process first asked for it; it never goes back.
#[expect(clippy::disallowed_methods, reason = "here is where the clock comes from")]
pub fn uptime() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

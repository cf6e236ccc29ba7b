//! The one clock of a log: hybrid logical time that strictly increases along the log.
//!
//! Times are NTP64: the upper 32 bits are seconds since 1970-01-01 UTC, the lower 32 the fraction.
//! The clock is a `uhlc` hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014);
//! it cuts what the physical clock says down to multiples of 16 units, 3.7 ns.

use std::{fmt, io, time::Duration};
use uhlc::{HLC, HLCBuilder, ID, Timestamp};

pub use uhlc::NTP64;

/// From how many seconds on a clock behind the log's last time is reported.
pub const BEHIND_REPORTED_SECS: u64 = 10;

/// From how many seconds on a clock ahead of the log's last time is reported: 90 days.
///
/// Below that the store has just not been written to for a while.
pub const AHEAD_REPORTED_SECS: u64 = 90 * 24 * 60 * 60;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// What the log cannot compute, passed in: the wall clock and randomness.
#[derive(Clone, Copy)]
pub struct World {
    /// The wall clock. It must return whatever it is set to: 0 before 1970, the largest time
    /// after 2106. It may stand still and go back.
    pub clock: fn() -> NTP64,
    /// Fills the buffer with random bytes that nobody can guess.
    pub entropy: fn(&mut [u8]) -> io::Result<()>,
}

/// Gives entries their times. Owned by the one writer of a log.
pub struct LogClock {
    hlc: HLC,
    physical: fn() -> NTP64,
    last: Option<u64>,
}

/// How the physical clock stood to the last time in the log when that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockReport {
    /// Nothing to say.
    InStep,
    /// By this many seconds, rounded down, behind; new entries count on from the last time.
    Behind(u64),
    /// By this many seconds, rounded down, ahead.
    Ahead(u64),
}

/// Why there are no times left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log's last time, {last} in NTP64, leaves no room for {count} more that increase; \
     new entries need a new store, made under a clock that is right"
)]
pub struct TimesExhausted {
    /// The last time given.
    pub last: u64,
    /// How many were asked for.
    pub count: u64,
}

impl LogClock {
    /// A clock for the node `node_id` that goes on after `last`, the last time in the log.
    ///
    /// A node id of zeros, which no identity has, is taken for 1.
    pub fn new(
        physical: fn() -> NTP64,
        node_id: [u8; 16],
        last: Option<u64>,
    ) -> (Self, ClockReport) {
        let id = ID::try_from(&node_id).unwrap_or_else(|_| core::num::NonZeroU8::MIN.into());
        // The stock clock refuses to be set more than 500 ms ahead, but the log is what it is.
        let delta = Duration::from_secs(u64::from(u32::MAX));
        let hlc = HLCBuilder::new().with_id(id).with_clock(physical).with_max_delta(delta).build();
        let report = last.map_or(ClockReport::InStep, |last| report(physical().0, last));
        let clock = Self { hlc, physical, last };
        clock.advance();
        (clock, report)
    }

    /// The last time given, or that of the log before this clock gave any.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Takes `count` times one after another and returns the first: `max(clock, last + 1)`.
    ///
    /// With a count of 0, the time that the next entry would get at least; nothing is taken.
    ///
    /// # Errors
    ///
    /// If they would not fit 64 bits. Nothing is taken then; fewer may still fit.
    pub fn reserve(&mut self, count: u64) -> Result<u64, TimesExhausted> {
        let exhausted = || TimesExhausted { last: self.last.unwrap_or(0), count };
        let next = self.last.map_or(Some(0), |last| last.checked_add(1)).ok_or_else(exhausted)?;
        if count == 0 {
            return Ok(next.max(self.physical_now()));
        }
        next.checked_add(count - 1).ok_or_else(exhausted)?;
        let now = self.now();
        let first = next.max(now);
        let last = first.checked_add(count - 1).ok_or_else(exhausted)?;
        self.last = Some(last);
        if last != now {
            self.advance();
        }
        Ok(first)
    }

    /// What the hybrid clock says. Where it would overflow, only the physical clock is left.
    fn now(&self) -> u64 {
        if self.last.is_some_and(|last| last > LAST_FOR_UHLC) {
            self.physical_now()
        } else {
            self.hlc.new_timestamp().get_time().0
        }
    }

    /// The physical clock, cut down as the hybrid clock does it.
    fn physical_now(&self) -> u64 {
        (self.physical)().0 >> uhlc::CSIZE << uhlc::CSIZE
    }

    /// Sets the hybrid clock, which ends one above what it is given, to the last time given.
    fn advance(&self) {
        if let Some(before) = self.last.and_then(|last| last.checked_sub(1))
            && before < LAST_FOR_UHLC
        {
            // It refuses only what is over 136 years ahead of the physical clock, and then this
            // clock's own `last` keeps the times increasing.
            let time = Timestamp::new(NTP64(before), *self.hlc.get_id());
            self.hlc.update_with_timestamp(&time).ok();
        }
    }
}

/// The last time from which `uhlc`, which adds without a check, can count on.
const LAST_FOR_UHLC: u64 = u64::MAX - 64;

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl fmt::Debug for LogClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogClock").field("last", &self.last).finish_non_exhaustive()
    }
}

impl fmt::Display for ClockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InStep => f.write_str("the clock is in step with the log"),
            Self::Behind(secs) => write!(
                f,
                "the clock is {secs} s behind the last time in the log; new entries count on from \
                 that: check which of them was wrong"
            ),
            Self::Ahead(secs) => write!(
                f,
                "the clock is {secs} s ahead of the last time in the log: check it, unless nothing \
                 was appended for so long"
            ),
        }
    }
}

fn report(clock: u64, last: u64) -> ClockReport {
    let (behind, ahead) = (last.saturating_sub(clock) >> 32, clock.saturating_sub(last) >> 32);
    if behind >= BEHIND_REPORTED_SECS {
        ClockReport::Behind(behind)
    } else if ahead >= AHEAD_REPORTED_SECS {
        ClockReport::Ahead(ahead)
    } else {
        ClockReport::InStep
    }
}

/// The seconds and nanoseconds since 1970 of a time, rounded down to the nanosecond.
pub fn to_unix(time: u64) -> (u32, u32) {
    let (secs, fraction) = (time >> 32, time & u64::from(u32::MAX));
    // Neither is cut: the fraction is below 2^32, so that the nanoseconds are below 10^9.
    let nanos = (fraction * NANOS_PER_SEC) >> 32;
    (u32::try_from(secs).unwrap_or(u32::MAX), u32::try_from(nanos).unwrap_or(u32::MAX))
}

/// The first time that is not before so many seconds and nanoseconds since 1970: rounded up.
///
/// [`to_unix`] gives back exactly these. `None` from 2106-02-07T06:28:16 on, and for 10^9
/// nanoseconds or more.
pub fn from_unix(secs: u64, nanos: u32) -> Option<u64> {
    let secs = u32::try_from(secs).ok()?;
    let nanos = u64::from(nanos);
    (nanos < NANOS_PER_SEC).then(|| (u64::from(secs) << 32) + (nanos << 32).div_ceil(NANOS_PER_SEC))
}

#[cfg(test)]
mod tests;

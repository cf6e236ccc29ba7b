//! The one clock of a log: hybrid logical time that strictly increases along the log.
//!
//! The clock is a `uhlc` hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014);
//! it cuts what the physical clock says down to multiples of 16 units, 3.7 ns.

use std::{fmt, io, time::Duration};

use stemedb_merkle::Timestamp;

use uhlc::{HLC, HLCBuilder, ID};

pub use uhlc::NTP64;

/// From how many seconds on a clock behind the log's last time is reported.
pub const BEHIND_REPORTED_SECS: u64 = 10;

/// From how many seconds on a clock ahead of the log's last time is reported: 90 days.
///
/// Below that the store has just not been written to for a while.
pub const AHEAD_REPORTED_SECS: u64 = 90 * 24 * 60 * 60;

/// Readings of the clock from here on are not taken: 2^64 - 2^56, the last 194 days of NTP64, which
/// begin on 2105-07-28.
///
/// One entry with the largest time would leave none for those that follow. Counting on from the
/// last entry instead keeps the times that are left for the log.
pub const READING_LIMIT: Timestamp = Timestamp::from_ntp64(0xff00_0000_0000_0000);

/// What the log cannot compute, passed in: the wall clock and randomness.
#[derive(Clone, Copy)]
pub struct Environment {
    /// The wall clock. It must return whatever it is set to: 0 before 1970, the largest time
    /// after 2106. It may stand still, go back, and be wrong: see [`READING_LIMIT`].
    pub clock: fn() -> NTP64,
    /// Fills the buffer with random bytes that nobody can guess.
    pub entropy: fn(&mut [u8]) -> io::Result<()>,
    /// Lets time pass: for who waits for another process.
    pub sleep: fn(Duration),
}

/// Gives entries their times. Owned by the one writer of a log.
pub struct LogClock {
    hlc: HLC,
    physical: fn() -> NTP64,
    last: Option<Timestamp>,
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
    /// The clock's reading is [not taken](READING_LIMIT): new entries count on from the last time.
    NotTaken,
    /// The last time in the log is one that would not be [taken](READING_LIMIT) now. New entries
    /// count on from it, and so many times are left.
    NearEnd(u64),
}

/// Why there are no times left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log's last time, {last}, leaves no room for {count} more that increase; \
     new entries need a new store, made under a clock that is right"
)]
pub struct TimesExhausted {
    /// The last time given.
    pub last: Timestamp,
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
        last: Option<Timestamp>,
    ) -> (Self, ClockReport) {
        let id = ID::try_from(&node_id).unwrap_or_else(|_| core::num::NonZeroU8::MIN.into());
        let clock = Self { hlc: hybrid(physical, id), physical, last };
        clock.advance();
        (clock, ClockReport::of(physical(), last))
    }

    /// The last time given, or that of the log before this clock gave any.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Takes `count` times one after another and returns the first: `max(clock, last + 1)`.
    ///
    /// With a count of 0, the time that the next entry would get at least; nothing is taken.
    ///
    /// # Errors
    ///
    /// If they would not fit 64 bits. Nothing is taken then; fewer may still fit.
    pub fn reserve(&mut self, count: u64) -> Result<Timestamp, TimesExhausted> {
        let before = self.last;
        let exhausted = || TimesExhausted { last: before.unwrap_or(Timestamp::MIN), count };
        let next = before.map_or(Some(Timestamp::MIN), Timestamp::next).ok_or_else(exhausted)?;
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

    /// The reading of the hybrid clock; the earliest time for one that is not taken.
    fn now(&mut self) -> Timestamp {
        // The hybrid clock keeps what it reads, so it is not asked while the reading is wrong. At a
        // last time beyond the limit it has nothing to add.
        if self.last.is_some_and(|last| last >= READING_LIMIT) || !is_taken((self.physical)()) {
            return Timestamp::MIN;
        }
        let time = *self.hlc.new_timestamp().get_time();
        if is_taken(time) {
            return Timestamp::from_ntp64(time.0);
        }
        // The clock was set between the two readings.
        self.hlc = hybrid(self.physical, *self.hlc.get_id());
        self.advance();
        Timestamp::MIN
    }

    /// The physical clock, cut down as the hybrid clock does it; the earliest time for a reading
    /// that is not taken.
    fn physical_now(&self) -> Timestamp {
        let reading = (self.physical)();
        let cut_down = reading.0 >> uhlc::CSIZE << uhlc::CSIZE;
        Timestamp::from_ntp64(if is_taken(reading) { cut_down } else { 0 })
    }

    /// Sets the hybrid clock, which ends one above what it is given, to the last time given.
    fn advance(&self) {
        if let Some(before) = self.last.and_then(|last| last.checked_sub(1))
            && before < READING_LIMIT
            && is_taken((self.physical)())
        {
            // It refuses only what is over 136 years ahead of the physical clock, and then this
            // clock's own `last` keeps the times increasing.
            let time = uhlc::Timestamp::new(NTP64(before.as_ntp64()), *self.hlc.get_id());
            self.hlc.update_with_timestamp(&time).ok();
        }
    }
}

fn hybrid(physical: fn() -> NTP64, id: ID) -> HLC {
    // The stock clock refuses to be set more than 500 ms ahead, but the log is what it is.
    let delta = Duration::from_secs(u64::from(u32::MAX));
    HLCBuilder::new().with_id(id).with_clock(physical).with_max_delta(delta).build()
}

/// Whether a reading of the clock may become the time of an entry.
fn is_taken(reading: NTP64) -> bool {
    reading.0 < READING_LIMIT.as_ntp64()
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl fmt::Debug for LogClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogClock").field("last", &self.last).finish_non_exhaustive()
    }
}

impl ClockReport {
    /// How a reading stands to the last time in a log; `None` for a log without entries.
    pub fn of(reading: NTP64, last: Option<Timestamp>) -> Self {
        let Some(last) = last else {
            return if is_taken(reading) { Self::InStep } else { Self::NotTaken };
        };
        let now = Timestamp::from_ntp64(reading.0);
        let (behind, ahead) = (last.seconds_since(now), now.seconds_since(last));
        if last >= READING_LIMIT {
            Self::NearEnd(u64::MAX - last.as_ntp64())
        } else if !is_taken(reading) {
            Self::NotTaken
        } else if behind >= BEHIND_REPORTED_SECS {
            Self::Behind(behind)
        } else if ahead >= AHEAD_REPORTED_SECS {
            Self::Ahead(ahead)
        } else {
            Self::InStep
        }
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
            Self::NotTaken => f.write_str(
                "the clock stands at 2105-07-28 or later, which the log does not take: the times \
                 of new entries count on from the last one; set the clock",
            ),
            Self::NearEnd(left) => write!(
                f,
                "the last time in the log is after 2105-07-27: a clock was wrong when that entry \
                 was appended. Times of new entries count on from it, and {left} are left; after \
                 that, appends fail and a new store has to take the assertions over by `sync`"
            ),
        }
    }
}

#[cfg(test)]
mod tests;

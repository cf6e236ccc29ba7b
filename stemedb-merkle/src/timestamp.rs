//! Time of an entry of a log.

use core::fmt;
#[cfg(feature = "std")]
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SEC: u64 = 1_000_000_000;
const SECS_PER_DAY: u32 = 86_400;

/// Time of an entry of a log: seconds since 1970 in UTC, and a fraction in steps of 2^-32 s.
///
/// This is the 64-bit form of NTP (NTP64) with another epoch. It ends on 2106-02-07. Printed as RFC
/// 3339 in UTC, with nanoseconds, rounded down; `{:?}` prints the NTP64 number as well.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// Error of a time that is not within those of [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampRangeError {
    /// Before 1970-01-01T00:00:00Z.
    TooEarly,
    /// From 2106-02-07T06:28:16Z on.
    TooLate,
}

impl Timestamp {
    /// The earliest time: 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);

    /// The latest time: the last step before 2106-02-07T06:28:16Z.
    pub const MAX: Self = Self(u64::MAX);

    /// The time of this NTP64 number.
    pub const fn from_ntp64(ntp64: u64) -> Self {
        Self(ntp64)
    }

    /// The time as NTP64: the upper 32 bits are seconds, the lower 32 the fraction.
    pub const fn as_ntp64(self) -> u64 {
        self.0
    }

    /// The first time that is not before so many seconds and nanoseconds since 1970: rounded up.
    ///
    /// [`unix`](Self::unix) gives back exactly these. `None` from 2106-02-07T06:28:16 on, and for
    /// 10^9 nanoseconds or more.
    pub fn from_unix(secs: u64, nanos: u32) -> Option<Self> {
        let secs = u32::try_from(secs).ok()?;
        let nanos = u64::from(nanos);
        let fraction = (nanos << 32).div_ceil(NANOS_PER_SEC);
        (nanos < NANOS_PER_SEC).then(|| Self((u64::from(secs) << 32) + fraction))
    }

    /// Seconds and nanoseconds since 1970, rounded down to the nanosecond.
    pub const fn unix(self) -> (u32, u32) {
        let nanos = ((self.0 & 0xffff_ffff) * NANOS_PER_SEC) >> 32;
        ((self.0 >> 32) as u32, nanos as u32)
    }

    /// The next time; `None` after the last.
    pub const fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    /// So many steps later; `None` if it would not fit.
    pub const fn checked_add(self, steps: u64) -> Option<Self> {
        match self.0.checked_add(steps) {
            Some(later) => Some(Self(later)),
            None => None,
        }
    }

    /// So many steps earlier; `None` if it would not fit.
    pub const fn checked_sub(self, steps: u64) -> Option<Self> {
        match self.0.checked_sub(steps) {
            Some(earlier) => Some(Self(earlier)),
            None => None,
        }
    }

    /// Whole seconds since `earlier`, rounded down; 0 if that is later.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) >> 32
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = self.unix();
        let (year, month, day) = date(secs / SECS_PER_DAY);
        let secs = secs % SECS_PER_DAY;
        let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
        write!(f, "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Year, month and day of the day that is `days` after 1970-01-01, in the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last one: the months from March on have
/// 153 days in five, and 2000-03-01 begins a cycle of 400 years.
const fn date(days: u32) -> (u32, u32, u32) {
    // Days since 1600-03-01.
    let days = days + 135_080;
    let (cycle, in_cycle) = (days / 146_097, days % 146_097);
    let year = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let after_december = month / 10;
    (1600 + 400 * cycle + year + after_december, month + 3 - 12 * after_december, day)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self}, {})", self.0)
    }
}

impl fmt::Display for TimestampRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooEarly => "times of a log begin at 1970-01-01T00:00:00Z",
            Self::TooLate => "times of a log end before 2106-02-07T06:28:16Z",
        })
    }
}

impl core::error::Error for TimestampRangeError {}

/// The time, rounded down to the nanosecond.
#[cfg(feature = "std")]
impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let (secs, nanos) = time.unix();
        UNIX_EPOCH + Duration::new(secs.into(), nanos)
    }
}

/// The first time that is not before it.
#[cfg(feature = "std")]
impl TryFrom<SystemTime> for Timestamp {
    type Error = TimestampRangeError;

    fn try_from(time: SystemTime) -> Result<Self, TimestampRangeError> {
        let since = time.duration_since(UNIX_EPOCH).map_err(|_| TimestampRangeError::TooEarly)?;
        Self::from_unix(since.as_secs(), since.subsec_nanos()).ok_or(TimestampRangeError::TooLate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written_as_rfc_3339() {
        for (secs, expected) in [
            (0, "1970-01-01T00:00:00"),
            (68_169_599, "1972-02-28T23:59:59"),
            (68_169_600, "1972-02-29T00:00:00"),
            (68_256_000, "1972-03-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (978_307_199, "2000-12-31T23:59:59"),
            (1_763_729_445, "2025-11-21T12:50:45"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (u64::from(u32::MAX), "2106-02-07T06:28:15"),
        ] {
            let time = Timestamp::from_unix(secs, 0).unwrap();
            assert_eq!(time.to_string(), format!("{expected}.000000000Z"));
        }
        assert_eq!(Timestamp::MAX.to_string(), "2106-02-07T06:28:15.999999999Z");
        let half = Timestamp::from_ntp64(1 << 31);
        assert_eq!(format!("{half:?}"), "Timestamp(1970-01-01T00:00:00.500000000Z, 2147483648)");
    }

    /// Each day follows from the one before it by the rules of the calendar.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=u32::MAX / SECS_PER_DAY {
            assert_eq!(date(days), (year, month, day), "day {days}");
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let in_february = if leap { 29 } else { 28 };
            let in_month = [31, in_february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > in_month[month as usize - 1] {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn the_first_step_of_a_nanosecond_gives_it_back() {
        let some = (0..1_000_000_000).step_by(99_991);
        for nanos in some.chain([1, 2, 3, 500_000_000, 999_999_998, 999_999_999]) {
            let time = Timestamp::from_unix(1_763_729_445, nanos).unwrap();
            assert_eq!(time.unix(), (1_763_729_445, nanos));
            assert!(time.checked_sub(1).unwrap().unix() < time.unix(), "{nanos} is not the first");
        }
        assert_eq!(Timestamp::from_unix(0, 1_000_000_000), None);
        assert_eq!(Timestamp::from_unix(1 << 32, 0), None);
    }

    #[cfg(feature = "std")]
    #[test]
    fn times_of_the_system_are_taken_where_they_fit() {
        let time = Timestamp::from_unix(1_763_729_445, 123_456_789).unwrap();
        assert_eq!(Timestamp::try_from(SystemTime::from(time)), Ok(time));
        let before = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(Timestamp::try_from(before), Err(TimestampRangeError::TooEarly));
        let end = UNIX_EPOCH + Duration::from_secs(1 << 32);
        assert_eq!(Timestamp::try_from(end), Err(TimestampRangeError::TooLate));
        let last = SystemTime::from(Timestamp::MAX);
        assert!(last < end && Timestamp::try_from(last).is_ok());
    }
}

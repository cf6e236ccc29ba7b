//! Times of the log as people write them: RFC 3339, a day, how long ago, or NTP64 itself.

use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use stemedb::node::config::units::Time;
use stemedb::{Timestamp, TimestampRangeError};

/// A point in time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeArg {
    /// The first time of a log that is not before it; none if those end before (in 2106).
    pub(super) time: Option<Timestamp>,
}

/// Error of a text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time is written like 2026-11-21T12:00:00Z or 2026-11-21, like 30s, 5m, 1h or 2d for so long \
     ago, or as a decimal NTP64 number"
)]
pub(super) struct ParseTimeError;

/// Reads a time: decimal digits alone are NTP64, a day is its beginning in UTC, a number with a
/// unit is so long ago, and all else must be RFC 3339.
///
/// # Errors
///
/// If it is none of them.
pub(super) fn parse(text: &str) -> Result<TimeArg, ParseTimeError> {
    parse_at(text, jiff::Timestamp::now())
}

fn parse_at(text: &str, now: jiff::Timestamp) -> Result<TimeArg, ParseTimeError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let time = text.parse().map(Timestamp::from_ntp64).map_err(|_| ParseTimeError)?;
        return Ok(TimeArg { time: Some(time) });
    }
    let time = match (text.parse::<Time>(), text.parse::<Date>()) {
        // A full time would be read as its day.
        (Err(_), Ok(day)) if text.len() == "2026-11-21".len() => {
            day.to_zoned(TimeZone::UTC).map_err(|_| ParseTimeError)?.timestamp()
        }
        (Ok(Time(ago)), _) => now.checked_sub(ago).unwrap_or(jiff::Timestamp::MIN),
        _ => text.parse().map_err(|_| ParseTimeError)?,
    };
    // Rounded up, as a time is printed rounded down: a printed time, given back, finds its entry.
    let time = match Timestamp::try_from(SystemTime::from(time)) {
        Err(TimestampRangeError::TooEarly) => Some(Timestamp::MIN),
        time => time.ok(),
    };
    Ok(TimeArg { time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let at = |ntp64| Ok(TimeArg { time: Some(Timestamp::from_ntp64(ntp64)) });
        assert_eq!(parse("1970-01-01T00:00:01Z"), at(1 << 32));
        assert_eq!(parse("1970-01-01T02:00:01+02:00"), at(1 << 32));
        assert_eq!(parse("1969-12-31T23:59:59Z"), at(0));
        assert_eq!(parse("2106-02-07T06:28:16Z"), Ok(TimeArg { time: None }));
        assert_eq!(parse("12345"), at(12345));
        for bad in ["", "yesterday", "2026-11-31", "h", "18446744073709551616", "-1", "+5"] {
            assert_eq!(parse(bad), Err(ParseTimeError), "{bad}");
        }
    }

    #[test]
    fn days_and_times_ago() {
        let now: jiff::Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, same) in [
            ("2026-11-30", "2026-11-30T00:00:00Z"),
            ("1h", "2026-11-30T11:00:00Z"),
            ("90s", "2026-11-30T11:58:30Z"),
            ("2d", "2026-11-28T12:00:00Z"),
            ("40000d", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_at(text, now), parse(same), "{text}");
        }
    }

    #[test]
    fn a_printed_time_finds_its_entry() {
        for ntp64 in [0, 1, 4, 5, 7_622_000_000_123_456_789, u64::MAX] {
            let time = Timestamp::from_ntp64(ntp64);
            let back = parse(&time.to_string()).unwrap().time.unwrap().as_ntp64();
            // Four or five NTP64 steps share a nanosecond.
            assert!(back <= ntp64 && ntp64 - back < 5, "{ntp64}");
        }
    }
}

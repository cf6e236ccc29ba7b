//! Times of the log as people write them: RFC 3339, or the NTP64 number itself.

use jiff::Timestamp;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A point in time on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeArg {
    /// The first NTP64 time that is not before it; none if the log's times end before (in 2106).
    pub(super) ntp64: Option<u64>,
}

/// Error of a text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written like 2026-11-21T12:00:00Z, or as a decimal NTP64 number")]
pub(super) struct ParseTimeError;

/// Reads a time: decimal digits alone are NTP64, all else must be RFC 3339.
///
/// # Errors
///
/// If it is neither.
pub(super) fn parse(text: &str) -> Result<TimeArg, ParseTimeError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text
            .parse()
            .map(|ntp64| TimeArg { ntp64: Some(ntp64) })
            .map_err(|_| ParseTimeError);
    }
    let time: Timestamp = text.parse().map_err(|_| ParseTimeError)?;
    let Ok(nanos) = u128::try_from(time.as_nanosecond()) else {
        return Ok(TimeArg { ntp64: Some(0) });
    };
    // Rounded up, as `rfc3339` rounds down: a printed time, given back, finds its entry.
    let ntp64 = (nanos << 32).div_ceil(NANOS_PER_SECOND);
    Ok(TimeArg { ntp64: u64::try_from(ntp64).ok() })
}

/// Writes an NTP64 time as RFC 3339 in UTC, with nanoseconds, rounded down.
pub(super) fn rfc3339(ntp64: u64) -> String {
    let nanos = (u128::from(ntp64) * NANOS_PER_SECOND) >> 32;
    i128::try_from(nanos)
        .ok()
        .and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())
        // All 64-bit values are before 2107, which the calendar holds.
        .map_or_else(|| ntp64.to_string(), |time| format!("{time:.9}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(1 << 31), "1970-01-01T00:00:00.500000000Z");
        assert_eq!(rfc3339(u64::MAX), "2106-02-07T06:28:15.999999999Z");
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(TimeArg { ntp64: Some(1 << 32) }));
        assert_eq!(parse("1970-01-01T02:00:01+02:00"), Ok(TimeArg { ntp64: Some(1 << 32) }));
        assert_eq!(parse("1969-12-31T23:59:59Z"), Ok(TimeArg { ntp64: Some(0) }));
        assert_eq!(parse("2106-02-07T06:28:16Z"), Ok(TimeArg { ntp64: None }));
        assert_eq!(parse("12345"), Ok(TimeArg { ntp64: Some(12345) }));
        for bad in ["", "yesterday", "2026-11-21", "18446744073709551616", "-1", "+5"] {
            assert_eq!(parse(bad), Err(ParseTimeError), "{bad}");
        }
    }

    #[test]
    fn a_printed_time_finds_its_entry() {
        for ntp64 in [0, 1, 4, 5, 7_622_000_000_123_456_789, u64::MAX] {
            let back = parse(&rfc3339(ntp64)).unwrap().ntp64.unwrap();
            // Four or five NTP64 steps share a nanosecond.
            assert!(back <= ntp64 && ntp64 - back < 5, "{ntp64}");
        }
    }
}

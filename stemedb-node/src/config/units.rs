//! Times, sizes and parts of the day as people write them, on the command line and in TOML alike.

use std::{fmt, str::FromStr, time::Duration};

use bytesize::ByteSize;
use serde::Deserialize;

use crate::options::Window;

/// Duration in the grammar of `humantime`: `500ms`, `30s`, `1h 30m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub Duration);

/// Number of bytes in the grammar of `bytesize`, but that a single letter is a power of 1024:
/// `1048576`, `1M`, `1MiB`, `1.5GiB`, `10MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// Error of a text that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// Not a duration.
    #[error("a time has a unit, such as 500ms, 30s, 5m, 1h or 7d")]
    Time,
    /// Not a number of bytes.
    #[error("a size is a number of bytes, such as 512K, 10M or 2G (powers of 1024), or 10MB")]
    Size,
    /// Not a part of the day.
    #[error("a part of the day is written as 22:00-06:00")]
    Window,
    /// Nothing, where there must be something.
    #[error("it must be more than 0")]
    Zero,
}

/// Units in which times are written, in milliseconds, the longest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units in which sizes are written, the largest first.
const SIZES: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// Greatest size: TOML has no greater integers.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// Minutes of a day.
const DAY: u32 = 24 * 60;

impl FromStr for Time {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        humantime::parse_duration(text).map(Self).map_err(|_| ParseUnitError::Time)
    }
}

/// The shortest text that is read as the same.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).ok();
        match millis.filter(|millis| Duration::from_millis(*millis) == self.0) {
            Some(0) => f.write_str("0s"),
            Some(millis) => in_units(f, millis, &TIMES),
            None => write!(f, "{}", humantime::format_duration(self.0)),
        }
    }
}

impl FromStr for Size {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(ParseUnitError::Size);
        }
        let is_unit = |last: char| "KMGTP".contains(last.to_ascii_uppercase());
        let parsed = match text.strip_suffix(is_unit) {
            Some(_) => format!("{text}iB").parse::<ByteSize>(),
            None => text.parse(),
        };
        let size = parsed.map_err(|_| ParseUnitError::Size)?.as_u64();
        if size > SIZE_MAX { Err(ParseUnitError::Size) } else { Ok(Self(size)) }
    }
}

/// The shortest text that is read as the same.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_units(f, self.0, &SIZES)
    }
}

/// `22:00-06:00`: hours and minutes, to 24:00. All of a day is `00:00-24:00`.
impl FromStr for Window {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let (from, to) = text.split_once('-').ok_or(ParseUnitError::Window)?;
        let (from, to) = (minutes(from.trim())?, minutes(to.trim())?);
        if from == to || from == DAY || to == 0 {
            return Err(ParseUnitError::Window);
        }
        Ok(Self { from: from * 60, to: to * 60 })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [self.from, self.to].map(|at| (at / 3600, at / 60 % 60));
        write!(f, "{:02}:{:02}-{:02}:{:02}", from.0, from.1, to.0, to.1)
    }
}

macro_rules! from_text {
    ($($unit:ty),*) => {$(
        impl TryFrom<String> for $unit {
            type Error = ParseUnitError;

            fn try_from(text: String) -> Result<Self, ParseUnitError> {
                text.parse()
            }
        }
    )*};
}
from_text!(Time, Size, Window);

/// `06:30` as minutes from midnight.
fn minutes(text: &str) -> Result<u32, ParseUnitError> {
    let plain = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| part.parse::<u32>().ok();
    text.split_once(':')
        .filter(|(hours, minutes)| plain(hours) && plain(minutes))
        .and_then(|(hours, minutes)| number(hours).zip(number(minutes)))
        .filter(|(hours, minutes)| *minutes < 60 && hours * 60 + minutes <= DAY)
        .map(|(hours, minutes)| hours * 60 + minutes)
        .ok_or(ParseUnitError::Window)
}

/// Writes a number in the largest unit that it is a multiple of.
fn in_units(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    match units.iter().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor)) {
        Some((name, factor)) => write!(f, "{}{name}", number / factor),
        None => write!(f, "{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, micros, written) in [
            ("30s", 30_000_000, "30s"),
            ("500ms", 500_000, "500ms"),
            ("5m", 300_000_000, "5m"),
            ("60m", 3_600_000_000, "1h"),
            ("7d", 604_800_000_000, "7d"),
            ("7days", 604_800_000_000, "7d"),
            ("36h", 129_600_000_000, "36h"),
            ("1h 30m", 5_400_000_000, "90m"),
            ("0s", 0, "0s"),
            ("1500ms", 1_500_000, "1500ms"),
            ("1500us", 1_500, "1ms 500us"),
        ] {
            let time = Time(Duration::from_micros(micros));
            assert_eq!(text.parse(), Ok(time), "{text}");
            assert_eq!(time.to_string(), written);
            assert_eq!(written.parse(), Ok(time));
        }
        for bad in ["", "30", "s", "-1s", "+1s", "1S", "99999999999999999999d"] {
            assert_eq!(bad.parse::<Time>(), Err(ParseUnitError::Time), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "0"),
            ("1", 1, "1"),
            ("512K", 512 << 10, "512K"),
            ("10m", 10 << 20, "10M"),
            ("10MB", 10_000_000, "10000000"),
            ("2GiB", 2 << 30, "2G"),
            ("1.5G", 3 << 29, "1536M"),
            ("1024G", 1 << 40, "1T"),
            ("1025", 1025, "1025"),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), written);
        }
        for bad in ["", "K", "-1", "+1", "iB", "1iB", "9999999T", "5%"] {
            assert_eq!(bad.parse::<Size>(), Err(ParseUnitError::Size), "{bad}");
        }
    }

    #[test]
    fn parts_of_the_day_are_read_and_written() {
        for (text, from, to) in [
            ("22:00-06:00", 79_200, 21_600),
            ("00:00-24:00", 0, 86_400),
            ("12:30-12:31", 45_000, 45_060),
        ] {
            let read: Window = text.parse().unwrap();
            assert_eq!((read.from, read.to), (from, to), "{text}");
            assert_eq!(read.to_string(), text);
        }
        let bad = ["", "22:00", "22-06", "24:00-06:00", "6:00-7:00", "06:00-06:00", "06:60-07:00"];
        for bad in bad.into_iter().chain(["22:00-00:00", "25:00-01:00", "+1:00-02:00", "a-b"]) {
            assert_eq!(bad.parse::<Window>(), Err(ParseUnitError::Window), "{bad}");
        }
    }
}

//! Times, sizes and parts of the day as people write them.

use std::time::Duration;

use crate::options::Window;

/// Units of time in milliseconds, the longest first.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size in bytes, the largest first.
const SIZES: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// The greatest size: TOML has no greater integers.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// Digits and a unit, which can't be left out: `500ms`, `30s`, `5m`, `1h`, `7d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let (_, millis) = TIMES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*millis).map(Duration::from_millis)
}

/// The shortest text that [`duration`] reads as this, down to the millisecond.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    in_units(millis, &TIMES).unwrap_or_else(|| format!("{millis}ms"))
}

/// Digits, and perhaps a power of 1024 behind them: `10M`, `512K`, `2GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = if unit.is_empty() {
        1
    } else {
        let unit = unit.strip_suffix("iB").unwrap_or(unit);
        SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1
    };
    number.checked_mul(factor).filter(|size| *size <= SIZE_MAX)
}

/// The shortest text that [`size`] reads as this.
pub(super) fn size_text(size: u64) -> String {
    in_units(size, &SIZES).unwrap_or_else(|| size.to_string())
}

/// `22:00-06:00`: hours and minutes, to 24:00. All of a day is `00:00-24:00`.
pub(super) fn window(text: &str) -> Option<Window> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minutes(from.trim())?, minutes(to.trim())?);
    if from == to || from == DAY || to == 0 {
        return None;
    }
    Some(Window { from: from * 60, to: to * 60 })
}

/// The text that [`window`] reads as this.
pub(super) fn window_text(window: Window) -> String {
    let text = |seconds: u32| format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    format!("{}-{}", text(window.from), text(window.to))
}

/// `06:30` as minutes from midnight.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let all = u32::try_from(hours * 60 + minutes).ok()?;
    (minutes < 60 && all <= DAY).then_some(all)
}

/// A number and what stands behind it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((digits(number)?, unit))
}

/// Digits and nothing else: a sign is none.
fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

fn in_units(number: u64, units: &[(&str, u64)]) -> Option<String> {
    let (name, factor) =
        units.iter().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor))?;
    Some(format!("{}{name}", number / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, millis, written) in [
            ("30s", 30_000, "30s"),
            ("500ms", 500, "500ms"),
            ("5m", 300_000, "5m"),
            ("60m", 3_600_000, "1h"),
            ("7d", 604_800_000, "7d"),
            ("36h", 129_600_000, "36h"),
            ("0s", 0, "0s"),
            ("1500ms", 1_500, "1500ms"),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(duration_text(Duration::from_millis(millis)), written);
        }
        for bad in ["", "30", "s", "-1s", "+1s", "1.5h", "1 s", "1S", "1h30m", "99999999999999999d"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "0"),
            ("1", 1, "1"),
            ("512K", 512 << 10, "512K"),
            ("10m", 10 << 20, "10M"),
            ("2GiB", 2 << 30, "2G"),
            ("1024G", 1 << 40, "1T"),
            ("1025", 1025, "1025"),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
            assert_eq!(size_text(bytes), written);
        }
        for bad in ["", "K", "10MB", "1.5G", "-1", "+1", "1 K", "iB", "1iB", "9999999T"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_of_the_day_are_read_and_written() {
        for (text, from, to) in [
            ("22:00-06:00", 79_200, 21_600),
            ("00:00-24:00", 0, 86_400),
            ("12:30-12:31", 45_000, 45_060),
        ] {
            let read = window(text).unwrap();
            assert_eq!((read.from, read.to), (from, to), "{text}");
            assert_eq!(window_text(read), text);
        }
        let bad = ["", "22:00", "22-06", "24:00-06:00", "6:00-7:00", "06:00-06:00", "06:60-07:00"];
        for bad in bad.into_iter().chain(["22:00-00:00", "25:00-01:00", "+1:00-02:00", "a-b"]) {
            assert_eq!(window(bad), None, "{bad}");
        }
    }
}

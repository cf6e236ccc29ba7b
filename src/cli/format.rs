//! Times and numbers as people read them.

use indicatif::HumanCount;

/// How long ago a time was.
pub(super) fn ago(time: f64, now: f64) -> String {
    format!("{} ago", span((now - time).max(0.0)))
}

/// A time in the two greatest units that say something.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
pub(super) fn span(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.min(1e15) as u64;
    let mut parts = UNITS.iter().scan(whole, |rest, (unit, name)| {
        let count = *rest / unit;
        *rest %= unit;
        Some((count, name))
    });
    let first = parts.by_ref().find(|(count, _)| *count > 0);
    let second = parts.next().filter(|(count, _)| *count > 0);
    let texts: Vec<String> =
        first.into_iter().chain(second).map(|(count, name)| format!("{count} {name}")).collect();
    texts.join(" ")
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// How many of something there are, in words.
pub(super) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_read_well() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (9.94, "9.9 s"),
            (10.0, "10 s"),
            (60.0, "1 min"),
            (61.0, "1 min 1 s"),
            (3_600.0, "1 h"),
            (90_000.0, "1 d 1 h"),
            (86_460.0, "1 d"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(counted(1, "body", "bodies"), "1 body");
        assert_eq!(counted(0, "body", "bodies"), "0 bodies");
        assert_eq!(counted(2_000, "body", "bodies"), "2,000 bodies");
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}

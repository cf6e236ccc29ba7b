//! The date of an answer while the clock stands before 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use tonic::codegen::http::{HeaderMap, HeaderValue, header::DATE};

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "the HTTP library reads it for the same header")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// Says the first date that there is in a header where the clock stands before it: the HTTP library
/// panics when it writes such a date itself, and leaves one alone that is there. At all other times
/// the library writes it.
pub(super) fn put_early_date(headers: &mut HeaderMap, now: SystemTime) {
    if now < UNIX_EPOCH {
        headers.insert(DATE, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_date_before_1970_is_replaced() {
        let second = Duration::from_secs(1);
        for (now, early) in [
            (UNIX_EPOCH - second * 86_400 * 365, true),
            (UNIX_EPOCH - second, true),
            (UNIX_EPOCH, false),
            (UNIX_EPOCH + second * 1_700_000_000, false),
        ] {
            let mut headers = HeaderMap::new();
            put_early_date(&mut headers, now);
            assert_eq!(headers.contains_key(DATE), early);
        }
    }
}

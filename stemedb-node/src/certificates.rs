//! Time that certificates of a node have left.

use std::time::Duration;

use stemedb_rpc::tls::{Moment, Validity};
use tracing::warn;

use super::Options;

/// From here on it is warned of a certificate,
const WARNED_DAYS: f64 = 14.0;
/// once in this time.
const WARN_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);
const DAY_SECONDS: f64 = 86_400.0;

/// Last moments of a node's certificates, by the key of the configuration that names the file:
/// that of a chain, and those of all authorities.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    last_moments: Vec<(&'static str, Vec<Moment>)>,
    warned: Option<Duration>,
}

impl Certificates {
    pub(super) fn of(options: &Options) -> Self {
        let (server, client) = (options.server.tls.as_ref(), options.client.tls.as_ref());
        // That they can be read was checked.
        let moments = |pem: &[u8]| -> Vec<Moment> {
            let all = Validity::all_of_pem(pem).unwrap_or_default();
            all.into_iter().map(|validity| validity.not_after).collect()
        };
        let chain = server.map(|tls| moments(&tls.certificate).into_iter().min());
        let client_ca = server.and_then(|tls| tls.client_ca.as_deref());
        let last_moments = vec![
            // A chain is refused once any part of it has expired.
            ("tls.cert", chain.into_iter().flatten().collect()),
            ("tls.client_ca", client_ca.map(moments).unwrap_or_default()),
            ("tls.ca", client.map(|tls| moments(&tls.ca)).unwrap_or_default()),
        ];
        Self { last_moments, warned: None }
    }

    /// Days until the first certificate of each file expires, at a time in seconds since 1970;
    /// negative where it has. An old authority may stand beside its successor: one that has expired
    /// counts only where no other is left.
    pub(super) fn days_left(&self, time: f64) -> Vec<(&'static str, f64)> {
        let first = |moments: &[Moment]| {
            let (valid, expired): (Vec<f64>, Vec<f64>) =
                moments.iter().map(|moment| seconds(*moment)).partition(|moment| *moment >= time);
            let first = valid.into_iter().reduce(f64::min);
            first.or_else(|| expired.into_iter().reduce(f64::max))
        };
        let files = self.last_moments.iter();
        files.filter_map(|(key, all)| Some((*key, (first(all)? - time) / DAY_SECONDS))).collect()
    }

    /// Warns of those that run out soon, once a day.
    pub(super) fn warn(&mut self, time: f64, now: Duration) {
        if self.warned.is_some_and(|warned| now.saturating_sub(warned) < WARN_PERIOD) {
            return;
        }
        for (key, days) in self.days_left(time) {
            if days < WARNED_DAYS {
                self.warned = Some(now);
                let days = format!("{days:.1}");
                warn!(key, days, "a certificate runs out: renew it, then reload");
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time to show")]
fn seconds(moment: Moment) -> f64 {
    moment.0 as f64
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use stemedb_rpc::{ClientTls, ServerTls};

    use super::*;

    /// Certificates that expire when these years begin, in one file.
    fn expiring(years: &[i32]) -> Vec<u8> {
        let one = |year: &i32| {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(*year, 1, 1);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        years.iter().map(one).collect::<String>().into_bytes()
    }

    #[test]
    fn days_left_are_those_of_the_certificate_that_expires_first() {
        let start_of_2026 = 1_767_225_600.0;
        let tls = ServerTls::new(expiring(&[2029, 2027, 2028]), Vec::new())
            .client_ca(Some(expiring(&[2025, 2028, 2027])));
        let mut options = Options::default();
        options.server.tls = Some(tls);
        options.client.tls = Some(ClientTls::new(expiring(&[2024, 2025])));
        let days = Certificates::of(&options).days_left(start_of_2026);
        assert_eq!(days, [("tls.cert", 365.0), ("tls.client_ca", 365.0), ("tls.ca", -365.0)]);
    }
}

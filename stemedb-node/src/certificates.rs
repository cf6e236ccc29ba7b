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

/// Last moments of a node's certificates, by the key of the configuration that names the file.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    last_moments: Vec<(&'static str, Moment)>,
    warned: Option<Duration>,
}

impl Certificates {
    pub(super) fn of(options: &Options) -> Self {
        let (server, client) = (options.server.tls.as_ref(), options.client.tls.as_ref());
        let files = [
            ("tls.cert", server.map(|tls| tls.certificate.as_slice())),
            ("tls.client_ca", server.and_then(|tls| tls.client_ca.as_deref())),
            ("tls.ca", client.map(|tls| tls.ca.as_slice()).filter(|ca| !ca.is_empty())),
        ];
        let last_moments = files.into_iter().filter_map(|(key, pem)| {
            // That they can be read was checked.
            Some((key, Validity::of_pem(pem?).ok()?.not_after))
        });
        Self { last_moments: last_moments.collect(), warned: None }
    }

    /// Days that each has left at a time, in seconds since 1970; negative where it has run out.
    pub(super) fn days_left(&self, time: f64) -> Vec<(&'static str, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "a time to show")]
        let days = |moment: &Moment| (moment.0 as f64 - time) / DAY_SECONDS;
        self.last_moments.iter().map(|(key, moment)| (*key, days(moment))).collect()
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

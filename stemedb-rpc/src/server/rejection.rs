//! Callers that are not let in: how many for which reason, and warnings of them.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use stemedb_store::store::uptime;
use tracing::warn;

use crate::warning_rate::WarningRate;

/// Reason for which a caller is not let in. The words are labels of a metric.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::Display,
)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Rejection {
    /// It speaks plaintext, and the server wants TLS.
    TlsWanted,
    /// It speaks TLS, and the server does not.
    TlsUnwanted,
    /// Its certificate is missing, has expired or comes from another authority.
    ClientCertificate,
    /// It does not trust the server's certificate.
    ServerCertificate,
    /// The TLS handshake failed otherwise.
    Handshake,
    /// It shows no token, or a wrong one.
    Token,
    /// Its token does not permit the call.
    Forbidden,
    /// Its address has as many connections as one may have.
    Connections,
    /// It has another cluster secret.
    Secret,
    /// Its gossip is of another version.
    Version,
    /// Its gossip is not signed by the node that it names.
    Signature,
    /// Its gossip is not taken for another reason.
    Gossip,
}

/// Reasons in the order of their counters.
const ALL: &[Rejection] = <Rejection as strum::VariantArray>::VARIANTS;

/// Callers that were not let in. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Rejections(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: [AtomicU64; ALL.len()],
    rate: Mutex<WarningRate>,
}

impl Rejections {
    /// Counts a rejection, and logs it unless the same one of its address was logged a moment ago.
    pub fn note(&self, address: Option<IpAddr>, rejection: Rejection, detail: impl fmt::Display) {
        if let Some(count) = self.0.counts.get(rejection as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let mut rate = self.0.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let due = rate.note(&address, rejection.into(), uptime());
        drop(rate);
        if let Some(left_out) = due {
            let left_out = (left_out > 0).then_some(left_out);
            warn!(
                client = %address,
                reason = %rejection,
                left_out,
                "a client is refused: {detail}"
            );
        }
    }

    /// How many there were for each reason.
    pub fn counts(&self) -> impl Iterator<Item = (Rejection, u64)> {
        let counts = self.0.counts.iter().map(|count| count.load(Ordering::Relaxed));
        ALL.iter().copied().zip(counts)
    }
}

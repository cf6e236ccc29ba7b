//! Status of a node.

pub use stemedb_rpc::status::*;

/// Seconds since 1970 of an NTP64 time.
#[expect(clippy::cast_precision_loss, reason = "a time to show: microseconds are enough")]
pub(super) fn unix_seconds(ntp64: u64) -> f64 {
    ntp64 as f64 / 4_294_967_296.0
}

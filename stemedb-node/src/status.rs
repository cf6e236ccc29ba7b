//! Status of a node.

use stemedb_store::Timestamp;

pub use stemedb_rpc::status::*;

/// Seconds since 1970.
#[expect(clippy::cast_precision_loss, reason = "a time to show: microseconds are enough")]
pub(super) fn unix_seconds(time: Timestamp) -> f64 {
    time.as_ntp64() as f64 / 4_294_967_296.0
}

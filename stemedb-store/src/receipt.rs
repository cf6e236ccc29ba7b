//! Acknowledgement of an append.

use stemedb_merkle::AssertionId;
use stemedb_wal::log::Placed;

/// Acknowledgement of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The assertion's id.
    pub id: AssertionId,
    /// Its index in the log.
    pub index: u64,
    /// The time at which the log took it in, NTP64.
    pub time: u64,
    /// Where its body is, in bytes from the start of the log.
    pub position: u64,
    /// Whether it was held already: index, time and position are then those of the first time.
    pub duplicate: bool,
}

impl Receipt {
    pub(crate) fn of(placed: &Placed, duplicate: bool) -> Self {
        let Placed { id, index, time, position, .. } = *placed;
        Self { id: AssertionId(id), index, time, position, duplicate }
    }
}

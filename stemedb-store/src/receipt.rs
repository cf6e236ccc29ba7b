//! Acknowledgement of an append.

use stemedb_merkle::{AssertionId, LogIndex, Timestamp};
use stemedb_wal::{Position, log::Placed};

/// Acknowledgement of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The assertion's id.
    pub id: AssertionId,
    /// Its index in the log.
    pub index: LogIndex,
    /// The time at which the log took it in.
    pub time: Timestamp,
    /// Where its record is.
    pub position: Position,
    /// Whether it was held already: index, time and position are then those of the first time.
    pub duplicate: bool,
}

impl Receipt {
    pub(crate) fn of(placed: &Placed, duplicate: bool) -> Self {
        let Placed { id, index, time, position, .. } = *placed;
        Self { id: AssertionId(id), index, time, position, duplicate }
    }
}

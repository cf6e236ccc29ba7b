//! What is appended, and where it is then.

use stemedb_merkle::{Hash, LogIndex, Timestamp};

use crate::record::HEAD_LEN;

/// What is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// The assertion id of the body. The log does not compute it.
    pub id: Hash,
    /// The body.
    pub body: &'a [u8],
    /// The hole that this body fills again, if it is one.
    pub heals: Option<HoleEntry>,
}

impl NewRecord<'_> {
    /// Length of the record in the log, in bytes.
    pub fn record_len(&self) -> u64 {
        HEAD_LEN as u64 + self.body.len() as u64
    }
}

/// The entry of a body that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoleEntry {
    /// The index that it keeps.
    pub index: LogIndex,
    /// The time that it keeps.
    pub time: Timestamp,
}

//! Counts and roots of a store.

use stemedb_merkle::{LogSize, Root, Timestamp};

/// Counts and roots of a store at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How many assertions.
    pub count: u64,
    /// The root over them.
    pub set_root: Root,
    /// How many entries the log has: more than `count` only if bodies were lost to damage.
    pub log_size: LogSize,
    /// The root over its history.
    pub log_root: Root,
    /// The time of the last entry; [`Timestamp::MIN`] if there is none.
    pub last_time: Timestamp,
}

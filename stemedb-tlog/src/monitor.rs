//! The verdict of a monitor about a log.
//!
//! A round reads the newest checkpoint and verifies its signatures, holds it against the head that
//! was verified last, and then all new entries against the new root. Only then are head and
//! position stored, together: a head that is stored first, and a crash, would leave entries that
//! nobody has looked at.

mod entries;

use core::fmt;

use stemedb_merkle::{LogSize, Root, history::TreeHead};

pub use entries::{BadEntry, EntryCheck};

/// Verdict of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The log only grew, or did not change.
    Ok,
    /// As `Ok`, and its newest cosignatures are older than they may be.
    Stale,
    /// The log shows a smaller head that is consistent with the last.
    Rollback,
    /// The log has signed two histories. Never retried away.
    Fork,
    /// An entry is not what it must be.
    BadEntry,
    /// The log could not be read: never a fork.
    Unavailable,
}

/// A new head against the one that was verified last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The new head goes on from the last, with this many entries before the first new one.
    Grown {
        /// The size of the last head.
        from: LogSize,
    },
    /// The new head is smaller, and consistent.
    Smaller,
    /// The heads contradict each other.
    Fork,
    /// The nodes that tell could not be read.
    Unknown,
}

/// Holds a new head, whose log has signed it, against the one that was verified last.
///
/// `root_at` gives the root that the larger of the two trees has at the smaller size, from verified
/// tiles of the larger; none if these could not be read. An empty log is consistent with every
/// other.
pub fn compare_heads(
    last: Option<&TreeHead>,
    new: &TreeHead,
    root_at: impl FnOnce(LogSize) -> Option<Root>,
) -> Growth {
    let Some(last) = last else { return Growth::Grown { from: LogSize(0) } };
    if new.size == last.size {
        return if new.root == last.root {
            Growth::Grown { from: last.size }
        } else {
            Growth::Fork
        };
    }
    let (smaller, grown) = if last.size < new.size { (last, true) } else { (new, false) };
    match root_at(smaller.size) {
        None => Growth::Unknown,
        Some(root) if root != smaller.root => Growth::Fork,
        Some(_) if grown => Growth::Grown { from: last.size },
        Some(_) => Growth::Smaller,
    }
}

impl Verdict {
    /// The verdict of a round, from the heads, whether the cosignatures are of late, and what came
    /// of the new entries; these are none if they could not be read.
    pub const fn of(growth: Growth, fresh: bool, entries: Option<&Result<(), BadEntry>>) -> Self {
        match (growth, entries) {
            (Growth::Fork, _) => Self::Fork,
            (Growth::Smaller, _) => Self::Rollback,
            (Growth::Unknown, _) | (_, None) => Self::Unavailable,
            (_, Some(Err(_))) => Self::BadEntry,
            (_, Some(Ok(()))) if fresh => Self::Ok,
            (_, Some(Ok(()))) => Self::Stale,
        }
    }

    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Rollback => "rollback",
            Self::Fork => "fork",
            Self::BadEntry => "bad-entry",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether head and position are stored after the round.
    pub const fn advances(self) -> bool {
        matches!(self, Self::Ok | Self::Stale)
    }

    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Stale => 0,
            Self::Unavailable => 1,
            Self::Rollback | Self::Fork | Self::BadEntry => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

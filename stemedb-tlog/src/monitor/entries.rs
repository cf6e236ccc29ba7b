//! Rules that the entries of a log follow.

use core::fmt;

use stemedb_merkle::{AssertionId, LogIndex, LogSize, Root, Timestamp};

use crate::{entry_bundle::LogEntry, heads::Heads, name::KeyName};

/// An entry that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// Its time is not above that of the entry before.
    Time {
        /// Its index.
        index: LogIndex,
    },
    /// Its id was logged before.
    Duplicate {
        /// Its index.
        index: LogIndex,
        /// Its id.
        id: AssertionId,
    },
    /// It is a heads assertion of this log that is wrong: of entries that are not before it, or
    /// with another root than their set has.
    Heads {
        /// Its index.
        index: LogIndex,
    },
}

/// Check of a log's entries in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryCheck {
    next: LogIndex,
    last_time: Option<Timestamp>,
}

impl EntryCheck {
    /// A check that goes on behind the entries that were checked, the last of which has this time.
    pub const fn resume(checked: LogSize, last_time: Option<Timestamp>) -> Self {
        Self { next: checked.next_index(), last_time }
    }

    /// Index of the entry that comes next.
    pub const fn next(&self) -> LogIndex {
        self.next
    }

    /// The time of the entry that was checked last.
    pub const fn last_time(&self) -> Option<Timestamp> {
        self.last_time
    }

    /// Checks verified entries, which begin with the next one. `is_new` notes an id, and says
    /// whether it was not logged before.
    ///
    /// # Errors
    ///
    /// If one of them breaks a rule.
    pub fn check(
        &mut self,
        entries: &[LogEntry],
        mut is_new: impl FnMut(&AssertionId) -> bool,
    ) -> Result<(), BadEntry> {
        for entry in entries {
            let index = self.next;
            if self.last_time.is_some_and(|last| entry.time <= last) {
                return Err(BadEntry::Time { index });
            }
            if !is_new(&entry.id) {
                return Err(BadEntry::Duplicate { index, id: entry.id });
            }
            self.last_time = Some(entry.time);
            self.next = LogIndex(index.0.saturating_add(1));
        }
        Ok(())
    }

    /// Checks the heads assertion that is the body of an entry of the log `origin`; those of other
    /// logs are bodies like any other. `set_root` gives the root of the set of the first entries.
    ///
    /// # Errors
    ///
    /// If it is wrong.
    pub fn check_heads(
        origin: &KeyName,
        index: LogIndex,
        heads: &Heads,
        set_root: impl FnOnce(LogSize) -> Root,
    ) -> Result<(), BadEntry> {
        if heads.log != *origin {
            return Ok(());
        }
        if index.0 < heads.upto.0 || set_root(heads.upto) != heads.set_root {
            return Err(BadEntry::Heads { index });
        }
        Ok(())
    }
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time { index } => {
                write!(f, "the time of entry {index} is not above that of the entry before")
            }
            Self::Duplicate { index, id } => {
                write!(f, "entry {index} logs {id}, which was logged before")
            }
            Self::Heads { index } => {
                write!(f, "entry {index} is a heads assertion with another root than its set has")
            }
        }
    }
}

impl core::error::Error for BadEntry {}

//! Numbers of a log's entries: index and size.

use core::{
    fmt,
    ops::{Add, AddAssign, Sub},
};

/// Index of an entry in a log, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

/// Number of entries of a log, or of a part at its front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSize(pub u64);

impl LogIndex {
    /// Number of entries before this one.
    pub const fn entries_before(self) -> LogSize {
        LogSize(self.0)
    }
}

impl LogSize {
    /// Index of the entry that comes next.
    pub const fn next_index(self) -> LogIndex {
        LogIndex(self.0)
    }

    /// Index of the last entry; `None` of an empty log.
    pub const fn last_index(self) -> Option<LogIndex> {
        match self.0.checked_sub(1) {
            Some(last) => Some(LogIndex(last)),
            None => None,
        }
    }

    /// Whether a log of this size has an entry of that index.
    pub const fn has(self, index: LogIndex) -> bool {
        index.0 < self.0
    }

    /// The size with `entries` fewer; `None` below 0.
    pub const fn checked_sub(self, entries: u64) -> Option<Self> {
        match self.0.checked_sub(entries) {
            Some(size) => Some(Self(size)),
            None => None,
        }
    }
}

/// What is the same for both: they count entries.
macro_rules! number_of_entries {
    ($name:ident) => {
        impl $name {
            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// So many entries further on; `None` if it would not fit.
            pub const fn checked_add(self, entries: u64) -> Option<Self> {
                match self.0.checked_add(entries) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        /// Compares with the number itself.
        impl PartialEq<u64> for $name {
            fn eq(&self, number: &u64) -> bool {
                self.0 == *number
            }
        }

        /// So many entries further on.
        impl Add<u64> for $name {
            type Output = Self;

            fn add(self, entries: u64) -> Self {
                Self(self.0 + entries)
            }
        }

        impl AddAssign<u64> for $name {
            fn add_assign(&mut self, entries: u64) {
                self.0 += entries;
            }
        }

        /// Number of entries from one to the other.
        impl Sub for $name {
            type Output = u64;

            fn sub(self, earlier: Self) -> u64 {
                self.0 - earlier.0
            }
        }
    };
}

number_of_entries!(LogIndex);
number_of_entries!(LogSize);

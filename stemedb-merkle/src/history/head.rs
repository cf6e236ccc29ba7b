//! Index, size and head of a log.

use core::fmt;

use crate::id::Hash;

/// Index of an entry in a log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(pub u64);

/// Number of entries of a log or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeSize(pub u64);

/// A size and the root at that size.
///
/// The two are handled together: the root of RFC 9162 does not commit to the size, so a proof
/// checked against one log's root and another's size means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: TreeSize,
    /// The root over them.
    pub root: Hash,
}

impl LeafIndex {
    /// The index `leaves` further on; `None` if it would not fit.
    pub const fn checked_add(self, leaves: u64) -> Option<Self> {
        match self.0.checked_add(leaves) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }
}

impl TreeSize {
    /// The size with `leaves` more; `None` if it would not fit.
    pub const fn checked_add(self, leaves: u64) -> Option<Self> {
        match self.0.checked_add(leaves) {
            Some(size) => Some(Self(size)),
            None => None,
        }
    }

    /// The size with `leaves` fewer; `None` below 0.
    pub const fn checked_sub(self, leaves: u64) -> Option<Self> {
        match self.0.checked_sub(leaves) {
            Some(size) => Some(Self(size)),
            None => None,
        }
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

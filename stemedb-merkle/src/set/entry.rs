//! An id in the set tree.

use crate::id::Hash;

/// An id and the position kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The id.
    pub id: Hash,
    /// Place of the body, in bytes from the start of the whole log.
    pub position: u64,
}

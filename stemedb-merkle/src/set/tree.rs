//! The set tree that grows.

use std::{ops::RangeBounds, sync::Arc};

use super::{
    entry::Entry,
    iter::Iter,
    mapped::{MappedSet, MappedSetError},
    node::Child,
    plan::Plan,
    snapshot::Snapshot,
};
use crate::{
    hash,
    id::{Hash, Root},
};

/// The set of ids that a store holds, with a root over them that is always current.
///
/// ```
/// use stemedb_merkle::MerkleTree;
///
/// let mut one = MerkleTree::new();
/// one.insert([1; 32])?;
/// one.insert([2; 32])?;
/// let mut other = MerkleTree::new();
/// other.insert([2; 32])?;
/// assert_ne!(one.root(), other.root());
/// other.insert([1; 32])?;
/// assert_eq!(one.root(), other.root(), "the order does not matter");
/// assert_eq!(one.len(), 2);
/// # Ok::<(), stemedb_merkle::MappedSetError>(())
/// ```
#[derive(Debug, Default)]
pub struct MerkleTree {
    pub(super) now: Snapshot,
    pub(super) plan: Plan,
    pub(super) scratch: Vec<Entry>,
}

impl MerkleTree {
    /// The tree of no ids.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of the ids in a mapped set, whose uppermost hash is `top_hash`. O(1): nothing is
    /// read.
    pub fn from_mapped_set(mapped: MappedSet, top_hash: Hash) -> Self {
        let count = mapped.len();
        let top = if count == 0 { Child::Empty } else { Child::Mapped };
        let root = hash::root(count, &top_hash);
        let now = Snapshot { top, top_hash, count, root, mapped: Some(Arc::new(mapped)) };
        Self { now, ..Self::default() }
    }

    /// The tree at this moment. O(1).
    pub fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// The tree at this moment, borrowed.
    pub fn view(&self) -> &Snapshot {
        &self.now
    }

    /// Number of ids.
    pub fn len(&self) -> u64 {
        self.now.len()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// The set root. O(1).
    pub fn root(&self) -> Root {
        self.now.root()
    }

    /// Whether the id is there. See [`Snapshot::contains`].
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn contains(&self, id: &Hash) -> Result<bool, MappedSetError> {
        self.now.contains(id)
    }

    /// All entries in the order of their ids. See [`Snapshot::iter`].
    pub fn iter(&self) -> Iter {
        self.now.iter()
    }

    /// The entries whose ids are in a range. See [`Snapshot::range`].
    pub fn range(&self, ids: impl RangeBounds<Hash>) -> Iter {
        self.now.range(ids)
    }
}

impl IntoIterator for &MerkleTree {
    type Item = Result<Entry, MappedSetError>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

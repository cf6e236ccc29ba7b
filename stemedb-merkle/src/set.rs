//! The set tree: a binary Merkle trie over the bits of the ids, free of history.
//!
//! Its root depends on the set alone, in whatever order the ids came (SPEC section 2). In memory it
//! is a tree of nodes that span up to four bits each and hold the hashes of all subtrees below
//! them, over pages of up to 16 sorted ids; nodes and pages are shared with snapshots and copied
//! when they change. What came to rest in a restart checkpoint stays there and is brought into
//! memory piece by piece as inserts touch it ([`mapped`]).

use std::{ops::RangeBounds, sync::Arc};

pub use self::node::Entry;
use self::{
    mapped::{MappedSet, MappedSetError},
    node::{Child, State},
    plan::Plan,
    positions::Lookup,
};
use crate::{
    Hash,
    hash::{self, EMPTY},
    proof::SetProof,
};

pub mod build;
mod changes;
pub(crate) mod cursor;
mod find_by_prefix;
mod hypothetical;
mod insert;
mod iter;
mod load_path;
pub mod mapped;
pub(crate) mod node;
mod plan;
mod positions;
mod prefetch;
mod prove;
mod subtree;
#[cfg(test)]
mod tests;

pub use self::{
    changes::{ChangedBlock, Changes},
    iter::Iter,
    subtree::{Subtree, Summary},
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
    now: Snapshot,
    plan: Plan,
    scratch: Vec<Entry>,
}

/// The set tree at one moment: cheap to take and to keep, never disturbed by inserts.
#[derive(Clone, Debug)]
pub struct Snapshot {
    top: Child,
    top_hash: Hash,
    count: u64,
    root: Hash,
    mapped: Option<Arc<MappedSet>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            top: Child::Empty,
            top_hash: EMPTY,
            count: 0,
            root: hash::root(0, &EMPTY),
            mapped: None,
        }
    }
}

/// The root of a set of `count` ids whose uppermost subtree has the hash `top_hash`.
pub fn root(count: u64, top_hash: &Hash) -> Hash {
    hash::root(count, top_hash)
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

    /// Inserts an id, with the number of ids before it as its position. Says whether it is new.
    ///
    /// O(log N): one page and one path are changed, and the root is current when this returns.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged; the tree is as it was then.
    pub fn insert(&mut self, id: Hash) -> Result<bool, MappedSetError> {
        Ok(self.insert_batch(&[Entry { id, position: self.now.count }])? == 1)
    }

    /// Inserts ids, in any order, and says how many are new. Of two entries with one id, and of one
    /// that is there already and one that is not, the first holds.
    ///
    /// Each changed node is hashed once, many at a time.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that one of them belongs to is damaged; none is inserted then.
    pub fn insert_batch(&mut self, entries: &[Entry]) -> Result<usize, MappedSetError> {
        let sorted;
        let mut entries = entries;
        if !entries.is_sorted_by(|a, b| a.id < b.id) {
            sorted = insert::sorted(entries);
            entries = &sorted;
        }
        self.insert_sorted(entries)
    }

    /// The tree at this moment. O(1).
    pub fn snapshot(&self) -> Snapshot {
        self.now.clone()
    }

    /// The tree at this moment, to look at only.
    pub fn view(&self) -> &Snapshot {
        &self.now
    }

    /// How many ids there are.
    pub fn len(&self) -> u64 {
        self.now.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty()
    }

    /// The set root. O(1).
    pub fn root(&self) -> Hash {
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

impl Snapshot {
    /// How many ids there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The set root. O(1).
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The hash of the uppermost subtree, which the root covers together with the count.
    pub fn top_hash(&self) -> Hash {
        self.top_hash
    }

    /// The mapped set that part of the tree lies in.
    pub fn mapped_set(&self) -> Option<&MappedSet> {
        self.mapped.as_deref()
    }

    /// Whether the id is there. O(log N), O(1) in a mapped set.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn contains(&self, id: &Hash) -> Result<bool, MappedSetError> {
        Ok(self.position(id)?.is_some())
    }

    /// The position kept beside the id, if it is there. O(log N), O(1) in a mapped set.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn position(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        match (self.find_in_memory(id), &self.mapped) {
            (Lookup::Known(known), _) => Ok(known),
            (Lookup::Mapped, Some(mapped)) => mapped.find(id),
            (Lookup::Mapped, None) => Ok(None),
        }
    }

    /// All entries in the order of their ids, each of them or why it can't be had.
    pub fn iter(&self) -> Iter {
        self.range(..)
    }

    /// The entries whose ids are in a range, in order, each of them or why it can't be had.
    pub fn range(&self, ids: impl RangeBounds<Hash>) -> Iter {
        Iter::new(self, ids)
    }

    /// Proves that the id is there or that it is not. O(log N).
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn prove(&self, id: &Hash) -> Result<SetProof, MappedSetError> {
        prove::prove(self, id)
    }

    /// How many bytes of memory the tree takes, mapped sets left out. O(N) in memory.
    pub fn memory_len(&self) -> u64 {
        self.top.memory_len() as u64
    }

    /// How many ids begin with each byte: how full the 256 uppermost subtrees are.
    ///
    /// # Errors
    ///
    /// If a part of a mapped set is damaged.
    pub fn counts_by_first_byte(&self) -> Result<[u64; 256], MappedSetError> {
        let mut counts = [0; 256];
        for entry in self {
            if let Some(count) = counts.get_mut(usize::from(entry?.id[0])) {
                *count += 1;
            }
        }
        Ok(counts)
    }

    fn set_top(&mut self, top_hash: Hash, count: u64) {
        self.top_hash = top_hash;
        self.count = count;
        self.root = hash::root(count, &top_hash);
    }

    fn top_state(&self) -> State {
        State::of(usize::try_from(self.count).unwrap_or(2))
    }
}

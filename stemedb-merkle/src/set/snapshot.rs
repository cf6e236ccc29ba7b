//! The set tree at one moment.

use std::sync::Arc;

use super::{mapped::MappedSet, node::Child};
use crate::{
    hash::{self, EMPTY},
    id::{Hash, Root},
};

/// The set tree at one moment: cheap to take and to keep, never disturbed by inserts.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) top: Child,
    pub(super) top_hash: Hash,
    pub(super) count: u64,
    pub(super) root: Root,
    pub(super) mapped: Option<Arc<MappedSet>>,
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

impl Snapshot {
    /// Number of ids.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The set root. O(1).
    pub fn root(&self) -> Root {
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

    /// Memory of the tree in bytes, without mapped sets. O(N) in memory.
    pub fn memory_len(&self) -> u64 {
        self.top.memory_len() as u64
    }

    pub(super) fn set_top(&mut self, top_hash: Hash, count: u64) {
        self.top_hash = top_hash;
        self.count = count;
        self.root = hash::root(count, &top_hash);
    }
}

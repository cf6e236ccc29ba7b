//! Filter in front of the set tree.

use std::sync::Arc;

use stemedb_merkle::{MerkleTree, set::mapped::MappedSet};

use super::filter::Filter;
use crate::error::TreeFailure;

/// Filter that answers for most ids which are not in the set tree, without it: a fold may hold
/// that.
#[derive(Debug)]
pub(super) struct LookupFilter {
    /// Of the ids that came after the mapped set.
    pub(super) filter: Filter,
    pub(super) mapped: Option<Arc<MappedSet>>,
    /// Why the set tree does not have everything.
    pub(super) failure: Option<TreeFailure>,
}

impl LookupFilter {
    pub(super) fn new(filter: Filter, tree: &MerkleTree) -> Self {
        Self { filter, mapped: tree.view().mapped_set().cloned().map(Arc::new), failure: None }
    }
}

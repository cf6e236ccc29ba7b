//! A store at one moment.

use std::{ops::Bound, sync::Arc};

use stemedb_merkle::{AssertionId, DiffResult, Hash, Root, SetProof, set};

use super::Proven;
use crate::Head;
use crate::{
    error::{ReadError, TreeFailure},
    index::View,
};

/// What a store held at one moment. Holds still while appends go on.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<View>);

/// Ids that only one of two snapshots has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotDiff {
    /// Ids that only this one has, sorted.
    pub only_here: Vec<AssertionId>,
    /// Ids that only the other one has, sorted.
    pub only_there: Vec<AssertionId>,
    /// How many pairs of subtrees were compared.
    pub visited: u64,
}

impl Snapshot {
    pub(super) fn new(view: View) -> Self {
        Self(Arc::new(view))
    }

    /// How many assertions were held.
    pub fn len(&self) -> u64 {
        self.0.tree.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.tree.is_empty()
    }

    /// The root over them. O(1).
    pub fn root(&self) -> Root {
        self.0.tree.root()
    }

    /// All counts and roots.
    pub fn head(&self) -> Head {
        self.0.head()
    }

    /// Whether an assertion was held.
    ///
    /// # Errors
    ///
    /// If the part of the restart checkpoint that it belongs to is damaged.
    pub fn contains(&self, id: &AssertionId) -> Result<bool, ReadError> {
        Ok(self.0.tree.contains(&id.0)?)
    }

    /// Proves that an assertion was held or that it was not.
    ///
    /// # Errors
    ///
    /// If the part of the restart checkpoint that it belongs to is damaged.
    pub fn prove(&self, id: &AssertionId) -> Result<Proven<SetProof>, ReadError> {
        Ok(Proven { proof: self.0.tree.prove(&id.0)?, head: self.0.head() })
    }

    /// The ids that were held, sorted.
    pub fn ids(&self) -> Ids {
        Ids(Ok(self.0.tree.iter()))
    }

    /// Those behind an id, sorted; all without one.
    pub fn ids_after(&self, after: Option<AssertionId>) -> Ids {
        let after = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0));
        Ids(Ok(self.0.tree.range((after, Bound::Unbounded))))
    }

    /// The ids that only one of two snapshots has. O(d log N) for d of them.
    ///
    /// # Errors
    ///
    /// If a part of a restart checkpoint is damaged.
    pub fn diff(&self, other: &Self) -> Result<SnapshotDiff, ReadError> {
        let DiffResult { missing_hashes, surplus_hashes, visited } =
            DiffResult::of(&self.0.tree, &other.0.tree)?;
        let ids = |hashes: Vec<Hash>| hashes.into_iter().map(AssertionId).collect();
        Ok(SnapshotDiff {
            only_here: ids(surplus_hashes),
            only_there: ids(missing_hashes),
            visited,
        })
    }

    /// How many ids begin with each byte.
    pub(super) fn counts_by_first_byte(&self) -> Result<[u64; 256], ReadError> {
        Ok(self.0.tree.counts_by_first_byte()?)
    }

    /// The set tree itself.
    pub fn tree(&self) -> &set::Snapshot {
        &self.0.tree
    }
}

/// Ids, sorted, each of them or why it can't be read.
#[derive(Debug)]
pub struct Ids(Result<set::Iter, Option<TreeFailure>>);

impl Ids {
    pub(super) fn new(view: Result<View, TreeFailure>) -> Self {
        Self(view.map(|view| view.tree.iter()).map_err(Some))
    }
}

impl Iterator for Ids {
    type Item = Result<AssertionId, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let ids = match &mut self.0 {
            Ok(ids) => ids,
            // Once.
            Err(failure) => return failure.take().map(|failure| Err(failure.into())),
        };
        Some(match ids.next()? {
            Ok(entry) => Ok(AssertionId(entry.id)),
            Err(error) => Err(error.into()),
        })
    }
}

//! Differences of two sets.
//!
//! Both trees are walked together from their roots: where the hashes agree so do the sets below,
//! which are skipped. O(d log N) for d differences.

use core::cmp::Ordering;

use crate::{
    id::Hash,
    set::{Entry, MerkleTree, Snapshot, cursor::Cursor, mapped::MappedSetError},
};

/// An entry that only one of two sets has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the left, or local, set has it.
    OnlyLeft(Entry),
    /// Only the right, or remote, set has it.
    OnlyRight(Entry),
}

/// The differences of two sets, as they are found, by ascending id. Ends at the first error.
#[derive(Debug)]
pub struct Diff {
    left: Snapshot,
    right: Snapshot,
    /// Pairs of subtrees still to be compared, the next one last.
    ahead: Vec<(Cursor, Cursor)>,
    /// Differences found, the next one last.
    found: Vec<Difference>,
    visited: u64,
    failed: Option<MappedSetError>,
}

impl Diff {
    /// Compares two sets.
    pub fn new(left: &Snapshot, right: &Snapshot) -> Self {
        let mut diff = Self {
            left: left.clone(),
            right: right.clone(),
            ahead: Vec::new(),
            found: Vec::new(),
            visited: 0,
            failed: None,
        };
        match (Cursor::top(left), Cursor::top(right)) {
            (Ok(left), Ok(right)) => diff.ahead.push((left, right)),
            (Err(error), _) | (_, Err(error)) => diff.failed = Some(error),
        }
        diff
    }

    /// Number of pairs of subtrees compared so far.
    pub fn visited(&self) -> u64 {
        self.visited
    }

    fn compare(&mut self, left: &Cursor, right: &Cursor) -> Result<(), MappedSetError> {
        self.visited += 1;
        if left.is_empty() && right.is_empty() {
            return Ok(());
        }
        if let (Some(left), Some(right)) = (left.hash(), right.hash())
            && left == right
        {
            return Ok(());
        }
        if let (Some(left), Some(right)) = (left.entries(), right.entries()) {
            self.compare_entries(left, right);
            return Ok(());
        }
        let [left_zeros, left_ones] = left.halves(self.left.mapped_set())?;
        let [right_zeros, right_ones] = right.halves(self.right.mapped_set())?;
        self.ahead.push((left_ones, right_ones));
        self.ahead.push((left_zeros, right_zeros));
        Ok(())
    }

    fn compare_entries(&mut self, mut left: &[Entry], mut right: &[Entry]) {
        loop {
            let order = match (left.first(), right.first()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.id.cmp(&right.id),
            };
            if order.is_le()
                && let Some((entry, rest)) = left.split_first()
            {
                left = rest;
                if order.is_lt() {
                    self.found.push(Difference::OnlyLeft(*entry));
                }
            }
            if order.is_ge()
                && let Some((entry, rest)) = right.split_first()
            {
                right = rest;
                if order.is_gt() {
                    self.found.push(Difference::OnlyRight(*entry));
                }
            }
        }
        self.found.reverse();
    }
}

impl Iterator for Diff {
    type Item = Result<Difference, MappedSetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.failed.take() {
                self.ahead.clear();
                self.found.clear();
                return Some(Err(error));
            }
            if let Some(difference) = self.found.pop() {
                return Some(Ok(difference));
            }
            let (left, right) = self.ahead.pop()?;
            self.failed = self.compare(&left, &right).err();
        }
    }
}

/// The differences of two sets, collected.
///
/// ```
/// use stemedb_merkle::{DiffResult, MerkleTree, roots_equal};
///
/// let mut local = MerkleTree::new();
/// local.insert([1; 32])?;
/// let mut remote = MerkleTree::new();
/// remote.insert([1; 32])?;
/// assert!(roots_equal(&local, &remote));
/// remote.insert([2; 32])?;
///
/// let diff = DiffResult::diff(&local, &remote)?;
/// assert_eq!(diff.missing_hashes, [[2; 32]], "what remote has and local lacks");
/// assert!(diff.surplus_hashes.is_empty());
/// # Ok::<(), stemedb_merkle::MappedSetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffResult {
    /// Ids that only the remote set has, sorted.
    pub missing_hashes: Vec<Hash>,
    /// Ids that only the local set has, sorted.
    pub surplus_hashes: Vec<Hash>,
    /// Number of pairs of subtrees compared.
    pub visited: u64,
}

impl DiffResult {
    /// Finds all differences. O(d log N).
    ///
    /// # Errors
    ///
    /// If a part of a mapped set of either is damaged.
    pub fn diff(local: &MerkleTree, remote: &MerkleTree) -> Result<Self, MappedSetError> {
        Self::of(local.view(), remote.view())
    }

    /// Finds all differences of two snapshots. O(d log N).
    ///
    /// # Errors
    ///
    /// If a part of a mapped set of either is damaged.
    pub fn of(local: &Snapshot, remote: &Snapshot) -> Result<Self, MappedSetError> {
        let mut result = Self::default();
        let mut diff = Diff::new(local, remote);
        for difference in diff.by_ref() {
            match difference? {
                Difference::OnlyLeft(entry) => result.surplus_hashes.push(entry.id),
                Difference::OnlyRight(entry) => result.missing_hashes.push(entry.id),
            }
        }
        result.visited = diff.visited();
        Ok(result)
    }

    /// Whether the sets are equal.
    pub fn is_empty(&self) -> bool {
        self.missing_hashes.is_empty() && self.surplus_hashes.is_empty()
    }
}

/// Whether two trees hold the same set. O(1).
pub fn roots_equal(one: &MerkleTree, other: &MerkleTree) -> bool {
    one.root() == other.root()
}

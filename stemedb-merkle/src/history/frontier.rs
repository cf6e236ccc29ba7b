//! The right edge of the tree.

use super::{
    digest::{EMPTY_ROOT, node_hash},
    head::TreeHead,
    lanes::node_hashes,
};
use crate::{
    id::{Hash, Root},
    internal::internal_error,
    log::{LogIndex, LogSize},
};

/// The right edge of the tree: all that appending and the root need.
///
/// Holds one hash for each perfect subtree, so at most 64, tallest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: LogSize,
    peaks: Vec<Hash>,
}

/// The error of peaks that are not those of a tree of the size given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {expected} perfect subtrees, not {found}")]
pub struct FrontierError {
    /// The size given.
    pub size: LogSize,
    /// Number of its perfect subtrees.
    pub expected: u32,
    /// Number of hashes given.
    pub found: usize,
}

impl Frontier {
    /// The frontier of the tree without leaves.
    pub const fn new() -> Self {
        Self { size: LogSize(0), peaks: Vec::new() }
    }

    /// The frontier of a tree of `size` leaves from the hashes of its perfect subtrees, tallest
    /// first.
    ///
    /// Nothing but their number can be checked here: compare [`Self::root`] with one that is known.
    ///
    /// # Errors
    ///
    /// If there are more or fewer hashes than subtrees.
    pub fn from_peaks(size: LogSize, peaks: Vec<Hash>) -> Result<Self, FrontierError> {
        let (expected, found) = (size.0.count_ones(), peaks.len());
        if usize::try_from(expected) != Ok(found) {
            return Err(FrontierError { size, expected, found });
        }
        Ok(Self { size, peaks })
    }

    /// Appends a leaf and returns the index it took. One node hash amortised.
    pub fn append(&mut self, leaf: Hash) -> LogIndex {
        self.append_observed(leaf, |_, _, _| ())
    }

    /// As [`Self::append`]; tells level, index and hash of each node above the leaf that it
    /// completes, lowest first.
    #[inline]
    pub(super) fn append_observed(
        &mut self,
        leaf: Hash,
        mut completed: impl FnMut(u8, u64, &Hash),
    ) -> LogIndex {
        let index = self.size.0;
        let mut peak = leaf;
        let mut level = 0;
        // Each trailing one bit of the old size is a perfect subtree that this leaf doubles.
        let mut subtrees = index;
        while subtrees & 1 == 1 {
            let Some(left) = self.peaks.pop() else { internal_error("a peak") };
            peak = node_hash(&left, &peak);
            level += 1;
            subtrees >>= 1;
            completed(level, subtrees, &peak);
        }
        self.peaks.push(peak);
        // At a leaf each nanosecond, 2^64 of them take 584 years.
        self.size = LogSize(index.wrapping_add(1));
        LogIndex(index)
    }

    /// Appends leaves in order, and tells level, first index and hashes of the nodes above them
    /// that they complete, level by level from the lowest: all of a level are made side by side.
    pub(super) fn extend_observed(
        &mut self,
        leaves: &[Hash],
        mut completed: impl FnMut(u8, u64, &[Hash]),
    ) {
        let before = self.size.0;
        let mut row = Vec::with_capacity(leaves.len() + 1);
        let mut above = Vec::with_capacity(leaves.len() / 2 + 1);
        // Those that stay, lowest first.
        let mut peaks = Vec::new();
        let mut level = 0;
        let mut subtrees = before;
        row.extend((subtrees & 1 == 1).then(|| self.pop_peak()));
        row.extend_from_slice(leaves);
        while !row.is_empty() {
            // They begin with a left child.
            let (pairs, rest) = row.as_chunks::<2>();
            peaks.extend_from_slice(rest);
            level += 1;
            subtrees >>= 1;
            above.clear();
            if !pairs.is_empty() {
                above.extend((subtrees & 1 == 1).then(|| self.pop_peak()));
            }
            let from = above.len();
            above.resize(from + pairs.len(), Hash::default());
            let Some(made) = above.get_mut(from..) else { internal_error("room for nodes") };
            node_hashes(pairs, made);
            if !made.is_empty() {
                completed(level, subtrees, made);
            }
            std::mem::swap(&mut row, &mut above);
        }
        self.peaks.extend(peaks.into_iter().rev());
        // As in `append_observed`.
        self.size = LogSize(before.wrapping_add(leaves.len() as u64));
    }

    fn pop_peak(&mut self) -> Hash {
        self.peaks.pop().unwrap_or_else(|| internal_error("a peak"))
    }

    /// Number of leaves.
    pub const fn size(&self) -> LogSize {
        self.size
    }

    /// The hashes of the perfect subtrees, tallest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root over all leaves: a node hash for each perfect subtree but one.
    pub fn root(&self) -> Root {
        fold_peaks(&self.peaks).map_or(EMPTY_ROOT, Root)
    }

    /// Size and root, as proofs are checked against them.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }
}

/// The root over adjacent perfect subtrees, tallest first; `None` over none.
pub(super) fn fold_peaks(peaks: &[Hash]) -> Option<Hash> {
    let (last, taller) = peaks.split_last()?;
    Some(taller.iter().rfold(*last, |right, left| node_hash(left, &right)))
}

//! Making past roots and proofs from the nodes of a reader.

use super::{
    consistency::ConsistencyProof,
    consistency_nodes::ConsistencyNodes,
    digest::EMPTY_ROOT,
    frontier::fold_peaks,
    inclusion::InclusionProof,
    path::{Path, node, peaks},
    reader::NodeReader,
};
use crate::{
    id::Root,
    log::{LogIndex, LogSize},
};

/// Reason why a root or a proof could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// The log is not that long.
    #[error("the log has {size} entries, so there is no root or proof at size {wanted}")]
    SizeOutOfRange {
        /// The size requested.
        wanted: LogSize,
        /// The log's size.
        size: LogSize,
    },
    /// The entry is not among the first `size`.
    #[error("entry {index} is not among the first {size} entries; ask for a larger size")]
    IndexOutOfRange {
        /// The index requested.
        index: LogIndex,
        /// The size requested.
        size: LogSize,
    },
    /// The sizes are in the wrong order.
    #[error("the older size {old} is above the newer size {new}; swap them")]
    SizesOutOfOrder {
        /// The size given as the older.
        old: LogSize,
        /// The size given as the newer.
        new: LogSize,
    },
    /// A node could not be read.
    #[error("cannot read a node of the history tree")]
    Read(#[from] E),
}

/// The root of the first `size` leaves: at most 64 reads, in one batch.
///
/// # Errors
///
/// If the tree is smaller than that, or a node cannot be read.
pub fn root_at<R: NodeReader>(reader: &R, size: LogSize) -> Result<Root, ProveError<R::Error>> {
    within(reader, size)?;
    let peaks = reader.nodes(&peaks(size))?;
    Ok(fold_peaks(&peaks).map_or(EMPTY_ROOT, Root))
}

fn within<R: NodeReader>(reader: &R, wanted: LogSize) -> Result<(), ProveError<R::Error>> {
    let size = reader.size();
    if wanted > size {
        return Err(ProveError::SizeOutOfRange { wanted, size });
    }
    Ok(())
}

impl InclusionProof {
    /// Proves the entry at `index` in the tree of the first `size`: one batch of reads, and as many
    /// node hashes as there are perfect subtrees right of the entry's.
    ///
    /// # Errors
    ///
    /// If the tree is smaller than `size`, the index is not below it, or a node cannot be read.
    pub fn prove<R: NodeReader>(
        reader: &R,
        index: LogIndex,
        size: LogSize,
    ) -> Result<Self, ProveError<R::Error>> {
        within(reader, size)?;
        if index.0 >= size.0 {
            return Err(ProveError::IndexOutOfRange { index, size });
        }
        Ok(Self(Path::new(0, index.0, size).read(None, reader)?))
    }
}

impl ConsistencyProof {
    /// Proves that the tree of the first `new` leaves begins with that of the first `old`. One
    /// batch of reads.
    ///
    /// Equal sizes, and an old size of 0, take no hashes: the heads say it all.
    ///
    /// # Errors
    ///
    /// If `old` is above `new`, the tree is smaller than `new`, or a node cannot be read.
    pub fn prove<R: NodeReader>(
        reader: &R,
        old: LogSize,
        new: LogSize,
    ) -> Result<Self, ProveError<R::Error>> {
        if old > new {
            return Err(ProveError::SizesOutOfOrder { old, new });
        }
        within(reader, new)?;
        if old == new || old.0 == 0 {
            return Ok(Self(Vec::new()));
        }
        // The proof starts from the last perfect subtree of the old tree and goes up from there. If
        // that subtree is the whole old tree, its hash is the old root, which the verifier has.
        let level = old.0.trailing_zeros();
        let start = (old.0 >> level) - 1;
        let first = (!old.0.is_power_of_two()).then(|| node(level, start));
        Ok(Self(Path::new(level, start, new).read(first, reader)?))
    }
}

impl ConsistencyNodes {
    /// The nodes of the tree of the first `new` leaves for the older size `old`. One batch of
    /// reads.
    ///
    /// # Errors
    ///
    /// If `old` is 0 or not below `new`, the tree is smaller than `new`, or a node cannot be read.
    pub fn prove<R: NodeReader>(
        reader: &R,
        old: LogSize,
        new: LogSize,
    ) -> Result<Self, ProveError<R::Error>> {
        if old.0 == 0 || old >= new {
            return Err(ProveError::SizesOutOfOrder { old, new });
        }
        within(reader, new)?;
        let level = old.0.trailing_zeros();
        let start = (old.0 >> level) - 1;
        Ok(Self(Path::new(level, start, new).read(Some(node(level, start)), reader)?))
    }
}

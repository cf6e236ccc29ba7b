//! Nodes of a consistency proof, the first of them always included.

use alloc::vec::Vec;

use super::{consistency::fold, proof_error::HistoryProofError};
use crate::{
    id::{Hash, Root},
    log::LogSize,
};

/// Nodes of one tree from which its root at an older size follows as well as its own.
///
/// As a [`ConsistencyProof`](super::ConsistencyProof), but always with the first node. RFC 9162
/// leaves it out where the older size is a power of two, since it is the older root then; where
/// that root is in dispute, the node is the point.
///
/// At most 65 hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyNodes(pub Vec<Hash>);

impl ConsistencyNodes {
    /// The roots of the first `old` and of the first `new` leaves of the tree that has these nodes.
    /// At most two node hashes for each.
    ///
    /// Nothing is verified yet: compare the newer root with one that is trusted; then the older is
    /// that of the same tree.
    ///
    /// # Errors
    ///
    /// If `old` is 0 or not below `new`, or these sizes take more or fewer nodes.
    pub fn roots(&self, old: LogSize, new: LogSize) -> Result<(Root, Root), HistoryProofError> {
        if old.0 == 0 || old >= new {
            return Err(HistoryProofError::SizesOutOfOrder { old, new });
        }
        let (first, rest) = self.0.split_first().ok_or(HistoryProofError::MissingNodes)?;
        let (old_root, new_root) = fold(first, rest, old, new)?;
        Ok((Root(old_root), Root(new_root)))
    }
}

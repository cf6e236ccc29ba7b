//! Consistency proofs: RFC 9162, section 2.1.4.

use alloc::vec::Vec;

use super::{
    digest::{EMPTY_ROOT, node_hash},
    head::TreeHead,
    proof_error::HistoryProofError,
};
use crate::{id::Hash, log::LogSize};

/// Proves that a log only grew from one size to another: that its first entries are still those.
///
/// At most 65 hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof(pub Vec<Hash>);

impl ConsistencyProof {
    /// Checks that the log of `new` begins with the log of `old`: RFC 9162, section 2.1.4.2. At
    /// most two node hashes for each hash of the proof.
    ///
    /// The RFC leaves equal and empty sizes to the caller; here equal sizes must have equal roots,
    /// a head of size 0 the root of the empty tree, and neither takes any hashes.
    ///
    /// # Errors
    ///
    /// If the proof does not show that.
    pub fn verify(&self, old: &TreeHead, new: &TreeHead) -> Result<(), HistoryProofError> {
        if old.size > new.size {
            return Err(HistoryProofError::SizesOutOfOrder { old: old.size, new: new.size });
        }
        if [old, new].iter().any(|head| head.size.0 == 0 && head.root != EMPTY_ROOT) {
            return Err(HistoryProofError::OtherRoot);
        }
        if old.size == new.size || old.size.0 == 0 {
            return self.verify_trivial(old, new);
        }
        let (first, rest) = if old.size.0.is_power_of_two() {
            (&old.root.0, self.0.as_slice())
        } else {
            self.0.split_first().ok_or(HistoryProofError::MissingNodes)?
        };
        let (old_root, new_root) = fold(first, rest, old.size, new.size)?;
        if old_root != old.root.0 || new_root != new.root.0 {
            return Err(HistoryProofError::OtherRoot);
        }
        Ok(())
    }

    fn verify_trivial(&self, old: &TreeHead, new: &TreeHead) -> Result<(), HistoryProofError> {
        if !self.0.is_empty() {
            return Err(HistoryProofError::SurplusNodes);
        }
        if old.size == new.size && old.root != new.root {
            return Err(HistoryProofError::OtherRoot);
        }
        Ok(())
    }
}

/// The roots of the first `old` and the first `new` leaves that the nodes of a proof lead to: RFC
/// 9162, section 2.1.4.2, steps 3 to 7, from the last perfect subtree of the older tree.
pub(super) fn fold(
    first: &Hash,
    rest: &[Hash],
    old: LogSize,
    new: LogSize,
) -> Result<(Hash, Hash), HistoryProofError> {
    let skipped = old.0.trailing_zeros();
    let mut node = (old.0 - 1) >> skipped;
    let mut last = (new.0 - 1) >> skipped;
    let (mut old_root, mut new_root) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(HistoryProofError::SurplusNodes);
        }
        if node & 1 == 1 || node == last {
            old_root = node_hash(sibling, &old_root);
            new_root = node_hash(sibling, &new_root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_root = node_hash(&new_root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(HistoryProofError::MissingNodes);
    }
    Ok((old_root, new_root))
}

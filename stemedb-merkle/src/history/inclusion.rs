//! Inclusion proofs: RFC 9162, section 2.1.3.

use alloc::vec::Vec;

use super::{digest::node_hash, head::TreeHead, proof_error::HistoryProofError};
use crate::{id::Hash, log::LogIndex};

/// Proves that an entry is at an index of a log: the sibling hashes from the leaf up to the root.
///
/// At most 64 hashes, 20 at a million entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof(pub Vec<Hash>);

impl InclusionProof {
    /// Checks that `leaf` is at `index` in the log that `head` commits to: RFC 9162, section
    /// 2.1.3.2. A node hash for each hash of the proof.
    ///
    /// `leaf` is a [`leaf_hash`](super::leaf_hash) that the caller computed from an entry.
    ///
    /// # Errors
    ///
    /// If the proof does not show that.
    pub fn verify(
        &self,
        leaf: &Hash,
        index: LogIndex,
        head: &TreeHead,
    ) -> Result<(), HistoryProofError> {
        if index.0 >= head.size.0 {
            return Err(HistoryProofError::IndexOutOfRange { index, size: head.size });
        }
        let mut node = index.0;
        let mut last = head.size.0 - 1;
        let mut root = *leaf;
        for sibling in &self.0 {
            if last == 0 {
                return Err(HistoryProofError::SurplusNodes);
            }
            if node & 1 == 1 || node == last {
                root = node_hash(sibling, &root);
                // A last node without a sibling of its own stands for its parents too.
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                root = node_hash(&root, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(HistoryProofError::MissingNodes);
        }
        if root == head.root.0 { Ok(()) } else { Err(HistoryProofError::OtherRoot) }
    }
}

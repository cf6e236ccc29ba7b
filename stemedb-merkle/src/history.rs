//! The history tree: what one log recorded, in order.
//!
//! The incremental binary Merkle tree of RFC 6962 and RFC 9162 with SHA-256, so that verifiers,
//! witnesses and monitors of transparency logs can check it. Leaves are in log order; each interior
//! node stands over a perfect left subtree and whatever is left over on the right:
//!
//! ```text
//!            root
//!           /    \
//!         h03     \
//!        /   \     \
//!     h01     h23   \
//!     / \     / \    \
//!    0   1   2   3    4      <- LeafIndex
//! ```
//!
//! [`History`] is the writer's side: it appends, knows the root, and gives out [`tile`]s of nodes
//! to be stored. [`InclusionProof`], [`ConsistencyProof`] and [`root_at`] work at any past size on
//! a [`NodeReader`]: [`History::reader`] makes one from stored tiles, [`MemoryHistory`] is one. The
//! verifiers need neither.
//!
//! Nothing here reads, writes or waits.
//!
//! ```
//! use stemedb_merkle::history::{
//!     ConsistencyProof, InclusionProof, LeafIndex, MemoryHistory, TreeSize, leaf_hash,
//! };
//!
//! let mut log: MemoryHistory = (0..5).map(|time| leaf_hash(time, &[7; 32])).collect();
//! let old = log.head();
//! log.append(leaf_hash(9, &[8; 32]));
//! let new = log.head();
//!
//! let proof = InclusionProof::prove(&log, LeafIndex(5), new.size)?;
//! assert_eq!(proof.verify(&leaf_hash(9, &[8; 32]), LeafIndex(5), &new), Ok(()));
//! let proof = ConsistencyProof::prove(&log, old.size, TreeSize(6))?;
//! assert_eq!(proof.verify(&old, &new), Ok(()));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod consistency;
mod digest;
mod frontier;
mod inclusion;
mod memory;
mod path;
mod reader;
pub mod tile;
mod writer;

use core::fmt;

pub use consistency::ConsistencyProof;
pub use digest::{EMPTY_ROOT, ENTRY_LEN, leaf_hash, node_hash};
pub use frontier::{Frontier, FrontierError};
pub use inclusion::InclusionProof;
pub use memory::{MemoryHistory, NodeMissing};
pub use reader::{NodeReader, ProveError, TileSource, root_at};
pub use writer::{History, HistoryReader, PENDING_SIZE_MAX, PendingError, ReadNodeError};

use crate::Hash;

/// The place of an entry in a log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(pub u64);

/// How many entries a log or a part of it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeSize(pub u64);

/// A size and the root at that size.
///
/// Only ever handled together: the root of RFC 9162 does not commit to the size, so a proof checked
/// against one log's root and another's size means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many leaves.
    pub size: TreeSize,
    /// The root over them.
    pub root: Hash,
}

/// Why a proof of the history tree does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryProofError {
    /// There is no such entry.
    #[error("entry {index} is not among the {size} entries of the log; check index and size")]
    IndexOutOfRange {
        /// The index asked about.
        index: LeafIndex,
        /// The log's size.
        size: TreeSize,
    },
    /// The log would have shrunk.
    #[error("the older log of {old} entries is longer than the newer one of {new}; swap them")]
    SizesOutOfOrder {
        /// The size said to be older.
        old: TreeSize,
        /// The size said to be newer.
        new: TreeSize,
    },
    /// The proof is too short for these sizes.
    #[error("the proof has fewer hashes than these sizes take; it proves nothing")]
    MissingNodes,
    /// The proof is too long for these sizes.
    #[error("the proof has more hashes than these sizes take; it proves nothing")]
    SurplusNodes,
    /// The proof leads elsewhere.
    #[error("the proof leads to another root than the one trusted; it proves nothing")]
    OtherRoot,
}

impl LeafIndex {
    /// The index `leaves` further on; `None` if it would not fit.
    pub const fn checked_add(self, leaves: u64) -> Option<Self> {
        match self.0.checked_add(leaves) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }
}

impl TreeSize {
    /// The size with `leaves` more; `None` if it would not fit.
    pub const fn checked_add(self, leaves: u64) -> Option<Self> {
        match self.0.checked_add(leaves) {
            Some(size) => Some(Self(size)),
            None => None,
        }
    }

    /// The size with `leaves` fewer; `None` below 0.
    pub const fn checked_sub(self, leaves: u64) -> Option<Self> {
        match self.0.checked_sub(leaves) {
            Some(size) => Some(Self(size)),
            None => None,
        }
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

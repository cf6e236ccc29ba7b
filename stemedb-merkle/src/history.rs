//! The history tree: the entries of one log, in order.
//!
//! The incremental binary Merkle tree of RFC 6962 and RFC 9162 with SHA-256, so that verifiers,
//! witnesses and monitors of transparency logs can check it. Leaves are in log order; each interior
//! node stands over a perfect left subtree and the leaves left over on the right:
//!
//! ```text
//!            root
//!           /    \
//!         h03     \
//!        /   \     \
//!     h01     h23   \
//!     / \     / \    \
//!    0   1   2   3    4      <- LogIndex
//! ```
//!
//! `History` is the writer's side: it appends, knows the root, and gives out tiles of nodes to be
//! stored. [`InclusionProof`], [`ConsistencyProof`] and `root_at` work at any past size on a
//! `NodeReader`: `History::reader` makes one from stored tiles, `MemoryHistory` is one. Verifying
//! takes neither, nor the feature `std`.
//!
//! Nothing here reads, writes or waits.
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! use stemedb_merkle::{
//!     LogIndex, LogSize, Timestamp,
//!     history::{ConsistencyProof, InclusionProof, MemoryHistory, leaf_hash},
//! };
//!
//! let time = Timestamp::from_unix(1_763_729_445, 0).ok_or("too late")?;
//! let mut log: MemoryHistory = (0..5).map(|body| leaf_hash(time, &[body; 32])).collect();
//! let old = log.head();
//! let leaf = leaf_hash(time, &[8; 32]);
//! log.append(leaf);
//! let new = log.head();
//!
//! let proof = InclusionProof::prove(&log, LogIndex(5), new.size)?;
//! assert_eq!(proof.verify(&leaf, LogIndex(5), &new), Ok(()));
//! let proof = ConsistencyProof::prove(&log, old.size, LogSize(6))?;
//! assert_eq!(proof.verify(&old, &new), Ok(()));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod consistency;
mod consistency_nodes;
mod digest;
#[cfg(feature = "std")]
mod frontier;
mod head;
mod inclusion;
#[cfg(feature = "std")]
mod lanes;
#[cfg(feature = "std")]
mod memory;
#[cfg(feature = "std")]
mod path;
mod proof_error;
#[cfg(feature = "std")]
mod prove;
#[cfg(feature = "std")]
mod reader;
#[cfg(feature = "std")]
pub mod tile;
#[cfg(feature = "std")]
mod writer;

pub use crate::log::{LogIndex, LogSize};
pub use consistency::ConsistencyProof;
pub use consistency_nodes::ConsistencyNodes;
pub use digest::{EMPTY_ROOT, ENTRY_LEN, leaf_hash, node_hash};
#[cfg(feature = "std")]
pub use frontier::{Frontier, FrontierError};
pub use head::TreeHead;
pub use inclusion::InclusionProof;
#[cfg(feature = "std")]
pub use lanes::leaf_hashes;
#[cfg(feature = "std")]
pub use memory::{MemoryHistory, NodeMissing};
pub use proof_error::HistoryProofError;
#[cfg(feature = "std")]
pub use prove::{ProveError, root_at};
#[cfg(feature = "std")]
pub use reader::{NodeReader, TileSource};
#[cfg(feature = "std")]
pub use writer::{History, HistoryReader, PENDING_SIZE_MAX, PendingError, ReadNodeError};

//! The trees of stemedb: set tree, history tree, proofs and diffs, without I/O.

pub mod diff;
pub mod hash;
pub mod history;
pub mod id;
pub mod proof;
pub mod serialize;
pub mod set;

pub use diff::{Diff, DiffResult, Difference, roots_equal};
pub use id::{AssertionId, Hash};
pub use set::{Entry, MerkleTree, Snapshot, archive::ArchiveError};

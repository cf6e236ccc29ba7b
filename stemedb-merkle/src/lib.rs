//! The trees of stemedb: set tree, history tree, proofs and diffs, without I/O.

pub mod hash;
pub mod history;
pub mod id;
pub mod proof;

pub use id::{AssertionId, Hash};

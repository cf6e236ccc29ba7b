//! The trees of stemedb: set tree, history tree, proofs and diffs, without I/O.
//!
//! ```text
//!   set tree: by the bits of the ids          history tree: in the order of the log
//!
//!          root (and count)                              root
//!           /          \                                /    \
//!         0../         1..\                           h03     \
//!         / \          / \                           /   \     \
//!       id   node    id   -                       h01     h23   \
//!            / \                                  / \     / \    \
//!          id   id                               0   1   2   3    4
//! ```
//!
//! - [`MerkleTree`] is the set of ids that a store holds. Its root depends on the set alone, so
//!   that two stores with equal roots hold the same. [`Snapshot`]s of it are cheap and hold still.
//!   [`SetProof`] shows that an id is in the set or that it is not; [`DiffResult`] and [`Diff`]
//!   find what only one of two sets has.
//! - [`history`] is the tree of RFC 6962 over what one log recorded, with proofs that an entry is
//!   in it and that it only grew.
//!
//! All verifiers work without a store. Nothing here reads, writes, waits, or asks for the time;
//! what lies on a disk is asked for through traits ([`set::mapped`], [`history::NodeReader`]).

pub mod diff;
pub mod hash;
pub mod history;
pub mod id;
pub mod proof;
pub mod serialize;
pub mod set;
pub mod symbols;

pub use diff::{Diff, DiffResult, Difference, roots_equal};
pub use id::{AssertionId, Hash};
pub use proof::{Presence, ProofFile, SetProof, Terminal};
pub use set::{Entry, MerkleTree, Snapshot, mapped::MappedSetError};

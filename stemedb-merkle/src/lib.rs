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
//! - `MerkleTree` is the set of ids that a store holds. Its root depends on the set alone, so that
//!   two stores with equal roots hold the same. `Snapshot`s of it are cheap and never change.
//!   [`SetProof`] shows that an id is in the set or that it is not; `DiffResult` and `Diff` find
//!   the ids that only one of two sets has.
//! - [`history`] is the tree of RFC 6962 over the entries of one log, with proofs that an entry is
//!   in it and that it only grew.
//!
//! Nothing here reads, writes, waits, or asks for the time; parts that lie on a disk are read
//! through traits (`set::mapped`, `history::NodeReader`).
//!
//! # Features
//!
//! - `std` (default): the trees, with SIMD. Without it the crate is `no_std` with `alloc`, and has
//!   the parts of a verifier: [`AssertionId`], [`Root`], [`hash`], [`SetProof`] and [`ProofFile`],
//!   [`Timestamp`], and the heads, leaf hashes and proofs of [`history`].
//! - `serde`: ids and roots can be serialised.

#![cfg_attr(not(any(feature = "std", test)), no_std)]

extern crate alloc;

mod bits;
#[cfg(feature = "std")]
pub mod diff;
pub mod hash;
pub mod history;
pub mod id;
mod internal;
mod log;
mod options;
pub mod proof;
#[cfg(feature = "std")]
pub mod serialize;
#[cfg(feature = "std")]
pub mod set;
#[cfg(feature = "std")]
pub mod symbols;
mod timestamp;

#[cfg(feature = "std")]
pub use diff::{Diff, DiffResult, Difference, roots_equal};
pub use id::{AssertionId, Hash, Root};
pub use log::{LogIndex, LogSize};
pub use proof::{Presence, ProofFile, SetProof, Terminal};
#[cfg(feature = "std")]
pub use set::{Entry, MerkleTree, Snapshot, mapped::MappedSetError};
pub use timestamp::{Timestamp, TimestampRangeError};

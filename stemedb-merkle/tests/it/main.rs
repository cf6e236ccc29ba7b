//! Tests of the public interface of the trees, in one executable.
//!
//! Without the feature `std` they are those of the verifiers alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

#[cfg(feature = "std")]
mod forger;
#[cfg(feature = "std")]
#[path = "../reference/heap.rs"]
mod heap;
#[cfg(feature = "std")]
mod history;
#[path = "../reference/history_tree.rs"]
mod history_tree;
#[cfg(feature = "std")]
mod overlay;
#[path = "../reference/set_tree.rs"]
mod set_tree;
mod vectors;

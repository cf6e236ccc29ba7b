//! Tests of the public interface of the trees, in one executable.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

mod forger;
mod history;
#[path = "../reference/history_tree.rs"]
mod history_tree;
#[path = "../reference/set_tree.rs"]
mod set_tree;
mod vectors;

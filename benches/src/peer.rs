//! Published crates on the same work, each in the configuration that suits it best.

pub(crate) mod ct;
pub(crate) mod negentropy;
pub(crate) mod oka;
pub(crate) mod raft;
pub(crate) mod search_tree;
pub(crate) mod search_tree_sync;
pub(crate) mod sqlite;

//! The set tree: a binary Merkle trie over the bits of the ids, free of history.
//!
//! Its root depends on the set alone, in whatever order the ids came (SPEC section 2). In memory it
//! is a tree of nodes that span up to four bits each and hold the hashes of all subtrees below
//! them, over pages of up to 16 sorted ids; nodes and pages are shared with snapshots and copied
//! when they change. The part that lies in a restart checkpoint stays there ([`mapped`]): ids that
//! came since lie over it (`overlay`).

mod bits;
pub mod build;
mod changed_children;
mod changes;
mod counts;
pub(crate) mod cursor;
mod entry;
mod find_by_prefix;
mod hypothetical;
mod insert;
mod iter;
mod load_path;
pub mod mapped;
mod node;
mod overlay;
mod plan;
mod positions;
mod prefetch;
mod prove;
mod slot;
mod snapshot;
mod sort;
mod subtree;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    changes::{ChangedBlock, Changes},
    entry::Entry,
    iter::Iter,
    snapshot::Snapshot,
    sort::sorted,
    subtree::{Subtree, Summary},
    tree::MerkleTree,
};
pub use crate::hash::root;

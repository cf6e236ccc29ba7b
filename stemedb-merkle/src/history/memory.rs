//! A history tree with all its nodes in memory.

use super::{
    digest::node_hash,
    head::TreeHead,
    prove::{ProveError, root_at},
    reader::{NodeReader, TileSource},
    tile::{Node, TileId},
};
use crate::{
    id::{Hash, Root},
    internal::internal_error,
    log::{LogIndex, LogSize},
};

/// A history tree with all its nodes in memory: 64 bytes a leaf.
///
/// For logs that fit, for auditors that hold another's entries, and for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryHistory {
    /// The complete nodes of each level, leaves first.
    levels: Vec<Vec<Hash>>,
}

/// The error of a node that is not in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has no complete node at level {level}, index {index}")]
pub struct NodeMissing {
    /// The node's level.
    pub level: u8,
    /// The node's index within the level.
    pub index: u64,
    /// The tree's size.
    pub size: LogSize,
}

impl MemoryHistory {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Appends a leaf and returns the index it took: one node hash amortised.
    pub fn append(&mut self, leaf: Hash) -> LogIndex {
        let index = self.size().0;
        let mut node = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(nodes) = self.levels.get_mut(level) else { internal_error("a level") };
            nodes.push(node);
            // Two nodes make a parent when the second of a pair has come.
            let (pairs, []) = nodes.as_chunks::<2>() else { break };
            let Some([left, right]) = pairs.last() else { break };
            node = node_hash(left, right);
        }
        LogIndex(index)
    }

    /// The root over all leaves.
    pub fn root(&self) -> Root {
        // The size is our own, and so are all nodes below it.
        root_at(self, self.size()).unwrap_or_else(|_| internal_error("a node of the tree"))
    }

    /// Size and root, as proofs are checked against them.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size(), root: self.root() }
    }

    /// Size and root of the first `size` leaves.
    ///
    /// # Errors
    ///
    /// If there are fewer.
    pub fn head_at(&self, size: LogSize) -> Result<TreeHead, ProveError<NodeMissing>> {
        Ok(TreeHead { size, root: root_at(self, size)? })
    }

    fn get(&self, level: u8, index: u64) -> Result<Hash, NodeMissing> {
        let nodes = self.levels.get(usize::from(level));
        let node = usize::try_from(index).ok().and_then(|index| nodes?.get(index));
        node.copied().ok_or_else(|| NodeMissing { level, index, size: self.size() })
    }
}

impl Extend<Hash> for MemoryHistory {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        for leaf in leaves {
            self.append(leaf);
        }
    }
}

impl FromIterator<Hash> for MemoryHistory {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut history = Self::new();
        history.extend(leaves);
        history
    }
}

impl NodeReader for MemoryHistory {
    type Error = NodeMissing;

    fn size(&self) -> LogSize {
        LogSize(self.levels.first().map_or(0, |leaves| leaves.len() as u64))
    }

    fn node(&self, node: Node) -> Result<Hash, NodeMissing> {
        self.get(node.level(), node.index())
    }
}

impl TileSource for MemoryHistory {
    type Error = NodeMissing;

    fn tile_node(&self, tile: TileId, slot: usize) -> Result<Hash, NodeMissing> {
        let (level, index) = tile.coordinates(slot);
        self.get(level, index)
    }

    fn leaf(&self, index: LogIndex) -> Result<Hash, NodeMissing> {
        self.get(0, index.0)
    }
}

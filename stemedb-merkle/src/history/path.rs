//! The nodes that a root or a proof is made of.
//!
//! A tree of `n` leaves is a row of perfect subtrees, one for each one bit of `n`, tallest first;
//! the root folds them from the right. Everything below follows from that.

use super::{frontier::fold_peaks, reader::NodeReader, tile::Node};
use crate::{id::Hash, internal::internal_error, log::LogSize};

/// The perfect subtrees of a tree, tallest first.
pub(super) fn peaks(size: LogSize) -> Vec<Node> {
    let mut peaks = Vec::with_capacity(64);
    let mut rest = size.0;
    while rest > 0 {
        let level = rest.trailing_zeros();
        rest &= rest - 1;
        // The subtree ends where the lower bits of the size begin.
        let end = size.0 >> level;
        peaks.push(node(level, end - 1));
    }
    peaks.reverse();
    peaks
}

/// The path from a complete node up to the root of a tree, as nodes to read.
pub(super) struct Path {
    /// In this order: siblings below the perfect subtree that the node is in, from below; the
    /// perfect subtrees right of that one, tallest first; those left of it, shortest first.
    nodes: Vec<Node>,
    siblings: usize,
    right: usize,
}

impl Path {
    /// The path from the node over `start << level .. (start + 1) << level`, which must be complete
    /// at `size`.
    pub(super) fn new(level: u32, start: u64, size: LogSize) -> Self {
        let mut nodes = Vec::with_capacity(64);
        let leaf = start << level;
        // The highest bit in which the first leaf and the size differ is the level of the perfect
        // subtree with the leaf: above it the size's subtrees lie left of the leaf.
        let peak_level = (leaf ^ size.0).ilog2();
        for above in level..peak_level {
            nodes.push(node(above, (leaf >> above) ^ 1));
        }
        let siblings = nodes.len();
        for lower in (0..peak_level).rev().filter(|lower| size.0 >> lower & 1 == 1) {
            nodes.push(node(lower, (size.0 >> lower) - 1));
        }
        let right = nodes.len() - siblings;
        for higher in (peak_level + 1..64).filter(|higher| size.0 >> higher & 1 == 1) {
            nodes.push(node(higher, (size.0 >> higher) - 1));
        }
        Self { nodes, siblings, right }
    }

    /// Reads `first`, if there is such a node, and the path, in one batch.
    pub(super) fn read<R: NodeReader>(
        mut self,
        first: Option<Node>,
        reader: &R,
    ) -> Result<Vec<Hash>, R::Error> {
        let ahead = usize::from(first.is_some());
        if let Some(first) = first {
            self.nodes.insert(0, first);
        }
        let mut hashes = reader.nodes(&self.nodes)?;
        // The subtrees on the right meet in one node before they meet the path.
        let right = ahead + self.siblings..ahead + self.siblings + self.right;
        let peaks =
            hashes.get(right.clone()).unwrap_or_else(|| internal_error("a hash of the path"));
        if let Some(folded) = fold_peaks(peaks) {
            hashes.splice(right, [folded]);
        }
        Ok(hashes)
    }
}

/// A node that a tree has.
pub(super) fn node(level: u32, index: u64) -> Node {
    let node = u8::try_from(level).ok().and_then(|level| Node::new(level, index));
    node.unwrap_or_else(|| internal_error("a node of the tree"))
}

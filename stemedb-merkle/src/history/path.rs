//! Which nodes a root or a proof is made of.
//!
//! A tree of `n` leaves is a row of perfect subtrees, one for each one bit of `n`, tallest first;
//! the root folds them from the right. Everything below follows from that.

use crate::{
    Hash,
    history::{NodeReader, TreeSize, frontier::fold_peaks, tile::Node},
};

/// The perfect subtrees of a tree, tallest first.
pub(super) fn peaks(size: TreeSize) -> Vec<Node> {
    let mut peaks = Vec::with_capacity(64);
    let mut rest = size.0;
    while rest > 0 {
        let level = rest.trailing_zeros();
        rest &= rest - 1;
        // The subtree ends where the lower bits of the size begin.
        let end = size.0 >> level;
        peaks.extend(node(level, end - 1));
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
    /// at `size`. `before` are nodes to be read in the same batch.
    pub(super) fn new(level: u32, start: u64, size: TreeSize) -> Self {
        let mut nodes = Vec::with_capacity(64);
        let leaf = start << level;
        // The highest bit in which the first leaf and the size part: below it the size's subtrees
        // begin anew, so that bit is the level of the perfect subtree with the leaf.
        let peak_level = (leaf ^ size.0).checked_ilog2().unwrap_or(0);
        for above in level..peak_level {
            nodes.extend(node(above, (leaf >> above) ^ 1));
        }
        let siblings = nodes.len();
        for lower in (0..peak_level).rev().filter(|lower| size.0 >> lower & 1 == 1) {
            nodes.extend(node(lower, (size.0 >> lower) - 1));
        }
        let right = nodes.len() - siblings;
        for higher in (peak_level + 1..64).filter(|higher| size.0 >> higher & 1 == 1) {
            nodes.extend(node(higher, (size.0 >> higher) - 1));
        }
        Self { nodes, siblings, right }
    }

    /// Reads the path, and before it `first` if there is such a node, in one batch.
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
        if let Some(folded) = hashes.get(right.clone()).and_then(fold_peaks) {
            hashes.splice(right, [folded]);
        }
        Ok(hashes)
    }
}

fn node(level: u32, index: u64) -> Option<Node> {
    Node::new(u8::try_from(level).ok()?, index)
}

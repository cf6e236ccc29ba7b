//! Reading nodes: the sources of proofs and past roots.

use super::tile::{Node, TileId};
use crate::{
    id::Hash,
    log::{LogIndex, LogSize},
};

/// Source of the nodes of a tree.
///
/// Each operation first lists the nodes that it needs and then reads them in one call of
/// [`Self::nodes`], at most 64 of them and at most one of them a leaf.
pub trait NodeReader {
    /// Reason why a node cannot be read.
    type Error;

    /// Number of leaves of the tree. Proofs of larger sizes are refused without reading.
    fn size(&self) -> LogSize;

    /// The hash of a node that is complete at [`Self::size`].
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn node(&self, node: Node) -> Result<Hash, Self::Error>;

    /// The hashes of several such nodes: one each, in order.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read.
    fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error> {
        nodes.iter().map(|node| self.node(*node)).collect()
    }
}

impl<R: NodeReader + ?Sized> NodeReader for &R {
    type Error = R::Error;

    fn size(&self) -> LogSize {
        (**self).size()
    }

    fn node(&self, node: Node) -> Result<Hash, Self::Error> {
        (**self).node(node)
    }

    fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error> {
        (**self).nodes(nodes)
    }
}

/// Source of complete tiles and of the log's entries, which [`History`](super::History) does not
/// keep.
pub trait TileSource {
    /// Reason why a node or an entry cannot be read.
    type Error;

    /// The hash in a slot of a complete tile. `tile.number()` is the tile's place in a file of
    /// tiles, and `slot` is below [`TILE_NODES`](super::tile::TILE_NODES).
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn tile_node(&self, tile: TileId, slot: usize) -> Result<Hash, Self::Error>;

    /// The hashes in several such slots: one each, in order. Slots of the same tile mostly follow
    /// each other, so a source that reads whole tiles does well to keep the last.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read.
    fn tile_nodes(&self, places: &[(TileId, usize)]) -> Result<Vec<Hash>, Self::Error> {
        places.iter().map(|(tile, slot)| self.tile_node(*tile, *slot)).collect()
    }

    /// The [`leaf_hash`](super::leaf_hash) of an entry of the log.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn leaf(&self, index: LogIndex) -> Result<Hash, Self::Error>;
}

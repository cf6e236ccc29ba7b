//! Reading nodes: what proofs and past roots ask of whoever holds the tree.

use crate::{
    Hash,
    history::{
        LeafIndex, TreeSize,
        digest::EMPTY_ROOT,
        frontier::fold_peaks,
        path::peaks,
        tile::{Node, TileId},
    },
};

/// Holds the nodes of a tree.
///
/// Each operation first lists the nodes that it needs and then reads them in one call of
/// [`Self::nodes`], at most 64 of them and at most one of them a leaf.
pub trait NodeReader {
    /// Why a node cannot be read.
    type Error;

    /// How many leaves the tree has. Proofs of larger sizes are refused without reading.
    fn size(&self) -> TreeSize;

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

    fn size(&self) -> TreeSize {
        (**self).size()
    }

    fn node(&self, node: Node) -> Result<Hash, Self::Error> {
        (**self).node(node)
    }

    fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error> {
        (**self).nodes(nodes)
    }
}

/// Holds complete tiles and the log's entries: what [`History`](super::History) has let go of.
pub trait TileSource {
    /// Why a node or an entry cannot be read.
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
    fn leaf(&self, index: LeafIndex) -> Result<Hash, Self::Error>;
}

/// Why a root or a proof could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// The log is not that long.
    #[error("the log has {size} entries, so there is no root or proof at size {wanted}")]
    SizeOutOfRange {
        /// The size asked about.
        wanted: TreeSize,
        /// The log's size.
        size: TreeSize,
    },
    /// The entry is not among the first `size`.
    #[error("entry {index} is not among the first {size} entries; ask for a larger size")]
    IndexOutOfRange {
        /// The index asked about.
        index: LeafIndex,
        /// The size asked about.
        size: TreeSize,
    },
    /// The sizes are in the wrong order.
    #[error("the older size {old} is above the newer size {new}; swap them")]
    SizesOutOfOrder {
        /// The size said to be older.
        old: TreeSize,
        /// The size said to be newer.
        new: TreeSize,
    },
    /// A node could not be read.
    #[error("cannot read a node of the history tree")]
    Read(#[from] E),
}

/// The root of the first `size` leaves: at most 64 reads, in one batch.
///
/// # Errors
///
/// If the tree is smaller than that, or a node cannot be read.
pub fn root_at<R: NodeReader>(reader: &R, size: TreeSize) -> Result<Hash, ProveError<R::Error>> {
    within(reader, size)?;
    let peaks = reader.nodes(&peaks(size))?;
    Ok(fold_peaks(&peaks).unwrap_or(EMPTY_ROOT))
}

pub(super) fn within<R: NodeReader>(
    reader: &R,
    wanted: TreeSize,
) -> Result<(), ProveError<R::Error>> {
    let size = reader.size();
    if wanted > size {
        return Err(ProveError::SizeOutOfRange { wanted, size });
    }
    Ok(())
}

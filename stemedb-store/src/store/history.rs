//! The history tree of a store: roots of the past, and proofs between them.

use crate::tiles::TileFile;
use stemedb_merkle::{
    Hash, Root,
    history::{
        ConsistencyProof, History, InclusionProof, LogIndex, LogSize, ReadNodeError, TileSource,
        TreeHead, leaf_hash, root_at,
        tile::{TILE_NODES, TileId},
    },
};
use stemedb_wal::log::LogReader;

use super::{Proven, StoreReader};
use crate::error::{HistoryError, NodeError, ReadError};

/// Complete tiles from their file, leaves from the log.
pub(super) struct Source<'a> {
    tiles: &'a TileFile,
    reader: &'a LogReader,
}

/// The hash in a slot of a tile.
fn node_of(nodes: &[Hash; TILE_NODES], tile: TileId, slot: usize) -> Result<Hash, NodeError> {
    nodes.get(slot).copied().ok_or(NodeError::NoSuchSlot { tile: tile.number(), slot })
}

impl<'a> Source<'a> {
    pub(super) fn new(tiles: &'a TileFile, reader: &'a LogReader) -> Self {
        Self { tiles, reader }
    }
}

impl TileSource for Source<'_> {
    type Error = NodeError;

    fn tile_node(&self, tile: TileId, slot: usize) -> Result<Hash, NodeError> {
        let nodes = self.tiles.read(tile)?;
        node_of(&nodes, tile, slot)
    }

    fn tile_nodes(&self, places: &[(TileId, usize)]) -> Result<Vec<Hash>, NodeError> {
        let mut open: Option<(TileId, Box<[Hash; TILE_NODES]>)> = None;
        let mut hashes = Vec::with_capacity(places.len());
        for (tile, slot) in places {
            let nodes = match open.take() {
                Some((same, nodes)) if same == *tile => nodes,
                _ => self.tiles.read(*tile)?,
            };
            hashes.push(node_of(&nodes, *tile, *slot)?);
            open = Some((*tile, nodes));
        }
        Ok(hashes)
    }

    fn leaf(&self, index: LogIndex) -> Result<Hash, NodeError> {
        let entry = self.reader.entry_at(index)?;
        Ok(leaf_hash(entry.time, &entry.id))
    }
}

impl StoreReader {
    pub(super) fn source(&self) -> Source<'_> {
        Source::new(&self.shared.tiles, &self.reader)
    }

    /// The root over the log's whole history (RFC 9162), of [`log_size`](Self::log_size) entries.
    ///
    /// # Errors
    ///
    /// As [`StoreReader::root`].
    pub fn history_root(&self) -> Result<Root, ReadError> {
        Ok(self.shared.index.history()?.root())
    }

    /// Size and root of the history, of one moment.
    ///
    /// # Errors
    ///
    /// As [`StoreReader::root`].
    pub fn history_head(&self) -> Result<TreeHead, ReadError> {
        Ok(self.shared.index.history()?.head())
    }

    fn history(&self) -> Result<History, HistoryError> {
        self.shared.index.history().map_err(|failure| ReadNodeError::Source(failure.into()).into())
    }

    /// The root over the first `size` entries of the log. O(log N) reads.
    ///
    /// # Errors
    ///
    /// If the log is not that long, or a node can't be read.
    pub fn history_root_at(&self, size: LogSize) -> Result<Root, HistoryError> {
        let history = self.history()?;
        root_at(&history.reader(&self.source()), size)
    }

    /// Proves that entry `index` is in the log (RFC 9162, 2.1.3). The proof comes with the head
    /// whose root it verifies against.
    ///
    /// # Errors
    ///
    /// If the log is not that long, or a node can't be read.
    pub fn prove_inclusion(&self, index: LogIndex) -> Result<Proven<InclusionProof>, HistoryError> {
        let head = self.shared.index.head();
        let head = head.map_err(|failure| ReadNodeError::Source(failure.into()))?;
        let proof = self.prove_inclusion_at(index, head.log_size)?;
        Ok(Proven { proof, head })
    }

    /// Proves that entry `index` is among the first `size` of the log.
    ///
    /// # Errors
    ///
    /// As [`prove_inclusion`](Self::prove_inclusion).
    pub fn prove_inclusion_at(
        &self,
        index: LogIndex,
        size: LogSize,
    ) -> Result<InclusionProof, HistoryError> {
        let history = self.history()?;
        let source = self.source();
        InclusionProof::prove(&history.reader(&source), index, size)
    }

    /// Proves that the first `old` entries of the log are the beginning of its first `new` (RFC
    /// 9162, 2.1.4).
    ///
    /// # Errors
    ///
    /// If the log is not that long, or a node can't be read.
    pub fn prove_consistency(
        &self,
        old: LogSize,
        new: LogSize,
    ) -> Result<ConsistencyProof, HistoryError> {
        let history = self.history()?;
        let source = self.source();
        ConsistencyProof::prove(&history.reader(&source), old, new)
    }
}

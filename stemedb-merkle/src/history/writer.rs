//! The history tree of the writer: the frontier, and the tiles that are not complete yet.

use std::sync::Arc;

use super::{
    digest::node_hash,
    frontier::Frontier,
    head::TreeHead,
    path::node,
    reader::{NodeReader, TileSource},
    tile::{Node, TILE_HEIGHTS, TILE_LEVELS, TILE_NODES, TILE_WIDTH, Tile, TileId},
};
use crate::{
    id::{Hash, Root},
    internal::internal_error,
    log::{LogIndex, LogSize},
};

/// Largest size of a history that can be resumed: far above any log, and so far below 2^64 that
/// appending never reaches that.
pub const PENDING_SIZE_MAX: LogSize = LogSize(1 << 56);

/// The history tree of a log as its writer holds it.
///
/// Appending costs one node hash amortised and gives out each tile as it completes; in memory stay
/// only the frontier and, for each height, the tile at the right edge: 8 KiB for each factor of 256
/// in the size. Complete tiles are read back through a [`TileSource`].
///
/// A clone is a snapshot and costs next to nothing: the tiles are shared and copied when the writer
/// next changes them (8 KiB once after each clone, mostly).
#[derive(Clone, Debug, Default)]
pub struct History {
    frontier: Frontier,
    /// The incomplete tile of each height; slots not filled yet hold zeros.
    edge: Vec<Arc<[Hash; TILE_NODES]>>,
}

/// The error of saved nodes that are not those of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// A size above the limit.
    #[error("a history of {size} leaves is beyond the limit of {PENDING_SIZE_MAX}; rebuild it")]
    TooLarge {
        /// The size given.
        size: LogSize,
    },
    /// Nodes are missing or left over.
    #[error("a history of {size} leaves has {expected} pending nodes, not {found}; rebuild it")]
    Length {
        /// The size given.
        size: LogSize,
        /// Number of nodes that it has pending.
        expected: usize,
        /// Number of nodes given.
        found: usize,
    },
    /// A node is not the hash of the two below it.
    #[error(
        "the pending node at level {level}, index {index} is not the hash of its children; rebuild \
         the history from the log"
    )]
    Inconsistent {
        /// The node's level.
        level: u8,
        /// The node's index within the level.
        index: u64,
    },
}

impl History {
    /// The history of an empty log.
    pub const fn new() -> Self {
        Self { frontier: Frontier::new(), edge: Vec::new() }
    }

    /// Resumes a history from [`Self::pending`].
    ///
    /// Checks every pending node whose children are pending too. The others take the log to check:
    /// compare [`Self::root`]. Some 250 hashes for each factor of 256 in the size.
    ///
    /// # Errors
    ///
    /// If the size is above [`PENDING_SIZE_MAX`], the number of nodes is another one, or a node is
    /// not the hash of its children.
    #[expect(clippy::needless_pass_by_value, reason = "the caller has no further use for them")]
    pub fn from_pending(size: LogSize, pending: Vec<Hash>) -> Result<Self, PendingError> {
        if size > PENDING_SIZE_MAX {
            return Err(PendingError::TooLarge { size });
        }
        let layout = Layout::of(size);
        let (expected, found) = (layout.nodes.len(), pending.len());
        if expected != found {
            return Err(PendingError::Length { size, expected, found });
        }
        let mut edge = Vec::new();
        edge.resize_with(layout.heights, || Arc::new([[0; 32]; TILE_NODES]));
        let mut peaks = Vec::with_capacity(64);
        for (node, hash) in layout.nodes.into_iter().zip(&pending) {
            if let Some((tile, slot)) = node.place()
                && node.level() % TILE_LEVELS != 0
            {
                let nodes = edge.get_mut(usize::from(tile.height()));
                let nodes = nodes.unwrap_or_else(|| internal_error("a tile of the right edge"));
                check_node(nodes, node, hash)?;
                put(nodes, slot, hash);
            }
            if size.0 >> node.level() == node.index() + 1 && node.index() & 1 == 0 {
                peaks.push(*hash);
            }
        }
        // Lowest levels come first in the layout, the tallest subtree first in the frontier.
        peaks.reverse();
        let frontier = Frontier::from_peaks(size, peaks).map_err(|error| PendingError::Length {
            size,
            expected,
            found: error.found,
        })?;
        Ok(Self { frontier, edge })
    }

    /// Appends a leaf and returns the index it took. Gives each tile that it completes to
    /// `completed`, in the order of a file of tiles: a node hash amortised.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(Tile)) -> LogIndex {
        self.append_to(leaf, &mut completed)
    }

    /// Appends leaves in order; otherwise as [`Self::append`]. Returns the new size.
    ///
    /// Nodes of one level are made side by side where the processor has AVX-512, which takes about
    /// half of the time.
    pub fn extend(
        &mut self,
        leaves: impl IntoIterator<Item = Hash>,
        mut completed: impl FnMut(Tile),
    ) -> LogSize {
        let mut leaves = leaves.into_iter();
        let mut run = Vec::with_capacity(TILE_WIDTH);
        loop {
            // A run goes to the end of a tile, so that tiles come in the order in which leaves
            // complete them.
            let held = self.size().0 % TILE_WIDTH as u64;
            let room = usize::try_from(TILE_WIDTH as u64 - held)
                .unwrap_or_else(|_| internal_error("room under a tile"));
            run.clear();
            run.extend(leaves.by_ref().take(room));
            if run.is_empty() {
                return self.size();
            }
            self.extend_tile(&run, &mut completed);
        }
    }

    /// Appends leaves that stand under one tile of height 0.
    fn extend_tile(&mut self, leaves: &[Hash], completed: &mut impl FnMut(Tile)) {
        let edge = &mut self.edge;
        self.frontier.extend_observed(leaves, |level, first, hashes| {
            let (id, slot) = place(level, first);
            let tile = tile_of(edge, id);
            let end = slot + hashes.len();
            let Some(slots) = Arc::make_mut(tile).get_mut(slot..end) else {
                internal_error("slots of one tile")
            };
            slots.copy_from_slice(hashes);
            if end == TILE_NODES {
                completed(Tile { id, nodes: Box::new(**tile) });
            }
        });
    }

    #[inline]
    fn append_to(&mut self, leaf: Hash, completed: &mut impl FnMut(Tile)) -> LogIndex {
        let edge = &mut self.edge;
        self.frontier.append_observed(leaf, |level, index, hash| {
            let (id, slot) = place(level, index);
            let tile = tile_of(edge, id);
            put(tile, slot, hash);
            if slot == TILE_NODES - 1 {
                completed(Tile { id, nodes: Box::new(**tile) });
            }
        })
    }

    /// Number of leaves.
    pub const fn size(&self) -> LogSize {
        self.frontier.size()
    }

    /// The root over all leaves: at most 63 node hashes, 10 at a million on average.
    pub fn root(&self) -> Root {
        self.frontier.root()
    }

    /// Size and root, as proofs are checked against them.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// The right edge alone.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The nodes to save beside the size, the complete tiles and the log to resume the history:
    /// for each height from 0, the last node that it stands on if that is a left child,
    /// then the nodes of the incomplete tile, the lowest level first.
    pub fn pending(&self) -> Vec<Hash> {
        let held = |node: Node| {
            let held = self.held(node, node.place());
            held.unwrap_or_else(|| internal_error("a node of the right edge"))
        };
        Layout::of(self.size()).nodes.into_iter().map(held).collect()
    }

    /// The hash of a complete node with this place if it is held here: in the tile at the right
    /// edge, or one of the perfect subtrees.
    fn held(&self, node: Node, place: Option<(TileId, usize)>) -> Option<Hash> {
        let size = self.size();
        if let Some((tile, slot)) = place
            && !tile.is_complete_at(size)
        {
            return self.edge.get(usize::from(tile.height()))?.get(slot).copied();
        }
        // A perfect subtree is the last node of its level, and a left child.
        let complete = size.0 >> node.level();
        if node.index() & 1 == 1 || node.index() + 1 != complete {
            return None;
        }
        let taller = complete.count_ones() - 1;
        self.frontier.peaks().get(taller as usize).copied()
    }

    /// Reads all nodes of this history: those at the right edge from here, the others from
    /// `source`.
    pub const fn reader<'a, S: TileSource>(&'a self, source: &'a S) -> HistoryReader<'a, S> {
        HistoryReader { history: self, source }
    }
}

/// All nodes of a history, those at its right edge from memory. Made by [`History::reader`].
#[derive(Debug)]
pub struct HistoryReader<'a, S> {
    history: &'a History,
    source: &'a S,
}

/// Reason why a node of a history could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadNodeError<E> {
    /// The tree has no such node yet.
    #[error("a tree of {size} leaves has no complete node at level {level}, index {index}")]
    NotInTree {
        /// The node's level.
        level: u8,
        /// The node's index within the level.
        index: u64,
        /// The tree's size.
        size: LogSize,
    },
    /// The tiles or the log could not be read.
    #[error("cannot read the tiles or the log")]
    Source(#[from] E),
}

/// Location of a node of a history.
enum NodeLocation {
    Memory(Hash),
    Leaf(LogIndex),
    Tile(TileId, usize),
}

impl<S: TileSource> HistoryReader<'_, S> {
    fn locate(&self, node: Node) -> Result<NodeLocation, ReadNodeError<S::Error>> {
        let size = self.history.size();
        let (level, index) = (node.level(), node.index());
        if !node.is_complete_at(size) {
            return Err(ReadNodeError::NotInTree { level, index, size });
        }
        let place = node.place();
        Ok(match (self.history.held(node, place), place) {
            (Some(hash), _) => NodeLocation::Memory(hash),
            (None, None) => NodeLocation::Leaf(LogIndex(index)),
            (None, Some((tile, slot))) => NodeLocation::Tile(tile, slot),
        })
    }
}

impl<S: TileSource> NodeReader for HistoryReader<'_, S> {
    type Error = ReadNodeError<S::Error>;

    fn size(&self) -> LogSize {
        self.history.size()
    }

    fn node(&self, node: Node) -> Result<Hash, Self::Error> {
        Ok(match self.locate(node)? {
            NodeLocation::Memory(hash) => hash,
            NodeLocation::Leaf(index) => self.source.leaf(index)?,
            NodeLocation::Tile(tile, slot) => self.source.tile_node(tile, slot)?,
        })
    }

    fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error> {
        let mut hashes = Vec::with_capacity(nodes.len());
        let mut gaps = Vec::with_capacity(nodes.len());
        let mut places = Vec::with_capacity(nodes.len());
        for node in nodes {
            hashes.push(match self.locate(*node)? {
                NodeLocation::Memory(hash) => hash,
                NodeLocation::Leaf(index) => self.source.leaf(index)?,
                NodeLocation::Tile(tile, slot) => {
                    gaps.push(hashes.len());
                    places.push((tile, slot));
                    [0; 32]
                }
            });
        }
        for (gap, hash) in gaps.into_iter().zip(self.source.tile_nodes(&places)?) {
            let Some(place) = hashes.get_mut(gap) else { internal_error("the place of a node") };
            *place = hash;
        }
        Ok(hashes)
    }
}

/// The nodes pending at a size, in the order of [`History::pending`].
struct Layout {
    nodes: Vec<Node>,
    /// Number of heights that have a node.
    heights: usize,
}

impl Layout {
    fn of(size: LogSize) -> Self {
        let mut layout = Self { nodes: Vec::new(), heights: 0 };
        for height in 0..TILE_HEIGHTS {
            let base = TILE_LEVELS * height;
            let complete = size.0 >> base;
            if complete & 1 == 1 {
                layout.nodes.push(node(u32::from(base), complete - 1));
            }
            if complete >= 2 {
                layout.heights = usize::from(height) + 1;
            }
            for level in base + 1..base + TILE_LEVELS {
                // From the first node of the level in the incomplete tile to the last complete one.
                let in_tile = (TILE_WIDTH as u64).trailing_zeros() - u32::from(level - base);
                let end = size.0 >> level;
                let start = end >> in_tile << in_tile;
                layout.nodes.extend((start..end).map(|index| node(u32::from(level), index)));
            }
        }
        layout
    }
}

/// Checks a pending node against its children, if these are pending in the same tile.
fn check_node(nodes: &[Hash; TILE_NODES], node: Node, hash: &Hash) -> Result<(), PendingError> {
    let (level, index) = (node.level(), node.index());
    if level % TILE_LEVELS < 2 {
        return Ok(());
    }
    let child = |index| {
        let (_, slot) = Node::new(level - 1, index)?.place()?;
        nodes.get(slot)
    };
    match (child(2 * index), child(2 * index + 1)) {
        (Some(left), Some(right)) if node_hash(left, right) == *hash => Ok(()),
        _ => Err(PendingError::Inconsistent { level, index }),
    }
}

/// The tile and the slot of a node above the leaves.
fn place(level: u8, index: u64) -> (TileId, usize) {
    node(u32::from(level), index)
        .place()
        .unwrap_or_else(|| internal_error("the tile of a node above the leaves"))
}

/// The tile at the right edge with this name, begun if it is the first of its height.
fn tile_of(edge: &mut Vec<Arc<[Hash; TILE_NODES]>>, id: TileId) -> &mut Arc<[Hash; TILE_NODES]> {
    let height = usize::from(id.height());
    if edge.len() == height {
        edge.push(Arc::new([[0; 32]; TILE_NODES]));
    }
    edge.get_mut(height).unwrap_or_else(|| internal_error("the tile one height below"))
}

fn put(tile: &mut Arc<[Hash; TILE_NODES]>, slot: usize, hash: &Hash) {
    let Some(place) = Arc::make_mut(tile).get_mut(slot) else { internal_error("a slot of a tile") };
    *place = *hash;
}

//! Places of the nodes of the tree: coordinates, tiles, and their order in a file.
//!
//! Pure arithmetic. A node is named by its level (0 for leaves) and its index within the level, and
//! covers the leaves `index << level` up to `(index + 1) << level`. Only complete nodes are named
//! so: those over a full power of two of leaves, which no later append changes.
//!
//! A tile of height `t` stands over 256 nodes of level `8 * t` and holds the 255 nodes above them:
//!
//! ```text
//!   slot      level          nodes
//!   254       8 * t + 8      1        the tile's root; a child of the tile of height t + 1
//!   252..254  8 * t + 7      2
//!   ...
//!   128..192  8 * t + 2      64
//!   0..128    8 * t + 1      128
//!             8 * t          256      not in the tile: leaves, or roots of tiles one height below
//! ```
//!
//! So every node above the leaves is in one tile only, a leaf costs 32 bytes amortised, and the
//! leaf hashes, which anybody can compute from the log's entries, are not stored.
//!
//! A file of tiles holds each tile where it was completed: right behind the last of the tiles below
//! it. Appending to the log then only ever appends to the file, and the tiles complete at any past
//! size are a prefix of it.

use crate::{id::Hash, log::LogSize};

/// Nodes of one level under a tile.
pub(super) const TILE_WIDTH: usize = 256;

/// Nodes in a tile.
pub const TILE_NODES: usize = TILE_WIDTH - 1;

/// Bytes of the nodes of a tile.
pub const TILE_LEN: usize = 32 * TILE_NODES;

/// Levels of nodes in a tile.
pub(super) const TILE_LEVELS: u8 = 8;

/// Heights of tiles, up to the tree of 2^64 - 1 leaves.
pub(super) const TILE_HEIGHTS: u8 = 8;

const _: () = assert!(1 << TILE_LEVELS == TILE_WIDTH);
const _: () = assert!(TILE_LEVELS * TILE_HEIGHTS == 64);

/// A complete node of the tree: the root over the leaves `index << level .. (index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    level: u8,
    index: u64,
}

impl Node {
    /// The node at this level and index; `None` if no tree of less than 2^64 leaves has it.
    pub const fn new(level: u8, index: u64) -> Option<Self> {
        // The last leaf of the node must be one that a tree can hold: at most 2^64 - 2.
        match u64::MAX.checked_shr(level as u32) {
            Some(nodes) if index < nodes => Some(Self { level, index }),
            _ => None,
        }
    }

    /// The level: 0 for leaves.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The index within the level.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Whether a tree of this size has the node, so that it never changes again.
    pub(super) const fn is_complete_at(self, size: LogSize) -> bool {
        self.index < size.0 >> self.level
    }

    /// The tile that holds the node, and its slot there; `None` for a leaf.
    pub const fn place(self) -> Option<(TileId, usize)> {
        let Some(above_leaves) = self.level.checked_sub(1) else { return None };
        let height = above_leaves / TILE_LEVELS;
        // Levels within the tile count from 1, just above its children, to 8, its root.
        let level = above_leaves % TILE_LEVELS + 1;
        let level_len = TILE_WIDTH >> level;
        // The levels below have 128 + 64 + ... nodes: 256 without twice this level's number.
        let level_start = TILE_WIDTH - 2 * level_len;
        let within = mask(self.index, TILE_LEVELS - level);
        Some((TileId { height, index: self.index >> (TILE_LEVELS - level) }, level_start + within))
    }
}

/// The lowest bits of an index, of which a tile has at most 8.
#[expect(clippy::cast_possible_truncation, reason = "at most 8 bits are left")]
const fn mask(index: u64, bits: u8) -> usize {
    (index & ((1 << bits) - 1)) as usize
}

/// The name of a tile: its height, and its index among the tiles of that height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    height: u8,
    index: u64,
}

impl TileId {
    /// The tile of this height and index; `None` if it would stand over more than 2^64 leaves.
    pub const fn new(height: u8, index: u64) -> Option<Self> {
        if height >= TILE_HEIGHTS {
            return None;
        }
        // The highest tile is only one, and never complete; its lower slots fill all the same.
        let last = match u64::MAX.checked_shr(TILE_LEVELS as u32 * (height as u32 + 1)) {
            Some(last) => last,
            None => 0,
        };
        if index <= last { Some(Self { height, index }) } else { None }
    }

    /// The tile at a place in a file of tiles, counted from 0: the inverse of [`Self::number`].
    ///
    /// `None` beyond the last tile that any tree has.
    pub const fn at(number: u64) -> Option<Self> {
        // A run of 256^j tiles of height 0 takes `run_len(j)` places with the tiles above it, so
        // the digits of the index of the last tile of height 0 at or before the place can be read
        // off, the highest first. What remains counts the heights completed by that tile.
        let mut rest = number;
        let mut base_index = 0;
        let mut digit = TILE_HEIGHTS - 1;
        while digit > 0 {
            digit -= 1;
            let runs = rest / run_len(digit);
            let runs = if runs < 255 { runs } else { 255 };
            rest -= runs * run_len(digit);
            base_index = base_index << 8 | runs;
        }
        if rest >= TILE_HEIGHTS as u64 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "less than TILE_HEIGHTS")]
        let height = rest as u8;
        Some(Self { height, index: ((base_index + 1) >> (TILE_LEVELS * height)) - 1 })
    }

    /// The height: 0 for tiles that stand on leaves.
    pub const fn height(self) -> u8 {
        self.height
    }

    /// The index among the tiles of this height.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The tile's place in a file of tiles, counted from 0: the number of tiles completed before
    /// it.
    pub const fn number(self) -> u64 {
        let mut before = 0;
        let mut height = 0;
        while height < TILE_HEIGHTS {
            before += if height <= self.height {
                // Up to its last descendant of this height, and itself.
                (self.index + 1) << (TILE_LEVELS * (self.height - height))
            } else {
                // Those above that are complete without it.
                self.index >> (TILE_LEVELS * (height - self.height))
            };
            height += 1;
        }
        before - 1
    }

    /// Level and index of the node in a slot: the inverse of [`Node::place`]. Slots beyond the last
    /// count as the last.
    pub(super) fn coordinates(self, slot: usize) -> (u8, u64) {
        let mut level = TILE_LEVELS * self.height;
        let mut start = 0;
        let mut len = TILE_WIDTH;
        let slot = slot.min(TILE_NODES - 1);
        loop {
            level += 1;
            len /= 2;
            if slot < start + len {
                return (level, self.index * len as u64 + (slot - start) as u64);
            }
            start += len;
        }
    }

    /// Whether all of the tile's nodes are complete in a tree of this size.
    pub(super) const fn is_complete_at(self, size: LogSize) -> bool {
        match size.0.checked_shr(TILE_LEVELS as u32 * (self.height as u32 + 1)) {
            Some(tiles) => self.index < tiles,
            None => false,
        }
    }
}

/// Places in the file of 256^digit tiles of height 0 and of all that they complete.
const fn run_len(digit: u8) -> u64 {
    let mut len = 1;
    let mut done = 0;
    while done < digit {
        len = len << 8 | 1;
        done += 1;
    }
    len
}

/// Number of tiles of all heights that are complete at a size: the length of a file of tiles.
pub const fn complete_tiles(size: LogSize) -> u64 {
    let mut tiles = 0;
    let mut rest = size.0 >> TILE_LEVELS;
    while rest > 0 {
        tiles += rest;
        rest >>= TILE_LEVELS;
    }
    tiles
}

/// The nodes of a complete tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The name of the tile.
    pub id: TileId,
    /// Its nodes, slot by slot; `nodes.as_flattened()` are the bytes to store.
    pub nodes: Box<[Hash; TILE_NODES]>,
}

#[cfg(test)]
mod tests;

//! Tiles of hashes, each checked against its parent before it is used.
//!
//! The partial tiles at the right edge of the tree lead to the root of a checkpoint together. Every
//! full tile has its hash in a tile one level above. So a reader begins with [`verify_edge`] and
//! goes down by [`Tile::verify_child`] and [`Tile::verify_entries`].

use alloc::vec::Vec;

use stemedb_merkle::{
    Hash,
    history::{EMPTY_ROOT, TreeHead, node_hash},
};

use crate::{
    entry_bundle::{EntryBundle, UnverifiedBundle},
    format::Format,
    malformed::{Malformed, Place},
    refusal::Refusal,
    refused::Refused,
    tile_path::{TILE_LEVELS, TileKind, TilePath},
};

/// A tile of hashes that has the right length, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedTile {
    path: TilePath,
    hashes: Vec<Hash>,
}

/// A tile whose hashes lead to the root of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    path: TilePath,
    hashes: Vec<Hash>,
}

impl UnverifiedTile {
    /// Reads the bytes at a path. Those of a wider tile will do for a partial one, which is a part
    /// of it: partial tiles go away when the full one is there. `fetched` is the path that was
    /// read.
    ///
    /// # Errors
    ///
    /// If the length is not that of the path that was read, or that is not the same tile, or a
    /// narrower one.
    pub fn parse(path: TilePath, fetched: TilePath, bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = |rule| Malformed { format: Format::Tile, place: Place::START, rule };
        let (hashes, []) = bytes.as_chunks::<32>() else {
            return Err(malformed("the length is not a multiple of 32"));
        };
        if hashes.len() != usize::from(fetched.width()) {
            return Err(malformed("the tile has more or fewer hashes than its path says"));
        }
        let same = (path.kind(), path.number()) == (fetched.kind(), fetched.number());
        let hashes = hashes.get(..usize::from(path.width())).filter(|_| same);
        let hashes = hashes.ok_or_else(|| malformed("it is not the tile that is needed"))?;
        Ok(Self { path, hashes: hashes.to_vec() })
    }

    /// The path.
    pub const fn path(&self) -> TilePath {
        self.path
    }
}

/// Verifies the partial tiles at the right edge of a tree, in the order of [`TilePath::edge`],
/// against the head of a verified checkpoint.
///
/// # Errors
///
/// If they are not those tiles, or do not lead to the root.
pub fn verify_edge(head: &TreeHead, tiles: Vec<UnverifiedTile>) -> Result<Vec<Tile>, Refused> {
    let paths = tiles.iter().map(UnverifiedTile::path);
    if !paths.eq(TilePath::edge(head.size)) {
        return Err(Refusal::TileRoot.into());
    }
    // The lowest level is the rightmost part of the tree.
    let mut root: Option<Hash> = None;
    for tile in &tiles {
        let mut hashes = tile.hashes.as_slice();
        while !hashes.is_empty() {
            // The smallest perfect subtree on the right.
            let len = 1 << hashes.len().trailing_zeros();
            let (left, subtree) = hashes.split_at_checked(hashes.len() - len).unwrap_or_default();
            let peak = fold(subtree).ok_or(Refusal::TileRoot)?;
            root = Some(root.map_or(peak, |right| node_hash(&peak, &right)));
            hashes = left;
        }
    }
    if root.unwrap_or(EMPTY_ROOT.0) != head.root.0 {
        return Err(Refusal::TileRoot.into());
    }
    Ok(tiles.into_iter().map(|tile| Tile { path: tile.path, hashes: tile.hashes }).collect())
}

/// The root over the hashes of a perfect subtree; `None` of none, or of another number of them.
fn fold(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, []) = row.as_chunks::<2>() else { return None };
        row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.pop()
}

impl Tile {
    /// The path.
    pub const fn path(&self) -> TilePath {
        self.path
    }

    /// The hashes.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The level of tiles, from 0.
    const fn level(&self) -> u8 {
        match self.path.kind() {
            TileKind::Hashes(level) => level,
            // Tiles of hashes alone are read by `UnverifiedTile`'s callers; see `parse`.
            TileKind::Entries => 0,
        }
    }

    /// The paths of the full tiles one level below, whose hashes are in this tile.
    pub fn children(&self) -> impl Iterator<Item = TilePath> {
        let below = self.level().checked_sub(1);
        let first = self.path.first();
        (0..u64::from(self.path.width())).filter_map(move |slot| {
            let number = first.checked_add(slot)?;
            Some(TilePath::new(TileKind::Hashes(below?), number, 1)?.full())
        })
    }

    /// Verifies a full tile one level below.
    ///
    /// # Errors
    ///
    /// If it is not below this tile, or does not have the hash that this tile has for it.
    pub fn verify_child(&self, tile: UnverifiedTile) -> Result<Self, Refused> {
        let at = self.children().position(|path| path == tile.path);
        let expected = at.and_then(|at| self.hashes.get(at));
        if expected.is_none() || fold(&tile.hashes).as_ref() != expected {
            return Err(Refusal::TileHash.into());
        }
        Ok(Self { path: tile.path, hashes: tile.hashes })
    }

    /// Verifies the entries whose leaf hashes are in this tile of level 0.
    ///
    /// # Errors
    ///
    /// If they are not those of this tile, or one of them has another hash.
    pub fn verify_entries(&self, bundle: UnverifiedBundle) -> Result<EntryBundle, Refused> {
        let path = bundle.path();
        let same = self.path.kind() == TileKind::Hashes(0)
            && path.number() == self.path.number()
            && path.width() <= self.path.width();
        if same { bundle.verify(&self.hashes) } else { Err(Refusal::TileHash.into()) }
    }

    /// The hash of a complete node of the tree, of which level 0 are the leaves; `None` if it is
    /// not among those of this tile or between it and the tile above.
    pub fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let above = level.checked_sub(TILE_LEVELS * u32::from(self.level()))?;
        if above >= TILE_LEVELS {
            return None;
        }
        let first = index.checked_shl(above).filter(|first| first >> above == index)?;
        let slot = usize::try_from(first.checked_sub(self.path.first())?).ok()?;
        fold(self.hashes.get(slot..slot.checked_add(1 << above)?)?)
    }
}

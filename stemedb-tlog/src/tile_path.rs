//! Paths of tiles and entry bundles below the prefix of a log (C2SP tlog-tiles).
//!
//! ```text
//! tile/<L>/<N>[.p/<W>]             hashes: L from 0 to 63
//! tile/entries/<N>[.p/<W>]         entries
//! ```

use alloc::string::String;
use core::fmt;

use stemedb_merkle::{AssertionId, LogSize};

use crate::{
    format::Format,
    limits::NUMBER_END,
    lines::number,
    malformed::{Malformed, Place},
};

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Levels of the tree that a level of tiles spans.
pub(crate) const TILE_LEVELS: u32 = 8;

/// Levels of tiles whose hashes a tree of less than 2^64 entries has.
const LEVELS: u8 = 8;

/// Content of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries.
    Entries,
    /// Hashes of this level of tiles, 0 to 63: roots over `256^level` entries each.
    Hashes(u8),
}

/// Path of a tile: its content, its number, and its width if it is partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    number: u64,
    width: u16,
}

impl TilePath {
    /// Reads a path in its one form.
    ///
    /// # Errors
    ///
    /// If the text is no path of a tile.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let path = Self::read(text).filter(|path| {
            // One path has one text.
            let mut rest = Rest(text);
            fmt::Write::write_fmt(&mut rest, format_args!("{path}")).is_ok() && rest.0.is_empty()
        });
        path.ok_or(Malformed {
            format: Format::TilePath,
            place: Place::START,
            rule: "expected `tile/`, a level or `entries`, and a number in groups of three digits",
        })
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
        let kind = if kind == "entries" {
            TileKind::Entries
        } else {
            let level = number(kind.as_bytes()).filter(|level| *level < 64)?;
            TileKind::Hashes(u8::try_from(level).ok()?)
        };
        let (digits, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((digits, width)) => {
                let width = u16::try_from(number(width.as_bytes())?).ok()?;
                (digits, Some(width).filter(|width| (1..TILE_WIDTH).contains(width))?)
            }
        };
        let mut number = 0_u64;
        for group in digits.split('/') {
            let group = group.strip_prefix('x').unwrap_or(group);
            if group.len() != 3 || !group.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            number = number.checked_mul(1_000)?.checked_add(group.parse().ok()?)?;
        }
        Self::new(kind, number, width)
    }

    /// The tile of this content and number, full or of a smaller width; `None` of a level,
    /// number or width that no tile has.
    pub fn new(kind: TileKind, number: u64, width: u16) -> Option<Self> {
        let level_fits = match kind {
            TileKind::Entries => true,
            TileKind::Hashes(level) => level < 64,
        };
        let fits = level_fits && number < NUMBER_END && (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Self { kind, number, width })
    }

    /// The content.
    pub const fn kind(self) -> TileKind {
        self.kind
    }

    /// The number among the tiles of this content.
    pub const fn number(self) -> u64 {
        self.number
    }

    /// Number of hashes or entries: 256 of a full tile.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether the tile is full, so that it never changes.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile when it is full.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// Index of the first hash or entry of the tile within its level.
    pub const fn first(self) -> u64 {
        self.number.saturating_mul(TILE_WIDTH as u64)
    }

    /// The tiles of a tree of `size` entries, bundles first, then hashes from the lowest level up.
    pub fn of_tree(size: LogSize) -> impl Iterator<Item = Self> {
        Self::added(LogSize(0), size)
    }

    /// The tiles that a tree has when it has grown from one size to another, and did not have
    /// before, in the order of [`Self::of_tree`].
    pub fn added(from: LogSize, to: LogSize) -> impl Iterator<Item = Self> {
        rows(from).zip(rows(to)).flat_map(|((kind, from), (_, to))| {
            let width = u64::from(TILE_WIDTH);
            let tiles = if from < to { from / width..to.div_ceil(width) } else { 0..0 };
            tiles.map(move |number| {
                let left = to.saturating_sub(number.saturating_mul(width)).min(width);
                Self { kind, number, width: u16::try_from(left).unwrap_or(TILE_WIDTH) }
            })
        })
    }

    /// The partial tiles of hashes at the right edge of a tree of `size` entries, from the lowest
    /// level up: together they lead to the root.
    pub fn edge(size: LogSize) -> impl Iterator<Item = Self> {
        rows(size).skip(1).filter_map(|(kind, count)| {
            let width = u64::from(TILE_WIDTH);
            Self::new(kind, count / width, u16::try_from(count % width).ok()?)
        })
    }
}

/// Content of tiles, and how many hashes or entries a tree has of it.
fn rows(size: LogSize) -> impl Iterator<Item = (TileKind, u64)> {
    let levels = (0..LEVELS)
        .map(move |level| (TileKind::Hashes(level), size.0 >> (TILE_LEVELS * u32::from(level))));
    core::iter::once((TileKind::Entries, size.0)).chain(levels)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        // A u64 has 20 digits.
        for power in (1..7).rev() {
            let group = self.number / 1_000_u64.pow(power);
            if group > 0 {
                write!(f, "x{:03}/", group % 1_000)?;
            }
        }
        write!(f, "{:03}", self.number % 1_000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// What of a text is not written yet.
struct Rest<'a>(&'a str);

impl fmt::Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Path of a body below the prefix of a log; our own, beside the tiles.
pub fn body_path(id: AssertionId) -> String {
    let [first, second, ..] = *id.as_bytes();
    alloc::format!("bodies/{first:02x}/{second:02x}/{id}")
}

/// Path of the receipt of an erased id; our own, beside the tiles.
pub fn erased_path(id: AssertionId) -> String {
    alloc::format!("erased/{id}")
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;

    #[test]
    fn growth_adds_what_was_not_there() {
        let paths = |from, to| -> Vec<String> {
            TilePath::added(LogSize(from), LogSize(to)).map(|path| path.to_string()).collect()
        };
        assert_eq!(paths(0, 0), [""; 0]);
        assert_eq!(paths(256, 256), [""; 0]);
        let first = ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"];
        assert_eq!(paths(0, 256), first);
        assert_eq!(paths(255, 256), first);
        assert_eq!(paths(256, 257), ["tile/entries/001.p/1", "tile/0/001.p/1"]);
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
            for from in (0..size).step_by(997) {
                let before: Vec<_> = TilePath::of_tree(LogSize(from)).collect();
                let mut both: Vec<_> = TilePath::of_tree(LogSize(size)).collect();
                both.retain(|path| !before.contains(path));
                let added: Vec<_> = TilePath::added(LogSize(from), LogSize(size)).collect();
                assert_eq!(added, both, "{from} to {size}");
            }
        }
    }

    #[test]
    fn the_largest_numbers_round_trip() {
        for number in [999, 1_000, 999_999, 1_000_000, NUMBER_END - 1] {
            let path = TilePath::new(TileKind::Hashes(63), number, 255).unwrap();
            assert_eq!(TilePath::parse(&path.to_string()), Ok(path));
        }
        assert!(TilePath::parse("tile/0/x009/x223/x372/x036/x854/x775/808").is_err());
        assert!(TilePath::parse("tile/0/x999/x999/x999/x999/x999/x999/999").is_err());
        assert_eq!(TilePath::new(TileKind::Entries, NUMBER_END, 256), None);
        assert_eq!(TilePath::new(TileKind::Hashes(64), 0, 256), None);
        assert_eq!(TilePath::new(TileKind::Entries, 0, 257), None);
        assert_eq!(TilePath::new(TileKind::Entries, 0, 0), None);
    }

    #[test]
    fn the_edge_is_found_without_the_rest() {
        let edge: Vec<_> = TilePath::edge(LogSize(0x01_00_02_ff)).collect();
        let texts: Vec<String> = edge.iter().map(ToString::to_string).collect();
        let expected = ["tile/0/x065/538.p/255", "tile/1/256.p/2", "tile/3/000.p/1"];
        assert_eq!(texts, expected);
    }
}

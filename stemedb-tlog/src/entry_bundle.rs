//! Bundles of entries: for each entry its length, 0x0028, and its 40 bytes.

use alloc::vec::Vec;

use stemedb_merkle::{
    AssertionId, Hash, LogIndex, Timestamp,
    history::{ENTRY_LEN, leaf_hash},
};

use crate::{
    format::Format,
    malformed::{Malformed, Place},
    refusal::Refusal,
    refused::Refused,
    tile_path::{TileKind, TilePath},
};

/// Bytes of an entry in a bundle.
const BUNDLED_LEN: usize = 2 + ENTRY_LEN;

/// Entry of a log: the time at which it was taken in, and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The time.
    pub time: Timestamp,
    /// The id.
    pub id: AssertionId,
}

impl LogEntry {
    /// The hash of its leaf.
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(self.time, self.id.as_bytes())
    }
}

/// A bundle that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedBundle {
    path: TilePath,
    entries: Vec<LogEntry>,
}

/// Entries whose hashes are those of a verified tile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBundle {
    path: TilePath,
    entries: Vec<LogEntry>,
}

impl UnverifiedBundle {
    /// Reads the bytes at a path. As with tiles, those of a wider bundle will do; `fetched` is the
    /// path that was read.
    ///
    /// # Errors
    ///
    /// If it is malformed, has more or fewer entries than its path says, or is another bundle.
    pub fn parse(path: TilePath, fetched: TilePath, bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = |offset, rule| Malformed {
            format: Format::EntryBundle,
            place: Place { offset, ..Place::START },
            rule,
        };
        let same = path.kind() == TileKind::Entries
            && (path.kind(), path.number()) == (fetched.kind(), fetched.number())
            && path.width() <= fetched.width();
        if !same {
            return Err(malformed(0, "it is not the bundle that is needed"));
        }
        let (parts, []) = bytes.as_chunks::<BUNDLED_LEN>() else {
            return Err(malformed(0, "the length is not a multiple of 42"));
        };
        if parts.len() != usize::from(fetched.width()) {
            return Err(malformed(0, "the bundle has more or fewer entries than its path says"));
        }
        let mut entries = Vec::with_capacity(parts.len());
        for (at, [high, low, entry @ ..]) in parts.iter().enumerate() {
            if usize::from(u16::from_be_bytes([*high, *low])) != ENTRY_LEN {
                return Err(malformed(at * BUNDLED_LEN, "an entry does not have 40 bytes"));
            }
            entries.push(read(entry));
        }
        entries.truncate(usize::from(path.width()));
        Ok(Self { path, entries })
    }

    /// The path.
    pub const fn path(&self) -> TilePath {
        self.path
    }

    /// Checks the entries against the hashes of their tile, which has at least as many.
    pub(crate) fn verify(self, hashes: &[Hash]) -> Result<EntryBundle, Refused> {
        let pairs = self.entries.iter().zip(hashes);
        let differs = |(entry, hash): (&LogEntry, &Hash)| entry.leaf_hash() != *hash;
        if let Some((_, at)) = pairs.zip(0_u64..).find(|(pair, _)| differs(*pair)) {
            let index = LogIndex(self.path.first().saturating_add(at));
            return Err(Refusal::EntryHash { index }.into());
        }
        Ok(EntryBundle { path: self.path, entries: self.entries })
    }
}

/// The entry of 40 bytes.
fn read(entry: &[u8; ENTRY_LEN]) -> LogEntry {
    let (mut time, mut id) = ([0; 8], [0; 32]);
    let (first, rest) = entry.split_at(8);
    time.copy_from_slice(first);
    id.copy_from_slice(rest);
    LogEntry { time: Timestamp::from_ntp64(u64::from_be_bytes(time)), id: AssertionId(id) }
}

impl EntryBundle {
    /// The path.
    pub const fn path(&self) -> TilePath {
        self.path
    }

    /// Index of the first entry.
    pub const fn first(&self) -> LogIndex {
        LogIndex(self.path.first())
    }

    /// The entries.
    pub fn entries(&self) -> &[LogEntry] {
        &self.entries
    }
}

/// Writes a bundle.
pub fn write(entries: &[LogEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BUNDLED_LEN * entries.len());
    for LogEntry { time, id } in entries {
        bytes.extend([0, 40]);
        bytes.extend(time.as_ntp64().to_be_bytes());
        bytes.extend(id.as_bytes());
    }
    bytes
}

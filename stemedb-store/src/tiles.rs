//! The file of tiles: the inner nodes of the history tree, 32 bytes an entry.
//!
//! ```text
//!  byte 0 of a tile                        8160      8164      8168          8176      8192
//!       +----------------------------------+---------+---------+-------------+---------+
//!       | 255 nodes of 32 bytes, as        | "TILE"  | crc32   | tile number | store   |
//!       | stemedb_merkle::history::tile    |         | u32 le  | u64 le      | id, 16  |
//!       +----------------------------------+---------+---------+-------------+---------+
//!                                                     covers all but itself
//! ```
//!
//! Tile `n` is at byte `8192 * n`. A tile is written once, when its last entry comes, and not
//! synced before the next restart checkpoint: like that, the file is a cache of the log, and
//! opening a store cuts it to the tiles that the checkpoint vouches for. After a sync that failed,
//! the next one writes the tiles since the last that succeeded again: the disk may have dropped
//! them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use stemedb_merkle::{
    Hash,
    history::tile::{TILE_LEN, TILE_NODES, Tile, TileId},
};

use stemedb_wal::{
    disk::{Disk, DiskFile},
    error::{Action, DiskError},
};

/// The name of the file.
pub const TILES_NAME: &str = "history.tiles";

/// How long a tile and its trailer are, in bytes.
pub const SLOT_LEN: usize = 8192;

const MAGIC: &[u8; 4] = b"TILE";

/// The file of tiles.
#[derive(Clone, Debug)]
pub struct TileFile {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    store_id: [u8; 16],
    /// How many tiles are in the file.
    len: Arc<AtomicU64>,
    /// How many of them survive a power cut.
    synced: Arc<AtomicU64>,
    /// Whether a sync failed since: the others may be anything, whatever reads show.
    doubtful: Arc<AtomicBool>,
}

/// Why a tile cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// I/O error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The tile is damaged.
    #[error(
        "{TILES_NAME}: the tile at byte {offset} is damaged; it is only a cache: \
         repair the store, or remove the file, and the log rebuilds it"
    )]
    Damaged {
        /// Where in the file it begins.
        offset: u64,
    },
    /// The file has no such tile.
    #[error("{TILES_NAME}: has no tile {number}")]
    Missing {
        /// Which one.
        number: u64,
    },
}

fn failed(disk: &dyn Disk, action: Action, source: io::Error) -> DiskError {
    DiskError::new(action, disk.path(TILES_NAME), source)
}

impl TileFile {
    /// Opens the file, of which the first `tiles` count, or makes it. `None` if it has fewer.
    ///
    /// Changes nothing in it. What is behind them is written over by what is appended, and goes
    /// with [`cut`](Self::cut).
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn open(
        disk: &Arc<dyn Disk>,
        store_id: [u8; 16],
        tiles: u64,
    ) -> Result<Option<Self>, DiskError> {
        let failed = |action, source| failed(disk.as_ref(), action, source);
        let file = match disk.open(TILES_NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && tiles == 0 => {
                disk.create(TILES_NAME)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened,
        };
        let file = file.map_err(|source| failed(Action::Open, source))?;
        let len = tiles * SLOT_LEN as u64;
        let held = file.len().map_err(|source| failed(Action::Measure, source))?;
        if held < len {
            return Ok(None);
        }
        let len = Arc::new(AtomicU64::new(tiles));
        let synced = Arc::new(AtomicU64::new(tiles));
        let doubtful = Arc::default();
        Ok(Some(Self { disk: Arc::clone(disk), file, store_id, len, synced, doubtful }))
    }

    /// Cuts the file to the tiles that count, before others use it: once it is certain that they
    /// are all that can be had of it.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    pub fn cut(&self) -> Result<(), DiskError> {
        let failed = |action, source| failed(self.disk.as_ref(), action, source);
        let len = self.len() * SLOT_LEN as u64;
        let held = self.file.len().map_err(|source| failed(Action::Measure, source))?;
        if held > len {
            self.file.set_len(len).map_err(|source| failed(Action::Cut { len }, source))?;
        }
        Ok(())
    }

    /// How many tiles there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes tiles that follow those in the file.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn append(&self, tiles: &[Tile]) -> Result<(), DiskError> {
        let Some(first) = tiles.first() else { return Ok(()) };
        let mut bytes = Vec::with_capacity(tiles.len() * SLOT_LEN);
        for tile in tiles {
            bytes.extend_from_slice(&self.encode(tile));
        }
        self.write(&bytes, first.id.number())?;
        self.len.store(first.id.number() + tiles.len() as u64, Ordering::Release);
        Ok(())
    }

    fn write(&self, bytes: &[u8], number: u64) -> Result<(), DiskError> {
        let offset = number * SLOT_LEN as u64;
        self.file.write_at(bytes, offset).map_err(|source| {
            failed(self.disk.as_ref(), Action::Write { len: bytes.len() as u64, offset }, source)
        })
    }

    fn encode(&self, tile: &Tile) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SLOT_LEN);
        bytes.extend_from_slice(tile.nodes.as_flattened());
        bytes.extend_from_slice(MAGIC);
        let crc = checksum(&bytes, tile.id.number(), &self.store_id);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&tile.id.number().to_le_bytes());
        bytes.extend_from_slice(&self.store_id);
        bytes
    }

    /// Reads a tile and checks it.
    ///
    /// # Errors
    ///
    /// If it is damaged or not there, or the disk fails.
    pub fn read(&self, id: TileId) -> Result<Box<[Hash; TILE_NODES]>, TileError> {
        let number = id.number();
        if number >= self.len() {
            return Err(TileError::Missing { number });
        }
        let offset = number * SLOT_LEN as u64;
        let mut bytes = [0; SLOT_LEN];
        let read = self.file.read_at(&mut bytes, offset).map_err(|source| {
            failed(self.disk.as_ref(), Action::Read { len: SLOT_LEN as u64, offset }, source)
        })?;
        let (covered, trailer) = bytes.split_at(TILE_LEN + MAGIC.len());
        let crc = checksum(covered, number, &self.store_id);
        let nodes = covered.as_chunks::<32>().0.first_chunk::<TILE_NODES>();
        let expected = [&crc.to_le_bytes()[..], &number.to_le_bytes(), &self.store_id].concat();
        match nodes {
            Some(nodes) if read == SLOT_LEN && trailer == expected && covered.ends_with(MAGIC) => {
                Ok(Box::new(*nodes))
            }
            _ => Err(TileError::Damaged { offset }),
        }
    }

    /// Returns once all tiles survive a power cut.
    ///
    /// # Errors
    ///
    /// If the disk fails, or does not hold what is to be written again after a sync that failed.
    pub fn sync(&self) -> Result<(), TileError> {
        let len = self.len();
        let synced = self.synced.load(Ordering::Acquire);
        if self.doubtful.load(Ordering::Acquire) {
            for id in (synced..len).filter_map(TileId::at) {
                let tile = Tile { id, nodes: self.read(id)? };
                self.write(&self.encode(&tile), id.number())?;
            }
        }
        if let Err(source) = self.file.sync() {
            self.doubtful.store(true, Ordering::Release);
            return Err(failed(self.disk.as_ref(), Action::Sync, source).into());
        }
        self.doubtful.store(false, Ordering::Release);
        self.synced.store(len, Ordering::Release);
        Ok(())
    }
}

fn checksum(covered: &[u8], number: u64, store_id: &[u8; 16]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(covered);
    hasher.update(&number.to_le_bytes());
    hasher.update(store_id);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use stemedb_merkle::{
        Timestamp,
        history::{History, leaf_hash, tile::complete_tiles},
    };

    use super::*;
    use stemedb_simdisk::FaultyDisk;

    fn filled() -> (FaultyDisk, TileFile, Vec<Tile>) {
        let disk = FaultyDisk::new(1);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let file = TileFile::open(&shared, [3; 16], 0).unwrap().unwrap();
        let mut tiles = Vec::new();
        let mut history = History::new();
        let leaves = (0..1000).map(|time| leaf_hash(Timestamp::from_ntp64(time), &[7; 32]));
        history.extend(leaves, |tile| tiles.push(tile));
        file.append(&tiles).unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(file.len(), complete_tiles(history.size()));
        (disk, file, tiles)
    }

    #[test]
    fn tiles_come_back_and_every_flipped_bit_is_noticed() {
        let (disk, file, tiles) = filled();
        for tile in &tiles {
            assert_eq!(file.read(tile.id).unwrap(), tile.nodes);
        }
        let id = tiles[1].id;
        for bit in (0..8 * SLOT_LEN).step_by(61).chain(8 * (SLOT_LEN - 40)..8 * SLOT_LEN) {
            let bit = (8 * SLOT_LEN + bit) as u64;
            disk.flip_bit(TILES_NAME, bit).unwrap();
            assert!(matches!(file.read(id), Err(TileError::Damaged { .. })), "bit {bit}");
            disk.flip_bit(TILES_NAME, bit).unwrap();
        }
        assert!(file.read(id).is_ok());
    }

    #[test]
    fn cutting_leaves_what_is_vouched_for() {
        let (disk, _, tiles) = filled();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let file = TileFile::open(&shared, [3; 16], 2).unwrap().unwrap();
        assert!(file.read(tiles[1].id).is_ok());
        assert!(matches!(file.read(tiles[2].id), Err(TileError::Missing { number: 2 })));
        assert_eq!(disk.contents(TILES_NAME).unwrap().len(), tiles.len() * SLOT_LEN);
        file.cut().unwrap();
        assert_eq!(disk.contents(TILES_NAME).unwrap().len(), 2 * SLOT_LEN);
        assert!(file.read(tiles[1].id).is_ok());
        assert!(TileFile::open(&shared, [3; 16], 3).unwrap().is_none());
        let other = TileFile::open(&shared, [4; 16], 2).unwrap().unwrap();
        assert!(other.read(tiles[0].id).is_err(), "of another store");
    }

    #[test]
    fn a_sync_after_one_that_failed_writes_again() {
        use stemedb_simdisk::{Fault, FaultKind, Operation, Survival, Target};
        let (disk, file, tiles) = filled();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let file = {
            drop(file);
            TileFile::open(&shared, [3; 16], 1).unwrap().unwrap()
        };
        file.append(&tiles[1..]).unwrap();
        disk.inject(Fault {
            target: Target::Only(Operation::Sync),
            after: 0,
            from_then_on: false,
            error: io::ErrorKind::Other,
            kind: FaultKind::Failed,
        });
        file.sync().unwrap_err();
        file.sync().unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.power_cut(Survival::Nothing, 1));
        let file = TileFile::open(&shared, [3; 16], tiles.len() as u64).unwrap().unwrap();
        for tile in &tiles {
            assert_eq!(file.read(tile.id).unwrap(), tile.nodes);
        }
    }

    /// The format on disk. If this fails the format has changed.
    #[test]
    fn golden_bytes() {
        let (disk, ..) = filled();
        let bytes = disk.contents(TILES_NAME).unwrap();
        let hex = |bytes: &[u8]| {
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.concat()
        };
        assert_eq!(
            hex(&bytes[8160..8192]),
            "54494c451f1595a6000000000000000003030303030303030303030303030303"
        );
    }
}

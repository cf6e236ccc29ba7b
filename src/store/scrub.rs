//! What the check in the background needs of a store.

use stemedb_wal::{
    clock::READING_LIMIT,
    disk::Disk,
    log::LogReader,
    repair::{ScrubStep, Scrubber},
};

use stemedb_merkle::history::tile::TileId;

use super::{Store, check::disk_error, lock};
use crate::error::ReadError;

impl Store {
    /// Reads the log on, for about so many bytes. Bodies are held against their ids.
    pub(crate) fn scrub_log(
        &self,
        scrubber: &mut Scrubber,
        budget: u64,
    ) -> Result<ScrubStep, ReadError> {
        let hash = self.hashing.hasher().ok_or(ReadError::SecretMissing)?;
        scrubber.step(&self.reader, budget, Some(&hash)).map_err(disk_error)
    }

    /// For whoever reads a part of the log.
    pub(crate) fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// How many tiles of the history there are.
    pub(crate) fn tiles(&self) -> u64 {
        self.shared.tiles.len()
    }

    /// What is wrong with a tile of the history.
    pub(crate) fn tile_fault(&self, number: u64) -> Option<stemedb_wal::tiles::TileError> {
        TileId::at(number).and_then(|id| self.shared.tiles.read(id).err())
    }

    /// Where the store lies.
    pub(crate) fn disk(&self) -> &dyn Disk {
        self.shared.disk.as_ref()
    }

    /// The wall clock, NTP64; `None` before 1970, and for a reading that the log would not take.
    pub(crate) fn wall_clock(&self) -> Option<u64> {
        let reading = (self.shared.world.clock)().0;
        (1..READING_LIMIT).contains(&reading).then_some(reading)
    }

    /// Which store and which of its logs this is.
    pub(crate) fn log_id(&self) -> ([u8; 16], u32) {
        let identity = lock(&self.shared.identity);
        (identity.store_id, identity.generation)
    }

    /// How many bytes of the log are published.
    pub(crate) fn log_end(&self) -> u64 {
        self.reader.end()
    }
}

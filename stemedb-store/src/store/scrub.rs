//! What the check in the background needs of a store.

use crate::clock::READING_LIMIT;
use stemedb_wal::{
    Position,
    check::{ScrubStep, Scrubber},
    disk::Disk,
    log::LogReader,
};

use stemedb_merkle::{Timestamp, history::tile::TileId};

use super::{StoreReader, check::disk_error, lock};
use crate::error::{ReadError, TreeFailure};

impl StoreReader {
    /// Reads the log on, for about so many bytes. Bodies are held against their ids.
    ///
    /// # Errors
    ///
    /// If the secret is missing, or the disk fails in a way that is not damage.
    pub fn scrub_log(&self, scrubber: &mut Scrubber, budget: u64) -> Result<ScrubStep, ReadError> {
        let hash = self.hashing.hasher().ok_or(ReadError::SecretMissing)?;
        scrubber.step(&self.reader, budget, Some(&hash)).map_err(disk_error)
    }

    /// Reader of the log.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// How many tiles of the history there are.
    pub fn tiles(&self) -> u64 {
        self.shared.tiles.len()
    }

    /// What is wrong with a tile of the history.
    pub fn tile_fault(&self, number: u64) -> Option<crate::tiles::TileError> {
        TileId::at(number).and_then(|id| self.shared.tiles.read(id).err())
    }

    /// Where the store lies.
    pub fn disk(&self) -> &dyn Disk {
        self.shared.disk.as_ref()
    }

    /// Lock to hold while a small file in the store's directory is read and replaced.
    ///
    /// # Errors
    ///
    /// [`ReadError::Closed`] once the store is closed: the directory may be another process's.
    pub fn lock_caches(&self) -> Result<std::sync::MutexGuard<'_, ()>, ReadError> {
        let held = lock(&self.shared.caches);
        match self.shared.index.failure() {
            Some(TreeFailure::Closed) => Err(ReadError::Closed),
            _ => Ok(held),
        }
    }

    /// The wall clock; `None` before 1970, and for a reading that the log would not take.
    pub fn wall_clock(&self) -> Option<Timestamp> {
        let reading = self.clock_time();
        (reading > Timestamp::MIN && reading < READING_LIMIT).then_some(reading)
    }

    /// Which store and which of its logs this is.
    pub fn generation(&self) -> ([u8; 16], u32) {
        let identity = lock(&self.shared.identity);
        (identity.store_id, identity.generation)
    }

    /// How many bytes of the log are published.
    pub fn log_end(&self) -> Position {
        self.reader.end()
    }
}

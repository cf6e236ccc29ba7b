//! Sizes of a store.

use std::io;

use stemedb_merkle::{LogIndex, LogSize, Timestamp};

use crate::{checkpoint::Checkpoint, clock::ClockReport, tiles::SLOT_LEN};
use stemedb_wal::{
    disk::{Disk, is_quarantined},
    error::{Action, DiskError},
    remote::segment_of_stub,
    sealed::parse_segment_name,
};

use super::{StoreReader, check::disk_error, lock};
use crate::Head;
use crate::error::ReadError;

/// Sizes and times of a store. All of it is known: nothing is zero by default.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Counts and roots.
    pub head: Head,
    /// How many bodies are lost to damage and have not come back.
    pub holes: u64,
    /// Which store this is, for good.
    pub store_id: [u8; 16],
    /// Raised whenever the directory turns out to be a copy, or a repair begins a new log.
    pub epoch: u64,
    /// Which of the store's logs this is: raised by a repair that begins a new one.
    pub generation: u32,
    /// Whether the store has a secret.
    pub secret: bool,
    /// How many segments the log has.
    pub segments: u64,
    /// How many bytes the log has.
    pub log_bytes: u64,
    /// How many bytes its files have: fewer where segments are compressed, or in an archive.
    /// Absent of a store on another machine.
    pub log_stored_bytes: Option<u64>,
    /// How many bytes are reserved for what comes, in the last segment and the spare one.
    pub spare_bytes: u64,
    /// How many bytes the tiles of the history have.
    pub history_bytes: u64,
    /// How many files the restart checkpoint has.
    pub checkpoints: u64,
    /// How many bytes they have.
    pub checkpoint_bytes: u64,
    /// How many entries the restart checkpoint covers; opening replays the others.
    pub checkpoint_log_size: LogSize,
    /// How many bytes recovery and repair have quarantined.
    pub quarantined_bytes: u64,
    /// How many bytes of memory the set tree takes, beside the restart checkpoint.
    pub memory_bytes: u64,
    /// The time of the first entry.
    pub first_time: Option<Timestamp>,
    /// The time of the last entry.
    pub last_time: Option<Timestamp>,
    /// The time of the last entry that the restart checkpoint covers.
    pub checkpoint_time: Option<Timestamp>,
    /// How many ids begin with each byte.
    pub subtrees: [u64; 256],
}

/// What of a store's sizes is at hand: nobody waits for it, and nothing is read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Gauges {
    /// How many assertions are held.
    pub count: u64,
    /// How many entries the log has.
    pub log_size: LogSize,
    /// How many bytes the log has.
    pub log_bytes: u64,
    /// How many segments the log has.
    pub segments: u64,
    /// Up to where the restart checkpoint goes; absent while it is being replaced.
    pub checkpoint: Option<CheckpointGauges>,
    /// Whether nothing can be appended until the store is opened again.
    pub writer_failed: bool,
}

/// Up to where the restart checkpoint goes.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct CheckpointGauges {
    /// How many entries it covers.
    pub log_size: LogSize,
    /// The time of the last of them.
    pub last_time: Timestamp,
}

impl StoreReader {
    /// Whether a write or a sync failed, so that nothing can be appended until the store is opened
    /// again. O(1).
    pub fn writer_failed(&self) -> bool {
        self.reader.failure().is_some()
    }

    /// How the system's clock stands to the log at this moment. O(1).
    pub fn clock_report(&self) -> ClockReport {
        let last = (self.log_size() != 0).then(|| self.reader.last_time());
        ClockReport::of((self.shared.world.clock)(), last)
    }

    /// Why nothing can be appended until the store is reopened, if so.
    pub fn failure(&self) -> Option<&DiskError> {
        self.reader.failure()
    }

    /// Sizes that are at hand. O(1).
    pub fn gauges(&self) -> Gauges {
        let checkpoint = self.shared.checkpoint.try_lock().ok().map(|checkpoint| {
            let covered = checkpoint.as_ref().map(Checkpoint::covered);
            covered.map_or_else(CheckpointGauges::default, |covered| CheckpointGauges {
                log_size: LogSize(covered.next_index),
                last_time: Timestamp::from_ntp64(covered.last_time),
            })
        });
        let (count, reached) = self.shared.index.sizes();
        Gauges {
            count,
            log_size: reached.next_index.entries_before(),
            log_bytes: self.reader.end().get(),
            segments: self.reader.segments_len(),
            checkpoint,
            writer_failed: self.writer_failed(),
        }
    }

    /// Sizes and times. O(N), for the counts by first byte.
    ///
    /// # Errors
    ///
    /// If a part can't be read.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        let snapshot = self.snapshot()?;
        let head = snapshot.head();
        let identity = lock(&self.shared.identity).clone();
        let checkpoint = lock(&self.shared.checkpoint).clone();
        let files = checkpoint.as_ref().map(Checkpoint::file_sizes).unwrap_or_default();
        let log = self.reader.stats().map_err(disk_error)?;
        let disk = self.shared.disk.as_ref();
        let (mut spare_bytes, mut quarantined_bytes, mut stored_bytes) = (log.reserved, 0, 0);
        let failed =
            |name: &str, source| disk_error(DiskError::new(Action::List, disk.path(name), source));
        for name in disk.list().map_err(|source| failed("", source))? {
            let len = file_len(disk, &name).map_err(|source| failed(&name, source))?;
            if is_quarantined(&name) {
                quarantined_bytes += len;
            } else if name == stemedb_wal::disk::SPARE_NAME {
                spare_bytes += len;
            } else if is_segment(&name, identity.generation) {
                stored_bytes += len;
            }
        }
        let first_time = self.entry(LogIndex(0))?.map(|entry| entry.time);
        Ok(Stats {
            head,
            holes: head.log_size.get() - head.count,
            store_id: identity.store_id,
            epoch: identity.epoch,
            generation: identity.generation,
            secret: identity.secret_check.is_some(),
            segments: log.segments,
            log_bytes: log.bytes,
            log_stored_bytes: Some(stored_bytes.saturating_sub(log.reserved)),
            spare_bytes,
            history_bytes: self.shared.tiles.len() * SLOT_LEN as u64,
            checkpoints: files.len() as u64,
            checkpoint_bytes: files.iter().map(|(_, len)| len).sum(),
            checkpoint_log_size: self.checkpoint_log_size(),
            quarantined_bytes,
            memory_bytes: snapshot.tree().memory_len(),
            first_time,
            last_time: first_time.map(|_| head.last_time),
            checkpoint_time: checkpoint
                .map(|found| Timestamp::from_ntp64(found.covered().last_time)),
            subtrees: snapshot.counts_by_first_byte()?,
        })
    }
}

/// Whether a file is a segment of the log, or the stub of one.
fn is_segment(name: &str, generation: u32) -> bool {
    let segment = segment_of_stub(name);
    let parsed = parse_segment_name(segment.as_deref().unwrap_or(name));
    parsed.is_some_and(|(of, _)| of == generation)
}

/// The length of a file; 0 if it has been removed since it was listed.
fn file_len(disk: &dyn Disk, name: &str) -> io::Result<u64> {
    match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        file => file?.len(),
    }
}

//! What an archive asks of a store: its sealed segments, and what they hold together.

use std::{collections::HashSet, io, sync::Arc};

use crate::checkpoint::{Checkpoint, Covered};
use stemedb_merkle::{Hash, LogSize, Root};
use stemedb_wal::{
    disk::DiskFile,
    error::{AppendError as LogAppendError, DiskError},
    identity::Identity,
    sealed::SealedSegment,
};

use super::{Store, StoreReader, check::disk_error, lock};
use crate::{
    error::{AppendError, HistoryError, ReadError},
    options::Hashing,
};

/// Roots over the front of a log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrontHead {
    /// Number of assertions held.
    pub count: u64,
    /// Root over them.
    pub set_root: Root,
    /// Root over the history of these entries.
    pub log_root: Root,
}

/// Why the roots over the front of a log cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The trees or the log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The restart checkpoint in use: what it covers, and its files, open.
#[derive(Debug)]
pub struct CheckpointFiles {
    /// Part of the log that it covers.
    pub covered: Covered,
    /// Name, length in bytes, and handle of each file.
    pub files: Vec<(String, u64, Arc<dyn DiskFile>)>,
}

impl StoreReader {
    /// Identity of the store.
    pub fn identity(&self) -> Identity {
        lock(&self.shared.identity).clone()
    }

    /// Way in which bodies are hashed.
    pub fn hashing(&self) -> Hashing {
        self.hashing
    }

    /// The sealed segments, in order.
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        self.reader.sealed_segments()
    }

    /// Bytes of a sealed segment.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn read_sealed(&self, segment: &SealedSegment) -> Result<Vec<u8>, DiskError> {
        self.reader.read_sealed(segment)
    }

    /// The names of the segments whose bodies are only in the archive.
    ///
    /// # Errors
    ///
    /// If the directory cannot be listed.
    pub fn dropped_segments(&self) -> Result<Vec<String>, ReadError> {
        self.reader.dropped_segments().map_err(disk_error)
    }

    /// Whether segments can be read that are only in the archive.
    pub fn reads_dropped(&self) -> bool {
        self.reader.has_source()
    }

    /// How many entries the restart checkpoint covers, which opening does not replay.
    pub fn checkpoint_log_size(&self) -> LogSize {
        let checkpoint = lock(&self.shared.checkpoint);
        LogSize(checkpoint.as_ref().map_or(0, |found| found.covered().next_index))
    }

    /// The restart checkpoint in use, if there is one and its files are still there.
    ///
    /// # Errors
    ///
    /// If a file cannot be opened.
    pub fn checkpoint_files(&self) -> io::Result<Option<CheckpointFiles>> {
        let checkpoint = lock(&self.shared.checkpoint).clone();
        let Some(checkpoint) = checkpoint else { return Ok(None) };
        let open = |(name, len): (String, u64)| {
            let file = self.shared.disk.open(&name)?;
            Ok((name, len, file))
        };
        let files = Checkpoint::file_sizes(&checkpoint).into_iter().map(open);
        match files.collect::<io::Result<Vec<_>>>() {
            Ok(files) => Ok(Some(CheckpointFiles { covered: checkpoint.covered().clone(), files })),
            // It has just been replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The roots over the first `log_size` entries, of which the bodies of `missing` are left out,
    /// and no other: also not those that were lost here. O(d log N) for d entries behind them.
    ///
    /// # Errors
    ///
    /// See [`FrontError`].
    pub fn front_head(
        &self,
        log_size: LogSize,
        missing: &HashSet<Hash>,
    ) -> Result<FrontHead, FrontError> {
        let (view, holes) = {
            let folded = self.shared.index.folded().map_err(ReadError::from)?;
            (self.shared.index.view_of(&folded), folded.sorted_holes())
        };
        let lost_here = holes.iter().filter(|(_, hole)| log_size.has(hole.index));
        let added: Vec<Hash> =
            lost_here.map(|(id, _)| *id).filter(|id| !missing.contains(id)).collect();
        let mut removed = Vec::new();
        let held = |id: &Hash| view.tree.contains(id).map_err(ReadError::from);
        for entry in self.reader.entries(log_size.next_index()..view.history.size().next_index()) {
            let entry = entry.map_err(ReadError::from)?;
            if held(&entry.id)? {
                removed.push(entry.id);
            }
        }
        for id in missing {
            if held(id)? {
                removed.push(*id);
            }
        }
        let set_root = view.tree.hypothetical_root(&added, &removed).map_err(ReadError::from)?;
        Ok(FrontHead {
            count: log_size.get() - missing.len() as u64,
            set_root,
            log_root: self.history_root_at(log_size)?,
        })
    }
}

impl Store {
    /// Drops a segment that is in the archive at `place` as these parts. How many bytes that frees.
    ///
    /// # Errors
    ///
    /// If the segment is not what was archived, or the disk fails.
    pub fn drop_segment(&self, name: &str, place: &str, parts: &[Hash]) -> Result<u64, DiskError> {
        let hash = |part: &[u8]| *blake3::hash(part).as_bytes();
        self.reader.drop_sealed(name, place, parts, &hash)
    }

    /// Seals the open segment, unless nothing is in it. Whether it did.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn seal_log(&self) -> Result<bool, AppendError> {
        let sealed: Result<bool, LogAppendError> =
            self.writer()?.call(|log, _| log.seal_open()).map_err(AppendError::from)?;
        Ok(sealed?)
    }
}

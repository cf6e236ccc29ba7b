//! Checking a whole store.

use crate::{checkpoint::Checkpoint, tiles::SLOT_LEN};
use stemedb_merkle::{
    AssertionId, Entry as SetEntry, LogIndex, MerkleTree,
    history::{
        History, leaf_hash,
        tile::{TileId, complete_tiles},
    },
};
use stemedb_wal::{
    error::{DiskError, ReadError as LogReadError},
    log::Kind,
    repair::HashBodies,
};

use super::{StoreReader, lock};
use crate::{Fault, error::ReadError, index::View};

/// How much [`StoreReader::check`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every checksum.
    Checksums,
    /// Also every body against its id, every page of the set tree, every tile of the history, and
    /// both roots, rebuilt from the log alone.
    Deep,
}

/// How far something long has come, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many are done.
    pub done: u64,
    /// How many there are, as far as is known.
    pub total: u64,
}

/// What [`StoreReader::check`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// How many entries the log has.
    pub entries: u64,
    /// How many bytes were checked.
    pub bytes: u64,
    /// How many segments.
    pub segments: u64,
    /// Of how many of them the bodies are only in an archive. Of these, all else was checked:
    /// bodies are checked where they are, by `Archive::verify` of `stemedb-archive`.
    pub remote_segments: u64,
    /// How many files of the restart checkpoint.
    pub checkpoints: u64,
    /// What is wrong; nothing for a store that is whole.
    pub faults: Vec<Fault>,
}

impl StoreReader {
    /// Checks the store while it is in use: what was appended when the check began. `progress` is
    /// told now and then.
    ///
    /// O(bytes); with [`Depth::Deep`] also 100 bytes of memory an assertion.
    ///
    /// # Errors
    ///
    /// If the disk fails. What is damaged is in the report.
    pub fn check(
        &self,
        depth: Depth,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<CheckReport, ReadError> {
        let deep = depth == Depth::Deep;
        let hasher = self.hashing.hasher();
        if deep && hasher.is_none() {
            return Err(ReadError::SecretMissing);
        }
        let view = self.shared.index.view()?;
        let checkpoint = lock(&self.shared.checkpoint).clone();
        let files = checkpoint.as_ref().map(Checkpoint::file_sizes).unwrap_or_default();
        let log = self.reader.stats().map_err(disk_error)?;
        // Those that could not be written, on a full disk, say, are no damage: they are a cache.
        let tiles = complete_tiles(view.history.size()).min(self.shared.tiles.len());
        let file_bytes: u64 = files.iter().map(|(_, len)| len).sum();
        let mut report = CheckReport {
            entries: view.history.size().0,
            segments: log.segments,
            remote_segments: self.dropped_segments()?.len() as u64,
            checkpoints: files.len() as u64,
            ..CheckReport::default()
        };
        let total = log.bytes + file_bytes + tiles * SLOT_LEN as u64;
        let mut done = 0;
        let hash = hasher.as_ref().filter(|_| deep).map(|hasher| hasher as &dyn HashBodies);
        let damage = self.reader.check(hash, LogIndex(0), &mut |read| {
            done = read;
            progress(Progress { done, total });
        });
        report.faults.extend(damage.map_err(disk_error)?.into_iter().map(Fault::Log));
        if let Some(checkpoint) = &checkpoint {
            let disk = self.shared.disk.as_ref();
            let checked = checkpoint.check_on(disk, &mut |bytes| {
                done += bytes;
                progress(Progress { done, total });
                true
            });
            let checked =
                checked.and_then(|()| if deep { checkpoint.check_filters() } else { Ok(()) });
            report.faults.extend(checked.err().map(Fault::CheckpointFile));
        }
        for number in 0..tiles {
            if let Some(Err(error)) = TileId::at(number).map(|id| self.shared.tiles.read(id)) {
                report.faults.push(Fault::Tile(error));
            }
            done += SLOT_LEN as u64;
        }
        progress(Progress { done, total });
        if deep {
            self.rebuild(&view, &mut report);
        }
        report.bytes = done;
        Ok(report)
    }

    /// Rebuilds both trees from the log's entries and compares.
    fn rebuild(&self, view: &View, report: &mut CheckReport) {
        let mut history = History::new();
        let mut tiles = Vec::new();
        let mut held = Vec::new();
        for entry in self.reader.entries(LogIndex(0)..view.history.size().next_index()) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return report.faults.push(Fault::Entry(error)),
            };
            history.append(leaf_hash(entry.time, &entry.id), |tile| tiles.push(tile));
            let position = if entry.kind == Kind::Hole {
                match view.tree.position(&entry.id) {
                    Ok(Some(position)) => position,
                    Ok(None) => continue,
                    Err(error) => return report.faults.push(Fault::Checkpoint(error)),
                }
            } else {
                entry.position.get()
            };
            held.push(SetEntry { id: entry.id, position });
            for tile in tiles.drain(..) {
                match self.shared.tiles.read(tile.id) {
                    Ok(nodes) if nodes == tile.nodes => {}
                    Ok(_) => report.faults.push(Fault::OtherTile { number: tile.id.number() }),
                    // Found and told already.
                    Err(_) => {}
                }
            }
        }
        if history.root() != view.history.root() {
            report.faults.push(Fault::HistoryRoot { rebuilt: history.root() });
        }
        let mut tree = MerkleTree::new();
        if let Err(error) = tree.insert_batch(&held) {
            return report.faults.push(Fault::Checkpoint(error));
        }
        if tree.root() != view.tree.root() {
            report.faults.push(Fault::SetRoot { rebuilt: tree.root() });
        }
        // Every page of the tree in use, against the one just built.
        for (found, built) in view.tree.iter().zip(tree.iter()) {
            match (found, built) {
                (Ok(found), Ok(built)) if found == built => {}
                (Ok(found), _) => {
                    return report.faults.push(Fault::Position { id: AssertionId(found.id) });
                }
                (Err(error), _) => return report.faults.push(Fault::Checkpoint(error)),
            }
        }
    }
}

pub(super) fn disk_error(error: DiskError) -> ReadError {
    LogReadError::Disk(error).into()
}

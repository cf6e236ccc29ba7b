//! Restart checkpoints: what makes opening a store fast, however much it holds.
//!
//! A checkpoint is a chain of files: a **base** with the whole set tree, and **deltas**, each with
//! what came since the file below it. They are used where they lie (mapped, or loaded whole), so
//! that opening takes time in proportion to the log's tail behind them only. A new delta takes in
//! those below it that are not much larger, and all fold into a new base when they reach a quarter
//! of it: over a store's life each entry is rewritten a few times, and one append never rewrites
//! the base.
//!
//! All of it is a cache of the log. A file that is missing, damaged, of another log or ahead of its
//! log is set aside, the store says so, and the log rebuilds what it held.

use core::ops::Range;
use std::{io, sync::Arc};

use stemedb_merkle::{
    Entry, Hash, MappedSetError,
    set::{
        Changes,
        build::BuildError,
        mapped::{BaseArrays, DeltaArrays, IdArrays, MappedSet, page_bits},
    },
};

use self::{
    base::BaseFile,
    blocks::{BlockFile, BlockWriter, Opening},
    delta::DeltaFile,
    header::Header,
    state::StateRanges,
};
use stemedb_wal::{
    disk::Disk,
    error::{Action, DiskError},
    files::{failed, quarantine, sync_dir},
    log::Watermark,
};

mod base;
mod blocks;
mod delta;
mod header;
mod id_filter;
mod payload;
mod state;
#[cfg(test)]
pub(crate) mod tests;

pub use self::{header::Covered, state::CheckpointState};

/// How the names of all checkpoint files end.
const EXTENSION: &str = ".ckpt";

/// A checkpoint has at most this many deltas: a lookup asks each.
pub const DELTAS_MAX: usize = 6;

/// So many ids are held against a filter at a time.
const FILTER_CHECK_LEN: usize = 1 << 12;

/// Why a checkpoint file is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// It can't be read.
    #[error("cannot be read: {0}")]
    Io(io::ErrorKind),
    /// It ends within its header.
    #[error("is shorter than a header")]
    Short,
    /// It begins with something else.
    #[error("is not a restart checkpoint")]
    NotACheckpoint,
    /// It was written by another version of this program.
    #[error("has format version {version}, which this version does not read")]
    Version {
        /// The version.
        version: u32,
    },
    /// The header fails its checksum.
    #[error("has a damaged header")]
    Header,
    /// It is longer or shorter than its header says.
    #[error("has another length than its header says")]
    Length,
    /// The list of checksums is damaged.
    #[error("has damaged checksums")]
    Blocks,
    /// The arrays are not where and as long as they have to be.
    #[error("contradicts itself")]
    Payload,
    /// A block is damaged, or parts contradict each other.
    #[error("is damaged: {0}")]
    MappedSet(MappedSetError),
    /// The hashes don't give the root that it says.
    #[error("does not have the root that it says")]
    Root,
    /// It is of another store.
    #[error("belongs to another store")]
    OtherStore,
    /// It is of a log that a repair replaced.
    #[error("belongs to an earlier log of this store")]
    OtherGeneration,
    /// The log has another entry where it ends.
    #[error("does not belong to what the log holds")]
    OtherLog,
    /// What it stands on is not there.
    #[error("stands on a checkpoint that is not there")]
    Orphan,
    /// The tiles of the history tree don't reach as far.
    #[error("reaches further than the tiles of the history")]
    Tiles,
}

/// A checkpoint file that was found to be of no use and renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The file.
    pub file: String,
    /// Why.
    pub fault: CheckpointFault,
}

impl core::fmt::Display for SetAside {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { file, fault } = self;
        write!(f, "the restart checkpoint {file} {fault}; set aside, the log rebuilds it")
    }
}

/// Why a checkpoint can't be written. The store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// I/O error.
    #[error("cannot write a restart checkpoint; appends are not affected")]
    Io(#[from] io::Error),
    /// A part of the checkpoint before is damaged.
    #[error("cannot write a restart checkpoint from the one before")]
    MappedSet(#[from] MappedSetError),
    /// The tree hands out its entries in disorder.
    #[error("cannot write a restart checkpoint")]
    Build(#[from] BuildError),
    /// The log is longer than a checkpoint can say.
    #[error("the log has passed position {position}, beyond what a restart checkpoint can hold")]
    PositionTooLarge {
        /// The position.
        position: u64,
    },
    /// The mapped set cannot be put together.
    #[error("cannot put a restart checkpoint together")]
    Payload,
    /// What was written does not have the root of what was to be written.
    #[error("a restart checkpoint came out with another root than the set's; it was not kept")]
    OtherRoot,
}

/// A checkpoint in use.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    base: Arc<BaseFile>,
    deltas: Vec<Arc<DeltaFile>>,
}

/// What [`load`] found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The checkpoint, if there is one that can be used.
    pub checkpoint: Option<Checkpoint>,
    /// Files of no use, which [`tidy`](Self::tidy) renames.
    pub set_aside: Vec<SetAside>,
    /// How far the log was durable when the newest file of it was written, whether the rest of that
    /// file is of use or not: a log that ends before this is damaged.
    pub mark: Option<Watermark>,
    /// Files that others replaced, which [`tidy`](Self::tidy) removes.
    left_over: Vec<Arc<str>>,
}

impl Loaded {
    /// Gives up the checkpoint, if there is one: it is among what is set aside from then on.
    pub fn give_up(&mut self, fault: &CheckpointFault) {
        if let Some(checkpoint) = self.checkpoint.take() {
            self.set_aside.extend(checkpoint.aside(fault));
        }
    }

    /// Renames what is of no use and removes what was replaced, durably.
    ///
    /// Only once the log has been opened: until then these files are what tells that it has lost
    /// its end.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn tidy(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        for name in &self.left_over {
            disk.remove(name).map_err(|source| failed(disk, Action::Remove, name, source))?;
        }
        rename_aside(disk, &self.set_aside)
    }
}

/// Whether a file of this name is one of a checkpoint, in use or not.
pub(crate) fn is_checkpoint(name: &str) -> bool {
    name.ends_with(EXTENSION) && !name.starts_with("aside-")
}

/// Finds the checkpoint of a log, and changes nothing: see [`Loaded::tidy`].
///
/// # Errors
///
/// If the directory can't be listed.
pub fn load(
    disk: &dyn Disk,
    store_id: [u8; 16],
    generation: u32,
    in_place: bool,
) -> Result<Loaded, DiskError> {
    let mut loaded = Loaded::default();
    let mut files = Vec::new();
    let names = disk.list().map_err(|source| failed(disk, Action::List, "", source))?;
    for name in names {
        if !is_checkpoint(&name) {
            continue;
        }
        let file = Opening::new(disk, &name, in_place).and_then(|opening| {
            let covered = opening.covered();
            if covered.store_id != store_id {
                return Err(CheckpointFault::OtherStore);
            }
            if covered.generation != generation {
                return Err(CheckpointFault::OtherGeneration);
            }
            // Also of a file whose rest is damaged: its header has a checksum of its own.
            loaded.mark = loaded.mark.max(Some(covered.mark()));
            opening.finish()
        });
        match file {
            Ok(file) => files.push(file),
            Err(fault) => loaded.set_aside.push(SetAside { file: name, fault }),
        }
    }
    // The newest base, and on it the longest chain. Older files are left over from a crash between
    // the writing of a checkpoint and the removal of what it replaces.
    files.sort_by_key(|file| file.header.covered.position);
    let (deltas, mut bases): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.header.below.is_some());
    let base = bases.pop();
    loaded.left_over.extend(bases.into_iter().map(|file| file.name));
    let mut checkpoint = match base.map(|file| (Arc::clone(&file.name), BaseFile::open(file))) {
        None => None,
        Some((_, Ok(base))) => Some(Checkpoint { base: Arc::new(base), deltas: Vec::new() }),
        Some((name, Err(fault))) => {
            loaded.set_aside.push(SetAside { file: name.to_string(), fault });
            None
        }
    };
    let chain = checkpoint.as_ref().map(|base| newest_chain(base.top_id(), &deltas));
    let chain = chain.unwrap_or_default();
    let reached = chain.iter().map(|delta| delta.position).max().unwrap_or(0);
    for file in deltas {
        let name = Arc::clone(&file.name);
        let DeltaId { position, .. } = DeltaId::of(&file);
        let replaced = position < reached && !chain.contains(&DeltaId::of(&file));
        let opened = match &checkpoint {
            Some(below) if position <= below.covered().position || replaced => {
                loaded.left_over.push(name);
                continue;
            }
            Some(below) if file.header.below == Some(below.top_id()) => {
                DeltaFile::open(file, page_bits(below.base.len() as u64))
            }
            _ => Err(CheckpointFault::Orphan),
        };
        match (opened, &mut checkpoint) {
            (Ok(delta), Some(checkpoint)) => checkpoint.deltas.push(Arc::new(delta)),
            (Ok(_), None) => {}
            (Err(fault), _) => {
                loaded.set_aside.push(SetAside { file: name.to_string(), fault });
            }
        }
    }
    if let Some(found) = &checkpoint
        && let Err(fault) = found.check_top()
    {
        loaded.set_aside.extend(found.aside(&fault));
        checkpoint = None;
    }
    loaded.checkpoint = checkpoint;
    Ok(loaded)
}

/// What tells a delta from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DeltaId {
    header_crc: u32,
    position: u64,
}

impl DeltaId {
    fn of(file: &BlockFile) -> Self {
        Self { header_crc: file.header_crc, position: file.header.covered.position }
    }
}

/// The newest of the deltas, which are sorted, that leads down to the base, and all on its way.
///
/// Beside it there can be deltas that it replaced, and that a crash kept from being removed.
fn newest_chain(base: (u32, u64), deltas: &[BlockFile]) -> Vec<DeltaId> {
    let mut tops = deltas.iter().enumerate().rev();
    tops.find_map(|(top, file)| {
        let mut chain = vec![DeltaId::of(file)];
        let mut wanted = file.header.below?;
        for file in deltas.get(..top)?.iter().rev() {
            let delta = DeltaId::of(file);
            if (delta.header_crc, delta.position) == wanted {
                chain.push(delta);
                wanted = file.header.below?;
            }
        }
        (wanted == base).then_some(chain)
    })
    .unwrap_or_default()
}

/// Renames files that are of no use, durably.
fn rename_aside(disk: &dyn Disk, files: &[SetAside]) -> Result<(), DiskError> {
    for SetAside { file, .. } in files {
        quarantine(disk, file)?;
    }
    if files.is_empty() { Ok(()) } else { sync_dir(disk) }
}

impl Checkpoint {
    /// What it covers.
    pub fn covered(&self) -> &Covered {
        &self.top().header.covered
    }

    fn top(&self) -> &BlockFile {
        self.top_state().0
    }

    fn top_id(&self) -> (u32, u64) {
        (self.top().header_crc, self.covered().position)
    }

    /// The files, the base first.
    fn files(&self) -> impl Iterator<Item = &BlockFile> {
        core::iter::once(&self.base.file).chain(self.deltas.iter().map(|delta| &delta.file))
    }

    /// The names and lengths of the files, the base first.
    pub fn file_sizes(&self) -> Vec<(String, u64)> {
        self.files().map(|file| (file.name.to_string(), file.file_len())).collect()
    }

    /// The set tree in it.
    pub fn mapped_set(&self) -> MappedSet {
        let base: Arc<dyn BaseArrays> = Arc::clone(&self.base) as _;
        let deltas = self.deltas.iter().map(|delta| Arc::clone(delta) as Arc<dyn DeltaArrays>);
        MappedSet::new(base, deltas.collect())
    }

    /// Sets `maybe` for each of the ids that may be in one part of the [set](Self::mapped_set), by
    /// its filter: certainly if it is, and for 1 in 90 that are not. Those of which it is set
    /// already are left out.
    ///
    /// # Errors
    ///
    /// If the filter is damaged.
    pub fn part_may_have(
        &self,
        part: usize,
        ids: &[Hash],
        maybe: &mut [bool],
    ) -> Result<(), MappedSetError> {
        let (file, filter) = match part.checked_sub(1) {
            None => (&self.base.file, &self.base.filter),
            Some(delta) => {
                let delta = self.deltas.get(delta);
                let delta = delta.ok_or_else(|| self.base.file.inconsistent())?;
                (&delta.file, &delta.filter)
            }
        };
        id_filter::look_up(file, filter, ids, maybe)
    }

    /// The filter of each file, and the ids that it is over.
    fn filters(&self) -> impl Iterator<Item = (&BlockFile, &Range<usize>, &dyn IdArrays)> {
        let base = core::iter::once((&self.base.file, &self.base.filter, &*self.base as _));
        base.chain(self.deltas.iter().map(|delta| (&delta.file, &delta.filter, &**delta as _)))
    }

    /// Checks that each filter knows all ids of its file. O(N).
    ///
    /// # Errors
    ///
    /// If one does not, or a part is damaged.
    pub fn check_filters(&self) -> Result<(), CheckpointFault> {
        for (file, filter, arrays) in self.filters() {
            for first in (0..arrays.len()).step_by(FILTER_CHECK_LEN) {
                let mut ids = vec![[0; 32]; FILTER_CHECK_LEN.min(arrays.len() - first)];
                let mut maybe = vec![false; ids.len()];
                let looked_up = arrays
                    .ids(first, &mut ids)
                    .and_then(|()| id_filter::look_up(file, filter, &ids, &mut maybe));
                looked_up.map_err(CheckpointFault::MappedSet)?;
                if maybe.contains(&false) {
                    return Err(CheckpointFault::Payload);
                }
            }
        }
        Ok(())
    }

    fn top_state(&self) -> (&BlockFile, &StateRanges) {
        match self.deltas.last() {
            Some(delta) => (&delta.file, &delta.state),
            None => (&self.base.file, &self.base.state),
        }
    }

    /// What it holds beside the set tree.
    ///
    /// # Errors
    ///
    /// If that is damaged.
    pub fn state(&self) -> Result<CheckpointState, MappedSetError> {
        let (file, state) = self.top_state();
        state.read(file)
    }

    /// The coded symbols of the set that were saved with it; none if there were none.
    ///
    /// # Errors
    ///
    /// If they are damaged.
    pub fn symbols(&self) -> Result<Vec<[u8; 32]>, MappedSetError> {
        let (file, state) = self.top_state();
        state.symbols(file)
    }

    /// Whether coded symbols were saved with it.
    pub fn has_symbols(&self) -> bool {
        !self.top_state().1.symbols.is_empty()
    }

    fn check_top(&self) -> Result<(), CheckpointFault> {
        let covered = self.covered();
        let mapped = self.mapped_set();
        if mapped.len() != covered.count
            || stemedb_merkle::set::root(covered.count, &covered.top_hash) != covered.set_root
        {
            return Err(CheckpointFault::Root);
        }
        mapped.check_top(&covered.top_hash).map_err(CheckpointFault::MappedSet)
    }

    /// Checks every block. `progress` is told how many bytes have been read since the last time,
    /// and says whether to go on.
    ///
    /// # Errors
    ///
    /// At the first that is damaged.
    pub fn check(&self, progress: &mut dyn FnMut(u64) -> bool) -> Result<(), MappedSetError> {
        self.files().try_for_each(|file| file.check_all(file, progress))
    }

    /// Checks every block, read from the disk with calls and not through a map, so that it need not
    /// be checked when it is used. `progress` is as in [`check`](Self::check). Files that were
    /// replaced meanwhile are left out.
    ///
    /// # Errors
    ///
    /// At the first file that is damaged or can't be read.
    pub fn check_on(
        &self,
        disk: &dyn Disk,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), CheckpointFault> {
        for file in self.files() {
            match BlockFile::open(disk, &file.name, false) {
                Ok(found) if found.header_crc == file.header_crc => {
                    file.check_all(&found, progress).map_err(CheckpointFault::MappedSet)?;
                }
                Ok(_) | Err(CheckpointFault::Io(io::ErrorKind::NotFound)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn aside(&self, fault: &CheckpointFault) -> Vec<SetAside> {
        self.files()
            .map(|file| SetAside { file: file.name.to_string(), fault: fault.clone() })
            .collect()
    }

    /// Sets all its files aside: the next opening rebuilds them from the log. Readers that use them
    /// can go on doing so.
    ///
    /// # Errors
    ///
    /// If a file can't be renamed.
    pub fn set_aside(
        &self,
        disk: &dyn Disk,
        fault: &CheckpointFault,
    ) -> Result<Vec<SetAside>, DiskError> {
        let aside = self.aside(fault);
        rename_aside(disk, &aside)?;
        Ok(aside)
    }

    /// How many of its deltas a new one of `added` entries leaves as they are, and `None` if a new
    /// base had better be written.
    pub fn deltas_to_keep(&self, count: u64) -> Option<usize> {
        let base = self.base.len() as u64;
        let mut size = count.saturating_sub(self.covered().count);
        let mut kept = self.deltas.len();
        while let Some(delta) = kept.checked_sub(1).and_then(|last| self.deltas.get(last)) {
            let len = delta.len() as u64;
            if len > 2 * size && kept < DELTAS_MAX {
                break;
            }
            size += len;
            kept -= 1;
        }
        let changed = count.saturating_sub(base);
        (changed <= base / 4).then_some(kept)
    }

    /// The position up to which the base and the first `kept` deltas have everything.
    pub fn position_of(&self, kept: usize) -> u64 {
        let last = kept.checked_sub(1).and_then(|last| self.deltas.get(last));
        last.map_or(&self.base.file, |delta| &delta.file).header.covered.position
    }
}

/// Writes a base from all entries of a set, sorted, and drops what it replaces.
///
/// # Errors
///
/// If the disk fails or the entries don't have the root that they are said to have; nothing is
/// changed then.
pub fn write_base(
    disk: &dyn Disk,
    covered: &Covered,
    entries: impl Iterator<Item = Result<Entry, MappedSetError>>,
    state: &CheckpointState,
    in_place: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Checkpoint, WriteError> {
    let name = format!("base-{:020}{EXTENSION}", covered.position);
    write_file(disk, &name, covered, None, |writer| {
        let top_hash = base::write(writer, covered.count, entries, state, progress)?;
        if top_hash == covered.top_hash { Ok(()) } else { Err(WriteError::OtherRoot) }
    })?;
    let file = reopen(disk, &name, in_place)?;
    let base = BaseFile::open(file).map_err(|_| WriteError::Payload)?;
    let checkpoint = Checkpoint { base: Arc::new(base), deltas: Vec::new() };
    remove_others(disk, &checkpoint)?;
    Ok(checkpoint)
}

/// Writes a delta on top of the base and the first `kept` deltas of a checkpoint, and drops the
/// deltas that it replaces.
///
/// # Errors
///
/// If the disk fails; nothing is changed then.
pub fn write_delta(
    disk: &dyn Disk,
    below: &Checkpoint,
    kept: usize,
    covered: &Covered,
    changes: &Changes,
    state: &CheckpointState,
    in_place: bool,
) -> Result<Checkpoint, WriteError> {
    let mut checkpoint = below.clone();
    checkpoint.deltas.truncate(kept);
    let name = format!("delta-{:020}{EXTENSION}", covered.position);
    write_file(disk, &name, covered, Some(checkpoint.top_id()), |writer| {
        delta::write(writer, changes, state)
    })?;
    let file = reopen(disk, &name, in_place)?;
    let bits = page_bits(checkpoint.base.len() as u64);
    let delta = DeltaFile::open(file, bits).map_err(|_| WriteError::Payload)?;
    checkpoint.deltas.push(Arc::new(delta));
    checkpoint.check_top().map_err(|_| WriteError::OtherRoot)?;
    remove_others(disk, &checkpoint)?;
    Ok(checkpoint)
}

fn write_file(
    disk: &dyn Disk,
    name: &str,
    covered: &Covered,
    below: Option<(u32, u64)>,
    payload: impl FnOnce(&mut BlockWriter<'_>) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let temporary = format!("{name}.tmp");
    let file = disk.create(&temporary)?;
    let mut writer = BlockWriter::new(file.as_ref());
    let written = payload(&mut writer).and_then(|()| {
        let (payload_len, blocks_crc) = writer.finish()?;
        let covered = covered.clone();
        let version = header::FORMAT_VERSION;
        let header = Header { version, covered, below, payload_len, blocks_crc };
        file.write_at(&header.encode().0, 0)?;
        file.sync()?;
        disk.rename(&temporary, name)?;
        disk.sync_dir()?;
        Ok(())
    });
    if written.is_err() {
        // Best effort: recovery removes what is left of it.
        let _ = disk.remove(&temporary);
    }
    written
}

fn reopen(disk: &dyn Disk, name: &str, in_place: bool) -> Result<BlockFile, WriteError> {
    BlockFile::open_written(disk, name, in_place).map_err(|_| WriteError::Payload)
}

/// Removes all checkpoint files but those of `checkpoint`, whose files are synced.
fn remove_others(disk: &dyn Disk, checkpoint: &Checkpoint) -> Result<(), WriteError> {
    for name in disk.list()? {
        let kept = checkpoint.files().any(|file| *file.name == *name);
        if name.ends_with(EXTENSION) && !name.starts_with("aside-") && !kept {
            disk.remove(&name)?;
        }
    }
    Ok(())
}

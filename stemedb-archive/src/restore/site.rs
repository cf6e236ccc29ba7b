//! The directory while a store is made in it: nothing there opens as one before it is complete.
//!
//! Segments have names that no log opens until all are there and checked; then they get their own.
//! `IDENTITY`, without which nothing opens, has another name until the store was opened and held
//! against the manifest; that it gets its own comes last. Up to there the next attempt goes on.

use std::{io, path::PathBuf, sync::Arc};

use stemedb_merkle::{Hash, LogIndex, MerkleTree, hash::derive, history::tile::Tile};
use stemedb_store::{
    InternalError,
    checkpoint::{self, CheckpointFault, CheckpointState, Covered, SetAside},
    tiles::TileFile,
};
use stemedb_wal::{
    Position,
    disk::{DirLock, Disk, LOCK_NAME, is_log_file, is_temporary},
    error::{Action, DiskError},
    identity::{IDENTITY_NAME, Identity, IdentityError},
    log::{HoleEntry, Watermark},
    sealed::{
        HEADER_LEN, SegmentHeader, name_of, parse_segment_name, segment_name, unfinished_name,
        write_unfinished,
    },
};

use super::Restored;
use crate::{
    ArchiveError, Fault,
    manifest::{ArchivedSegment, Hex32, Manifest, PART_LEN, is_checkpoint_name},
    scan::Scan,
};
use stemedb_store::{
    options::{Options, Secret},
    store::{ENVIRONMENT, RevealError, Staged, Store, occupants},
};

/// There while a restore is under way; at its end, with the identity of the store that is made.
const MARKER_NAME: &str = "ARCHIVE-RESTORING";

pub(super) struct Site {
    dir: PathBuf,
    disk: Arc<Staged>,
    lock: Box<dyn DirLock>,
    scan: Scan,
    tiles: TileFile,
    completed: Vec<Tile>,
    generation: u32,
    /// The names of the segments, as they are to be.
    segments: Vec<String>,
}

impl Site {
    /// Takes a directory that is empty, missing, or what an interrupted restore left.
    pub(super) fn begin(
        (dir, disk): (PathBuf, Arc<dyn Disk>),
        manifest: &Manifest,
        scan: Scan,
    ) -> Result<Self, ArchiveError> {
        let failed = |action, source| DiskError::new(action, dir.clone(), source);
        let names = occupants(&*disk).map_err(|source| failed(Action::List, source))?;
        // Files that look like those of a restore may be a store that lost its identity, with what
        // the archive lacks.
        let ours = names.iter().any(|name| name == MARKER_NAME);
        let empty = names.iter().all(|name| name == LOCK_NAME);
        if !(empty || ours && names.iter().all(|name| is_left_over(name))) {
            return Err(ArchiveError::NotEmpty { dir });
        }
        let lock = disk.lock().map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => ArchiveError::Locked { dir: dir.clone() },
            _ => failed(Action::Open, source).into(),
        })?;
        let mark = || disk.create(MARKER_NAME)?.sync().and_then(|()| disk.sync_dir());
        mark().map_err(|source| failed(Action::Create, source))?;
        for name in &names {
            if parse_segment_name(name).is_some() {
                let unfinished = unfinished_name(name);
                disk.rename(name, &unfinished).map_err(|source| failed(Action::Rename, source))?;
            } else if is_checkpoint_name(name.strip_suffix(".tmp").unwrap_or(name)) {
                disk.remove(name).map_err(|source| failed(Action::Remove, source))?;
            }
        }
        // Those that an interrupted restore has written are written again.
        let tiles = TileFile::open(&disk, manifest.store_id, 0)?;
        let tiles = tiles.ok_or_else(|| failed(Action::Create, io::ErrorKind::NotFound.into()))?;
        tiles.cut()?;
        let disk = Arc::new(Staged { disk, name: MARKER_NAME });
        let (completed, generation, segments) = (Vec::new(), manifest.generation, Vec::new());
        Ok(Self { dir, disk, lock, scan, tiles, completed, generation, segments })
    }

    /// A segment that an interrupted restore has fetched, if it is what is to be there.
    pub(super) fn left_over(
        &self,
        archived: &ArchivedSegment,
    ) -> Result<Option<Vec<u8>>, ArchiveError> {
        let name = unfinished_name(&segment_name(self.generation, archived.first_index));
        let Ok(file) = self.disk.open(&name) else { return Ok(None) };
        let failed = |source| DiskError::new(Action::Open, self.disk.path(&name), source);
        if file.len().map_err(failed)? != archived.len {
            return Ok(None);
        }
        // The manifest bounds the length of a segment.
        let Ok(len) = usize::try_from(archived.len) else { return Ok(None) };
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, 0).map_err(failed)?;
        let found = bytes.chunks(PART_LEN).map(|part| Hex32(*blake3::hash(part).as_bytes()));
        // The interruption may have come before its sync.
        let whole = found.eq(archived.parts.iter().copied()) && file.sync().is_ok();
        Ok(whole.then_some(bytes))
    }

    /// Checks the next segment, and writes it if it is not there.
    pub(super) fn take(
        &mut self,
        manifest: &Manifest,
        archived: &ArchivedSegment,
        bytes: &[u8],
        is_new: bool,
    ) -> Result<(), ArchiveError> {
        let completed = &mut self.completed;
        self.scan.take(manifest, archived, bytes, &mut |tile| completed.push(tile))?;
        self.tiles.append(&self.completed)?;
        self.completed.clear();
        let name = segment_name(self.generation, archived.first_index);
        if is_new {
            write_unfinished(&*self.disk, &name, bytes)?;
        }
        self.segments.push(name);
        Ok(())
    }

    /// Writes a part of a file of the restart checkpoint, whose name was checked.
    pub(super) fn write_part(
        &self,
        name: &str,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), ArchiveError> {
        let len = bytes.len() as u64;
        let failed = |action, source| DiskError::new(action, self.disk.path(name), source);
        let file = if offset == 0 { self.disk.create(name) } else { self.disk.open(name) };
        let file = file.map_err(|source| failed(Action::Create, source))?;
        file.write_at(bytes, offset)
            .map_err(|source| failed(Action::Write { len, offset }, source))?;
        Ok(file.sync().map_err(|source| failed(Action::Sync, source))?)
    }

    /// Checks what all of it comes to, and makes it a store.
    pub(super) fn finish(
        mut self,
        manifest: &Manifest,
        secret: Option<Secret>,
        bytes: u64,
    ) -> Result<Restored, ArchiveError> {
        self.scan.finish(manifest)?;
        let Some(before) = &self.scan.before else { return Err(Fault::LogRoot.into()) };
        let open = before.next_header(&manifest.salt_seed);
        write_unfinished(&*self.disk, &name_of(&open), &open.encode())?;
        self.segments.push(name_of(&open));
        self.tiles.sync().map_err(|error| ArchiveError::System(io::Error::other(error)))?;
        match self.scan.set.take() {
            Some(set) => self.write_checkpoint(manifest, &open, &set)?,
            None => self.check_checkpoint(manifest)?,
        }
        let identity = self.identity(manifest, &open, secret.as_ref())?;
        for name in &self.segments {
            let unfinished = unfinished_name(name);
            self.disk.rename(&unfinished, name).map_err(|source| {
                DiskError::new(Action::Rename, self.disk.path(&unfinished), source)
            })?;
        }
        self.disk
            .sync_dir()
            .map_err(|source| DiskError::new(Action::SyncDirectory, self.dir.clone(), source))?;
        identity.save(&*self.disk)?;
        let Self { dir, disk, lock, scan, tiles, segments, .. } = self;
        // The store takes it again.
        drop((lock, scan, tiles));
        let restored = open_store(&disk, manifest, secret)?;
        disk.reveal().map_err(|error| match error {
            RevealError::Hidden(source) => {
                DiskError::new(Action::Rename, disk.path(IDENTITY_NAME), source).into()
            }
            RevealError::NotSynced(source) => ArchiveError::NotSynced { dir, source },
        })?;
        let Identity { node_id, epoch, .. } = identity;
        let segments = segments.len() as u64 - 1;
        Ok(Restored { head: restored, node_id, epoch, segments, bytes })
    }

    /// A checkpoint of the set that was built, so that opening need not build it again.
    fn write_checkpoint(
        &self,
        manifest: &Manifest,
        open: &SegmentHeader,
        set: &MerkleTree,
    ) -> Result<(), ArchiveError> {
        // Each segment of a manifest has an entry.
        let last = self.scan.last.as_ref().ok_or_else(|| InternalError::new("the last entry"))?;
        let covered = Covered {
            store_id: manifest.store_id,
            generation: manifest.generation,
            position: open.first_position + HEADER_LEN as u64,
            next_index: open.first_index,
            count: set.len(),
            set_root: set.root(),
            top_hash: set.view().top_hash(),
            history_root: self.scan.history.root(),
            last_time: last.time.as_ntp64(),
            last_id: last.id,
            last_position: last.position.get(),
        };
        let mut holes: Vec<(Hash, HoleEntry)> =
            self.scan.holes.iter().map(|(id, hole)| (*id, *hole)).collect();
        holes.sort_unstable_by_key(|(id, _)| *id);
        let history = self.scan.history.pending();
        let state = CheckpointState { history, holes, ..CheckpointState::default() };
        checkpoint::write_base(&*self.disk, &covered, set.iter(), &state, false, &mut |_| {})?;
        Ok(())
    }

    /// Whether the checkpoint that was fetched can be used; that its root and the log's entries
    /// behind it give the set root is found out by opening the store.
    fn check_checkpoint(&self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let (store_id, generation) = (manifest.store_id, manifest.generation);
        let loaded = checkpoint::load(&*self.disk, store_id, generation, false)?;
        let expected = manifest.checkpoint.as_ref();
        let is_old = |aside: &SetAside| matches!(aside.fault, CheckpointFault::Version { .. });
        if loaded.set_aside.iter().any(is_old) {
            // Opening rebuilds it from the log, and its root is held against the manifest's.
            return Ok(());
        }
        let whole = loaded.checkpoint.is_some_and(|found| {
            let covered = found.covered();
            expected.is_some_and(|expected| {
                (covered.next_index, covered.position) == (expected.log_size, expected.position)
            }) && found.check(&mut |_| true).is_ok()
        });
        if whole { Ok(()) } else { Err(Fault::Checkpoint.into()) }
    }

    fn identity(
        &self,
        manifest: &Manifest,
        open: &SegmentHeader,
        secret: Option<&Secret>,
    ) -> Result<Identity, ArchiveError> {
        let mut node_id = [0; 16];
        (ENVIRONMENT.entropy)(&mut node_id).map_err(ArchiveError::System)?;
        let path = self.disk.path(IDENTITY_NAME);
        let epoch = manifest.epoch.checked_add(1);
        let epoch = epoch.ok_or(IdentityError::EpochsExhausted { path })?;
        Ok(Identity {
            store_id: manifest.store_id,
            node_id,
            epoch,
            generation: manifest.generation,
            salt_seed: manifest.salt_seed,
            secret_check: secret.map(|secret| derive("store check", secret.expose())),
            fingerprint: self.lock.fingerprint(),
            clean: Some(Watermark {
                position: Position(open.first_position + HEADER_LEN as u64),
                next_index: LogIndex(open.first_index),
            }),
        })
    }
}

/// Whether a restore may have written a file of this name before it was interrupted.
fn is_left_over(name: &str) -> bool {
    [LOCK_NAME, MARKER_NAME].contains(&name) || is_log_file(name) || is_temporary(name)
}

/// Opens what was made, and holds it against the manifest.
fn open_store(
    disk: &Arc<Staged>,
    manifest: &Manifest,
    secret: Option<Secret>,
) -> Result<stemedb_store::Head, ArchiveError> {
    let options = Options::default().create(false).threads(false).secret(secret);
    let store = Store::open_on(Arc::clone(disk) as Arc<dyn Disk>, ENVIRONMENT, options)?;
    let head = store.head()?;
    if (head.log_size.get(), head.log_root.0) != (manifest.log_size, manifest.log_root.0) {
        return Err(Fault::LogRoot.into());
    }
    if (head.count, head.set_root.0) != (manifest.count, manifest.set_root.0) {
        return Err(Fault::SetRoot.into());
    }
    // What it would tell, the next opening tells.
    drop(store);
    Ok(head)
}

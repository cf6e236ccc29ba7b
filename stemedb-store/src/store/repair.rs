//! Repairing a store that is not open, because somebody asked.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    checkpoint::{self, Checkpoint, CheckpointFault, Loaded},
    tiles::{SLOT_LEN, TILES_NAME, TileFile},
};
use stemedb_merkle::{
    AssertionId, Hash,
    history::{
        LogSize,
        tile::{TileId, complete_tiles},
    },
};
use tracing::warn;

use stemedb_wal::{
    Position,
    disk::{Disk, FileDisk, Fingerprint, LOCK_NAME},
    error::{Action, DiskError},
    identity::{IDENTITY_NAME, Identity, IdentityError, SecretError},
    log::Kind,
    repair::{
        FindIdentity, GapRecord, HashBodies, RepairAction, RepairOptions as LogRepairOptions,
        RepairPlan, find_identity,
    },
};

use super::{
    follow::{PAUSE, TRIES},
    open::{exists, log_options, take_lock, wait_for_lock},
};
use crate::{
    error::{OpenError, RepairError, dir_of, with_causes},
    options::{BodyHasher, Options, Secret},
};

stemedb_merkle::options! {
    /// What a repair may do.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RepairOptions {
        /// Whether to go on without entries that are lost. Default: no; nothing is changed then.
        pub accept_loss: bool = false,
        /// Whether only to tell what would be done to log and identity. Default: no. Nothing is
        /// locked then, so a process may have the store open.
        pub dry_run: bool = false,
    }
}

/// The result of a repair.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// How many bodies are lost. Their entries keep index, time and id, and the bodies come back
    /// when the same bytes are appended again.
    pub holes: u64,
    /// Their ids, in the order of the log.
    pub lost_bodies: Vec<AssertionId>,
    /// How many entries are lost, at least; `None` if none.
    pub lost_entries: Option<u64>,
    /// Whether entries are lost: what could be read then begins a new epoch of the log.
    pub new_log: bool,
    /// Where what was replaced is kept.
    pub quarantined: Vec<PathBuf>,
    /// What was found and done, one line each; nothing for a store that is whole.
    pub remarks: Vec<String>,
}

impl RepairReport {
    /// Whether all that was appended is there.
    pub fn is_complete(&self) -> bool {
        self.holes == 0 && self.lost_entries.is_none()
    }
}

/// Repairs the store in a directory. Never renumbers: see [`RepairReport`]. A store that is whole
/// is left as it is; whatever is replaced is copied aside; a crash in the middle is survived, and
/// repairing again goes on. Where entries are lost, nothing is changed: see [`repair_with`].
///
/// With the secret (or if the store has none) bodies are also held against their ids.
///
/// # Errors
///
/// See [`RepairError`].
pub fn repair(dir: impl AsRef<Path>, options: &Options) -> Result<RepairReport, RepairError> {
    repair_with(dir, options, RepairOptions::default())
}

/// As [`repair`], with options.
///
/// # Errors
///
/// See [`RepairError`].
pub fn repair_with(
    dir: impl AsRef<Path>,
    options: &Options,
    how: RepairOptions,
) -> Result<RepairReport, RepairError> {
    let dir = dir.as_ref();
    if !exists(dir)? {
        return Err(OpenError::Missing { dir: dir.to_path_buf() }.into());
    }
    let open = if how.dry_run { FileDisk::open_read_only } else { FileDisk::open };
    let disk = open(dir).map_err(|source| {
        OpenError::Disk(DiskError::new(Action::Open, dir.to_path_buf(), source))
    })?;
    repair_on(&(Arc::new(disk) as Arc<dyn Disk>), super::system::ENVIRONMENT, options, how)
}

/// Repairs the store on a disk of any kind. A dry run does not change one that is only read.
///
/// # Errors
///
/// See [`RepairError`].
pub fn repair_on(
    disk: &Arc<dyn Disk>,
    world: crate::Environment,
    options: &Options,
    how: RepairOptions,
) -> Result<RepairReport, RepairError> {
    let names = list(disk.as_ref())?;
    check_finished(disk.as_ref(), &names, how)?;
    if how.dry_run {
        return plan_unlocked(disk, world, options, how);
    }
    let lock = wait_for_lock(world, options.lock_wait, || take_lock(disk.as_ref()))?;
    let mut changing = false;
    let fingerprint = lock.fingerprint();
    let repaired = repair_locked(disk, fingerprint, world, options, how, &mut changing);
    if repaired.is_err() && !changing && !has(&names, LOCK_NAME) {
        // Nothing was done, and nothing is to be left. Best effort; who opens it meanwhile makes
        // another one.
        let _ = disk.remove(LOCK_NAME);
    }
    if let Ok(report) = &repaired {
        for remark in &report.remarks {
            warn!("{remark}");
        }
    }
    repaired
}

/// Says what a repair would do. Of what a writer does meanwhile any part may show, so a result with
/// findings is believed once it comes twice in a row.
fn plan_unlocked(
    disk: &Arc<dyn Disk>,
    world: crate::Environment,
    options: &Options,
    how: RepairOptions,
) -> Result<RepairReport, RepairError> {
    let mut before = None;
    let mut tries = 1;
    loop {
        // Of an identity that is made again nothing is kept.
        let none = Fingerprint::default();
        let planned = repair_locked(disk, none, world, options, how, &mut false);
        let seen = match &planned {
            Ok(report) => report.remarks.clone(),
            Err(error) => vec![with_causes(error)],
        };
        if seen.is_empty() || before.as_ref() == Some(&seen) || tries == TRIES {
            return planned;
        }
        before = Some(seen);
        tries += 1;
        (world.sleep)(PAUSE);
    }
}

/// Repairs a store that is locked, or says what it would do. `changing` tells, if it fails, whether
/// anything was changed.
fn repair_locked(
    disk: &Arc<dyn Disk>,
    fingerprint: Fingerprint,
    world: crate::Environment,
    options: &Options,
    how: RepairOptions,
    changing: &mut bool,
) -> Result<RepairReport, RepairError> {
    let secret = options.secret.as_ref().map(Secret::expose);
    // Which of them is right, the identity says.
    let keyed = BodyHasher::new(options.secret.as_ref().map(Secret::key));
    let unkeyed = BodyHasher::new(None);
    let found = find_identity(
        disk,
        &FindIdentity {
            fingerprint,
            plain: &unkeyed,
            keyed: secret.map(|secret| (secret, &keyed as _)),
            entropy: world.entropy,
        },
    )?;
    let mut identity = found.identity;
    let hash: Option<&dyn HashBodies> = match identity.check_secret(secret) {
        Ok(()) => Some(&keyed),
        Err(SecretError::Missing) => None,
        Err(source) => {
            let path = disk.path(IDENTITY_NAME);
            return Err(OpenError::Identity(IdentityError::Secret { path, source }).into());
        }
    };
    let log = log_options(options);
    let accept_loss = how.accept_loss;
    let mark = load_checkpoint(disk, &identity)?.mark;
    let log_repair =
        LogRepairOptions::new(&log).hash(hash).marks(mark.as_slice()).accept_loss(accept_loss);
    let plan = RepairPlan::new(disk, &identity, &log_repair, &mut |_| {})?;

    let mut report = RepairReport::default();
    report.remarks.extend(found.change.as_ref().map(ToString::to_string));
    report.remarks.extend(plan.found.iter().map(ToString::to_string));
    if let Some(at_least) = plan.lost_entries.filter(|_| !accept_loss) {
        return Err(RepairError::EntriesLost { at_least, found: report.remarks });
    }
    if how.dry_run {
        report.note_losses(plan.lost_entries, &plan.lost_bodies);
        report.new_log = report.lost_entries.is_some();
        if plan.changes() && report.remarks.is_empty() {
            report.remarks.push("files of the log would be renamed".to_owned());
        }
        return Ok(report);
    }
    *changing = true;
    if found.change.is_some() {
        identity.save(disk.as_ref()).map_err(OpenError::from)?;
    }
    // From here on a directory that is a copy is another node.
    let opened = Identity::open(disk.as_ref(), fingerprint, secret, world.entropy)
        .map_err(OpenError::from)?;
    identity = opened.identity;
    let gaps = plan.gaps.clone();
    let repaired = plan.apply(disk, &mut identity, &log_repair)?;
    report.new_log = repaired.new_generation.is_some();
    report.note_losses(repaired.lost_entries, &repaired.lost_bodies);
    for action in &repaired.actions {
        if let RepairAction::Rewritten { kept, .. } | RepairAction::Quarantined { kept, .. } =
            action
        {
            report.quarantined.push(kept.clone());
        }
        report.remarks.push(action.to_string());
    }
    let changed = !repaired.actions.is_empty();
    repair_caches(disk, &identity, changed, &gaps, &mut report)?;
    Ok(report)
}

impl RepairReport {
    fn note_losses(&mut self, entries: Option<u64>, bodies: &[Hash]) {
        self.lost_entries = entries;
        self.lost_bodies = bodies.iter().copied().map(AssertionId).collect();
        self.holes = bodies.len() as u64;
    }
}

/// What has neither identity nor lock has never been open: it is a backup that was not finished,
/// and may lack segments, or the beginning of a store that is being restored.
fn check_finished(
    disk: &dyn Disk,
    names: &[String],
    how: RepairOptions,
) -> Result<(), RepairError> {
    if has(names, IDENTITY_NAME) {
        return Ok(());
    }
    let dir = dir_of(&disk.path(IDENTITY_NAME));
    if RESTORING_NAMES.iter().any(|name| has(names, name)) {
        return Err(RepairError::Restoring { dir });
    }
    if !has(names, LOCK_NAME) && !how.accept_loss {
        return Err(RepairError::Unfinished { dir });
    }
    Ok(())
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, RepairError> {
    let failed = |source| DiskError::new(Action::List, disk.path(""), source);
    Ok(disk.list().map_err(|source| OpenError::Disk(failed(source)))?)
}

fn has(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name == wanted)
}

/// What lies in a directory that a store is being restored to.
const RESTORING_NAMES: [&str; 2] = ["RESTORING", "ARCHIVE-RESTORING"];

/// Sets the restart checkpoint aside and removes the tiles if either is damaged, or the log is not
/// the one that they are of any more. The next opening rebuilds both.
fn repair_caches(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    log_changed: bool,
    gaps: &[GapRecord],
    report: &mut RepairReport,
) -> Result<(), RepairError> {
    let mut loaded = load_checkpoint(disk, identity)?;
    let tiles_whole = tiles_are_whole(disk, identity)?;
    let covered = loaded.checkpoint.as_ref().map_or(0, |found| found.covered().next_index);
    let tiles_enough = tiles_reach(disk, complete_tiles(LogSize(covered)))?;
    if let Some(found) = &loaded.checkpoint {
        let fault = match found.check(&mut |_| true) {
            Err(error) => Some(CheckpointFault::MappedSet(error)),
            Ok(()) if log_changed || !has_gaps(found, gaps) => Some(CheckpointFault::OtherLog),
            Ok(()) if !tiles_whole || !tiles_enough => Some(CheckpointFault::Tiles),
            Ok(()) => None,
        };
        if let Some(fault) = fault {
            loaded.give_up(&fault);
        }
    }
    loaded.tidy(disk.as_ref()).map_err(OpenError::from)?;
    report.remarks.extend(loaded.set_aside.iter().map(ToString::to_string));
    if !tiles_whole {
        disk.remove(TILES_NAME).and_then(|()| disk.sync_dir()).map_err(|source| {
            OpenError::Disk(DiskError::new(Action::Remove, disk.path(TILES_NAME), source))
        })?;
        report.remarks.push(format!(
            "{}: damaged and removed; the log rebuilds it",
            disk.path(TILES_NAME).display()
        ));
    }
    Ok(())
}

/// Whether a checkpoint knows of the same lost bodies as the log has where it ends. One of before a
/// repair does not, nor does one after which a segment was replaced by a better copy.
fn has_gaps(checkpoint: &Checkpoint, gaps: &[GapRecord]) -> bool {
    let mut holes = HashSet::new();
    let covered = Position(checkpoint.covered().position);
    for gap in gaps.iter().filter(|gap| gap.position < covered) {
        if gap.kind == Kind::Hole {
            holes.insert(gap.id);
        } else {
            holes.remove(&gap.id);
        }
    }
    checkpoint.state().is_ok_and(|state| {
        state.holes.len() == holes.len() && state.holes.iter().all(|(id, _)| holes.contains(id))
    })
}

/// Never maps: what is on a failing disk is read with calls that can fail.
fn load_checkpoint(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<Loaded, RepairError> {
    let loaded = checkpoint::load(disk.as_ref(), identity.store_id, identity.generation, false);
    Ok(loaded.map_err(OpenError::from)?)
}

/// Whether there are so many tiles. A file that is shorter than the checkpoint needs is filled up
/// by opening without the checkpoint.
fn tiles_reach(disk: &Arc<dyn Disk>, tiles: u64) -> Result<bool, RepairError> {
    Ok(tiles_len(disk)?.unwrap_or(0) / SLOT_LEN as u64 >= tiles)
}

fn tiles_are_whole(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<bool, RepairError> {
    let Some(len) = tiles_len(disk)? else { return Ok(true) };
    let tiles = len / SLOT_LEN as u64;
    let file = TileFile::open(disk, identity.store_id, tiles).map_err(OpenError::from)?;
    let whole =
        file.is_some_and(|file| (0..tiles).filter_map(TileId::at).all(|id| file.read(id).is_ok()));
    Ok(whole)
}

/// How long the file of tiles is; `None` if there is none.
fn tiles_len(disk: &Arc<dyn Disk>) -> Result<Option<u64>, RepairError> {
    match disk.open(TILES_NAME).and_then(|file| file.len()) {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            let failed = DiskError::new(Action::Measure, disk.path(TILES_NAME), source);
            Err(OpenError::Disk(failed).into())
        }
    }
}

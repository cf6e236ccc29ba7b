//! Repairing a store that is not open, because somebody asked.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use stemedb_merkle::{Hash, history::tile::TileId};
use stemedb_wal::{
    checkpoint::{self, CheckpointFault, Loaded},
    disk::{Disk, FileDisk, RemoteDisk},
    error::{Action, DiskError},
    identity::Identity,
    repair::{RepairAction, repair as repair_log},
    tiles::{SLOT_LEN, TILES_NAME, TileFile},
};

use super::open::{exists, log_options, take_lock};
use crate::{
    error::{OpenError, RepairError},
    options::{Hashing, Options, Secret},
};

/// What a repair came to.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// How many bodies are lost. Their entries keep index, time and id, and the bodies come back
    /// when the same bytes are appended again.
    pub holes: u64,
    /// Whether entries are lost: what could be read then begins a new epoch of the log.
    pub new_log: bool,
    /// Where what was replaced is kept.
    pub aside: Vec<PathBuf>,
    /// What was found and done, one line each; nothing for a store that is whole.
    pub remarks: Vec<String>,
}

/// Repairs the store in a directory. Never renumbers: see [`RepairReport`]. A store that is whole
/// is left as it is; whatever is replaced is copied aside; a crash in the middle is survived, and
/// repairing again goes on.
///
/// With the secret (or if the store has none) bodies are also held against their ids.
///
/// # Errors
///
/// See [`RepairError`].
pub fn repair(dir: impl AsRef<Path>, options: &Options) -> Result<RepairReport, RepairError> {
    let dir = dir.as_ref();
    if !exists(dir)? {
        return Err(OpenError::Missing { dir: dir.to_path_buf() }.into());
    }
    let disk = FileDisk::open(dir).map_err(|source| {
        OpenError::Disk(DiskError::new(Action::Open, dir.to_path_buf(), source))
    })?;
    repair_on(&(Arc::new(disk) as Arc<dyn Disk>), super::system::WORLD, options)
}

/// Repairs the store on a disk of any kind.
///
/// # Errors
///
/// See [`RepairError`].
pub fn repair_on(
    disk: &Arc<dyn Disk>,
    world: crate::World,
    options: &Options,
) -> Result<RepairReport, RepairError> {
    // A segment that was dropped is not lost.
    let remote = RemoteDisk::new(Arc::clone(disk), options.segment_source.clone());
    let disk: &Arc<dyn Disk> = &(Arc::new(remote) as Arc<dyn Disk>);
    let lock = take_lock(disk.as_ref())?;
    let secret = options.secret.as_ref().map(Secret::bytes);
    let opened = Identity::open(disk.as_ref(), lock.fingerprint(), secret, world.entropy)
        .map_err(OpenError::from)?;
    let mut identity = opened.identity;
    let hashing = Hashing::new(options.secret.as_ref(), opened.secret_missing);
    let hash = |body: &[u8]| -> Hash { hashing.id(body).unwrap_or_default().0 };
    let hash: Option<&dyn Fn(&[u8]) -> Hash> =
        if opened.secret_missing { None } else { Some(&hash) };

    let mut report = RepairReport::default();
    let mark = load_checkpoint(disk, &identity)?.mark;
    let options = log_options(options);
    let repaired = repair_log(disk, &mut identity, mark, &options, hash, &mut |_| {})?;
    report.new_log = repaired.new_generation.is_some();
    report.remarks.extend(repaired.found.iter().map(ToString::to_string));
    for action in &repaired.actions {
        match action {
            RepairAction::Hole { .. } => report.holes += 1,
            RepairAction::Mended { aside, .. } | RepairAction::SetAside { aside, .. } => {
                report.aside.push(aside.clone());
            }
            _ => {}
        }
        report.remarks.push(action.to_string());
    }
    let changed = !repaired.actions.is_empty();
    repair_caches(disk, &identity, changed, &mut report)?;
    Ok(report)
}

/// Sets the restart checkpoint aside and removes the tiles if either is damaged, or the log is not
/// the one that they are of any more. The next opening rebuilds both.
fn repair_caches(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    log_changed: bool,
    report: &mut RepairReport,
) -> Result<(), RepairError> {
    let mut loaded = load_checkpoint(disk, identity)?;
    let tiles_whole = tiles_are_whole(disk, identity)?;
    if let Some(found) = &loaded.checkpoint {
        let fault = match found.check(&mut |_| true) {
            Err(error) => Some(CheckpointFault::Archive(error)),
            Ok(()) if log_changed => Some(CheckpointFault::OtherLog),
            Ok(()) if !tiles_whole => Some(CheckpointFault::Tiles),
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

/// Never maps: what is on a failing disk is read with calls that can fail.
fn load_checkpoint(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<Loaded, RepairError> {
    let loaded = checkpoint::load(disk.as_ref(), identity.store_id, identity.generation, false);
    Ok(loaded.map_err(OpenError::from)?)
}

fn tiles_are_whole(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<bool, RepairError> {
    let Ok(len) = disk.open(TILES_NAME).and_then(|file| file.len()) else { return Ok(true) };
    let tiles = len / SLOT_LEN as u64;
    let file = TileFile::open(disk, identity.store_id, tiles).map_err(OpenError::from)?;
    let whole =
        file.is_some_and(|file| (0..tiles).filter_map(TileId::at).all(|id| file.read(id).is_ok()));
    Ok(whole)
}

//! Stores made from backups.

use std::{io, path::Path, sync::Arc};

use stemedb_merkle::Root;
use stemedb_wal::{
    disk::{Disk, FileDisk, LOCK_NAME, is_log_file, is_temporary},
    identity::{IDENTITY_NAME, Identity, IdentityError},
};

use super::{
    super::{
        Store,
        check::Depth,
        occupied::occupants,
        staged::{RevealError, Staged},
    },
    Head, Progress, copy, is_segment,
};
use crate::{error::RestoreError, options::Options, store::system::ENVIRONMENT};

/// There, with the identity of the store to be made, while a restore is under way.
const STAGED_NAME: &str = "RESTORING";

/// Makes a store from a backup, in a directory that is empty, or missing and then made, and checks
/// all of it: every body against its id, and the set root against `root`, the one that is trusted.
/// Returns what it holds.
///
/// Until all of it is checked nothing there opens as a store. It is another node, in an epoch of
/// its own: peers don't take it for the store that the backup is of. `progress` hears of bytes
/// copied.
///
/// # Errors
///
/// See [`RestoreError`]. What was made is removed again; what a killed process left is removed by
/// the next attempt.
pub fn restore(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    root: &Root,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Head, RestoreError> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let found = find(from)?;
    let failed = |source| RestoreError::Copy { from: from.into(), to: to.into(), source };
    let target = FileDisk::create(to).map_err(failed)?;
    restore_on((from, found), (to, Arc::new(target)), root, options, progress)
}

/// The same on a disk of any kind.
fn restore_on(
    (from, (source, names)): (&Path, (FileDisk, Vec<String>)),
    (to, target): (&Path, Arc<dyn Disk>),
    root: &Root,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Head, RestoreError> {
    let failed = |source| RestoreError::Copy { from: from.into(), to: to.into(), source };
    let target = Staged { disk: target, name: STAGED_NAME };
    let left = leftovers(&*target.disk, to)?;
    let locked = target.disk.lock().map_err(failed)?;
    left.iter().try_for_each(|name| target.disk.remove(name)).map_err(failed)?;
    let made = copy_all(&source, &names, &target, progress).map_err(failed).and_then(|()| {
        // The store takes it again.
        drop(locked);
        check(from, &target, root, options)
    });
    let made = made.and_then(|head| match target.reveal() {
        Ok(()) => Ok(head),
        Err(RevealError::Hidden(source)) => Err(failed(source)),
        Err(RevealError::NotSynced(source)) => {
            Err(RestoreError::NotSynced { to: to.into(), source })
        }
    });
    if !matches!(made, Ok(_) | Err(RestoreError::NotSynced { .. })) {
        remove_all(&*target.disk);
    }
    made
}

/// The files of a backup that was finished.
fn find(from: &Path) -> Result<(FileDisk, Vec<String>), RestoreError> {
    let nothing = || RestoreError::NoBackup { dir: from.to_path_buf() };
    let failed = |source| RestoreError::Source { from: from.to_path_buf(), source };
    let source = FileDisk::open_read_only(from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => nothing(),
        _ => failed(error),
    })?;
    let mut names = source.list().map_err(failed)?;
    // Neither checkpoints nor tiles: opening then reads, and checks, every body.
    names.retain(|name| is_segment(name));
    match Identity::load(&source) {
        Ok(_) => Ok((source, names)),
        Err(IdentityError::Missing { .. }) if names.is_empty() => Err(nothing()),
        Err(IdentityError::Missing { .. }) => {
            Err(RestoreError::Unfinished { dir: from.to_path_buf() })
        }
        Err(IdentityError::Io { source, .. }) => Err(failed(source)),
        Err(error) => Err(RestoreError::Damaged { from: from.into(), source: error.into() }),
    }
}

/// What an attempt left that was killed. Refuses whatever else is there.
fn leftovers(target: &dyn Disk, to: &Path) -> Result<Vec<String>, RestoreError> {
    let not_empty = || RestoreError::NotEmpty { dir: to.into() };
    let mut names =
        occupants(target).map_err(|source| RestoreError::Target { to: to.into(), source })?;
    names.retain(|name| name != LOCK_NAME);
    let was_restoring =
        names.iter().any(|name| name.strip_suffix(".tmp").unwrap_or(name) == STAGED_NAME);
    if names.is_empty() || was_restoring && names.iter().all(|name| is_made_here(name)) {
        // The identity last: it is what tells that all of this may be removed.
        names.sort_by_key(|name| name == STAGED_NAME);
        return Ok(names);
    }
    Err(not_empty())
}

/// Whether a restore has made a file: the log and what opening it makes, and not what a node has
/// beside that.
fn is_made_here(name: &str) -> bool {
    name == STAGED_NAME || is_log_file(name) || is_temporary(name)
}

fn copy_all(
    source: &FileDisk,
    names: &[String],
    target: &Staged,
    progress: &mut dyn FnMut(Progress),
) -> io::Result<()> {
    let (mut total, mut done) = (0, 0);
    for name in names {
        total += source.open(name)?.len()?;
    }
    let identity = source.open(IDENTITY_NAME)?;
    // First, under its other name: it says what this directory is going to be.
    let read_identity = |buffer: &mut [u8], at| identity.read_at(buffer, at);
    copy(&read_identity, &*target.disk, STAGED_NAME, identity.len()?, &mut |_| {})?;
    target.disk.sync_dir()?;
    for name in names {
        let file = source.open(name)?;
        // Nothing is linked: the last segment goes on, and a backup is to be another file.
        let len = file.len()?;
        copy(&|buffer, at| file.read_at(buffer, at), &*target.disk, name, len, &mut |bytes| {
            progress(Progress { done: done + bytes, total });
        })?;
        done += len;
    }
    target.disk.sync_dir()
}

/// Opens what was copied, which reads all of it, and holds it against the root.
fn check(
    from: &Path,
    target: &Staged,
    root: &Root,
    options: Options,
) -> Result<Head, RestoreError> {
    let options = options.create(false).verify_on_open(true);
    let opened = Store::open_on(Arc::new(target.clone()), ENVIRONMENT, options);
    let store = opened.map_err(|source| {
        if source.is_damage() {
            RestoreError::Damaged { from: from.into(), source }
        } else {
            RestoreError::Open(source)
        }
    })?;
    if store.lacks_secret() {
        return Err(RestoreError::SecretMissing);
    }
    let head = store.head()?;
    if head.set_root != *root {
        let [found, expected] = [head.set_root, *root];
        return Err(RestoreError::OtherRoot { from: from.into(), found, expected });
    }
    // What opening did not need: lists of offsets, say.
    let report = store.check(Depth::Checksums, &mut |_| {})?;
    if let Some(fault) = report.faults.into_iter().next() {
        return Err(RestoreError::Fault { from: from.into(), fault: Box::new(fault) });
    }
    store.close()?;
    Ok(head)
}

/// Takes away what was made.
fn remove_all(target: &dyn Disk) {
    let mut names = target.list().unwrap_or_default();
    names.retain(|name| is_made_here(name) || name == LOCK_NAME);
    names.sort_by_key(|name| name == STAGED_NAME);
    // What can't be removed is no store, and is removed by the next attempt, as long as the
    // identity says that it may be.
    if names.iter().try_for_each(|name| target.remove(name)).is_ok() {
        let _ = target.sync_dir();
    }
}

#[cfg(test)]
mod tests {
    use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Target};

    use super::*;

    /// Whatever fails, be it once or from then on, the next attempt finds nothing in its way.
    #[test]
    fn a_restore_that_failed_late_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::default().threads(false).map_files(false);
        let store = Store::open(dir.path().join("store"), options.clone()).unwrap();
        store.append_batch((0..50_u8).map(|n| [n; 100])).unwrap();
        let (from, root) = (dir.path().join("backup"), store.root().unwrap());
        store.backup(&from, &mut |_| {}).unwrap();
        let attempt = |disk: &FaultyDisk| {
            let to = (Path::new("to"), Arc::new(disk.clone()) as Arc<dyn Disk>);
            let found = find(&from).unwrap();
            restore_on((&from, found), to, &root, options.clone(), &mut |_| {})
        };
        for kind in [FaultKind::Failed, FaultKind::Persisted] {
            for from_then_on in [false, true] {
                let mut failed = 0;
                for after in 0.. {
                    let disk = FaultyDisk::new(after);
                    let error = io::ErrorKind::Other;
                    disk.inject(Fault {
                        target: Target::Mutating,
                        after,
                        from_then_on,
                        error,
                        kind,
                    });
                    let first = attempt(&disk);
                    let hit = disk.faults_hit() > 0;
                    disk.clear_faults();
                    match first {
                        // Whole, but for the last sync.
                        Ok(_) | Err(RestoreError::NotSynced { .. }) => {}
                        Err(_) => {
                            failed += 1;
                            let head = attempt(&disk).unwrap();
                            assert_eq!(head.set_root, root, "{kind:?} {after}");
                        }
                    }
                    let disk = Arc::new(disk.clone());
                    let options = options.clone().create(false);
                    let store = Store::open_on(disk, ENVIRONMENT, options).unwrap();
                    assert_eq!(store.root().unwrap(), root, "{kind:?} {after}");
                    if !hit {
                        break;
                    }
                }
                assert!(failed > 10, "{failed} attempts failed");
            }
        }
    }
}

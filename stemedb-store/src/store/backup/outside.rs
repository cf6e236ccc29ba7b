//! Backups of a store that another process has open.
//!
//! Nothing of the store is locked or changed. What its log says of itself is enough: sealed
//! segments never change, and of the open one all is taken up to the end of its last whole batch.
//! What of that is not durable there yet is durable in the backup.

use std::{io, path::Path, sync::Arc};

use stemedb_wal::{
    disk::{Disk, FileDisk},
    error::{Action, DiskError},
    identity::{Identity, IdentityError},
    log::{Watermark, written_extent},
    sealed::parse_segment_name,
};

use super::{BackupReport, Progress, make, remove_all};
use crate::Head;
use crate::{
    error::{BackupError, OpenError},
    options::Options,
    store::{open::open_to_read, system::ENVIRONMENT},
};

/// Makes a backup of a store that another process has open, as
/// [`StoreReader::backup`](crate::StoreReader::backup) does: all that was acknowledged when the
/// call began is in it.
///
/// To tell what the backup holds, all of it is read, and each body checked against its id where
/// the secret for that is given, or none is needed: 100 bytes of memory an assertion.
///
/// # Errors
///
/// See [`BackupError`]. What was made is removed again.
pub fn backup_of(
    dir: impl AsRef<Path>,
    to: impl AsRef<Path>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BackupReport, BackupError> {
    let (dir, to) = (dir.as_ref(), to.as_ref());
    let failed = |source| BackupError::Io { to: to.to_path_buf(), source };
    let missing = || OpenError::Missing { dir: dir.to_path_buf() };
    let disk = FileDisk::open_read_only(dir).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => missing(),
        _ => OpenError::from(DiskError::new(Action::Open, dir.to_path_buf(), source)),
    })?;
    let identity = Identity::load(&disk).map_err(|error| match error {
        IdentityError::Missing { .. } => missing(),
        error => error.into(),
    })?;
    let reached = extent(&disk, &identity).map_err(failed)?.ok_or_else(missing)?;
    let copied = make(dir, to, &identity, reached, progress)?;
    match head(to, &identity, options) {
        Ok(head) => Ok(copied.report(head)),
        Err(error) => {
            if let Ok(target) = FileDisk::open(to) {
                remove_all(&target);
            }
            Err(error)
        }
    }
}

/// End of the last whole batch of the log.
fn extent(disk: &FileDisk, identity: &Identity) -> io::Result<Option<Watermark>> {
    match last_segment(disk, identity)? {
        Some(last) => written_extent(&*disk.open(&last)?),
        None => Ok(None),
    }
}

fn last_segment(disk: &FileDisk, identity: &Identity) -> io::Result<Option<String>> {
    let mut names = disk.list()?;
    names.retain(|name| {
        parse_segment_name(name).is_some_and(|(generation, _)| generation == identity.generation)
    });
    // Sorted by name is sorted by position.
    Ok(names.pop())
}

/// Reads the whole backup, and changes nothing of it.
fn head(to: &Path, identity: &Identity, options: &Options) -> Result<Head, BackupError> {
    let failed = |source| BackupError::Io { to: to.to_path_buf(), source };
    let disk = FileDisk::open_read_only(to).map_err(failed)?;
    let known = identity.secret_check.is_none() || options.secret.is_some();
    let options = options.clone().threads(false).verify_on_open(known);
    Ok(open_to_read(Arc::new(disk), ENVIRONMENT, options)?.head()?)
}

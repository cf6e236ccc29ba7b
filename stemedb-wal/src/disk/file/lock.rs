//! The lock of a directory, and whether it still holds what it was taken on.

use super::{DirLock, FileDisk, LOCK_NAME};
use crate::disk::Fingerprint;
use rustix::{
    fs::{FlockOperation, OFlags, Stat},
    io::{Errno, retry_on_intr},
};
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process,
    time::UNIX_EPOCH,
};

/// No process id is longer than this, in bytes, its line end included.
const HOLDER_LEN_MAX: usize = 16;

/// So often a `LOCK` that is replaced while it is taken is taken again.
const TRIES: usize = 16;

/// How a directory, or a file in it, is no longer what was opened.
///
/// What is written from then on may be found by nobody, so nothing more is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Displaced {
    /// Nothing is at the directory's path.
    #[error("the directory is not there any more: it was removed, renamed or unmounted")]
    Gone,
    /// Something else is at the directory's path.
    #[error("the directory was moved away, and another one is in its place")]
    Replaced,
    /// There is no `LOCK`.
    #[error("its file LOCK was removed, so that another process can open the store")]
    LockGone,
    /// There is another `LOCK`.
    #[error("its file LOCK was replaced, so that another process may have the store open")]
    LockReplaced,
    /// The file that is written to has no name any more.
    #[error("the file was removed")]
    FileGone,
}

impl From<Displaced> for io::Error {
    fn from(displaced: Displaced) -> Self {
        Self::other(displaced)
    }
}

/// Holds the lock for as long as its file is open.
#[derive(Debug)]
pub(super) struct FileLock {
    /// None for a reader of a directory without `LOCK`.
    file: Option<File>,
    fingerprint: Fingerprint,
    /// The inode of `LOCK`, on its device.
    inode: (u64, u64),
    disk: FileDisk,
    /// The directory's path, also after a change of the working directory.
    path: PathBuf,
    directory: (u64, u64),
}

impl FileLock {
    /// Takes the lock: the exclusive one, made when missing, or for a directory that is only read
    /// the shared one.
    pub(super) fn take(disk: &FileDisk) -> io::Result<Self> {
        let (flags, operation) = if disk.writable {
            (OFlags::RDWR | OFlags::CREATE, FlockOperation::NonBlockingLockExclusive)
        } else {
            (OFlags::RDONLY, FlockOperation::NonBlockingLockShared)
        };
        for _ in 0..TRIES {
            let file = match disk.open_at(LOCK_NAME, flags) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !disk.writable => {
                    return Self::new(disk, None);
                }
                opened => opened?,
            };
            flock(&file, operation)?;
            let lock = Self::new(disk, Some(file))?;
            // Another may have removed it between the opening and the locking.
            if lock.check_lock_file().is_ok() {
                lock.name_holder();
                return Ok(lock);
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn new(disk: &FileDisk, file: Option<File>) -> io::Result<Self> {
        let held = retry_on_intr(|| rustix::fs::fstat(&*disk.handle))?;
        let path = std::path::absolute(&disk.dir).unwrap_or_else(|_| disk.dir.clone());
        let (mut fingerprint, mut inode) = (Fingerprint::default(), (0, 0));
        if let Some(file) = &file {
            fingerprint = fingerprint_of(file)?;
            let metadata = file.metadata()?;
            inode = (metadata.dev(), metadata.ino());
        }
        let (disk, directory) = (disk.clone(), inode_of(&held));
        Ok(Self { file, fingerprint, inode, disk, path, directory })
    }

    /// Writes down who has the lock, for those who wait for it. On a full disk they do without.
    fn name_holder(&self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.disk.writable) {
            let line = format!("{}\n", process::id());
            let _ = file.set_len(0).and_then(|()| file.write_all_at(line.as_bytes(), 0));
        }
    }

    fn check_lock_file(&self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        match self.disk.stat(LOCK_NAME) {
            Ok(stat) if inode_of(&stat) == self.inode => Ok(()),
            Ok(_) => Err(Displaced::LockReplaced.into()),
            Err(Errno::NOENT) => Err(Displaced::LockGone.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl DirLock for FileLock {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn check(&self) -> io::Result<()> {
        match stat(&self.path) {
            Ok(stat) if inode_of(&stat) == self.directory => {}
            Ok(_) => return Err(Displaced::Replaced.into()),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => return Err(Displaced::Gone.into()),
            // A process that gave up rights since it opened the store may not look any more.
            Err(Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.check_lock_file()
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.disk.writable) {
            // The next one who takes it writes over what stays.
            let _ = file.set_len(0);
        }
    }
}

/// The process that has the lock, as this `LOCK` says; `None` if it was made by a version that did
/// not say it.
pub(super) fn holder(file: &File) -> Option<u32> {
    let mut bytes = [0; HOLDER_LEN_MAX];
    let read = file.read_at(&mut bytes, 0).ok()?;
    let line = std::str::from_utf8(bytes.get(..read)?).ok()?;
    line.strip_suffix('\n')?.parse().ok()
}

/// Locks a file, without waiting.
pub(super) fn flock(file: &File, operation: FlockOperation) -> io::Result<()> {
    match retry_on_intr(|| rustix::fs::flock(file, operation)) {
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        locked => Ok(locked?),
    }
}

fn stat(path: &Path) -> rustix::io::Result<Stat> {
    retry_on_intr(|| rustix::fs::stat(path))
}

fn inode_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn fingerprint_of(file: &File) -> io::Result<Fingerprint> {
    let metadata = file.metadata()?;
    let birth = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = birth.and_then(|age| u64::try_from(age.as_nanos()).ok());
    Ok(Fingerprint { inode: metadata.ino(), birth_nanos: nanos.unwrap_or(0) })
}

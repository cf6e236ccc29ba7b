//! A directory of the operating system.

mod lock;
mod open_file;

pub use lock::Displaced;

use self::{lock::FileLock, open_file::OpenFile};
use super::{
    Bytes, DirLock, Disk, DiskFile, LOCK_NAME, check_name, loaded::ReadWhenWanted, map::Mapped,
};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, Mode, OFlags},
    io::{Errno, retry_on_intr},
};
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The mode of new files, before the umask.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// The mode of files that only their owner may read.
const PRIVATE_MODE: Mode = Mode::from_raw_mode(0o600);

/// A directory of the operating system. Unix only: it reads and writes at offsets.
///
/// It is held open, and all names are looked up in it: a directory that is renamed stays the same
/// one, and another that is made under its former path is never touched. Clones share it.
///
/// Only files are listed; whatever else lies in the directory is left alone. No symbolic link in it
/// is followed.
#[derive(Clone, Debug)]
pub struct FileDisk {
    /// As the caller gave it, for messages.
    dir: PathBuf,
    handle: Arc<OwnedFd>,
    writable: bool,
}

/// Something that is in the place of a file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAFile {
    /// A symbolic link.
    #[error("it is a symbolic link, and none is followed here: put the file itself in its place")]
    SymbolicLink,
    /// A pipe, a socket or a device.
    #[error("it is not a regular file: move it away")]
    Special,
}

impl FileDisk {
    /// A directory that is there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::NotADirectory`], or why it cannot be read.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        Self::open_for(dir.into(), true)
    }

    /// A directory that is there and is only read: nothing in it is changed, and whatever would
    /// change it fails with [`io::ErrorKind::ReadOnlyFilesystem`].
    ///
    /// The lock that it takes is shared by all who only read, and excludes those who write. Where
    /// there is no file `LOCK`, none is made, and nobody is excluded.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_read_only(dir: impl Into<PathBuf>) -> io::Result<Self> {
        Self::open_for(dir.into(), false)
    }

    fn open_for(dir: PathBuf, writable: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = retry_on_intr(|| rustix::fs::open(&dir, flags, Mode::empty()))?;
        Ok(Self { dir, handle: Arc::new(handle), writable })
    }

    /// A directory, made with its parents where it is missing, and durable from then on.
    ///
    /// # Errors
    ///
    /// Of creating a directory and of syncing its parent.
    pub fn create(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        if !dir.is_dir() {
            // A directory is an entry of its parent: each one made is only durable with that.
            let missing = dir.ancestors().take_while(|parent| !parent.as_os_str().is_empty());
            let missing: Vec<&Path> = missing.take_while(|parent| !parent.exists()).collect();
            fs::create_dir_all(&dir)?;
            for made in missing {
                let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
                sync_names(&File::open(parent.unwrap_or_else(|| Path::new(".")))?)?;
            }
        }
        Self::open(dir)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives a file a second name in another directory of the same file system. Both are the same
    /// file from then on: it must be one that never changes.
    ///
    /// # Errors
    ///
    /// If there is a file of that name, or the file system can't.
    pub fn link_to(&self, name: &str, other: &Self) -> io::Result<()> {
        check_name(name)?;
        other.check_writable()?;
        let (from, to) = (&*self.handle, &*other.handle);
        Ok(retry_on_intr(|| rustix::fs::linkat(from, name, to, name, AtFlags::empty()))?)
    }

    fn entries(&self) -> io::Result<Vec<(OsString, FileType)>> {
        let mut entries = Vec::new();
        for entry in retry_on_intr(|| rustix::fs::Dir::read_from(&*self.handle))? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system tells with the name.
                FileType::Unknown => match self.stat(name) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            entries.push((OsString::from_vec(name.to_bytes().to_vec()), kind));
        }
        Ok(entries)
    }

    fn stat(&self, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<rustix::fs::Stat> {
        retry_on_intr(|| rustix::fs::statat(&*self.handle, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Opens a regular file.
    fn open_at(&self, name: &str, flags: OFlags) -> io::Result<File> {
        self.open_with(name, flags, FILE_MODE)
    }

    fn open_with(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        check_name(name)?;
        // Without waiting: opening a pipe would.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = retry_on_intr(|| rustix::fs::openat(&*self.handle, name, flags, mode));
        let file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(io::Error::other(NotAFile::SymbolicLink)),
            Err(Errno::NXIO) => return Err(io::Error::other(NotAFile::Special)),
            Err(error) => return Err(error.into()),
        };
        let kind = file.metadata()?.file_type();
        match () {
            () if kind.is_file() => Ok(file),
            () if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            () => Err(io::Error::other(NotAFile::Special)),
        }
    }

    fn access(&self) -> OFlags {
        if self.writable { OFlags::RDWR } else { OFlags::RDONLY }
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

impl Disk for FileDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenFile::new(self.open_at(name, self.access())?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        self.check_writable()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        Ok(Arc::new(OpenFile::new(self.open_at(name, flags)?)))
    }

    fn create_private(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        self.check_writable()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self.open_with(name, flags, PRIVATE_MODE)?;
        Ok(Arc::new(OpenFile::new(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = self.entries()?.into_iter();
        // A link is listed so that opening it tells what it is.
        let files = entries.filter(|(_, kind)| kind.is_file() || kind.is_symlink());
        let mut names: Vec<String> = files
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| check_name(name).is_ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn list_all(&self) -> io::Result<Vec<OsString>> {
        Ok(self.entries()?.into_iter().map(|(name, _)| name).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        self.check_writable()?;
        let handle = &*self.handle;
        Ok(retry_on_intr(|| rustix::fs::renameat(handle, from, handle, to))?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.check_writable()?;
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&*self.handle, name, AtFlags::empty()))?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_names(&*self.handle)
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        Ok(Box::new(FileLock::take(self)?))
    }

    fn lock_holder(&self) -> Option<u32> {
        lock::holder(&self.open_at(LOCK_NAME, OFlags::RDONLY).ok()?)
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        let file = self.open_at(name, OFlags::RDONLY)?;
        if in_place && let Some(mapped) = Mapped::new(&file) {
            return Ok(mapped);
        }
        Ok(ReadWhenWanted::new(Arc::new(OpenFile::new(file)))?)
    }

    fn file_len(&self, name: &str) -> io::Result<u64> {
        check_name(name)?;
        let stat = self.stat(name)?;
        // Opening tells what else it is.
        let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
        let len = u64::try_from(stat.st_size).ok().filter(|_| is_file);
        len.map_or_else(|| self.open(name)?.len(), Ok)
    }

    fn available(&self) -> io::Result<u64> {
        let stat = retry_on_intr(|| rustix::fs::fstatvfs(&*self.handle))?;
        // File systems without bounds say anything.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Syncs a directory. Where the file system has no such thing, all of it is synced: that says the
/// same, and takes longer.
fn sync_names(handle: impl rustix::fd::AsFd) -> io::Result<()> {
    match retry_on_intr(|| rustix::fs::fsync(&handle)) {
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => {
            Ok(retry_on_intr(|| rustix::fs::syncfs(&handle))?)
        }
        synced => Ok(synced?),
    }
}

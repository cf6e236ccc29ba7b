//! A directory of the operating system.

use super::{
    Bytes, DirLock, Disk, DiskFile, Fingerprint, LOCK_NAME, check_name, loaded::Loaded, map::Mapped,
};
use fs2::FileExt as _;
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

/// A directory of the operating system. Unix only: it reads and writes at offsets.
///
/// Only regular files are listed; whatever else lies in the directory is left alone.
#[derive(Clone, Debug)]
pub struct FileDisk {
    dir: PathBuf,
}

/// An open file, and the directory that it is in.
#[derive(Debug)]
struct OpenFile {
    file: File,
    dir: PathBuf,
}

/// Holds the lock for as long as its file is open.
#[derive(Debug)]
struct FileLock {
    _file: File,
    fingerprint: Fingerprint,
}

impl FileDisk {
    /// A directory that is there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], or [`io::ErrorKind::NotADirectory`].
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        if fs::metadata(&dir)?.is_dir() {
            Ok(Self { dir })
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
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
                File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
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
        fs::hard_link(self.join(name)?, other.join(name)?)
    }

    fn join(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.dir.join(name))
    }
}

impl Disk for FileDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.join(name)?)?;
        Ok(Arc::new(OpenFile { file, dir: self.dir.clone() }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(self.join(name)?)?;
        Ok(Arc::new(OpenFile { file, dir: self.dir.clone() }))
    }

    fn create_private(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.join(name)?)?;
        Ok(Arc::new(OpenFile { file, dir: self.dir.clone() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            if let Ok(name) = entry.file_name().into_string()
                && check_name(&name).is_ok()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.join(from)?, self.join(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.join(name)?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(self.dir.join(LOCK_NAME))?;
        file.try_lock_exclusive().map_err(|error| {
            if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() {
                io::ErrorKind::WouldBlock.into()
            } else {
                error
            }
        })?;
        let fingerprint = fingerprint(&file)?;
        Ok(Box::new(FileLock { _file: file, fingerprint }))
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        let file = File::open(self.join(name)?)?;
        if in_place {
            Ok(Mapped::new(&file)?)
        } else {
            Ok(Loaded::read(&OpenFile { file, dir: self.dir.clone() })?)
        }
    }

    fn available(&self) -> io::Result<u64> {
        fs2::available_space(&self.dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(at) = offset.checked_add(done as u64).filter(|at| i64::try_from(*at).is_ok())
            else {
                break;
            };
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        // The length is passed on as a signed number, and what is already there needs no room.
        if i64::try_from(len).is_err() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len == 0 {
            return Ok(());
        }
        // `fs2` takes the error from `errno`, which `posix_fallocate` does not set: on a full disk
        // the caller would see whatever failed before. So what a full disk means is asked for.
        self.file.allocate(len).map_err(|error| {
            let needed = len.saturating_sub(metadata.blocks().saturating_mul(512));
            match fs2::available_space(&self.dir) {
                Ok(available) if available < needed => io::ErrorKind::StorageFull.into(),
                _ if error.kind() == io::ErrorKind::WouldBlock => io::ErrorKind::StorageFull.into(),
                _ => error,
            }
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl DirLock for FileLock {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

fn fingerprint(file: &File) -> io::Result<Fingerprint> {
    let metadata = file.metadata()?;
    let birth = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = birth.and_then(|age| u64::try_from(age.as_nanos()).ok());
    Ok(Fingerprint { inode: metadata.ino(), birth_nanos: nanos.unwrap_or(0) })
}

//! The seam to storage: one flat directory of files, and what of them survives a power cut.
//!
//! # What survives
//!
//! - Bytes that were written before a [`DiskFile::sync`] that returned `Ok` survive.
//! - Of bytes that were written since, each aligned sector of [`SECTOR_LEN`] bytes holds either the
//!   new bytes or the old ones (zeros where the file had not reached before), independently of all
//!   other sectors and of the order of the writes. A sector written several times holds what it was
//!   after any of them. The file may have its old length, its new one, or any between.
//! - Where a file is cut short, each sector of what is cut off, and the rest of the one that it is
//!   cut in, may be zeros although the file still has its old length: file systems zero the rest
//!   before they change the length.
//! - After a sync that failed, nothing is known about what was written since the last one that
//!   succeeded, whatever reads show. A later sync that succeeds covers only sectors that were
//!   written again after the failure.
//! - Creating, renaming and removing become durable, in their order, with [`Disk::sync_dir`]; until
//!   then any prefix of them may have happened. The contents of a file are durable only by its own
//!   sync, whatever its name.

mod file;
#[doc(hidden)]
pub mod loaded;
mod map;
mod memory;
mod names;
#[doc(hidden)]
pub mod pages;

pub use self::{
    file::{Displaced, FileDisk, NotAFile},
    memory::MemoryDisk,
    names::{SPARE_NAME, is_log_file, is_quarantined, is_store_file, is_temporary},
};

pub(crate) use self::names::{Quarantine, quarantined};

use std::{
    ffi::OsString,
    fmt,
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
};

/// The unit in which unsynced writes survive a power cut or don't, in bytes.
pub const SECTOR_LEN: usize = 512;

/// The file that the lock of a directory is on. Never renamed or removed; it says which process has
/// the lock.
pub const LOCK_NAME: &str = "LOCK";

/// A directory of files without subdirectories.
///
/// Names are of `[A-Za-z0-9._-]`. All methods may be called from any number of threads.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file that is there, for reading and writing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], [`io::ErrorKind::InvalidInput`] for a name that is not allowed
    /// (as with all methods that take one), and whatever the disk reports.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file; one of that name that is there already becomes empty.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates a file that only the owner of the process may read and write, where the disk knows
    /// of owners. There must be none of that name.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn create_private(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.create(name)
    }

    /// The names of all files, sorted.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The names of all that lies in the directory, subdirectories and links included, in no order.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn list_all(&self) -> io::Result<Vec<OsString>> {
        Ok(self.list()?.into_iter().map(OsString::from).collect())
    }

    /// Renames a file; one that has the new name already is replaced, atomically.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], and whatever the disk reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Those who have it open can go on reading it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], and whatever the disk reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once all that was created, renamed and removed before survives a power cut.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports. What was done to the names since the last time is then unknown
    /// until a later call succeeds.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the exclusive lock of the directory, which is on the file `LOCK`, made when missing.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if another holder, in this process or another, has it.
    fn lock(&self) -> io::Result<Box<dyn DirLock>>;

    /// The id of the process that has the lock, as `LOCK` has it. Means nothing while nobody
    /// has it.
    fn lock_holder(&self) -> Option<u32> {
        None
    }

    /// The bytes of a whole file that is complete, to be read from any place, now and later: also
    /// once it was renamed or removed.
    ///
    /// With `in_place` the file is mapped where the disk can do that, which makes a read as cheap
    /// as one of memory; else each read is a call, or the disk keeps the bytes in memory anyhow. A
    /// disk that fails is an error in either case.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], and whatever the disk reports.
    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>>;

    /// The length in bytes of a file, which need not be opened for that.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], and whatever the disk reports.
    fn file_len(&self, name: &str) -> io::Result<u64> {
        self.open(name)?.len()
    }

    /// How many bytes can still be written, as far as the disk knows.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn available(&self) -> io::Result<u64>;

    /// Where a file is, for messages.
    fn path(&self, name: &str) -> PathBuf;
}

/// One open file.
#[expect(clippy::len_without_is_empty, reason = "asking costs a call that can fail")]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn len(&self) -> io::Result<u64>;

    /// Reads at `offset` until the buffer is full or the file ends; returns how much was read.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The bytes of the file as long as it is now, mapped into memory, for reads that are as cheap
    /// as those of memory; `None` if the disk does not map files. They are to be had also once the
    /// file is closed.
    fn map(&self) -> Option<Arc<dyn Bytes>> {
        None
    }

    /// Writes all of `bytes` at `offset`. A gap behind the former end reads as zeros.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`], and whatever else the disk reports. Any part of the bytes
    /// may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// As [`write_at`](Self::write_at), of parts that lie behind one another in the file. The
    /// slices are of no use then.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    fn write_parts_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        self.write_at(&bytes, offset)
    }

    /// Makes the file at least `len` bytes long, the new ones zeros, and reserves room for them.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] if there is no room.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file down to `len` bytes, or extends it by zeros.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns once all that was written to this file, its length included, survives a power cut.
    ///
    /// # Errors
    ///
    /// What was written since the last sync is then unknown for good: the caller must not retry,
    /// but stop, and recover from what can be read back.
    fn sync(&self) -> io::Result<()>;

    /// Takes an exclusive lock on the file, until it is closed: of two who write to a log, whatever
    /// happens to the lock of the directory, one fails here.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if it is open and locked elsewhere, in this process or
    /// another.
    fn lock(&self) -> io::Result<()> {
        Ok(())
    }

    /// Releases the lock; the file stays open.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn unlock(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether the file is open and locked elsewhere. Those who ask at the same time are not in
    /// each other's way. Not for a file that the caller has locked: that would let go of it.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    fn is_locked(&self) -> io::Result<bool> {
        Ok(false)
    }

    /// Checks that the file still has a name: what is written to one that was removed is lost.
    ///
    /// # Errors
    ///
    /// [`Displaced::FileGone`], as the inner error, and whatever the disk reports.
    fn check_named(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The bytes of a file: in memory, in a mapped file, or read when they are wanted.
///
/// They are only ever copied. Whether a page of a mapped file could be read is known after it was
/// touched, so nobody gets a reference to it.
#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
pub trait Bytes: fmt::Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Copies the bytes from `offset` on until the buffer is full.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if there are fewer, and whatever the disk reports.
    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()>;

    /// Asks for `len` bytes of memory from `offset` on, without waiting for them, where bytes are
    /// in memory. What it returns means nothing.
    fn touch(&self, offset: usize, len: usize) -> u64 {
        let _ = (offset, len);
        0
    }
}

/// The lock of a directory, let go when dropped.
pub trait DirLock: fmt::Debug + Send + Sync {
    /// What tells this very directory from a copy: inode and birth time of the `LOCK` file.
    fn fingerprint(&self) -> Fingerprint;

    /// Checks that the directory is still the one at its path, and that its `LOCK` is still the
    /// file that is locked. Takes about a microsecond.
    ///
    /// # Errors
    ///
    /// [`Displaced`], as the inner error, and whatever the disk reports.
    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Inode and birth time of a file: a copy has others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// The inode number.
    pub inode: u64,
    /// Nanoseconds since 1970, 0 where the file system does not tell.
    pub birth_nanos: u64,
}

impl Fingerprint {
    /// Whether both may be of one file. Where the file system does not tell the birth time, now or
    /// then, only the inode counts.
    pub fn matches(self, found: Self) -> bool {
        let known = self.birth_nanos != 0 && found.birth_nanos != 0;
        self.inode == found.inode && (!known || self.birth_nanos == found.birth_nanos)
    }
}

/// Whether an error is about the medium: the same read may succeed for fewer bytes.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    /// `EIO`; `ENODATA` and `EREMOTEIO` of block devices; `EBADMSG` and `EUCLEAN` of file systems
    /// that check what they read.
    #[cfg(target_os = "linux")]
    const CODES: [i32; 5] = [5, 61, 121, 74, 117];
    /// `EIO`.
    #[cfg(not(target_os = "linux"))]
    const CODES: [i32; 1] = [5];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

/// Refuses names that are not of `[A-Za-z0-9._-]`, and `.` and `..`: no name leaves the directory.
#[doc(hidden)]
pub fn check_name(name: &str) -> io::Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.bytes().all(allowed) && !matches!(name, "" | "." | "..") {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

//! What is wrong on purpose, for the negative controls.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use stemedb_simdisk::FaultyDisk;
use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile};

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Disks sync only the beginnings of files, and say that they synced all.
    Unsynced,
    /// No session with a certain node ever begins, and it begins none.
    Shunned,
    /// Bodies are changed between the check of a session and the store.
    Altered,
    /// Answers about ids and subtrees are not what the responder said.
    Lies,
    /// What happens follows from more than the seed.
    Unseeded,
    /// Sessions are never told that time passes, and what is lost stays lost.
    Forgotten,
    /// Everybody repeats to everybody what he hears.
    Talkative,
    /// All links to a machine share one narrow line, which a flood fills.
    Narrow,
}

/// A disk that syncs only the beginnings of files, and says that it synced all.
#[derive(Debug)]
pub(crate) struct Unsynced(pub(crate) FaultyDisk);

/// A file, and where it was written last.
#[derive(Debug)]
struct UnsyncedFile(Arc<dyn DiskFile>, AtomicU64);

impl Disk for Unsynced {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(UnsyncedFile(self.0.open(name)?, AtomicU64::new(1))))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(UnsyncedFile(self.0.create(name)?, AtomicU64::new(0))))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.0.lock()
    }
    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        self.0.map(name, in_place)
    }
    fn available(&self) -> io::Result<u64> {
        self.0.available()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

impl DiskFile for UnsyncedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.store(offset, Ordering::Relaxed);
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) == 0 { self.0.sync() } else { Ok(()) }
    }
}

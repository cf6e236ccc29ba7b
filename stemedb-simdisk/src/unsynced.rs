//! Disk that loses what was synced, for negative controls.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile};

use crate::FaultyDisk;

/// A disk that syncs only the beginnings of files, and says that it synced all.
///
/// For negative controls: a test that synced bytes survive a power cut must fail on this disk.
#[derive(Clone, Debug)]
pub struct UnsyncedDisk(pub FaultyDisk);

#[derive(Debug)]
struct UnsyncedFile {
    file: Arc<dyn DiskFile>,
    /// Whether it was written last at its beginning, where headers are.
    at_beginning: AtomicBool,
}

fn unsynced(file: Arc<dyn DiskFile>, at_beginning: bool) -> Arc<dyn DiskFile> {
    Arc::new(UnsyncedFile { file, at_beginning: AtomicBool::new(at_beginning) })
}

impl Disk for UnsyncedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(unsynced(self.0.open(name)?, false))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(unsynced(self.0.create(name)?, true))
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
        self.file.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.at_beginning.store(offset == 0, Ordering::Relaxed);
        self.file.write_at(bytes, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.at_beginning.load(Ordering::Relaxed) { self.file.sync() } else { Ok(()) }
    }
}

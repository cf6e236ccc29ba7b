//! A directory that is only read: what is written to it stays in memory.

use std::{io, path::PathBuf, sync::Arc};

use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile, FileDisk, MemoryDisk};

/// Bytes that are read at once.
const READ_LEN: usize = 1 << 20;

/// A directory, and in memory all that is different from it.
#[derive(Debug)]
pub(super) struct Overlay {
    base: FileDisk,
    memory: MemoryDisk,
}

impl Overlay {
    /// A directory of which these files may be written to. They are read into memory now.
    pub(super) fn new(base: FileDisk, written: &[&str]) -> io::Result<Self> {
        let memory = MemoryDisk::new();
        let mut buffer = vec![0; READ_LEN];
        for name in written {
            let (from, to) = (base.open(name)?, memory.create(name)?);
            let mut at = 0;
            loop {
                let read = from.read_at(&mut buffer, at)?;
                if read == 0 {
                    break;
                }
                to.write_at(buffer.get(..read).unwrap_or_default(), at)?;
                at += read as u64;
            }
        }
        Ok(Self { base, memory })
    }
}

impl Disk for Overlay {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.memory.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.base.open(name),
            opened => opened,
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.memory.create(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.base.list()?;
        names.append(&mut self.memory.list()?);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.memory.lock()
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        match self.memory.map(name, in_place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.base.map(name, in_place),
            mapped => mapped,
        }
    }

    fn available(&self) -> io::Result<u64> {
        self.memory.available()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path(name)
    }
}

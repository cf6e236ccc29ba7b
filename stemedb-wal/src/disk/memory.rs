//! A disk in memory.

use super::{
    Bytes, DirLock, Disk, DiskFile, Fingerprint, LOCK_NAME, check_name, loaded::Loaded,
    pages::Pages,
};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A directory in memory: for a store that need not outlive its process.
///
/// Nothing is ever slow, full or lost, and syncing does nothing. Clones are the same directory.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    directory: Arc<Directory>,
}

#[derive(Debug)]
struct Directory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
    locked: AtomicBool,
    fingerprint: Fingerprint,
}

#[derive(Debug, Default)]
struct MemoryFile {
    pages: RwLock<Pages>,
}

#[derive(Debug)]
struct MemoryLock {
    directory: Arc<Directory>,
}

/// Tells the directories of one process apart. They cannot be copied, so a counter is enough.
static DIRECTORIES: AtomicU64 = AtomicU64::new(1);

impl MemoryDisk {
    /// An empty directory.
    pub fn new() -> Self {
        let fingerprint =
            Fingerprint { inode: DIRECTORIES.fetch_add(1, Ordering::Relaxed), birth_nanos: 0 };
        let (files, locked) = (Mutex::default(), AtomicBool::new(false));
        Self { directory: Arc::new(Directory { files, locked, fingerprint }) }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.directory.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> io::Result<Arc<MemoryFile>> {
        check_name(name)?;
        self.files().get(name).map(Arc::clone).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.find(name)?)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let file = Arc::clone(self.files().entry(name.to_owned()).or_default());
        file.set_len(0)?;
        Ok(file)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        let mut files = self.files();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.files().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        if self.directory.locked.swap(true, Ordering::Acquire) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.files().entry(LOCK_NAME.to_owned()).or_default();
        Ok(Box::new(MemoryLock { directory: Arc::clone(&self.directory) }))
    }

    fn map(&self, name: &str, _in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        Ok(Loaded::read(&*self.find(name)?)?)
    }

    fn available(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("memory:{name}"))
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.pages.read().unwrap_or_else(PoisonError::into_inner).len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.pages.write().unwrap_or_else(PoisonError::into_inner).write_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let len = len.max(pages.len());
        pages.set_len(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.pages.write().unwrap_or_else(PoisonError::into_inner).set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DirLock for MemoryLock {
    fn fingerprint(&self) -> Fingerprint {
        self.directory.fingerprint
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.directory.locked.store(false, Ordering::Release);
    }
}

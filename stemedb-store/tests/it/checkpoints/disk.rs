//! A disk whose files can be made to fail, by the ends of their names.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
};

use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile, MemoryDisk};

/// What does not work at present.
#[derive(Debug, Default)]
struct Trouble {
    /// Reads of files with this end work for so many more times.
    reads: Vec<(String, usize)>,
    /// Files with this end can't be made.
    creations: Option<String>,
    /// How often one was to be made all the same.
    tried: usize,
    /// Making files with these in their names waits.
    held: Vec<String>,
    /// How often one of them was to be made.
    waited: usize,
}

/// A disk in memory.
#[derive(Clone, Debug)]
pub(crate) struct FailingDisk {
    inner: MemoryDisk,
    trouble: Arc<(Mutex<Trouble>, Condvar)>,
}

#[derive(Debug)]
struct FailingFile {
    inner: Arc<dyn DiskFile>,
    name: String,
    disk: FailingDisk,
}

#[derive(Debug)]
struct FailingBytes {
    inner: Arc<dyn Bytes>,
    name: String,
    disk: FailingDisk,
}

impl FailingDisk {
    pub(crate) fn new() -> Self {
        Self { inner: MemoryDisk::new(), trouble: Arc::default() }
    }

    /// Reads of files with this end fail after so many that work.
    pub(crate) fn fail_reads(&self, end: &str, after: usize) {
        self.trouble.0.lock().unwrap().reads.push((end.to_owned(), after));
    }

    /// Files with this end can't be made.
    pub(crate) fn fail_creations(&self, end: &str) {
        self.trouble.0.lock().unwrap().creations = Some(end.to_owned());
    }

    /// How often it was tried to make one of them.
    pub(crate) fn tried(&self) -> usize {
        self.trouble.0.lock().unwrap().tried
    }

    /// Making files with this in their names waits, until it is released or all works again.
    pub(crate) fn hold(&self, part: &str) {
        self.trouble.0.lock().unwrap().held.push(part.to_owned());
    }

    /// Such files can be made.
    pub(crate) fn release(&self, part: &str) {
        self.trouble.0.lock().unwrap().held.retain(|held| held != part);
        self.trouble.1.notify_all();
    }

    /// How often making a file had to wait.
    pub(crate) fn waited(&self) -> usize {
        self.trouble.0.lock().unwrap().waited
    }

    /// All works again.
    pub(crate) fn work(&self) {
        *self.trouble.0.lock().unwrap() = Trouble::default();
        self.trouble.1.notify_all();
    }

    fn read(&self, name: &str) -> io::Result<()> {
        let mut trouble = self.trouble.0.lock().unwrap();
        for (_, left) in trouble.reads.iter_mut().filter(|(end, _)| name.ends_with(end.as_str())) {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("an unreadable sector"))?;
        }
        Ok(())
    }
}

impl Disk for FailingDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let (inner, name) = (self.inner.open(name)?, name.to_owned());
        Ok(Arc::new(FailingFile { inner, name, disk: self.clone() }))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut trouble = self.trouble.0.lock().unwrap();
        if trouble.creations.as_ref().is_some_and(|end| name.ends_with(end.as_str())) {
            trouble.tried += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_held = |trouble: &mut Trouble| trouble.held.iter().any(|part| name.contains(part));
        if is_held(&mut trouble) {
            trouble.waited += 1;
            trouble = self.trouble.1.wait_while(trouble, is_held).unwrap();
        }
        drop(trouble);
        let (inner, name) = (self.inner.create(name)?, name.to_owned());
        Ok(Arc::new(FailingFile { inner, name, disk: self.clone() }))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.inner.lock()
    }
    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        let (inner, name) = (self.inner.map(name, in_place)?, name.to_owned());
        Ok(Arc::new(FailingBytes { inner, name, disk: self.clone() }))
    }
    fn available(&self) -> io::Result<u64> {
        self.inner.available()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

impl DiskFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read(&self.name)?;
        self.inner.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

impl Bytes for FailingBytes {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        self.disk.read(&self.name)?;
        self.inner.read_at(buffer, offset)
    }
}

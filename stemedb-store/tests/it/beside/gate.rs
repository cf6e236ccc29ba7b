//! A disk that asks before each operation, and reads and writes in two parts.

use std::{fmt, io, path::PathBuf, sync::Arc};

use stemedb_simdisk::Operation;
use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile};

/// Asked before each operation, which it may refuse.
pub(crate) type Ask = Arc<dyn Fn(Operation) -> io::Result<()> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) ask: Ask,
}

struct GateFile {
    file: Arc<dyn DiskFile>,
    ask: Ask,
}

struct GateBytes {
    bytes: Arc<dyn Bytes>,
    ask: Ask,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl fmt::Debug for GateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateFile")
    }
}

impl fmt::Debug for GateBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateBytes")
    }
}

/// Where so many bytes are cut in two.
fn cut(len: usize, offset: u64) -> usize {
    usize::try_from((offset * 31 + len as u64 * 7) % (len as u64).max(1)).unwrap()
}

impl Gate {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(GateFile { file, ask: Arc::clone(&self.ask) })
    }
}

impl Disk for Gate {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        (self.ask)(Operation::Open)?;
        Ok(self.file(self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        (self.ask)(Operation::Create)?;
        Ok(self.file(self.disk.create(name)?))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        (self.ask)(Operation::List)?;
        self.disk.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        (self.ask)(Operation::Rename)?;
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        (self.ask)(Operation::Remove)?;
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        (self.ask)(Operation::SyncDir)?;
        self.disk.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        (self.ask)(Operation::Lock)?;
        self.disk.lock()
    }
    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        (self.ask)(Operation::Open)?;
        let bytes = self.disk.map(name, in_place)?;
        Ok(Arc::new(GateBytes { bytes, ask: Arc::clone(&self.ask) }))
    }
    fn file_len(&self, name: &str) -> io::Result<u64> {
        (self.ask)(Operation::Len)?;
        self.disk.file_len(name)
    }
    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }
    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

impl DiskFile for GateFile {
    fn len(&self) -> io::Result<u64> {
        (self.ask)(Operation::Len)?;
        self.file.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.ask)(Operation::Read)?;
        let (front, back) = buffer.split_at_mut(cut(buffer.len(), offset));
        let read = self.file.read_at(front, offset)?;
        if read < front.len() || back.is_empty() {
            return Ok(read);
        }
        (self.ask)(Operation::Read)?;
        Ok(read + self.file.read_at(back, offset + read as u64)?)
    }
    /// In two parts, so that a write that is half done is seen, somewhere or other.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.ask)(Operation::Write)?;
        let (front, back) = bytes.split_at(cut(bytes.len(), offset));
        if !front.is_empty() {
            self.file.write_at(front, offset)?;
            (self.ask)(Operation::Write)?;
        }
        self.file.write_at(back, offset + front.len() as u64)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        (self.ask)(Operation::Allocate)?;
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.ask)(Operation::SetLen)?;
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        (self.ask)(Operation::Sync)?;
        self.file.sync()
    }
}

impl Bytes for GateBytes {
    fn len(&self) -> usize {
        self.bytes.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        (self.ask)(Operation::Read)?;
        self.bytes.read_at(buffer, offset)
    }
}

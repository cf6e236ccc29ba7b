//! Files of sealed segments, of which a bounded number is open at a time.
//!
//! A log of a terabyte has 16,000 segments, and a process may have some 1,000 files open.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::disk::{Disk, DiskFile, RemoteError};

/// How many files of sealed segments are open at a time, at most.
const OPEN_MAX: usize = 256;

/// How many are in any case: those that are read at once.
const OPEN_MIN: usize = 8;

type Slot = RwLock<Option<Arc<dyn DiskFile>>>;

/// The open files, in the order in which they were opened.
#[derive(Debug)]
pub(crate) struct Handles {
    open: Mutex<VecDeque<Arc<Slot>>>,
    open_max: usize,
}

/// A file that is opened when it is needed. A reader goes on while another one closes it
/// reading.
#[derive(Debug)]
pub(crate) struct SealedFile {
    disk: Arc<dyn Disk>,
    name: String,
    slot: Arc<Slot>,
    handles: Arc<Handles>,
}

impl SealedFile {
    /// A file that is open by now.
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        name: &str,
        file: Arc<dyn DiskFile>,
        handles: &Arc<Handles>,
    ) -> Arc<Self> {
        let slot = Arc::new(RwLock::new(Some(file)));
        handles.note(Arc::clone(&slot));
        let (disk, handles) = (Arc::clone(disk), Arc::clone(handles));
        Arc::new(Self { disk, name: name.to_owned(), slot, handles })
    }

    fn file(&self) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(file));
        }
        let file = match self.disk.open(&self.name) {
            Err(error) if is_out_of_files(&error) => {
                // Others need files as well: these here are the ones that can be closed.
                self.handles.close_all();
                self.disk.open(&self.name)?
            }
            opened => opened?,
        };
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let was_closed = slot.replace(Arc::clone(&file)).is_none();
        drop(slot);
        if was_closed {
            self.handles.note(Arc::clone(&self.slot));
        }
        Ok(file)
    }
}

/// A quarter of the files that the process may have open: connections need some, too.
impl Default for Handles {
    fn default() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let quarter =
            limit.map_or(OPEN_MAX, |limit| usize::try_from(limit / 4).unwrap_or(OPEN_MAX));
        Self { open: Mutex::default(), open_max: quarter.clamp(OPEN_MIN, OPEN_MAX) }
    }
}

/// Whether the process, or the system, has as many files open as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error())).contains(&code)
}

impl Handles {
    /// Closes all files: they are opened again by their names when they are needed.
    pub(crate) fn close_all(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in open {
            let closed = slot.write().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        }
    }

    /// Takes note of a file that was opened, and closes the one that was opened first if there are
    /// too many.
    fn note(&self, slot: Arc<Slot>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(slot);
        let surplus = if open.len() > self.open_max { open.pop_front() } else { None };
        drop(open);
        if let Some(slot) = surplus {
            let closed = slot.write().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        }
    }
}

impl DiskFile for SealedFile {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file()?.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file()?.sync()
    }

    fn is_remote(&self) -> bool {
        // What can't be opened can't be read either, which its reader is told.
        self.file().is_ok_and(|file| file.is_remote())
    }

    fn read_local_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_local_at(buffer, offset)
    }

    fn invalidate(&self) -> Option<RemoteError> {
        self.file().ok()?.invalidate()
    }

    fn release(&self) {
        let closed = self.slot.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn only_so_many_are_open_and_all_can_be_read() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let handles = Arc::new(Handles { open_max: OPEN_MAX, ..Handles::default() });
        let files: Vec<_> = (0..OPEN_MAX + 50)
            .map(|n| {
                let name = format!("file-{n}");
                let file = disk.create(&name).unwrap();
                file.write_at(name.as_bytes(), 0).unwrap();
                SealedFile::new(&disk, &name, file, &handles)
            })
            .collect();
        for _ in 0..2 {
            for (n, file) in files.iter().enumerate() {
                let mut bytes = [0; 16];
                let read = file.read_at(&mut bytes, 0).unwrap();
                assert_eq!(bytes[..read], *format!("file-{n}").as_bytes());
                let open = files.iter().filter(|file| file.slot.read().unwrap().is_some()).count();
                assert_eq!(open, OPEN_MAX);
            }
        }
    }
}

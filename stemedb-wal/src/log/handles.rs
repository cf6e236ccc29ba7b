//! Files of sealed segments, of which a bounded number is open at a time.
//!
//! A log of a terabyte has 16,000 segments, and a process may have some 1,000 files open. A file
//! that records are read from is mapped as long as it is open, so that there are no more maps than
//! files.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
};

use crate::{
    disk::{Bytes, DiskFile},
    internal::{filled, in_memory},
    remote::{LogDir, Opened, RemoteError, StubDamaged},
    segment::{SegmentHeader, TRAILER_LEN, Trailer},
};

/// How many files of sealed segments are open at a time, at most.
const OPEN_MAX: usize = 256;

/// How many are in any case: those that are read at once.
const OPEN_MIN: usize = 8;

type Slot = RwLock<Option<MappedFile>>;

/// A file that is open, and its map once records are read.
#[derive(Debug)]
struct MappedFile {
    opened: Opened,
    map: OnceLock<Option<Arc<dyn Bytes>>>,
}

impl From<Opened> for MappedFile {
    fn from(opened: Opened) -> Self {
        Self { opened, map: OnceLock::new() }
    }
}

impl MappedFile {
    /// The map, if the disk maps files. Of the very file that is open: whatever is put in its place
    /// is another one.
    fn map(&self) -> Option<&dyn Bytes> {
        let map = self.map.get_or_init(|| match &self.opened {
            Opened::Local(file) => file.map(),
            Opened::Compressed(_) | Opened::Remote(_) => None,
        });
        map.as_deref()
    }
}

/// The bytes of a segment.
#[derive(Debug)]
pub(crate) enum SegmentBytes {
    /// In a file that is open.
    Open(Opened),
    /// In a file that is opened when it is needed.
    Sealed(SealedFile),
}

/// The open files, in the order in which they were opened.
#[derive(Debug)]
pub(crate) struct Handles {
    dir: LogDir,
    open: Mutex<VecDeque<Arc<Slot>>>,
    open_max: usize,
    map_files: bool,
}

/// A file that is opened when it is needed. It is not closed while it is read.
#[derive(Debug)]
pub(crate) struct SealedFile {
    name: String,
    slot: Arc<Slot>,
    handles: Arc<Handles>,
    /// What it must be where no one has looked yet.
    known: Option<KnownEnd>,
}

/// End of a sealed segment by what the restart checkpoint knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownEnd {
    pub(crate) header: SegmentHeader,
    pub(crate) len: u64,
    /// The checksum of its trailer, which the segment behind it has in its header.
    pub(crate) trailer_sum: u32,
}

impl KnownEnd {
    /// Refuses the segment of another log that went on from the same beginning: its records pass
    /// all of their checks. A trailer that is damaged tells nothing.
    fn check(&self, file: &Opened) -> io::Result<()> {
        let mut bytes = [0; TRAILER_LEN];
        let Some(at) = self.len.checked_sub(TRAILER_LEN as u64) else { return Ok(()) };
        let Ok(read) = file.read_local_at(&mut bytes, at) else { return Ok(()) };
        let trailer = Trailer::at_end(filled(&bytes, read), &self.header, self.len);
        if trailer.is_some_and(|trailer| trailer.sum != self.trailer_sum) {
            let what = "the segment is not the one that the log goes on from";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(())
    }
}

impl SealedFile {
    /// A file that is opened, and held against what is known of it, by the first read.
    pub(crate) fn closed(name: &str, handles: &Arc<Handles>, known: KnownEnd) -> SegmentBytes {
        let (slot, handles) = (Arc::default(), Arc::clone(handles));
        SegmentBytes::Sealed(Self { name: name.to_owned(), slot, handles, known: Some(known) })
    }

    /// A file that is open by now.
    pub(crate) fn opened(name: &str, file: Opened, handles: &Arc<Handles>) -> SegmentBytes {
        let slot = Arc::new(RwLock::new(Some(file.into())));
        handles.note(Arc::clone(&slot));
        let handles = Arc::clone(handles);
        SegmentBytes::Sealed(Self { name: name.to_owned(), slot, handles, known: None })
    }

    /// Reads the file, which no one closes meanwhile.
    fn read<T>(&self, read: impl FnOnce(&MappedFile) -> io::Result<T>) -> io::Result<T> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*slot {
            let Opened::Remote(stub) = &file.opened else { return read(file) };
            // Closing waits for no archive.
            let stub = Opened::Remote(Arc::clone(stub)).into();
            drop(slot);
            return read(&stub);
        }
        drop(slot);
        let file = match self.handles.dir.open_segment(&self.name) {
            Err(error) if is_out_of_files(&error) => {
                // Others need files as well: these here are the ones that can be closed.
                self.handles.close_all();
                self.handles.dir.open_segment(&self.name)?
            }
            opened => opened?,
        };
        if let Some(known) = &self.known {
            known.check(&file)?;
        }
        let file = MappedFile::from(file);
        let result = read(&file);
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        let was_closed = slot.replace(file).is_none();
        drop(slot);
        if was_closed {
            self.handles.note(Arc::clone(&self.slot));
        }
        result
    }
}

/// Whether the process, or the system, has as many files open as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error())).contains(&code)
}

impl Handles {
    /// Of segments in this directory, which are mapped where that is wanted. A quarter of the files
    /// that the process may have open: connections need some, too.
    pub(crate) fn new(dir: LogDir, map_files: bool) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let quarter = limit.map_or(OPEN_MAX, |limit| in_memory((limit / 4).min(OPEN_MAX as u64)));
        Self { dir, open: Mutex::default(), open_max: quarter.max(OPEN_MIN), map_files }
    }

    pub(crate) fn dir(&self) -> &LogDir {
        &self.dir
    }

    /// Closes all files: they are opened again by their names when they are needed.
    pub(crate) fn close_all(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in open {
            let closed = slot.write().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        }
    }

    /// Takes note of a file that was opened, and closes the first one that nobody reads if there
    /// are too many.
    fn note(&self, slot: Arc<Slot>) {
        let mut closed = None;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(slot);
        if open.len() > self.open_max {
            let idle = open
                .iter()
                .position(|slot| slot.try_write().map(|mut file| closed = file.take()).is_ok());
            idle.and_then(|idle| open.remove(idle));
        }
        drop(open);
        drop(closed);
    }
}

impl SegmentBytes {
    /// Calls the file, which is opened if need be.
    fn read<T>(&self, read: impl FnOnce(&Opened) -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Open(file) => read(file),
            Self::Sealed(file) => file.read(|file| read(&file.opened)),
        }
    }

    /// What `read` finds in the map of a sealed segment, which nobody closes meanwhile; `None` if
    /// there is no map, or it finds nothing: the bytes can be read with calls then, and these tell
    /// what is wrong.
    pub(crate) fn in_map<T>(&self, read: impl FnOnce(&dyn Bytes) -> Option<T>) -> Option<T> {
        match self {
            Self::Sealed(file) if file.handles.map_files => {
                file.read(|file| Ok(file.map().and_then(read))).ok().flatten()
            }
            Self::Sealed(_) | Self::Open(_) => None,
        }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        self.read(Opened::len)
    }

    /// Reads at `offset` until the buffer is full or the segment ends; returns how much was read.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(|file| file.read_at(buffer, offset))
    }

    /// See [`Opened::read_salvaged_at`].
    pub(crate) fn read_salvaged_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(|file| file.read_salvaged_at(buffer, offset))
    }

    /// As [`read_at`](Self::read_at), with zeros for bodies that are only in an archive.
    pub(crate) fn read_local_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(|file| file.read_local_at(buffer, offset))
    }

    /// Whether the bodies are only in an archive: also where their stub is damaged.
    pub(crate) fn is_remote(&self) -> io::Result<bool> {
        match self.read(|file| Ok(file.is_remote())) {
            Err(error) if StubDamaged::is_cause_of(&error) => Ok(true),
            remote => remote,
        }
    }

    /// Whether a read of the segment is one of its file, which may as well reach further.
    pub(crate) fn is_plain(&self) -> io::Result<bool> {
        match self.read(|file| Ok(file.is_plain())) {
            Err(error) if StubDamaged::is_cause_of(&error) => Ok(false),
            plain => plain,
        }
    }

    /// See [`Opened::is_intact`].
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        self.read(Opened::is_intact)
    }

    /// The file of a compressed segment as it is; `None` of any other.
    pub(crate) fn compressed_file(&self) -> io::Result<Option<Self>> {
        self.read(|file| Ok(file.compressed_file().map(Self::from)))
    }

    /// See [`Opened::invalidate`].
    pub(crate) fn invalidate(&self) -> Option<RemoteError> {
        self.read(|file| Ok(file.invalidate())).ok()?
    }

    /// Checks that the file of the open segment still has a name.
    pub(crate) fn check_named(&self) -> io::Result<()> {
        match self {
            Self::Open(Opened::Local(file)) => file.check_named(),
            Self::Open(Opened::Compressed(_) | Opened::Remote(_)) | Self::Sealed(_) => Ok(()),
        }
    }

    /// Lets others lock the file of the open segment.
    pub(crate) fn unlock(&self) {
        if let Self::Open(Opened::Local(file)) = self {
            // If it stays locked, that ends when nobody reads it any more.
            let _ = file.unlock();
        }
    }

    /// Closes the file of a sealed segment: another one may be in its place.
    pub(crate) fn release(&self) {
        if let Self::Sealed(file) = self {
            let closed = file.slot.write().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        }
    }
}

impl From<Arc<dyn DiskFile>> for SegmentBytes {
    fn from(file: Arc<dyn DiskFile>) -> Self {
        Self::Open(Opened::Local(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, FileDisk, MemoryDisk};

    fn is_open(file: &SegmentBytes) -> bool {
        matches!(file, SegmentBytes::Sealed(file) if file.slot.read().unwrap().is_some())
    }

    /// Files, each with its own name in it.
    fn files_of_their_names(
        count: usize,
        disk: &dyn Disk,
        handles: &Arc<Handles>,
    ) -> Vec<SegmentBytes> {
        let file = |n| {
            let name = format!("file-{n}");
            let file = disk.create(&name).unwrap();
            file.write_at(name.as_bytes(), 0).unwrap();
            SealedFile::opened(&name, Opened::Local(file), handles)
        };
        (0..count).map(file).collect()
    }

    #[test]
    fn only_so_many_are_open_and_all_can_be_read() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let dir = LogDir::new(Arc::clone(&disk), None);
        let handles = Arc::new(Handles { open_max: OPEN_MAX, ..Handles::new(dir, true) });
        let files = files_of_their_names(OPEN_MAX + 50, &*disk, &handles);
        for _ in 0..2 {
            for (n, file) in files.iter().enumerate() {
                let mut bytes = [0; 16];
                let read = file.read_at(&mut bytes, 0).unwrap();
                assert_eq!(bytes[..read], *format!("file-{n}").as_bytes());
                let open = files.iter().filter(|file| is_open(file)).count();
                assert_eq!(open, OPEN_MAX);
            }
        }
    }

    /// A map ends with its file: there are no more of them, and what is put in the place of a file
    /// is not read from its map.
    #[test]
    fn only_open_files_are_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(FileDisk::create(dir.path()).unwrap());
        let handles = Handles::new(LogDir::new(Arc::clone(&disk), None), true);
        let handles = Arc::new(Handles { open_max: 3, ..handles });
        let files = files_of_their_names(10, &*disk, &handles);
        let is_mapped = |file: &SegmentBytes| match file {
            SegmentBytes::Sealed(file) => {
                let slot = file.slot.read().unwrap();
                slot.as_ref().is_some_and(|file| file.map.get().is_some_and(Option::is_some))
            }
            SegmentBytes::Open(_) => false,
        };
        let read = |file: &SegmentBytes| {
            file.in_map(|map| {
                let mut bytes = [0; 6];
                map.read_at(&mut bytes, 0).ok()?;
                Some(bytes)
            })
        };
        assert!(!files.iter().any(is_mapped), "none was read");
        for (n, file) in files.iter().chain(&files).enumerate() {
            assert_eq!(read(file).unwrap()[..], *format!("file-{}", n % 10).as_bytes());
            assert!(is_mapped(file));
            assert!(files.iter().filter(|file| is_mapped(file)).count() <= 3);
        }
        disk.create("other").unwrap().write_at(b"other!", 0).unwrap();
        disk.rename("other", "file-9").unwrap();
        assert_eq!(read(&files[9]), Some(*b"file-9"));
        files[9].release();
        assert_eq!(read(&files[9]), Some(*b"other!"));
        let without = Arc::new(Handles::new(LogDir::new(Arc::clone(&disk), None), false));
        let file =
            SealedFile::opened("file-1", Opened::Local(disk.open("file-1").unwrap()), &without);
        assert_eq!(read(&file), None);
    }
}

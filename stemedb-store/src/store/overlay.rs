//! A directory that is only read: what is written to it stays in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile, MemoryDisk};

/// How much of a file is copied where a part of it is written, in bytes.
const PAGE_LEN: usize = 4096;

/// A directory as it is at each moment, and in memory all that is different from it. What opening a
/// store writes, the last tiles of the history above all, is seen by this process alone.
#[derive(Debug)]
pub(super) struct Overlay {
    base: Arc<dyn Disk>,
    /// Files that were looked at, and none in the place of those that are gone.
    files: Mutex<BTreeMap<String, Option<Arc<File>>>>,
}

/// A file of the directory or, without a name there, of memory alone.
#[derive(Debug, Default)]
struct File {
    base: Option<String>,
    changes: RwLock<Changes>,
}

/// What is different from the file of the directory.
#[derive(Debug, Default)]
struct Changes {
    /// The length, and how much of that still shows the directory's file; none before the first
    /// change.
    lens: Option<Lens>,
    pages: BTreeMap<u64, Box<[u8; PAGE_LEN]>>,
}

#[derive(Clone, Copy, Debug)]
struct Lens {
    len: u64,
    shown: u64,
}

/// An open file.
#[derive(Debug)]
struct Opened {
    file: Arc<File>,
    base: Option<Arc<dyn DiskFile>>,
}

impl Overlay {
    pub(super) fn new(base: Arc<dyn Disk>) -> Self {
        Self { base, files: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Option<Arc<File>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, file: Arc<File>) -> io::Result<Opened> {
        let base = file.base.as_ref().map(|name| self.base.open(name)).transpose()?;
        Ok(Opened { file, base })
    }

    fn find(&self, name: &str) -> io::Result<Arc<File>> {
        let mut files = self.files();
        match files.get(name) {
            Some(Some(file)) => Ok(Arc::clone(file)),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None => {
                self.base.file_len(name)?;
                let file = Arc::new(File { base: Some(name.to_owned()), ..File::default() });
                files.insert(name.to_owned(), Some(Arc::clone(&file)));
                Ok(file)
            }
        }
    }
}

impl Disk for Overlay {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.opened(self.find(name)?)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = match self.find(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = Arc::new(File::default());
                self.files().insert(name.to_owned(), Some(Arc::clone(&file)));
                file
            }
            found => found?,
        };
        let opened = self.opened(file)?;
        opened.set_len(0)?;
        Ok(Arc::new(opened))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names: BTreeSet<String> = self.base.list()?.into_iter().collect();
        for (name, file) in &*self.files() {
            match file.as_ref().map(|file| file.base.as_ref()) {
                None => drop(names.remove(name)),
                // It is listed as long as it is there.
                Some(Some(base)) if base == name => {}
                Some(_) => drop(names.insert(name.clone())),
            }
        }
        Ok(names.into_iter().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.find(from)?;
        let mut files = self.files();
        files.insert(from.to_owned(), None);
        files.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.files().insert(name.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.base.lock()
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        let file = self.find(name)?;
        if let Some(base) = file.base.as_ref().filter(|_| file.is_unchanged()) {
            return self.base.map(base, in_place);
        }
        let memory = MemoryDisk::new();
        let (from, to) = (self.opened(file)?, memory.create(name)?);
        let mut buffer = [0; PAGE_LEN];
        let mut at = 0;
        loop {
            let read = from.read_at(&mut buffer, at)?;
            if read == 0 {
                return memory.map(name, in_place);
            }
            to.write_at(buffer.split_at(read).0, at)?;
            at += read as u64;
        }
    }

    fn file_len(&self, name: &str) -> io::Result<u64> {
        let file = self.find(name)?;
        match file.base.as_ref().filter(|_| file.is_unchanged()) {
            Some(base) => self.base.file_len(base),
            None => self.opened(file)?.len(),
        }
    }

    fn available(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path(name)
    }
}

impl File {
    fn is_unchanged(&self) -> bool {
        self.changes.read().unwrap_or_else(PoisonError::into_inner).lens.is_none()
    }
}

impl Opened {
    /// Changes the file, of which so much was there before.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Changes, &mut Lens) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut changes = self.file.changes.write().unwrap_or_else(PoisonError::into_inner);
        let mut lens = self.lens(&changes)?;
        let result = change(&mut changes, &mut lens);
        changes.lens = Some(lens);
        result
    }

    fn lens(&self, changes: &Changes) -> io::Result<Lens> {
        let Some(lens) = changes.lens else {
            let len = self.base.as_ref().map_or(Ok(0), |base| base.len())?;
            return Ok(Lens { len, shown: len });
        };
        Ok(lens)
    }

    /// Reads what is shown of the directory's file, then zeros.
    fn read_base(&self, lens: Lens, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let shown = usize::try_from(lens.shown.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (shown, rest) = buffer.split_at_mut(shown.min(buffer.len()));
        let read = match &self.base {
            Some(base) if !shown.is_empty() => base.read_at(shown, offset)?,
            _ => 0,
        };
        shown.split_at_mut(read).1.fill(0);
        rest.fill(0);
        Ok(())
    }
}

impl DiskFile for Opened {
    fn len(&self) -> io::Result<u64> {
        let changes = self.file.changes.read().unwrap_or_else(PoisonError::into_inner);
        self.lens(&changes).map(|lens| lens.len)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let changes = self.file.changes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(lens) = changes.lens else {
            return self.base.as_ref().map_or(Ok(0), |base| base.read_at(buffer, offset));
        };
        let left = usize::try_from(lens.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let buffer = buffer.split_at_mut(len).0;
        self.read_base(lens, buffer, offset)?;
        let first = offset / PAGE_LEN as u64;
        let last = (offset + len as u64).div_ceil(PAGE_LEN as u64);
        for (number, page) in changes.pages.range(first..last.max(first)) {
            let start = number * PAGE_LEN as u64;
            let skipped = usize::try_from(offset.saturating_sub(start)).unwrap_or(PAGE_LEN);
            let at = usize::try_from(start.saturating_sub(offset)).unwrap_or(len);
            let from = page.split_at(skipped).1;
            for (to, from) in buffer.split_at_mut(at).1.iter_mut().zip(from) {
                *to = *from;
            }
        }
        Ok(len)
    }

    /// Of a file that is as it is in the directory. Nobody writes to a sealed segment, which alone
    /// is read so.
    fn map(&self) -> Option<Arc<dyn Bytes>> {
        self.base.as_ref().filter(|_| self.file.is_unchanged())?.map()
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| i64::try_from(*end).is_ok());
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        self.change(|changes, lens| {
            let (mut rest, mut at) = (bytes, offset);
            while !rest.is_empty() {
                let number = at / PAGE_LEN as u64;
                let inside = within_page(at)?;
                if let std::collections::btree_map::Entry::Vacant(page) =
                    changes.pages.entry(number)
                {
                    let mut copy = Box::new([0; PAGE_LEN]);
                    self.read_base(*lens, copy.as_mut_slice(), number * PAGE_LEN as u64)?;
                    page.insert(copy);
                }
                let page = changes.pages.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
                let room = page.split_at_mut(inside).1;
                let (part, later) = rest.split_at(room.len().min(rest.len()));
                for (to, from) in room.iter_mut().zip(part) {
                    *to = *from;
                }
                at += part.len() as u64;
                rest = later;
            }
            if !bytes.is_empty() {
                lens.len = lens.len.max(end);
            }
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_len(self.len()?.max(len))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        i64::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.change(|changes, lens| {
            if len < lens.len {
                // What is cut off does not show again.
                drop(changes.pages.split_off(&len.div_ceil(PAGE_LEN as u64)));
                if let Some(page) = changes.pages.get_mut(&(len / PAGE_LEN as u64)) {
                    page.split_at_mut(within_page(len)?).1.fill(0);
                }
            }
            *lens = Lens { len, shown: lens.shown.min(len) };
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Where in its page an offset is.
fn within_page(offset: u64) -> io::Result<usize> {
    usize::try_from(offset % PAGE_LEN as u64).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bytes of a file, read through its map.
    fn mapped(disk: &impl Disk, name: &str) -> Vec<u8> {
        let bytes = disk.map(name, true).unwrap();
        let mut all = vec![0; bytes.len()];
        bytes.read_at(&mut all, 0).unwrap();
        all
    }

    /// Against a disk in memory that gets the same calls.
    #[test]
    fn it_shows_what_a_directory_would_and_leaves_its_own_as_it_was() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..50 {
            let (base, expected) = (MemoryDisk::new(), MemoryDisk::new());
            let original: Vec<u8> = (0..random(20_000)).map(|n| (n % 251) as u8 + 1).collect();
            for disk in [&base, &expected] {
                disk.create("a").unwrap().write_at(&original, 0).unwrap();
            }
            let overlay = Overlay::new(Arc::new(base.clone()));
            let mut name = "a".to_owned();
            for step in 0..40 {
                let (one, other) = (overlay.open(&name).unwrap(), expected.open(&name).unwrap());
                let (at, len) = (random(22_000), random(9000));
                match random(6) {
                    0 => {
                        one.set_len(at).unwrap();
                        other.set_len(at).unwrap();
                    }
                    1 => {
                        one.allocate(at).unwrap();
                        other.allocate(at).unwrap();
                    }
                    2 => {
                        let to = format!("b{step}");
                        overlay.rename(&name, &to).unwrap();
                        expected.rename(&name, &to).unwrap();
                        name = to;
                    }
                    _ => {
                        let bytes = vec![255; usize::try_from(len).unwrap()];
                        one.write_at(&bytes, at).unwrap();
                        other.write_at(&bytes, at).unwrap();
                    }
                }
                assert_eq!(one.len().unwrap(), other.len().unwrap());
                let (mut found, mut wanted) = (vec![9; 5000], vec![9; 5000]);
                let at = random(22_000);
                let read = one.read_at(&mut found, at).unwrap();
                assert_eq!(read, other.read_at(&mut wanted, at).unwrap());
                assert_eq!(found, wanted);
                assert_eq!(mapped(&overlay, &name), mapped(&expected, &name));
                assert_eq!(overlay.list().unwrap(), expected.list().unwrap());
            }
            overlay.remove(&name).unwrap();
            assert!(overlay.list().unwrap().is_empty());
            assert_eq!(overlay.open(&name).unwrap_err().kind(), io::ErrorKind::NotFound);
            assert_eq!(base.list().unwrap(), ["a"]);
            assert_eq!(mapped(&base, "a"), original);
        }
    }
}

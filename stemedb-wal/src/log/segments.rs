//! The segments as one sequence, shared by the writer and all readers.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use stemedb_merkle::LogIndex;
use tracing::error;

use super::{
    handles::{Handles, SegmentBytes},
    offsets::MemoryOffsets,
};
use crate::{
    checksum::Salt,
    disk::{DirLock, Disk},
    error::{Action, Damage, DamageKind, DiskError, ReadError},
    internal::in_memory,
    position::Position,
    remote::{RemoteError, StubDamaged},
    scan::file::SegmentFile,
    segment::{HEADER_LEN, SegmentHeader, parse_segment_name},
};

/// One segment as it can be read.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) file: SegmentBytes,
    pub(crate) header: SegmentHeader,
    pub(crate) offsets: Offsets,
}

/// Where the offsets of a segment's entries are.
#[derive(Debug)]
pub(crate) enum Offsets {
    /// In memory: of the open segment, or of one whose footer is damaged.
    Memory(Arc<MemoryOffsets>),
    /// In the file from `at` on.
    File { at: u64, entries: u32 },
}

impl Segment {
    pub(crate) fn salt(&self) -> Salt {
        self.header.salt
    }

    /// Whether a file of this name is a later segment of the same log.
    pub(crate) fn is_before(&self, name: &str) -> bool {
        let Self { header, .. } = self;
        parse_segment_name(name).is_some_and(|(generation, first_index)| {
            generation == header.generation && first_index > header.first_index
        })
    }

    /// The offset of a position in the file; `None` if it is before the segment.
    pub(super) fn offset_of(&self, position: Position) -> Option<usize> {
        usize::try_from(position.get().checked_sub(self.header.first_position)?).ok()
    }

    /// Reads what the footer will need and is not in memory yet, so that the writer need not when
    /// it moves on. What is wrong is found when it is needed.
    pub(super) fn prepare_footer(&self, disk: &dyn Disk) {
        if let Offsets::Memory(offsets) = &self.offsets {
            let _ = offsets.earlier(self.on(disk), &self.header);
        }
    }

    /// The file, with its name on the disk.
    pub(crate) fn on<'a>(&'a self, disk: &'a dyn Disk) -> SegmentFile<'a> {
        SegmentFile { disk, name: &self.name, file: &self.file }
    }

    /// Copies the offsets of the entries from `from` on, counted within the segment, into `out`;
    /// how many were copied, which is none only if there are none.
    pub(crate) fn offsets_into(
        &self,
        disk: &dyn Disk,
        from: u64,
        out: &mut [u32],
    ) -> Result<usize, ReadError> {
        match &self.offsets {
            Offsets::Memory(offsets) => offsets.copy_to(self.on(disk), &self.header, from, out),
            Offsets::File { at, entries } => {
                // Behind the last one there are none.
                let left = u64::from(*entries).saturating_sub(from);
                let count = in_memory(left.min(out.len() as u64));
                if count == 1
                    && let Some(first) = out.first_mut()
                {
                    let mut bytes = [0; 4];
                    self.read_offsets(disk, at + from * 4, &mut bytes)?;
                    *first = u32::from_le_bytes(bytes);
                    return Ok(1);
                }
                let mut bytes = vec![0; count * 4];
                self.read_offsets(disk, at + from * 4, &mut bytes)?;
                for (to, offset) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *to = u32::from_le_bytes(*offset);
                }
                Ok(count)
            }
        }
    }

    /// The offset of the entry `number`, counted within the segment, as its map has it; `None`
    /// without a map. Unchecked, as those that are read.
    pub(super) fn mapped_offset(&self, number: u64) -> Option<u32> {
        let Offsets::File { at, entries } = self.offsets else { return None };
        let number = Some(number).filter(|number| *number < u64::from(entries))?;
        let at = usize::try_from(at + number * 4).ok()?;
        let mut bytes = [0; 4];
        self.file.in_map(|map| map.read_at(&mut bytes, at).ok())?;
        // Beyond the end of a file that was cut its last page has zeros.
        Some(u32::from_le_bytes(bytes)).filter(|offset| *offset as usize >= HEADER_LEN)
    }

    /// Why a read failed: of the archive, of what is kept of an archived segment, or of the disk.
    pub(super) fn read_failed(
        &self,
        disk: &dyn Disk,
        len: u64,
        offset: u64,
        source: io::Error,
    ) -> ReadError {
        let source = match source.downcast::<RemoteError>() {
            Ok(remote) => return remote.into(),
            Err(source) => source,
        };
        if StubDamaged::is_cause_of(&source) {
            return ReadError::Damaged(self.on(disk).stub_damage(self.header.first_index));
        }
        DiskError::new(Action::Read { len, offset }, disk.path(&self.name), source).into()
    }

    fn read_offsets(
        &self,
        disk: &dyn Disk,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), ReadError> {
        let len = bytes.len() as u64;
        let read = self.file.read_at(bytes, offset);
        let read = read.map_err(|source| self.read_failed(disk, len, offset, source))?;
        if (read as u64) < len {
            return Err(ReadError::Damaged(Damage {
                path: disk.path(&self.name),
                offset,
                index: LogIndex(self.header.first_index),
                what: DamageKind::Footer,
            }));
        }
        Ok(())
    }
}

/// What the writer publishes and readers read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) handles: Arc<Handles>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    /// Held while a sealed segment is rewritten.
    healing: Mutex<()>,
    end: AtomicU64,
    next_index: AtomicU64,
    last_time: AtomicU64,
    /// Why nothing can be written any more.
    failure: OnceLock<DiskError>,
    /// The lock of the directory, until the log is closed.
    lock: Mutex<Option<Arc<dyn DirLock>>>,
}

impl Shared {
    pub(crate) fn new(handles: Arc<Handles>, segments: Vec<Arc<Segment>>) -> Self {
        Self {
            disk: Arc::clone(handles.dir().disk()),
            handles,
            segments: RwLock::new(Arc::new(segments)),
            healing: Mutex::new(()),
            end: AtomicU64::new(0),
            next_index: AtomicU64::new(0),
            last_time: AtomicU64::new(0),
            failure: OnceLock::new(),
            lock: Mutex::default(),
        }
    }

    /// All segments, in order; none once the log is closed. They are published before anything in
    /// them is.
    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a segment in the place of the last one, and another behind it.
    pub(crate) fn replace_last(&self, sealed: Arc<Segment>, next: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let list = Arc::make_mut(&mut segments);
        list.pop();
        list.push(sealed);
        list.push(next);
    }

    /// Puts the same segment, as it is in a file that was opened later, in the place of the last.
    pub(crate) fn replace_open(&self, open: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let list = Arc::make_mut(&mut segments);
        list.pop();
        list.push(open);
    }

    /// Puts a rewritten segment in the place of what it was.
    pub(crate) fn replace(&self, former: &Arc<Segment>, renewed: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let list = Arc::make_mut(&mut segments);
        if let Some(place) = list.iter_mut().find(|segment| Arc::ptr_eq(segment, former)) {
            *place = renewed;
        }
    }

    /// Puts other segments in the place of all.
    pub(crate) fn replace_all(&self, segments: Arc<Vec<Arc<Segment>>>) {
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = segments;
    }

    /// Waits until nobody else rewrites a sealed segment.
    pub(crate) fn healing(&self) -> MutexGuard<'_, ()> {
        self.healing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(&self, end: u64, next_index: u64, last_time: u64) {
        self.end.store(end, Ordering::Release);
        self.last_time.store(last_time, Ordering::Release);
        // Last, so that a reader that sees the index sees the end too.
        self.next_index.store(next_index, Ordering::Release);
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.next_index.load(Ordering::Acquire)
    }

    pub(crate) fn last_time(&self) -> u64 {
        self.last_time.load(Ordering::Acquire)
    }

    /// Takes note that nothing can be written any more. Returns the first reason for that.
    pub(crate) fn note_failure(&self, failure: DiskError) -> &DiskError {
        self.failure.get_or_init(|| {
            error!(%failure, "the log takes nothing more until it is opened again");
            failure
        })
    }

    pub(crate) fn failure(&self) -> Option<&DiskError> {
        self.failure.get()
    }

    /// Has the place of the log checked by the lock of its directory from now on.
    pub(crate) fn hold_lock(&self, lock: Arc<dyn DirLock>) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(lock);
    }

    /// Checks that what was synced can be found again: that the directory is still at its path,
    /// locked by this process, and the open segment in it. Else nothing is written any more.
    pub(crate) fn check_place(&self) -> Result<(), DiskError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.segments();
        let (Some(lock), Some(open)) = (&*lock, segments.last()) else { return Ok(()) };
        let checked = lock
            .check()
            .map_err(|source| (self.disk.path(""), source))
            .and_then(|()| open.file.check_named().map_err(|source| (self.path(open), source)));
        checked.map_err(|(path, source)| {
            self.note_failure(DiskError::new(Action::CheckPlace, path, source)).clone()
        })
    }

    /// Lets go of all files, and of the lock of the directory, so that it can be opened at once.
    pub(crate) fn close(&self) {
        let _no_one_rewrites = self.healing();
        let segments =
            std::mem::take(&mut *self.segments.write().unwrap_or_else(PoisonError::into_inner));
        // Its file stays open for as long as somebody reads it.
        if let Some(open) = segments.last() {
            open.file.unlock();
        }
        drop(segments);
        self.handles.close_all();
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(lock);
    }

    pub(crate) fn path(&self, segment: &Segment) -> PathBuf {
        self.disk.path(&segment.name)
    }
}

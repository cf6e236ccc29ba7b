//! The log: segments as one sequence of records, written at the end and read anywhere.
//!
//! [`Log`] is the writing half: one thread's, without threads of its own but the one that prepares
//! spare segments, and not even that one if asked so. It makes batches of records, writes each
//! with one call, rolls to a new segment where one is full, and separates *written* from *durable*
//! from *published*:
//!
//! ```text
//!   write(records) ---> in the file ---> sync() ---> durable ---> publish() ---> seen by readers
//! ```
//!
//! [`LogReader`] is the reading half, for any number of threads.
//!
//! # Failure
//!
//! The first write or sync that fails is the last one: all later calls report it. What the disk
//! holds is then found out by opening the log again (see [`recovery`]).

pub(crate) mod encode;
mod entries;
pub(crate) mod offsets;
mod reader;
mod roll;
pub(crate) mod segments;
mod spare;

use std::{io, sync::Arc};

use stemedb_merkle::Hash;

pub use self::{
    entries::Entries,
    reader::{LogReader, Record},
};
pub use crate::recovery::{OpenReport, Remark, Replayed};

pub use self::spare::SPARE_NAME;
pub(crate) use self::{reader::place, roll::create_first};

use self::{
    encode::ToRecord,
    segments::{Offsets, Segment, Shared},
    spare::Spare,
};
use crate::{
    batch,
    disk::{Disk, DiskFile},
    error::{Action, AppendError, DiskError, OpenError, ReadError},
    identity::{CleanMark, Identity},
    record::{BODY_LEN_MAX, Kind},
    recovery,
    segment::SEGMENT_LEN_MAX,
};

/// How much is written with one call.
const WRITE_LEN_MAX: usize = 8 << 20;

/// What the log must know about the store that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which store.
    pub store_id: [u8; 16],
    /// Which of its generations of segment files is live.
    pub generation: u32,
    /// What the segments' salts are made from.
    pub salt_seed: [u8; 16],
    /// Where the log ended when it was last closed, or when it was made.
    pub clean: Option<Watermark>,
}

/// A place between two batches, up to which the log is known to have been durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// The position.
    pub position: u64,
    /// How many entries there are before it: the index of the next one.
    pub next_index: u64,
}

impl From<&Identity> for Origin {
    fn from(identity: &Identity) -> Self {
        Self {
            store_id: identity.store_id,
            generation: identity.generation,
            salt_seed: identity.salt_seed,
            clean: identity.clean.map(Watermark::from),
        }
    }
}

impl From<CleanMark> for Watermark {
    fn from(mark: CleanMark) -> Self {
        Self { position: mark.position, next_index: mark.next_index }
    }
}

impl From<Watermark> for CleanMark {
    fn from(mark: Watermark) -> Self {
        Self { position: mark.position, next_index: mark.next_index }
    }
}

/// Who prepares the next segment while the present one fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spares {
    /// A thread of the log: a roll then costs two syncs.
    #[default]
    Background,
    /// Nobody. There is no thread at all, and the same calls give the same operations on the disk.
    None,
}

/// What can be chosen about a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// How long a segment gets, in bytes. Default 64 MiB: short enough that opening reads the last
    /// one in milliseconds, long enough that a terabyte is 16,000 files.
    pub segment_len: u64,
    /// How long a body may be, in bytes; at most [`BODY_LEN_MAX`]. Default 16 MiB.
    pub body_len_max: u32,
    /// How long the records of one batch may be together, in bytes, unless it is one record. What
    /// is longer is split, and a crash may then keep a part. Default 64 MiB.
    pub batch_len_max: u32,
    /// Who prepares the next segment.
    pub spares: Spares,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_len: 64 << 20,
            body_len_max: 16 << 20,
            batch_len_max: 64 << 20,
            spares: Spares::Background,
        }
    }
}

/// What is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// The assertion id of the body. The log does not compute it.
    pub id: Hash,
    /// The body.
    pub body: &'a [u8],
    /// The hole that this body fills again, if it is one.
    pub heals: Option<HoleEntry>,
}

/// The entry of a body that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoleEntry {
    /// The index that it keeps.
    pub index: u64,
    /// The time that it keeps.
    pub time: u64,
}

/// One record and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The assertion id.
    pub id: Hash,
    /// The position of the record.
    pub position: u64,
    /// The index of the entry; of a heal, that of the hole.
    pub index: u64,
    /// The time of the entry; of a heal, that of the hole.
    pub time: u64,
    /// The length of the body in bytes.
    pub len: u32,
    /// Entry, hole or heal.
    pub kind: Kind,
}

/// The writing half of a log.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    origin: Origin,
    options: LogOptions,
    open: Arc<Segment>,
    /// Where the next batch goes in the open segment.
    offset: u64,
    /// How long the open segment's file is.
    allocated: u64,
    /// Whether the rest of the open segment is zeros on the disk already.
    filled: bool,
    /// How often the open segment was synced: what its spare should be like.
    syncs: u32,
    next_index: u64,
    last_time: u64,
    durable: Durable,
    /// The end of the last batch that has records.
    records_end: u64,
    /// The highest `durable_upto` on the disk.
    marked: u64,
    failure: Option<DiskError>,
    buffer: Vec<u8>,
    spare: Spare,
}

/// What is known to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Durable {
    mark: Watermark,
    last_time: u64,
}

/// A sync that can be done by another thread: see [`Log::begin_sync`].
#[derive(Debug)]
#[must_use = "nothing is durable before it ran"]
pub struct SyncJob {
    file: Arc<dyn DiskFile>,
    upto: Durable,
}

/// A sync that is done, or failed: for [`Log::finish_sync`].
#[derive(Debug)]
#[must_use = "the log must hear of it"]
pub struct SyncDone {
    result: io::Result<()>,
    upto: Durable,
}

/// Sizes of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// How many segments, the open one included.
    pub segments: u64,
    /// How many bytes from the first header to the end of the last batch.
    pub bytes: u64,
    /// How many bytes are reserved behind that in the open segment.
    pub reserved: u64,
}

/// What [`recovery`] found, for the writing half to start from.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) open: Arc<Segment>,
    pub(crate) offset: u64,
    pub(crate) allocated: u64,
    pub(crate) next_index: u64,
    pub(crate) last_time: u64,
    /// The highest `durable_upto` that is written down.
    pub(crate) marked: u64,
    /// The end of the last batch that has records.
    pub(crate) records_end: u64,
}

impl Log {
    /// Opens a log, or makes one where `origin` knows of none.
    ///
    /// Whoever calls this holds the lock of the directory. Records from `watermark` on (all of
    /// them without one) are checked and handed to `replay`, in the order of the log; before it
    /// only the segments' headers and trailers are read. What a crash left behind is
    /// put in order and reported; the disk is changed only after all has been replayed.
    ///
    /// After the first opening and after [`close`](Self::close), the caller writes
    /// where it [ends](Self::clean_mark) into the store's identity, so that a log that lost its end
    /// is noticed.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. Nothing on the disk was then changed, but for what a crash at this point
    /// may leave.
    pub fn open(
        disk: Arc<dyn Disk>,
        origin: &Origin,
        options: &LogOptions,
        watermark: Option<Watermark>,
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(Self, OpenReport), OpenError> {
        recovery::open(disk, origin, options, watermark, replay)
    }

    pub(crate) fn from_recovered(
        disk: Arc<dyn Disk>,
        origin: &Origin,
        options: &LogOptions,
        found: Recovered,
    ) -> Self {
        let position = found.open.header.first_position + found.offset;
        let mark = Watermark { position, next_index: found.next_index };
        let log = Self {
            spare: Spare::new(Arc::clone(&disk), options.spares),
            shared: Arc::new(Shared::new(disk, found.segments)),
            origin: *origin,
            options: LogOptions {
                segment_len: options.segment_len.min(SEGMENT_LEN_MAX),
                body_len_max: options.body_len_max.min(BODY_LEN_MAX),
                ..options.clone()
            },
            open: found.open,
            offset: found.offset,
            allocated: found.allocated,
            filled: false,
            syncs: 0,
            next_index: found.next_index,
            last_time: found.last_time,
            durable: Durable { mark, last_time: found.last_time },
            records_end: found.records_end,
            marked: found.marked,
            failure: None,
            buffer: Vec::new(),
        };
        log.publish();
        log
    }

    /// Writes records at the end. They are neither durable nor published yet.
    ///
    /// Appends a [`Placed`] for each to `placed`. Those that fit the limit of a batch make one
    /// batch, which a crash keeps whole or not at all. The first entry's time is the greater of
    /// `now` and the last time plus one, and each next one's is one more. O(bytes), one call to
    /// the disk for each 8 MiB.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. If a body is too long nothing is written.
    pub fn write(
        &mut self,
        records: &[NewRecord<'_>],
        now: u64,
        placed: &mut Vec<Placed>,
    ) -> Result<(), AppendError> {
        self.check_poison()?;
        for record in records {
            self.check_len(record.body.len() as u64)?;
        }
        self.check_numbers(records.len() as u64, now)?;
        let mut rest = records;
        let mut now = now;
        while !rest.is_empty() {
            let (batch, later) = self.split_batch(rest);
            if let Err(error) = self.write_batch(batch, now, placed) {
                let partly = rest.len() < records.len();
                return Err(if partly { self.give_up(error) } else { error });
            }
            rest = later;
            now = 0;
        }
        Ok(())
    }

    /// Writes one batch of what repair has read, unsynced. The caller keeps to the limits.
    pub(crate) fn restore<R: ToRecord>(&mut self, records: &[R]) -> Result<(), AppendError> {
        self.check_poison()?;
        self.write_batch(records, 0, &mut Vec::new())
    }

    /// Makes durable all that was written.
    ///
    /// # Errors
    ///
    /// If the sync fails, now or earlier: the log is then poisoned.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check_poison()?;
        if self.durable.mark.position == self.end() {
            return Ok(());
        }
        let done = self.begin_sync().run();
        self.finish_sync(done)
    }

    /// The sync of all that was written so far, for another thread to run.
    ///
    /// The log may be written meanwhile.
    pub fn begin_sync(&self) -> SyncJob {
        let mark = Watermark { position: self.end(), next_index: self.next_index };
        let upto = Durable { mark, last_time: self.last_time };
        SyncJob { file: Arc::clone(&self.open.file), upto }
    }

    /// Takes note of a sync.
    ///
    /// # Errors
    ///
    /// If it failed: the log is then poisoned.
    pub fn finish_sync(&mut self, done: SyncDone) -> Result<(), AppendError> {
        self.check_poison()?;
        if let Err(source) = done.result {
            return Err(self.poison(Action::Sync, source));
        }
        self.syncs = self.syncs.saturating_add(1);
        if done.upto.mark.position > self.durable.mark.position {
            self.durable = done.upto;
        }
        Ok(())
    }

    /// Lets readers see all that is durable.
    pub fn publish(&self) {
        let Durable { mark, last_time } = self.durable;
        self.shared.publish(mark.position, mark.next_index, last_time);
    }

    /// Syncs, and writes down how far the log is durable, unless that has been done.
    ///
    /// From then on no part of it can be taken for torn. Cheap when there is nothing to do, so it
    /// can be called whenever the log is idle. Where the disk has no room left for it, it is left
    /// out: the log can be opened and closed on a full disk.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier: the log is then poisoned.
    pub fn mark(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        if self.marked >= self.records_end || !self.has_room_for_mark() {
            return Ok(());
        }
        self.write_batch::<NewRecord<'_>>(&[], 0, &mut Vec::new())?;
        self.sync()
    }

    /// Marks, cuts the last segment to its length, and ends.
    ///
    /// The result is for the store's identity.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier. All that was acknowledged is intact.
    pub fn close(mut self) -> Result<Watermark, AppendError> {
        self.mark()?;
        if self.allocated > self.offset {
            let file = Arc::clone(&self.open.file);
            let len = self.offset;
            file.set_len(len).map_err(|source| self.poison(Action::Cut { len }, source))?;
            file.sync().map_err(|source| self.poison(Action::Sync, source))?;
        }
        Ok(self.durable.mark)
    }

    /// Refuses bodies that are over the limit.
    ///
    /// # Errors
    ///
    /// [`AppendError::TooLong`].
    pub fn check_len(&self, len: u64) -> Result<(), AppendError> {
        let max = u64::from(self.options.body_len_max);
        if len > max { Err(AppendError::TooLong { len, max }) } else { Ok(()) }
    }

    /// Whether all that is durable is marked as such: whether [`mark`](Self::mark) has nothing to
    /// do.
    pub fn is_marked(&self) -> bool {
        self.marked >= self.records_end || self.failure.is_some()
    }

    /// What the record at a position is, published or not.
    ///
    /// # Errors
    ///
    /// As [`LogReader::entry`].
    pub(crate) fn entry(&self, position: u64) -> Result<Placed, ReadError> {
        self.reader().entry_unpublished(position)
    }

    /// How long the records of one batch may be together.
    pub(crate) fn batch_len_max(&self) -> u64 {
        u64::from(self.options.batch_len_max)
    }

    /// A reading half.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Up to where the log is durable, with the number of entries there. A mark at the end does not
    /// count: whoever opens the log from here on finds it, and knows that this is a place between
    /// two batches.
    pub fn durable(&self) -> Watermark {
        let Watermark { position, next_index } = self.durable.mark;
        Watermark { position: position.min(self.records_end), next_index }
    }

    /// Up to where the log is durable, marks included: for the store's identity.
    pub fn clean_mark(&self) -> CleanMark {
        self.durable.mark.into()
    }

    /// The position behind all that was written.
    pub fn end(&self) -> u64 {
        self.open.header.first_position + self.offset
    }

    /// The index of the next entry.
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// The time of the last entry that was written, 0 if there is none.
    pub fn last_time(&self) -> u64 {
        self.last_time
    }

    /// Why nothing can be written any more, if so.
    pub fn failure(&self) -> Option<&DiskError> {
        self.failure.as_ref()
    }

    /// Sizes.
    pub fn stats(&self) -> LogStats {
        LogStats {
            segments: self.shared.segments().len() as u64,
            bytes: self.end(),
            reserved: self.allocated.saturating_sub(self.offset),
        }
    }

    fn check_poison(&self) -> Result<(), AppendError> {
        self.failure.clone().map_or(Ok(()), |failure| Err(AppendError::Poisoned(failure)))
    }

    /// Whether there are indexes and times left for so many entries.
    fn check_numbers(&self, entries: u64, now: u64) -> Result<(), AppendError> {
        let first_time = self.last_time.checked_add(1).map(|next| next.max(now));
        let enough = self.next_index.checked_add(entries).is_some()
            && first_time.is_some_and(|time| time.checked_add(entries).is_some());
        if enough { Ok(()) } else { Err(AppendError::Exhausted) }
    }

    /// Takes note of a failure of the open segment's file, for good.
    fn poison(&mut self, action: Action, source: io::Error) -> AppendError {
        let path = self.shared.path(&self.open);
        self.poison_with(DiskError::new(action, path, source))
    }

    fn poison_with(&mut self, failure: DiskError) -> AppendError {
        AppendError::Poisoned(self.failure.get_or_insert(failure).clone())
    }

    /// Poisons the log after an error that need not be final, but came when a part was written.
    pub(crate) fn give_up(&mut self, error: AppendError) -> AppendError {
        let action = Action::Write { len: 0, offset: self.offset };
        self.poison(action, io::Error::other(error))
    }

    /// The records that make one batch, and the others.
    fn split_batch<'a, 'b>(
        &self,
        records: &'a [NewRecord<'b>],
    ) -> (&'a [NewRecord<'b>], &'a [NewRecord<'b>]) {
        let mut len = 0;
        let fitting = records.iter().take_while(|record| {
            len += record.record_len();
            len <= u64::from(self.options.batch_len_max)
        });
        let count = fitting.count().max(1);
        records.split_at_checked(count).unwrap_or((records, &[]))
    }

    /// Writes one batch, in a new segment if this one has no room for it.
    fn write_batch<R: ToRecord>(
        &mut self,
        records: &[R],
        now: u64,
        placed: &mut Vec<Placed>,
    ) -> Result<(), AppendError> {
        let payload_len: u64 = records.iter().map(R::record_len).sum();
        let batch_len = batch::FRAME_LEN + payload_len;
        if !records.is_empty()
            && (!self.fits(batch_len, records.len() as u64) || self.should_move_on())
        {
            self.roll()?;
        }
        let footer_len = crate::segment::footer_len(records.len() as u64);
        if self.offset + batch_len + footer_len > SEGMENT_LEN_MAX {
            return Err(AppendError::NothingButHeals);
        }
        self.reserve(batch_len)?;

        let position = self.end();
        let first_placed = placed.len();
        let mut buffer = std::mem::take(&mut self.buffer);
        let header = encode::encode_batch(
            &mut buffer,
            records,
            &encode::Place {
                salt: self.open.salt(),
                position,
                next_index: self.next_index,
                last_time: self.last_time,
                durable_upto: self.durable.mark.position,
                now,
            },
            placed,
        );
        let written = write_all(&*self.open.file, &buffer, self.offset);
        let len = buffer.len() as u64;
        self.buffer = buffer;
        if self.buffer.capacity() > WRITE_LEN_MAX * 4 {
            self.buffer = Vec::new();
        }
        if let Err(source) = written {
            let offset = self.offset;
            return Err(self.poison(Action::Write { len, offset }, source));
        }

        self.note_offsets(placed.get(first_placed..).unwrap_or_default());
        self.offset += len;
        self.next_index += u64::from(header.entries);
        self.last_time = header.last_time;
        self.marked = self.marked.max(header.durable_upto);
        if !records.is_empty() {
            self.records_end = self.end();
        }
        self.spare.expect_use(self.offset, self.options.segment_len, self.syncs);
        Ok(())
    }

    fn note_offsets(&self, placed: &[Placed]) {
        if let Offsets::Memory(offsets) = &self.open.offsets {
            let first_position = self.open.header.first_position;
            let entries = placed.iter().filter(|placed| placed.kind.takes_index());
            // Offsets fit: a segment is never longer than SEGMENT_LEN_MAX.
            let new = entries
                .map(|placed| u32::try_from(placed.position - first_position).unwrap_or(u32::MAX));
            offsets.extend(new);
        }
    }

    /// Whether small commits would be cheaper in the spare; see [`spare`].
    fn should_move_on(&mut self) -> bool {
        !self.filled && self.next_index > self.open.header.first_index && self.spare.is_filled()
    }

    /// Makes the file long enough for so many more bytes.
    fn reserve(&mut self, len: u64) -> Result<(), AppendError> {
        let needed = self.offset + len;
        if needed <= self.allocated {
            return Ok(());
        }
        let file = Arc::clone(&self.open.file);
        let wanted = needed.max(self.options.segment_len);
        let allocated = file.allocate(wanted).map(|()| wanted).or_else(|error| {
            // Where there is no room for a whole segment there may be for this batch.
            if error.kind() == io::ErrorKind::StorageFull && needed < wanted {
                file.allocate(needed).map(|()| needed)
            } else {
                Err(error)
            }
        });
        match allocated {
            Ok(allocated) => {
                self.allocated = allocated;
                Ok(())
            }
            Err(source) => Err(self.poison(Action::Allocate { len: needed }, source)),
        }
    }

    fn has_room_for_mark(&mut self) -> bool {
        let needed = self.offset + batch::FRAME_LEN;
        if needed <= self.allocated {
            return true;
        }
        match self.open.file.allocate(needed) {
            Ok(()) => {
                self.allocated = needed;
                true
            }
            // Any other failure shows again when the mark is written.
            Err(error) => error.kind() != io::ErrorKind::StorageFull,
        }
    }

    /// Whether a batch can be added to the open segment: the footer has to fit too.
    ///
    /// A segment without entries always goes on, however long it gets: the next one would have its
    /// name.
    fn fits(&self, batch_len: u64, entries: u64) -> bool {
        let held = self.next_index - self.open.header.first_index;
        held == 0
            || self.offset + batch_len + crate::segment::footer_len(held + entries)
                <= self.options.segment_len
    }
}

impl SyncDone {
    /// Of a sync whose end is not known.
    pub(crate) fn lost() -> Self {
        let result = Err(io::Error::other("the thread that synced is gone"));
        Self { result, upto: Durable::default() }
    }
}

impl SyncJob {
    /// Syncs. Blocks for as long as the disk takes.
    pub fn run(self) -> SyncDone {
        SyncDone { result: self.file.sync(), upto: self.upto }
    }
}

pub(crate) fn write_all(file: &dyn DiskFile, bytes: &[u8], mut offset: u64) -> io::Result<()> {
    for chunk in bytes.chunks(WRITE_LEN_MAX) {
        file.write_at(chunk, offset)?;
        offset += chunk.len() as u64;
    }
    Ok(())
}

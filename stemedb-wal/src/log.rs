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
//! [`LogReader`] is the reading half, for any number of threads; it can also be had alone, beside
//! the writer of another process.
//!
//! # Failure
//!
//! The first write or sync that fails is the last one: all later calls report it. What the disk
//! holds is then found out by opening the log again (see [`Log::open`]).

mod append;
pub(crate) mod encode;
mod entries;
mod follow;
pub(crate) mod handles;
mod known;
pub(crate) mod offsets;
mod options;
mod placed;
mod reader;
mod records;
mod recovery;
mod roll;
pub(crate) mod segments;
mod spare;
mod sync;

use std::{io, sync::Arc};

use stemedb_merkle::{LogIndex, Timestamp};

pub use self::{
    entries::Entries,
    follow::{Appended, LogStats},
    known::KnownSegment,
    options::{LogOptions, Origin, Spares},
    placed::{HoleEntry, NewRecord},
    reader::{LogReader, Record},
    records::Records,
    recovery::{OpenReport, Replayed, UnfinishedBatch, Warning, is_in_use},
};
pub use crate::{
    record::{Kind, Placed},
    watermark::Watermark,
};

pub(crate) use self::roll::{create_first, first_header};

use self::{
    handles::Handles,
    segments::{Segment, Shared},
    spare::Spare,
    sync::Durable,
};
use crate::{
    disk::{DirLock, Disk, DiskFile},
    error::{Action, AppendError, DiskError, OpenError},
    position::Position,
    record::BODY_LEN_MAX,
    segment::SEGMENT_LEN_MAX,
};

/// The writing half of a log.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    origin: Origin,
    options: LogOptions,
    open: Arc<Segment>,
    /// The file of the open segment.
    file: Arc<dyn DiskFile>,
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
    buffer: Vec<u8>,
    spare: Spare,
}

/// What [`Log::open`] found, for the writing half to start from.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) handles: Arc<Handles>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) open: Arc<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
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
    /// The caller holds the lock of the directory. Records from `watermark` on (all of
    /// them without one) are checked and handed to `replay`, in the order of the log; before it
    /// only the segments' headers and trailers are read. What a crash left behind is
    /// put in order and reported; the disk is changed only after all has been replayed.
    ///
    /// After the first opening and after [`close`](Self::close), the caller writes
    /// where it [ends](Self::durable) into the store's identity, so that a log that lost its end
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
        recovery::open(disk, origin, options, watermark, &[], replay)
    }

    /// As [`open`](Self::open), from a restart checkpoint that [knows](LogReader::known_segments)
    /// the segments before it: those that are there as it says are not opened. Where anything of it
    /// does not fit the directory, all are.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_known(
        disk: Arc<dyn Disk>,
        origin: &Origin,
        options: &LogOptions,
        watermark: Option<Watermark>,
        known: &[KnownSegment],
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(Self, OpenReport), OpenError> {
        recovery::open(disk, origin, options, watermark, known, replay)
    }

    pub(crate) fn from_recovered(origin: &Origin, options: &LogOptions, found: Recovered) -> Self {
        let position = Position(found.open.header.first_position + found.offset);
        let mark = Watermark { position, next_index: LogIndex(found.next_index) };
        let log = Self {
            spare: Spare::new(Arc::clone(found.handles.dir().disk()), options.spares),
            shared: Arc::new(Shared::new(found.handles, found.segments)),
            origin: *origin,
            options: options
                .clone()
                .segment_len(options.segment_len.min(SEGMENT_LEN_MAX))
                .body_len_max(options.body_len_max.min(BODY_LEN_MAX)),
            open: found.open,
            file: found.file,
            offset: found.offset,
            allocated: found.allocated,
            filled: false,
            syncs: 0,
            next_index: found.next_index,
            last_time: found.last_time,
            durable: Durable { mark, last_time: found.last_time },
            records_end: found.records_end,
            marked: found.marked,
            buffer: Vec::new(),
        };
        log.publish();
        log
    }

    /// Marks, cuts the last segment to its length, and ends.
    ///
    /// The result is for the store's identity.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier. All that was acknowledged is intact.
    pub fn close(mut self) -> Result<Watermark, AppendError> {
        self.spare.discard();
        self.mark()?;
        if self.allocated > self.offset {
            let file = Arc::clone(&self.file);
            let len = self.offset;
            file.set_len(len).map_err(|source| self.poison(Action::Cut { len }, source))?;
            file.sync().map_err(|source| self.poison(Action::Sync, source))?;
        }
        Ok(self.durable.mark)
    }

    /// Whether all that is durable is marked as such: whether [`mark`](Self::mark) has nothing to
    /// do.
    pub fn is_marked(&self) -> bool {
        self.marked >= self.records_end || self.shared.failure().is_some()
    }

    /// How long the records of one batch may be together.
    pub fn batch_len_max(&self) -> u64 {
        u64::from(self.options.batch_len_max)
    }

    /// A reading half.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    /// Up to where the log is durable, with the number of entries there. A mark at the end does not
    /// count: an opening from here on finds it, and knows that this is a place between
    /// two batches.
    pub fn durable(&self) -> Watermark {
        let Watermark { position, next_index } = self.durable.mark;
        Watermark { position: position.min(Position(self.records_end)), next_index }
    }

    /// The position behind all that was written.
    pub fn end(&self) -> Position {
        Position(self.open.header.first_position + self.offset)
    }

    /// The index of the next entry.
    pub fn next_index(&self) -> LogIndex {
        LogIndex(self.next_index)
    }

    /// The time of the last entry that was written, [`Timestamp::MIN`] if there is none.
    pub fn last_time(&self) -> Timestamp {
        Timestamp::from_ntp64(self.last_time)
    }

    /// Why nothing can be written any more, if so.
    pub fn failure(&self) -> Option<&DiskError> {
        self.shared.failure()
    }

    /// Has each sync check, before it acknowledges anything, that the directory is still the one
    /// that this lock was taken on.
    pub fn hold_lock(&self, lock: Arc<dyn DirLock>) {
        self.shared.hold_lock(lock);
    }

    fn check_poison(&self) -> Result<(), AppendError> {
        let failure = self.shared.failure().cloned();
        failure.map_or(Ok(()), |failure| Err(AppendError::Poisoned(failure)))
    }

    /// Takes note of a failure of the open segment's file, for good.
    fn poison(&mut self, action: Action, source: io::Error) -> AppendError {
        let path = self.shared.path(&self.open);
        self.poison_with(DiskError::new(action, path, source))
    }

    fn poison_with(&mut self, failure: DiskError) -> AppendError {
        AppendError::Poisoned(self.shared.note_failure(failure).clone())
    }

    /// Poisons the log after an error that need not be final, but came when a part was written.
    pub fn give_up(&mut self, error: AppendError) -> AppendError {
        let action = Action::Write { len: 0, offset: self.offset };
        self.poison(action, io::Error::other(error))
    }
}

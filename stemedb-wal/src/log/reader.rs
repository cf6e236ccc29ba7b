//! The reading half of a log.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use stemedb_merkle::{LogIndex, Timestamp};

use super::{
    Placed,
    segments::{Segment, Shared},
};
use crate::{
    disk::Bytes,
    error::{Damage, DamageKind, DiskError, ReadError},
    internal::{filled, part_mut, rest_of},
    position::Position,
    record::{HEAD_LEN, Head},
    remote::RemoteError,
};

/// The first read of a record takes in as much as the last ones had, up to this: most bodies are
/// short, and then one read is enough. What is read beyond the record costs as much as the record.
/// Of a map as much is asked for before the head is looked at.
const GUESS_LEN_MAX: usize = 512;

/// The memory of so many records is asked for at once: a processor has some ten loads under way.
const READS_AT_ONCE: usize = 16;

/// The reading half of a log: shows what was published. Clones are cheap and show the same.
///
/// Never waits for the writer or for a sync.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    /// How much the first read of a record takes in.
    guess: Arc<AtomicUsize>,
}

/// A record with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the record is, and where.
    pub entry: Placed,
    /// The body.
    pub body: Vec<u8>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, guess: Arc::new(AtomicUsize::new(GUESS_LEN_MAX)) }
    }

    /// How many entries are published.
    pub fn next_index(&self) -> LogIndex {
        LogIndex(self.shared.next_index())
    }

    /// The position up to which the log is published.
    pub fn end(&self) -> Position {
        Position(self.shared.end())
    }

    /// The time of the last published entry, [`Timestamp::MIN`] if there is none.
    pub fn last_time(&self) -> Timestamp {
        Timestamp::from_ntp64(self.shared.last_time())
    }

    /// How many segments the log has, the open one included.
    pub fn segments_len(&self) -> u64 {
        self.shared.segments().len() as u64
    }

    /// Why nothing is appended until the log is opened again, if so.
    pub fn failure(&self) -> Option<&DiskError> {
        self.shared.failure()
    }

    /// Checks that what is written to the log can be found again: that its directory is still at
    /// its path, and locked. If it is not, nothing is appended any more. Takes microseconds.
    ///
    /// # Errors
    ///
    /// What is wrong, or [what failed](Self::failure) before.
    pub fn check_place(&self) -> Result<(), DiskError> {
        self.shared.failure().cloned().map_or_else(|| self.shared.check_place(), Err)
    }

    /// The record at a position. O(log segments), and a copy out of the map of a sealed segment, or
    /// one read, two if the body is long.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`] behind the published end, [`ReadError::Damaged`] if there is no
    /// record that was written there, [`ReadError::Hole`] if its body was lost.
    pub fn read(&self, position: Position) -> Result<Record, ReadError> {
        let mut body = Vec::new();
        let entry = self.read_into(position, &mut body)?;
        Ok(Record { entry, body })
    }

    /// As [`read`](Self::read), with the body put in the place of what `body` holds.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); `body` is then of no use.
    pub fn read_into(&self, position: Position, body: &mut Vec<u8>) -> Result<Placed, ReadError> {
        let position = position.get();
        if position >= self.shared.end() {
            return Err(ReadError::NotFound { at: position });
        }
        let segments = self.shared.segments();
        self.read_from(segment_at(&segments, position)?, position, body)
    }

    /// Reads records at positions that ascend, from the first to the last, until `each` says that
    /// it is enough. It gets the number of the position, what the record is, and the body, which it
    /// may take; it must not read the log itself.
    ///
    /// Memory is asked for many records at a time, so that the processor waits for them together.
    pub fn read_many(
        &self,
        positions: &[Position],
        each: &mut dyn FnMut(usize, Result<Placed, ReadError>, &mut Vec<u8>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (end, segments) = (self.shared.end(), self.shared.segments());
        let mut body = Vec::new();
        let (mut done, mut rest) = (0, positions);
        while let Some(first) = rest.first() {
            let behind =
                segments.partition_point(|segment| segment.header.first_position <= first.get());
            let next = segments.get(behind).map_or(end, |next| next.header.first_position);
            let segment = behind.checked_sub(1).and_then(|at| segments.get(at));
            let here = rest.partition_point(|position| position.get() < next.min(end));
            if let (Some(segment), Some((here, later))) = (segment, rest.split_at_checked(here)) {
                let mapped = self.read_mapped_many(segment, here, &mut body, done, each)?;
                done += mapped;
                if mapped > 0 && mapped == here.len() {
                    rest = later;
                    continue;
                }
                rest = positions.get(done..).unwrap_or(&[]);
            }
            // One that is not in a map, or not what was written.
            let Some((position, later)) = rest.split_first() else { break };
            each(done, self.read_into(*position, &mut body), &mut body)?;
            (done, rest) = (done + 1, later);
        }
        ControlFlow::Continue(())
    }

    /// Reads records out of the map of their segment, up to the first that is not there as it was
    /// written; how many that were.
    fn read_mapped_many(
        &self,
        segment: &Segment,
        positions: &[Position],
        body: &mut Vec<u8>,
        first: usize,
        each: &mut dyn FnMut(usize, Result<Placed, ReadError>, &mut Vec<u8>) -> ControlFlow<()>,
    ) -> ControlFlow<(), usize> {
        let mut done = 0;
        // Nothing in here may wait for another thread: it would wait for each record alone.
        let read = segment.file.in_map(|map| {
            for together in positions.chunks(READS_AT_ONCE) {
                let guess = self.guess.load(Ordering::Relaxed);
                let mut sum: u64 = 0;
                for position in together {
                    let at = segment.offset_of(*position).unwrap_or(0);
                    sum = sum.wrapping_add(map.touch(at, guess));
                }
                std::hint::black_box(sum);
                for position in together {
                    let Some(placed) = read_from_map(map, segment, *position, body) else {
                        return Some(ControlFlow::Continue(()));
                    };
                    self.update_guess(guess, HEAD_LEN + body.len());
                    if each(first + done, Ok(placed), body).is_break() {
                        return Some(ControlFlow::Break(()));
                    }
                    done += 1;
                }
            }
            Some(ControlFlow::Continue(()))
        });
        read.unwrap_or(ControlFlow::Continue(()))?;
        ControlFlow::Continue(done)
    }

    /// What the record at a position is, without its body. O(log segments) and one read.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), but a hole is no error.
    pub fn entry(&self, position: Position) -> Result<Placed, ReadError> {
        let position = position.get();
        if position >= self.shared.end() {
            return Err(ReadError::NotFound { at: position });
        }
        let segments = self.shared.segments();
        let segment = segment_at(&segments, position)?;
        if let Some(head) = mapped_head(segment, position) {
            return Ok(Placed::new(&head, position));
        }
        let mut buffer = [0; HEAD_LEN];
        let read = self.pread(segment, &mut buffer, position - segment.header.first_position)?;
        self.parse(segment, filled(&buffer, read), position)
            .map(|head| Placed::new(&head, position))
    }

    /// The entry with an index, body included. O(log segments) and two reads.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). A hole may have healed since: a caller that knows where ids are
    /// finds out.
    pub fn read_index(&self, index: LogIndex) -> Result<Record, ReadError> {
        let segments = self.shared.segments();
        if let Some((segment, position)) = self.mapped_position(&segments, index) {
            let mut body = Vec::new();
            match read_mapped(segment, position, self.guess.load(Ordering::Relaxed), &mut body) {
                Some(entry) if is_entry(&entry, index) => return Ok(Record { entry, body }),
                _ => {}
            }
        }
        let (segment, position) = self.locate(&segments, index)?;
        let mut body = Vec::new();
        let entry = self.read_record(segment, position, &mut body)?;
        self.expect_index(segment, &entry, index)?;
        Ok(Record { entry, body })
    }

    /// The entry with an index, without its body. O(log segments) and two reads.
    ///
    /// # Errors
    ///
    /// As [`read_index`](Self::read_index), but a hole is no error.
    pub fn entry_at(&self, index: LogIndex) -> Result<Placed, ReadError> {
        let segments = self.shared.segments();
        if let Some((segment, position)) = self.mapped_position(&segments, index)
            && let Some(head) = mapped_head(segment, position)
            && let entry = Placed::new(&head, position)
            && is_entry(&entry, index)
        {
            return Ok(entry);
        }
        let (segment, position) = self.locate(&segments, index)?;
        let mut buffer = [0; HEAD_LEN];
        let read = self.pread(segment, &mut buffer, position - segment.header.first_position)?;
        let head = self.parse(segment, filled(&buffer, read), position)?;
        let entry = Placed::new(&head, position);
        self.expect_index(segment, &entry, index)?;
        Ok(entry)
    }

    /// Where the entry with an index is, whether it can be read or not. O(log segments) and one
    /// read.
    ///
    /// # Errors
    ///
    /// As [`entry_at`](Self::entry_at), but for the entry itself.
    pub fn position_of(&self, index: LogIndex) -> Result<Position, ReadError> {
        let segments = self.shared.segments();
        self.locate(&segments, index).map(|(_, position)| Position(position))
    }

    /// As [`position_of`](Self::position_of), by what the map of a sealed segment has, if it is
    /// mapped. The record there says whether it is right; `None` if it is
    /// unknown.
    pub fn likely_position(&self, index: LogIndex) -> Option<Position> {
        let segments = self.shared.segments();
        match self.mapped_position(&segments, index) {
            Some((_, position)) => Some(Position(position)),
            None => self.position_of(index).ok(),
        }
    }

    /// The first index whose time is `time` or later; the next index if there is none.
    ///
    /// O(log entries), each step one or two reads.
    ///
    /// # Errors
    ///
    /// Of the reads on the way.
    pub fn index_at_time(&self, time: Timestamp) -> Result<LogIndex, ReadError> {
        let next_index = self.shared.next_index();
        let segments = self.shared.segments();
        // Only segments whose entries are all later than `time_before < time` can hold the answer,
        // and only the last of those, or it is the first entry behind it.
        let candidates =
            segments.partition_point(|segment| segment.header.time_before < time.as_ntp64());
        let Some(segment) = candidates.checked_sub(1).and_then(|last| segments.get(last)) else {
            return if segments.is_empty() { Err(ReadError::Closed) } else { Ok(LogIndex(0)) };
        };
        let end = segments.get(candidates).map_or(next_index, |next| next.header.first_index);
        let (mut low, mut high) = (segment.header.first_index, end.min(next_index));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry_at(LogIndex(middle))?.time < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(LogIndex(low))
    }

    /// Lets go of all files and of the lock of the directory, so that the log can be opened again
    /// while readers of this one are left: with [`ReadError::Closed`] they read no more. What was
    /// being read is read to its end. The writing half is closed before.
    pub fn close(&self) {
        self.shared.close();
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The segment that an entry is in, and its position.
    fn locate<'a>(
        &self,
        segments: &'a [Arc<Segment>],
        index: LogIndex,
    ) -> Result<(&'a Segment, u64), ReadError> {
        let index = index.get();
        if index >= self.shared.next_index() {
            return Err(ReadError::NotFound { at: index });
        }
        let segment = segment_of(segments, index)?;
        let mut offset = [0];
        let from = index - segment.header.first_index;
        let found = segment.offsets_into(&*self.shared.disk, from, &mut offset)?;
        let [offset] = offset;
        if found == 0 {
            // It has fewer than the header of the next one says.
            return Err(self.damaged(segment, 0, LogIndex(index), DamageKind::Footer));
        }
        Ok((segment, segment.header.first_position + u64::from(offset)))
    }

    /// As [`locate`](Self::locate), out of the map of a sealed segment, if it has one. Nothing says
    /// that the position is right: the record there does.
    fn mapped_position<'a>(
        &self,
        segments: &'a [Arc<Segment>],
        index: LogIndex,
    ) -> Option<(&'a Segment, u64)> {
        let index = Some(index.get()).filter(|index| *index < self.shared.next_index())?;
        let segment = segment_of(segments, index).ok()?;
        let offset = segment.mapped_offset(index - segment.header.first_index)?;
        Some((segment, segment.header.first_position + u64::from(offset)))
    }

    fn expect_index(
        &self,
        segment: &Segment,
        entry: &Placed,
        index: LogIndex,
    ) -> Result<(), ReadError> {
        if is_entry(entry, index) {
            return Ok(());
        }
        let offset = entry.position.get() - segment.header.first_position;
        Err(self.damaged(segment, offset, index, DamageKind::Footer))
    }

    /// Reads a record out of the map of its segment, or from the file, which then tells what is
    /// wrong.
    fn read_from(
        &self,
        segment: &Segment,
        position: u64,
        body: &mut Vec<u8>,
    ) -> Result<Placed, ReadError> {
        let guess = self.guess.load(Ordering::Relaxed);
        let Some(placed) = read_mapped(segment, position, guess, body) else {
            return self.read_record(segment, position, body);
        };
        self.update_guess(guess, HEAD_LEN + body.len());
        Ok(placed)
    }

    fn read_record(
        &self,
        segment: &Segment,
        position: u64,
        body: &mut Vec<u8>,
    ) -> Result<Placed, ReadError> {
        let offset = position - segment.header.first_position;
        let mut buffer = [0; GUESS_LEN_MAX];
        let plain = self.told(segment, HEAD_LEN, offset, segment.file.is_plain())?;
        let guess = self.guess.load(Ordering::Relaxed);
        // What is behind the head may be in an archive, or of another compressed block.
        let wanted = part_mut(&mut buffer, 0..if plain { guess } else { HEAD_LEN });
        let read = self.pread(segment, wanted, offset)?;
        let bytes = filled(&buffer, read);
        let head = self.parse(segment, bytes, position)?;
        if !head.kind.has_body() {
            let Placed { index, time, id, .. } = Placed::new(&head, position);
            return Err(ReadError::Hole { index, time, id });
        }
        let len = head.len as usize;
        if plain {
            self.update_guess(guess, HEAD_LEN + len);
        }
        let near = rest_of(bytes, HEAD_LEN);
        body.clear();
        if let Some(whole) = near.get(..len) {
            body.extend_from_slice(whole);
        } else {
            // A head that checks out is what was written, so its length is within the limits.
            body.resize(len, 0);
            if self.pread(segment, body, offset + HEAD_LEN as u64)? < len {
                return Err(self.damaged(segment, offset, LogIndex(head.index), DamageKind::Short));
            }
        }
        if !head.covers(body, segment.salt(), position) {
            if let Some(error) = segment.file.invalidate() {
                return Err(error.into());
            }
            return Err(self.damaged(segment, offset, LogIndex(head.index), DamageKind::Body));
        }
        Ok(Placed::new(&head, position))
    }

    /// Updates the length of the first read of a record: at once to that of a longer record, slowly
    /// to that of a shorter one.
    fn update_guess(&self, guess: usize, len: usize) {
        let next = len.min(GUESS_LEN_MAX).max(guess - guess.saturating_sub(len) / 16);
        if next != guess {
            self.guess.store(next, Ordering::Relaxed);
        }
    }

    fn parse(&self, segment: &Segment, bytes: &[u8], position: u64) -> Result<Head, ReadError> {
        Head::parse(bytes, segment.salt(), position).ok_or_else(|| {
            let offset = position - segment.header.first_position;
            self.damaged(segment, offset, LogIndex(segment.header.first_index), DamageKind::Head)
        })
    }

    pub(super) fn pread(
        &self,
        segment: &Segment,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let read = segment.file.read_at(buffer, offset);
        self.told(segment, buffer.len(), offset, read)
    }

    /// A read of the disk, or what and where failed.
    fn told<T>(
        &self,
        segment: &Segment,
        len: usize,
        offset: u64,
        read: io::Result<T>,
    ) -> Result<T, ReadError> {
        read.map_err(|source| segment.read_failed(&*self.shared.disk, len as u64, offset, source))
    }

    /// As [`pread`](Self::pread), with zeros for bodies that are only in an archive.
    pub(super) fn pread_local(
        &self,
        segment: &Segment,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<usize, ReadError> {
        let read = segment.file.read_local_at(buffer, offset);
        self.told(segment, buffer.len(), offset, read)
    }

    /// Whether any segment was met whose bodies are only in an archive.
    pub fn reads_remote(&self) -> bool {
        self.shared.handles.dir().was_used()
    }

    /// Whether the body at a position is only in an archive.
    ///
    /// # Errors
    ///
    /// As [`entry`](Self::entry), if the segment cannot be opened or read.
    pub fn is_remote_at(&self, position: Position) -> Result<bool, ReadError> {
        let segments = self.shared.segments();
        let segment = segment_at(&segments, position.get())?;
        let offset = position.get() - segment.header.first_position;
        self.told(segment, HEAD_LEN, offset, segment.file.is_remote())
    }

    /// Takes note that a body from an archive is not what was sent there. The error to report;
    /// none if the body at this position is in no archive.
    pub fn invalidate(&self, position: Position) -> Option<RemoteError> {
        let segments = self.shared.segments();
        segment_at(&segments, position.get()).ok()?.file.invalidate()
    }

    /// The error for a record at a position, of the entry with an index, that is not what was
    /// written; [`ReadError::NotFound`] if the log does not have that position.
    pub fn damage_at(&self, position: Position, index: LogIndex, what: DamageKind) -> ReadError {
        let position = position.get();
        match segment_at(&self.shared.segments(), position) {
            Ok(segment) => {
                self.damaged(segment, position - segment.header.first_position, index, what)
            }
            Err(error) => error,
        }
    }

    pub(super) fn damaged(
        &self,
        segment: &Segment,
        offset: u64,
        index: LogIndex,
        what: DamageKind,
    ) -> ReadError {
        ReadError::Damaged(Damage { path: self.shared.path(segment), offset, index, what })
    }
}

/// Whether it is the entry with this index.
fn is_entry(entry: &Placed, index: LogIndex) -> bool {
    entry.index == index && entry.kind.takes_index()
}

/// The head at a position, out of the map of the segment; `None` unless it is what was written.
fn mapped_head(segment: &Segment, position: u64) -> Option<Head> {
    let at = segment.offset_of(Position(position))?;
    let mut head = [0; HEAD_LEN];
    segment.file.in_map(|map| map.read_at(&mut head, at).ok())?;
    Head::parse(&head, segment.salt(), position)
}

/// The record at a position, which is about `len` bytes long, out of the map of the segment, if it
/// has one.
fn read_mapped(segment: &Segment, position: u64, len: usize, body: &mut Vec<u8>) -> Option<Placed> {
    let position = Position(position);
    segment.file.in_map(|map| {
        // The body with the head, and not after it.
        std::hint::black_box(map.touch(segment.offset_of(position)?, len));
        read_from_map(map, segment, position, body)
    })
}

/// The record at a position: a copy of the head, and one of the body to where it is to be. `None`
/// unless it has a body, and both are what was written.
fn read_from_map(
    map: &dyn Bytes,
    segment: &Segment,
    position: Position,
    body: &mut Vec<u8>,
) -> Option<Placed> {
    let at = segment.offset_of(position)?;
    let position = position.get();
    let mut head = [0; HEAD_LEN];
    map.read_at(&mut head, at).ok()?;
    let head = Head::parse(&head, segment.salt(), position)?;
    let (body_at, len) = (at + HEAD_LEN, head.len as usize);
    if !head.kind.has_body() || map.len().checked_sub(body_at)? < len {
        return None;
    }
    body.clear();
    body.resize(len, 0);
    map.read_at(body, body_at).ok()?;
    head.covers(body, segment.salt(), position).then(|| Placed::new(&head, position))
}

/// The segment that holds a position.
fn segment_at(segments: &[Arc<Segment>], position: u64) -> Result<&Segment, ReadError> {
    let after = segments.partition_point(|segment| segment.header.first_position <= position);
    let segment = after.checked_sub(1).and_then(|last| segments.get(last));
    segment.map(|segment| &**segment).ok_or_else(|| nothing_at(segments, position))
}

/// Why no segment holds a position or an index.
fn nothing_at(segments: &[Arc<Segment>], at: u64) -> ReadError {
    if segments.is_empty() { ReadError::Closed } else { ReadError::NotFound { at } }
}

/// The segment that holds an index.
pub(super) fn segment_of(
    segments: &[Arc<Segment>],
    index: u64,
) -> Result<&Arc<Segment>, ReadError> {
    let after = segments.partition_point(|segment| segment.header.first_index <= index);
    // Of several that begin with the same index, all but the last have no entries.
    let segment = after.checked_sub(1).and_then(|last| segments.get(last));
    segment.ok_or_else(|| nothing_at(segments, index))
}

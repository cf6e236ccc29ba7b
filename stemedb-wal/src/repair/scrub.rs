//! Reads a log from front to back, a little at a time, and says what is not what was written.
//!
//! What opening checks is checked here with no opening: each byte of each segment that is
//! published, and each body against its id. Only where something is wrong is the rest of the
//! segment read at once, to tell which records are damaged.

use std::sync::Arc;

use stemedb_merkle::Hash;

use super::{
    HashBody, Verify,
    verify::{check_segment, trailer_of},
};
use crate::{
    disk::{Disk, SECTOR_LEN},
    error::{Damage, DamageKind, DiskError},
    log::{
        LogReader, Placed,
        segments::{Offsets, Segment},
    },
    record::{HEAD_LEN, Head},
    recovery::{
        sectors::{is_unreadable, read_sectors},
        survey::read_at,
        walk::{Stop, Walker},
    },
    segment::{HEADER_LEN, SegmentHeader, TRAILER_LEN, offsets_sum},
};

/// The most that is read with one call.
const CHUNK_LEN: u64 = 1 << 20;

/// The least that is read with one call where there is so much: smaller reads cost as much.
const CHUNK_LEN_MIN: u64 = 64 << 10;

/// A reading of the whole log, segment by segment, that goes on where it stopped.
#[derive(Debug, Default)]
pub struct Scrubber {
    /// The first segment that was not read to its end begins here or behind.
    segment: u64,
    walk: Option<Walk>,
}

/// What one step found.
#[derive(Debug, Default)]
pub struct ScrubStep {
    /// How many bytes were read.
    pub read: u64,
    /// What is wrong, in the order of the log.
    pub damage: Vec<ScrubDamage>,
    /// How many segments were met whose bodies are only in an archive, and were not read.
    pub remote: u64,
    /// Whether the end of what is published was reached: the next step begins anew.
    pub ended: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubDamage {
    /// What and where.
    pub damage: Damage,
    /// The position of the record, or of the damage where it is in no record.
    pub position: u64,
    /// The id that the head of the record says, where that is whole.
    pub id: Option<Hash>,
    /// Whether it is a record that is damaged, and not what holds the records together.
    pub record: bool,
}

/// A segment that is being read.
#[derive(Debug)]
struct Walk {
    first_position: u64,
    walker: Walker,
    /// Where the next byte to be read is in the file, and what was read before it and not checked.
    at: u64,
    carry: Vec<u8>,
}

impl Scrubber {
    /// From the segment on that begins at a position or first behind it; 0 for the front.
    pub fn new(segment: u64) -> Self {
        Self { segment, walk: None }
    }

    /// At the front of the segment that a position is in.
    pub fn around(reader: &LogReader, position: u64) -> Self {
        let segments = reader.shared().segments();
        let behind = segments.partition_point(|segment| segment.header.first_position <= position);
        let segment = behind.checked_sub(1).and_then(|at| segments.get(at));
        Self::new(segment.map_or(0, |segment| segment.header.first_position))
    }

    /// The position at which the segment begins that is being read: [`new`](Self::new) goes on from
    /// there.
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// How far it has come, as a position.
    pub fn position(&self) -> u64 {
        let walk = self.walk.as_ref();
        walk.map_or(self.segment, |walk| walk.first_position + walk.walker.reached().offset)
    }

    /// How many entries of the log come before that, if a segment is being read.
    pub fn index(&self) -> Option<u64> {
        self.walk.as_ref().map(|walk| walk.walker.reached().next_index)
    }

    /// Reads on for about `budget` bytes, or to the end of the log if that comes first.
    ///
    /// More is read where damage is met: the whole segment.
    ///
    /// # Errors
    ///
    /// If the disk fails as a whole: the next step begins the segment again. Sectors that it cannot
    /// read are damage.
    pub fn step(
        &mut self,
        reader: &LogReader,
        budget: u64,
        hash: Option<HashBody<'_>>,
    ) -> Result<ScrubStep, DiskError> {
        let mut step = ScrubStep::default();
        while step.read < budget {
            if !self.advance(reader, budget - step.read, hash, &mut step).inspect_err(|_| {
                self.walk = None;
            })? {
                *self = Self::default();
                step.ended = true;
                break;
            }
        }
        Ok(step)
    }

    /// Reads one chunk, or ends a segment. False at the end of the log.
    fn advance(
        &mut self,
        reader: &LogReader,
        budget: u64,
        hash: Option<HashBody<'_>>,
        step: &mut ScrubStep,
    ) -> Result<bool, DiskError> {
        // In this order: all that is published lies in segments of the list.
        let end = reader.end();
        let segments = reader.shared().segments();
        let at = segments.partition_point(|segment| segment.header.first_position < self.segment);
        let Some(segment) = segments.get(at) else { return Ok(false) };
        let next = segments.get(at + 1).map(|next| next.header);
        let view = View { disk: &*reader.shared().disk, segment, next, hash, end };
        let first_position = segment.header.first_position;
        self.segment = first_position;
        if let Some(next) = next.filter(|_| segment.file.is_remote()) {
            // What is kept of it is read by opening the store and when it is used.
            step.remote += 1;
            self.segment = next.first_position;
            self.walk = None;
            return Ok(true);
        }
        if self.walk.as_ref().is_none_or(|walk| walk.first_position != first_position) {
            self.walk = Some(Walk::new(&segment.header));
        }
        let Some(walk) = &mut self.walk else { return Ok(false) };
        let outcome = match view.read_on(walk, budget, &mut step.read) {
            Err(error) if is_unreadable(&error.cause) => {
                view.damaged(walk.at, DamageKind::Unreadable { len: SECTOR_LEN as u64 })
            }
            outcome => outcome?,
        };
        match outcome {
            Outcome::More => return Ok(true),
            Outcome::Whole => {}
            Outcome::Damaged(damage) => view.tell(damage, step)?,
        }
        let Some(next) = next else { return Ok(false) };
        self.segment = next.first_position;
        self.walk = None;
        Ok(true)
    }
}

enum Outcome {
    More,
    Whole,
    Damaged(Damage),
}

/// A segment as it is now.
struct View<'a> {
    disk: &'a dyn Disk,
    segment: &'a Arc<Segment>,
    next: Option<SegmentHeader>,
    hash: Option<HashBody<'a>>,
    /// Where what is published ends.
    end: u64,
}

impl Walk {
    fn new(header: &SegmentHeader) -> Self {
        Self {
            first_position: header.first_position,
            walker: Walker::new(header),
            at: 0,
            carry: Vec::new(),
        }
    }
}

impl View<'_> {
    /// The offset at which the batches end; `None` where only reading them tells.
    fn batches_end(&self) -> Option<u64> {
        match (&self.segment.offsets, self.next) {
            (_, None) => {
                // One that was begun a moment ago has its header, and is not published yet.
                let published = self.end.saturating_sub(self.segment.header.first_position);
                Some(published.max(HEADER_LEN as u64))
            }
            (Offsets::File { at, .. }, _) => Some(*at),
            (Offsets::Memory(_), _) => None,
        }
    }

    fn read_on(&self, walk: &mut Walk, budget: u64, total: &mut u64) -> Result<Outcome, DiskError> {
        let header = &self.segment.header;
        if walk.at == 0 {
            let mut bytes = [0; HEADER_LEN];
            *total += self.read(&mut bytes, 0)? as u64;
            walk.at = HEADER_LEN as u64;
            if SegmentHeader::parse(&bytes).as_ref() != Ok(header) {
                return Ok(self.damaged(0, DamageKind::SegmentHeader));
            }
        }
        let Some(batches_end) = self.batches_end() else {
            // Opening has found the offsets at its end damaged, and told.
            return Ok(self.damaged(HEADER_LEN as u64, DamageKind::Footer));
        };
        let left = batches_end.saturating_sub(walk.at);
        let wanted = left.min(budget.clamp(CHUNK_LEN_MIN, CHUNK_LEN));
        let carried = walk.carry.len();
        let mut bytes = std::mem::take(&mut walk.carry);
        bytes.resize(carried + usize::try_from(wanted).unwrap_or(0), 0);
        let read = self.read(bytes.get_mut(carried..).unwrap_or_default(), walk.at)? as u64;
        *total += read;
        if read < wanted {
            return Ok(self.damaged(walk.at + read, DamageKind::Short));
        }
        let offset = walk.at - carried as u64;
        let mut placed = Vec::new();
        let (taken, stop) = walk.walker.walk(&bytes, offset, &mut placed);
        // The records are counted by whoever keeps them.
        walk.walker.take_whole();
        if let Stop::Bad { offset, what } = stop {
            return Ok(self.damaged(offset, what));
        }
        if let Some(wrong) = self.first_wrong_id(&placed, &bytes, offset) {
            return Ok(self.damaged(wrong, DamageKind::Id));
        }
        walk.at += read;
        bytes.drain(..taken);
        walk.carry = bytes;
        if walk.at < batches_end {
            return Ok(Outcome::More);
        }
        if walk.walker.reached().offset != batches_end {
            return Ok(self.damaged(walk.walker.reached().offset, DamageKind::Short));
        }
        self.check_footer(batches_end, total)
    }

    fn first_wrong_id(&self, placed: &[Placed], bytes: &[u8], offset: u64) -> Option<u64> {
        let hash = self.hash?;
        let base = self.segment.header.first_position + offset;
        placed.iter().filter(|placed| placed.kind.has_body()).find_map(|placed| {
            let at = usize::try_from(placed.position - base).ok()?.checked_add(HEAD_LEN)?;
            let body = bytes.get(at..at + placed.len as usize)?;
            (hash(body) != placed.id).then_some(offset + at as u64)
        })
    }

    /// Checks what a sealed segment has behind its batches.
    fn check_footer(&self, batches_end: u64, total: &mut u64) -> Result<Outcome, DiskError> {
        let Some(next) = self.next else { return Ok(Outcome::Whole) };
        let header = &self.segment.header;
        let len = next.first_position - header.first_position;
        let footer_len = usize::try_from(len.saturating_sub(batches_end)).unwrap_or(0);
        // One more, to notice a file that goes on.
        let mut bytes = vec![0; footer_len + 1];
        let read = self.read(&mut bytes, batches_end)?;
        *total += read as u64;
        bytes.truncate(read);
        let position = header.first_position + batches_end;
        let trailer_at = bytes.len().saturating_sub(TRAILER_LEN);
        let trailer = bytes.get(trailer_at..).and_then(|bytes| {
            let position = position + trailer_at as u64;
            crate::segment::Trailer::parse(bytes, header.salt, position)
        });
        let offsets = bytes.get(..trailer_at).unwrap_or_default();
        let holds = read == footer_len
            && trailer.is_some_and(|trailer| {
                trailer.sum == next.previous_sum
                    && trailer.batches_end == batches_end
                    && trailer.offsets_sum == offsets_sum(header.salt, position, offsets)
            });
        Ok(if holds { Outcome::Whole } else { self.damaged(batches_end, DamageKind::Footer) })
    }

    /// Tells all that is wrong with the segment, of which `first` is what was met first.
    fn tell(&self, first: Damage, step: &mut ScrubStep) -> Result<(), DiskError> {
        let header = &self.segment.header;
        let len = match self.next {
            Some(next) => next.first_position - header.first_position,
            None => self.end.saturating_sub(header.first_position).max(HEADER_LEN as u64),
        };
        let (name, file) = (&self.segment.name, &*self.segment.file);
        let sectors = read_sectors(self.disk, name, file, len)?;
        let mut all: Vec<Damage> = sectors.damage(self.disk, name, header).collect();
        let bytes = sectors.bytes;
        step.read += bytes.len() as u64;
        let already = step.damage.len();
        self.tell_records(&bytes, step);
        let verify = Verify { deep: self.hash, from_index: 0 };
        let next = self.next.as_ref();
        check_segment(self.disk, self.segment, next, &bytes, len, &verify, &mut all);
        if all.is_empty() {
            // It has gone by itself, which nobody should rely on.
            all.push(first);
        }
        for damage in all {
            let found = self.place(damage, &bytes);
            let told = step.damage.iter().skip(already);
            let is_told = told
                .clone()
                .any(|other| other.position == found.position && other.record == found.record);
            if !is_told {
                step.damage.push(found);
            }
        }
        step.damage.get_mut(already..).unwrap_or_default().sort_by_key(|found| found.position);
        Ok(())
    }

    /// Looks at each entry where the list of offsets says that it is: this finds all that are
    /// damaged, whatever has become of the batches that they are in.
    fn tell_records(&self, bytes: &[u8], step: &mut ScrubStep) {
        let header = &self.segment.header;
        let Some(trailer) = trailer_of(bytes, header).filter(|_| self.next.is_some()) else {
            return;
        };
        let Ok(from) = usize::try_from(trailer.batches_end) else { return };
        let offsets = bytes.get(from..bytes.len() - TRAILER_LEN).unwrap_or_default();
        let position = header.first_position + trailer.batches_end;
        if offsets_sum(header.salt, position, offsets) != trailer.offsets_sum {
            return;
        }
        for (index, offset) in (header.first_index..).zip(offsets.as_chunks::<4>().0) {
            let offset = u32::from_le_bytes(*offset);
            if let Some((what, id)) = self.fault_of(bytes, offset) {
                let path = self.disk.path(&self.segment.name);
                let damage = Damage { path, offset: u64::from(offset), index, what };
                let position = header.first_position + u64::from(offset);
                step.damage.push(ScrubDamage { damage, position, id, record: true });
            }
        }
    }

    /// What is wrong with the record at an offset.
    fn fault_of(&self, bytes: &[u8], offset: u32) -> Option<(DamageKind, Option<Hash>)> {
        let header = &self.segment.header;
        let position = header.first_position + u64::from(offset);
        let record = bytes.get(offset as usize..).unwrap_or_default();
        let Some(head) = Head::parse(record, header.salt, position) else {
            return Some((DamageKind::Head, None));
        };
        let body = record.get(HEAD_LEN..).and_then(|rest| rest.get(..head.len as usize));
        let body = body.unwrap_or_default();
        if !head.covers(body, header.salt, position) {
            return Some((DamageKind::Body, Some(head.id)));
        }
        let hash = self.hash.filter(|_| head.kind.has_body())?;
        (hash(body) != head.id).then_some((DamageKind::Id, Some(head.id)))
    }

    /// Finds the record that damage is in.
    fn place(&self, damage: Damage, bytes: &[u8]) -> ScrubDamage {
        let header = &self.segment.header;
        let offset = match damage.what {
            DamageKind::Body | DamageKind::Id => damage.offset.saturating_sub(HEAD_LEN as u64),
            _ => damage.offset,
        };
        let record = matches!(damage.what, DamageKind::Body | DamageKind::Id | DamageKind::Head);
        let position = header.first_position + offset;
        let head = usize::try_from(offset)
            .ok()
            .and_then(|at| bytes.get(at..))
            .and_then(|bytes| Head::parse(bytes, header.salt, position).filter(|_| record));
        ScrubDamage { damage, position, id: head.map(|head| head.id), record }
    }

    fn damaged(&self, offset: u64, what: DamageKind) -> Outcome {
        let (path, index) = (self.disk.path(&self.segment.name), self.segment.header.first_index);
        Outcome::Damaged(Damage { path, offset, index, what })
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        read_at(self.disk, &self.segment.name, &*self.segment.file, bytes, offset)
    }
}

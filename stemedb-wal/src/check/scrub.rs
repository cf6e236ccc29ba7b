//! A check of a log from front to back, a little at a time.

use stemedb_merkle::{Hash, LogIndex};

use super::{Outcome, Progress, SegmentCheck};
use crate::{
    error::{Damage, DamageKind, DiskError},
    internal::{filled, in_memory},
    log::LogReader,
    position::Position,
    record::{HEAD_LEN, Head},
    repair::HashBody,
    scan::Gap,
    segment::{TRAILER_LEN, Trailer, offsets_sum},
};

/// A reading of the whole log, segment by segment, that goes on where it stopped.
#[derive(Debug, Default)]
pub struct Scrubber {
    /// The first segment that was not read to its end begins here or behind.
    segment: u64,
    progress: Option<Progress>,
}

/// What one step found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ScrubStep {
    /// How many bytes were read.
    pub read: u64,
    /// What is wrong, in the order of the log.
    pub damage: Vec<ScrubDamage>,
    /// How many segments were met whose bodies are only in an archive, and were not read.
    pub remote: u64,
    /// Whether the end of what is published was reached: the next step begins at the front.
    pub ended: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubDamage {
    /// What and where.
    pub damage: Damage,
    /// The position of the record, or of the damage where it is in no record.
    pub position: Position,
    /// The id that the head of the record says, where that is whole.
    pub id: Option<Hash>,
    /// Whether it is a record that is damaged, and not what holds the records together.
    pub record: bool,
}

impl Scrubber {
    /// From the segment on that begins at a position or first behind it; 0 for the front.
    pub fn new(segment: Position) -> Self {
        Self { segment: segment.get(), progress: None }
    }

    /// At the front of the segment that a position is in.
    pub fn around(reader: &LogReader, position: Position) -> Self {
        let position = position.get();
        let segments = reader.shared().segments();
        let behind = segments.partition_point(|segment| segment.header.first_position <= position);
        let segment = behind.checked_sub(1).and_then(|at| segments.get(at));
        Self::new(Position(segment.map_or(0, |segment| segment.header.first_position)))
    }

    /// The position at which the segment begins that is being read: [`new`](Self::new) goes on from
    /// there.
    pub fn segment(&self) -> Position {
        Position(self.segment)
    }

    /// How far it has come, as a position.
    pub fn position(&self) -> Position {
        let progress = self.progress.as_ref();
        Position(progress.map_or(self.segment, |progress| {
            progress.first_position + progress.pass.reached().offset
        }))
    }

    /// How many entries of the log come before that, if a segment is being read.
    pub fn index(&self) -> Option<LogIndex> {
        self.progress.as_ref().map(|progress| LogIndex(progress.pass.reached().next_index))
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
            let advanced = self.advance(reader, budget - step.read, hash, &mut step);
            if !advanced.inspect_err(|_| self.progress = None)? {
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
        let header = &segment.header;
        let next = segments.get(at + 1).map(|next| next.header);
        self.segment = header.first_position;
        let check = SegmentCheck::new(&*reader.shared().disk, segment, next, hash, end.get());
        if next.is_some() && check.file.is_remote()? {
            step.remote += 1;
            if let Some(damage) = check.kept(&mut step.read)? {
                let position = Position(header.first_position);
                step.damage.push(ScrubDamage { damage, position, id: None, record: false });
            }
        } else {
            let progress = self.progress.take();
            let progress = progress.filter(|at| at.first_position == header.first_position);
            let progress = self.progress.insert(progress.unwrap_or_else(|| Progress::new(header)));
            match check.read_on(progress, budget, &mut step.read)? {
                Outcome::More => return Ok(true),
                Outcome::Whole => {}
                Outcome::Damaged(first) => check.tell(first, step)?,
            }
        }
        let Some(next) = next else { return Ok(false) };
        self.segment = next.first_position;
        self.progress = None;
        Ok(true)
    }
}

impl SegmentCheck<'_> {
    /// Tells all that is wrong with the segment, each place once.
    fn tell(&self, first: Option<Gap>, step: &mut ScrubStep) -> Result<(), DiskError> {
        let sectors = self.read_sectors()?;
        step.read += sectors.bytes.len() as u64;
        let len = in_memory(self.published.min(sectors.bytes.len() as u64));
        let mut found = self.damaged_records(filled(&sectors.bytes, len));
        for damage in self.diagnose(&sectors, first) {
            let damage = self.place(damage, &sectors.bytes);
            let is_same = |other: &ScrubDamage| {
                (other.position, other.record) == (damage.position, damage.record)
            };
            if !found.iter().any(is_same) {
                found.push(damage);
            }
        }
        found.sort_by_key(|found| found.position);
        step.damage.extend(found);
        Ok(())
    }

    /// Looks at each entry where the list of offsets says that it is: this finds all that are
    /// damaged, whatever has become of the batches that they are in.
    fn damaged_records(&self, bytes: &[u8]) -> Vec<ScrubDamage> {
        let header = &self.segment.header;
        let trailer = self.next.and_then(|_| Trailer::at_end(bytes, header, bytes.len() as u64));
        let offsets = trailer.and_then(|trailer| {
            let from = usize::try_from(trailer.batches_end).ok()?;
            let offsets = bytes.get(from..bytes.len() - TRAILER_LEN)?;
            let position = header.first_position + trailer.batches_end;
            (offsets_sum(header.salt, position, offsets) == trailer.offsets_sum).then_some(offsets)
        });
        let Some(offsets) = offsets else { return Vec::new() };
        let offsets = offsets.as_chunks::<4>().0.iter();
        let entries = (header.first_index..).zip(offsets.map(|at| u32::from_le_bytes(*at)));
        let mut damaged = Vec::new();
        let mut unchecked = Vec::new();
        for (index, offset) in entries {
            match self.fault_of(bytes, offset) {
                Ok((head, body)) if head.kind.has_body() => {
                    unchecked.push((index, offset, head.id, body));
                }
                Ok(_) => {}
                Err((what, id)) => damaged.push(self.damaged_record(index, offset, what, id)),
            }
        }
        let Some(hash) = self.hash else { return damaged };
        let bodies: Vec<&[u8]> = unchecked.iter().map(|(.., body)| *body).collect();
        let mut ids = Vec::with_capacity(bodies.len());
        hash.ids(&bodies, &mut ids);
        for ((index, offset, said, _), _) in
            unchecked.iter().zip(&ids).filter(|((_, _, said, _), id)| said != *id)
        {
            damaged.push(self.damaged_record(*index, *offset, DamageKind::Id, Some(*said)));
        }
        damaged
    }

    fn damaged_record(
        &self,
        index: u64,
        offset: u32,
        what: DamageKind,
        id: Option<Hash>,
    ) -> ScrubDamage {
        let damage = self.file.damage(u64::from(offset), index, what);
        let position = Position(self.segment.header.first_position + u64::from(offset));
        ScrubDamage { damage, position, id, record: true }
    }

    /// The record at an offset, or what is wrong with it, but for the id of its body.
    fn fault_of<'b>(
        &self,
        bytes: &'b [u8],
        offset: u32,
    ) -> Result<(Head, &'b [u8]), (DamageKind, Option<Hash>)> {
        let header = &self.segment.header;
        let position = header.first_position + u64::from(offset);
        let record = bytes.get(offset as usize..);
        let head = record.and_then(|bytes| Head::parse(bytes, header.salt, position));
        let head = head.ok_or((DamageKind::Head, None))?;
        let body_at = offset as usize + HEAD_LEN;
        let body = bytes.get(body_at..body_at + head.len as usize);
        let body = body.filter(|body| head.covers(body, header.salt, position));
        Ok((head, body.ok_or((DamageKind::Body, Some(head.id)))?))
    }

    /// Finds the record that damage is in.
    fn place(&self, damage: Damage, bytes: &[u8]) -> ScrubDamage {
        let header = &self.segment.header;
        let offset = match damage.what {
            DamageKind::Body | DamageKind::Id => damage.offset - HEAD_LEN as u64,
            _ => damage.offset,
        };
        let record = matches!(damage.what, DamageKind::Body | DamageKind::Id | DamageKind::Head);
        let position = header.first_position + offset;
        let head = usize::try_from(offset)
            .ok()
            .and_then(|at| bytes.get(at..))
            .and_then(|bytes| Head::parse(bytes, header.salt, position).filter(|_| record));
        ScrubDamage { damage, position: Position(position), id: head.map(|head| head.id), record }
    }
}

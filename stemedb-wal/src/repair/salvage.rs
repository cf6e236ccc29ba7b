//! Salvage: what of a damaged segment is still known.
//!
//! The scanner reads what is whole. At each gap, what lies there is told from the bytes around it,
//! written again or counted as lost, and the scanner goes on behind it.

use std::ops::Range;

use memchr::memmem;

use super::{
    HashBody,
    head::{Neighbours, rebuild_head},
};
use crate::{
    batch::{self, BatchHeader},
    error::DamageKind,
    internal::{filled, in_memory, in_segment, internal_error, part, rest_of},
    log::Watermark,
    record::{HEAD_LEN, Head, Kind, VOID_ID},
    scan::{
        Scanner,
        judge::{Judge, all_zero},
    },
    segment::{HEADER_LEN, SegmentHeader, encode_footer, footer_len},
};

/// The length of a batch without records, in bytes.
const MARK_LEN: usize = batch::HEADER_LEN + batch::END.len();

/// What is known about a segment from elsewhere.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) header: &'a SegmentHeader,
    /// Where the batches end, if the trailer says so.
    pub(crate) batches_end: Option<u64>,
    /// How long the file should be: there is a segment behind it. `None` for the last one.
    pub(crate) sealed_len: Option<u64>,
    /// Up to where the log is known to have been durable.
    pub(crate) marked: u64,
    /// Where the log ended, and with which entry, at its last close. Much may have followed since.
    pub(crate) closed: Option<Watermark>,
    /// Offsets of heals of entries whose bodies are there: such a heal is of no use.
    pub(crate) needless: &'a [u64],
    /// What the disk could not read.
    pub(crate) unreadable: &'a [Range<u64>],
    /// Computes ids, if that is possible.
    pub(crate) hash: Option<HashBody<'a>>,
}

impl<'a> Context<'a> {
    /// Of a segment of which only the header is known.
    pub(crate) fn new(header: &'a SegmentHeader) -> Self {
        Self {
            header,
            batches_end: None,
            sealed_len: None,
            marked: u64::MAX,
            closed: None,
            needless: &[],
            unreadable: &[],
            hash: None,
        }
    }
}

/// A record whose entry is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) offset: usize,
    pub(crate) head: Head,
    /// Whether the body is what was written.
    pub(crate) body: bool,
}

/// Something that is wrong, and whether it can be put right in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) offset: u64,
    pub(crate) index: u64,
    pub(crate) what: DamageKind,
    pub(crate) remedy: Remedy,
}

/// What can be done about something that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The bytes follow from others and are written again.
    Rewrite,
    /// The body is lost, its entry is not.
    Hole,
    /// It is not known what was here.
    NewGeneration,
}

/// What was found out about a segment.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// All records whose entries are known, in order.
    pub(crate) records: Vec<Known>,
    pub(crate) wrong: Vec<Wrong>,
    /// What has to be written where.
    pub(crate) edits: Vec<(usize, Vec<u8>)>,
    /// The offset behind the last batch.
    pub(crate) end: usize,
    pub(crate) next_index: u64,
    pub(crate) last_time: u64,
}

impl Salvaged {
    /// Whether all entries are known, so that the segment can be repaired in its place.
    pub(crate) fn is_repairable(&self) -> bool {
        self.wrong.iter().all(|wrong| wrong.remedy != Remedy::NewGeneration)
    }

    /// The offsets of the entries, as the footer lists them.
    pub(crate) fn offsets(&self) -> Vec<u32> {
        let entries = self.records.iter().filter(|known| known.head.kind.takes_index());
        entries.map(|known| in_segment(known.offset)).collect()
    }

    /// The footer that belongs behind what was found, and its trailer's checksum.
    pub(crate) fn footer(&self, header: &SegmentHeader) -> (Vec<u8>, u32) {
        encode_footer(
            header.salt,
            header.first_position,
            self.end as u64,
            header.first_index,
            self.last_time,
            &self.offsets(),
        )
    }
}

/// Reads all that can be read of a segment whose whole file is `bytes`.
pub(crate) fn salvage(bytes: &[u8], context: &Context<'_>) -> Salvaged {
    let limit = context.batches_end.map(|end| in_memory(end.min(bytes.len() as u64)));
    let mut salvage = Salvage {
        bytes,
        context,
        limit: limit.unwrap_or(bytes.len()),
        found: Salvaged {
            end: HEADER_LEN,
            next_index: context.header.first_index,
            last_time: context.header.time_before,
            ..Salvaged::default()
        },
        unchecked: Vec::new(),
    };
    salvage.run();
    salvage.check_ids();
    salvage.note_unreadable();
    salvage.found
}

/// How the head of a record is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// It was read with all of its batch, the body included.
    Whole,
    /// It was read.
    Read,
    /// It was put together again.
    Rebuilt,
}

struct Salvage<'a> {
    bytes: &'a [u8],
    context: &'a Context<'a>,
    limit: usize,
    found: Salvaged,
    /// Records whose bodies are yet to be held against their ids.
    unchecked: Vec<Unchecked>,
}

/// A record whose body is to be held against its id: many are hashed side by side.
#[derive(Clone, Copy, Debug)]
struct Unchecked {
    /// Which of the records it is.
    record: usize,
    /// How much was found wrong, and is to be written, before it.
    wrong: usize,
    edits: usize,
}

/// How many bodies are hashed at once.
const HASHED_AT_ONCE: usize = 256;

impl Salvage<'_> {
    fn run(&mut self) {
        loop {
            let at = self.whole_batches(self.found.end);
            self.found.end = at;
            if at >= self.limit || self.ends_at(at) {
                break;
            }
            self.found.end = match self.parse_batch(at) {
                Some(header) => self.batch(at, &header),
                None => match self.headless(at) {
                    Some(end) => end,
                    None if self.context.sealed_len.is_none() && self.is_torn(at) => break,
                    None if self.is_lost_mark(at) => self.mark(at),
                    None if self.is_nothing(at) => {
                        self.wrong(at, DamageKind::Batch, Remedy::Rewrite);
                        break;
                    }
                    None => self.skip(at),
                },
            };
        }
        let expected = self.context.batches_end.and_then(|end| usize::try_from(end).ok());
        if expected.is_some_and(|expected| self.found.end < expected) {
            self.wrong(self.found.end, DamageKind::Short, Remedy::NewGeneration);
        }
    }

    fn note_unreadable(&mut self) {
        for range in self.context.unreadable {
            let records = &self.found.records;
            let behind = records.partition_point(|known| known.offset as u64 <= range.start);
            let record = behind.checked_sub(1).and_then(|at| records.get(at));
            let index = record.map_or(self.context.header.first_index, |known| known.head.index);
            let what = DamageKind::Unreadable { len: range.end - range.start };
            let offset = range.start;
            self.found.wrong.push(Wrong { offset, index, what, remedy: Remedy::Rewrite });
        }
    }

    /// Compares bodies with their ids. Damage is noted in the order of a pass body by body.
    fn check_ids(&mut self) {
        let Some(hash) = self.context.hash else { return };
        let salt = self.context.header.salt;
        let (mut wrong, mut edits) = (Vec::new(), Vec::new());
        let mut ids = Vec::with_capacity(HASHED_AT_ONCE);
        for unchecked in std::mem::take(&mut self.unchecked).chunks(HASHED_AT_ONCE) {
            let records: Vec<Known> =
                unchecked.iter().map(|at| *self.record_at(at.record)).collect();
            let bodies: Vec<&[u8]> = records.iter().map(|known| self.body_of(known)).collect();
            ids.clear();
            hash.ids(&bodies, &mut ids);
            let checked = unchecked.iter().zip(records).zip(&ids);
            for ((at, known), _) in checked.filter(|((_, known), id)| known.head.id != **id) {
                let Known { offset, head, .. } = known;
                let (index, body_at) = (head.index, (offset + HEAD_LEN) as u64);
                let (what, remedy) = (DamageKind::Id, Remedy::Hole);
                wrong.push((at.wrong, Wrong { offset: body_at, index, what, remedy }));
                edits.push((at.edits, (offset, hole(&head, salt, self.position(offset)))));
                if let Some(known) = self.found.records.get_mut(at.record) {
                    known.body = false;
                }
            }
        }
        put_between(&mut self.found.wrong, wrong);
        put_between(&mut self.found.edits, edits);
    }

    #[track_caller]
    fn record_at(&self, place: usize) -> &Known {
        self.found.records.get(place).unwrap_or_else(|| internal_error("a record was forgotten"))
    }

    fn body_of(&self, known: &Known) -> &[u8] {
        let body_at = known.offset + HEAD_LEN;
        part(self.bytes, body_at..body_at + known.head.len as usize)
    }

    /// Takes all batches that are whole from an offset on; returns where the gap behind them is.
    fn whole_batches(&mut self, start: usize) -> usize {
        let header = self.context.header;
        let bytes = filled(self.bytes, self.limit);
        let Salvaged { next_index, last_time, .. } = self.found;
        let scanned = Scanner::resumed(header, start as u64, next_index, last_time).all(bytes);
        for placed in &scanned.placed {
            let at = in_memory(placed.position.get() - header.first_position);
            let head = Head::parse(rest_of(bytes, at), header.salt, placed.position.get());
            let head = head.unwrap_or_else(|| internal_error("a whole record has no head"));
            self.take(at, head, Record::Whole);
        }
        in_memory(scanned.reached.offset)
    }

    /// Whether the batches can end here: nothing, zeros, or just the footer follows.
    fn ends_at(&self, at: usize) -> bool {
        if self.parse_batch(at).is_some() {
            return false;
        }
        match self.context.sealed_len {
            None => {
                let rest = rest_of(self.bytes, at);
                all_zero(rest) || rest.len() < batch::HEADER_LEN && self.is_torn(at)
            }
            Some(len) => {
                let entries = self.found.next_index - self.context.header.first_index;
                self.context.batches_end.is_none() && at as u64 + footer_len(entries) == len
            }
        }
    }

    fn judge(&self) -> Judge<'_> {
        let Context { header, marked, .. } = *self.context;
        Judge { bytes: self.bytes, header, marked }
    }

    fn is_torn(&self, at: usize) -> bool {
        self.position(at) >= self.context.marked
            && !self.has_batch_behind(at)
            && self.judge().is_torn(at)
    }

    /// Whether behind all marks there is something that is no batch, not even a damaged one.
    fn is_nothing(&self, at: usize) -> bool {
        self.context.sealed_len.is_none()
            && self.position(at) >= self.context.marked
            && !self.has_batch_behind(at)
            && self.bytes.get(at..at + batch::HEADER_LEN).is_some_and(|header| {
                // A flipped bit among zeros; a header has its magic and more.
                header.iter().filter(|byte| **byte != 0).count() <= 1
            })
    }

    /// Whether what lies here is the mark that the log was closed with: that has no records, so
    /// all of it is known.
    fn is_lost_mark(&self, at: usize) -> bool {
        self.context.sealed_len.is_none()
            && self.context.closed.is_some_and(|closed| {
                closed.next_index == self.found.next_index
                    && closed.position == self.position(at + MARK_LEN)
            })
            && at + MARK_LEN <= self.bytes.len()
    }

    /// Writes the mark again that was here; returns where it ends.
    fn mark(&mut self, start: usize) -> usize {
        let header = BatchHeader {
            payload_len: 0,
            records: 0,
            entries: 0,
            first_index: self.found.next_index,
            durable_upto: self.position(start),
            first_time: self.found.last_time,
            last_time: self.found.last_time,
        };
        let mut bytes = header.encode(self.context.header.salt, self.position(start)).to_vec();
        bytes.extend_from_slice(&batch::END);
        self.wrong(start, DamageKind::Batch, Remedy::Rewrite);
        self.found.edits.push((start, bytes));
        start + MARK_LEN
    }

    fn has_batch_behind(&self, at: usize) -> bool {
        self.next_batch(at + 1).is_some()
    }

    /// A batch whose header is whole, and that ends before the limit. Returns where it ends.
    fn batch(&mut self, start: usize, header: &BatchHeader) -> usize {
        let end = start + in_memory(header.batch_len());
        if header.first_index != self.found.next_index {
            self.wrong(start, DamageKind::Sequence, Remedy::NewGeneration);
            self.found.next_index = self.found.next_index.max(header.first_index);
        }
        let mut at = start + batch::HEADER_LEN;
        let records_end = end - batch::END.len();
        let mut left = header.records;
        while at < records_end && left > 0 {
            left -= 1;
            at = self.record(at, records_end, Some(header));
        }
        if self.bytes.get(records_end..end) != Some(&batch::END) {
            self.wrong(records_end, DamageKind::Batch, Remedy::Rewrite);
            self.found.edits.push((records_end, batch::END.to_vec()));
        }
        // Any index may be in a header.
        let expected = header.first_index.saturating_add(u64::from(header.entries));
        if self.found.next_index != expected && self.found.is_repairable() {
            self.wrong(start, DamageKind::Sequence, Remedy::NewGeneration);
        }
        self.found.next_index = expected.max(self.found.next_index);
        end
    }

    /// The record that begins at `at`; returns where it ends.
    fn record(&mut self, at: usize, records_end: usize, header: Option<&BatchHeader>) -> usize {
        let salt = self.context.header.salt;
        let position = self.position(at);
        if let Some(head) = Head::parse(part(self.bytes, at..records_end), salt, position) {
            let end = at + in_memory(head.record_len());
            if end <= records_end {
                self.take(at, head, Record::Read);
                return end;
            }
        }
        // Where the next record begins, and with it how long this one is.
        let next = (at + HEAD_LEN..records_end)
            .find(|next| self.parse_head(*next, records_end).is_some())
            .unwrap_or(records_end);
        let following = self.parse_head(next, records_end);
        let neighbours = Neighbours {
            index: self.found.next_index,
            time_before: self.found.last_time,
            time_after: following
                .filter(|head| head.kind.takes_index())
                .map(|head| head.time)
                .or_else(|| header.and_then(|header| header.last_time.checked_add(1))),
        };
        let record = part(self.bytes, at..next);
        match rebuild_head(record, salt, position, neighbours, self.context.hash) {
            Some(head) => {
                self.wrong(at, DamageKind::Head, Remedy::Rewrite);
                self.found.edits.push((at, head.encode(salt, position).to_vec()));
                self.take(at, head, Record::Rebuilt);
            }
            None => self.wrong(at, DamageKind::Head, Remedy::NewGeneration),
        }
        next
    }

    fn parse_head(&self, at: usize, records_end: usize) -> Option<Head> {
        let bytes = self.bytes.get(at..records_end)?;
        let head = Head::parse(bytes, self.context.header.salt, self.position(at))?;
        (head.record_len() <= bytes.len() as u64).then_some(head)
    }

    /// Takes note of a record whose head is known, and of what its body is like. All of it lies in
    /// the bytes.
    fn take(&mut self, at: usize, head: Head, record: Record) {
        let salt = self.context.header.salt;
        let position = self.position(at);
        if head.kind.takes_index() {
            if head.index != self.found.next_index || head.time <= self.found.last_time {
                self.wrong(at, DamageKind::Sequence, Remedy::NewGeneration);
            }
            // Any index may be in a head.
            self.found.next_index = self.found.next_index.max(head.index.saturating_add(1));
            self.found.last_time = self.found.last_time.max(head.time);
        }
        let body_at = at + HEAD_LEN;
        let body = part(self.bytes, body_at..body_at + head.len as usize);
        let whole = record == Record::Whole || head.covers(body, salt, position);
        // All others wait until many are hashed together.
        let hash = self.context.hash.filter(|_| head.kind.has_body());
        let right = whole
            && (record != Record::Rebuilt || hash.is_none_or(|hash| hash.id(body) == head.id));
        if head.kind == Kind::Heal && self.context.needless.contains(&(at as u64)) {
            self.found.records.push(Known { offset: at, head, body: false });
            self.wrong(at, DamageKind::Sequence, Remedy::Rewrite);
            if record == Record::Rebuilt {
                self.found.edits.pop();
            }
            self.found.edits.push((at, hole(&head, salt, position)));
            return;
        }
        let has_body = head.kind.has_body();
        if right && record != Record::Rebuilt && hash.is_some() {
            self.unchecked.push(Unchecked {
                record: self.found.records.len(),
                wrong: self.found.wrong.len(),
                edits: self.found.edits.len(),
            });
        }
        self.found.records.push(Known { offset: at, head, body: right && has_body });
        if !right {
            let what = if whole { DamageKind::Id } else { DamageKind::Body };
            let index = head.index;
            let offset = body_at as u64;
            self.found.wrong.push(Wrong { offset, index, what, remedy: Remedy::Hole });
            if record == Record::Rebuilt {
                self.found.edits.pop();
            }
            self.found.edits.push((at, hole(&head, salt, position)));
        }
    }

    /// A batch whose header is lost and whose records are not; returns where it ends.
    fn headless(&mut self, start: usize) -> Option<usize> {
        let salt = self.context.header.salt;
        let mut at = start + batch::HEADER_LEN;
        let mut header = BatchHeader {
            payload_len: 0,
            records: 0,
            entries: 0,
            first_index: self.found.next_index,
            // What was before it is synced when the repaired segment is.
            durable_upto: self.position(start),
            first_time: self.found.last_time,
            last_time: self.found.last_time,
        };
        let mut heads = Vec::new();
        while !self.batch_ends_at(at) {
            let head = self.parse_head(at, self.limit)?;
            header.records += 1;
            if head.kind.takes_index() {
                if header.entries == 0 {
                    header.first_time = head.time;
                }
                header.entries += 1;
                header.last_time = head.time;
            }
            heads.push((at, head));
            at += in_memory(head.record_len());
        }
        header.payload_len = u32::try_from(at - start - batch::HEADER_LEN).ok()?;
        self.wrong(start, DamageKind::Batch, Remedy::Rewrite);
        self.found.edits.push((start, header.encode(salt, self.position(start)).to_vec()));
        for (at, head) in heads {
            self.take(at, head, Record::Read);
        }
        Some(at + batch::END.len())
    }

    /// Whether the end of a batch lies here, with something behind it that can follow a batch.
    fn batch_ends_at(&self, at: usize) -> bool {
        let end = at + batch::END.len();
        self.bytes.get(at..end) == Some(&batch::END)
            && (end == self.limit
                || self.parse_batch(end).is_some()
                || self.bytes.get(end..).is_some_and(all_zero)
                || self.context.sealed_len.is_some() && self.parse_head(at, self.limit).is_none())
    }

    /// Nothing can be made of what is here: goes on with the next batch that is whole, and takes
    /// what records there are before it.
    fn skip(&mut self, start: usize) -> usize {
        self.wrong(start, DamageKind::Batch, Remedy::NewGeneration);
        let end = self.next_batch(start + 1).unwrap_or(self.limit);
        let mut at = start;
        while at < end {
            match self.parse_head(at, end) {
                Some(head) if head.index >= self.found.next_index || !head.kind.takes_index() => {
                    self.found.next_index = head.index.max(self.found.next_index);
                    self.take(at, head, Record::Read);
                    at += in_memory(head.record_len());
                }
                _ => at += 1,
            }
        }
        end
    }

    fn next_batch(&self, from: usize) -> Option<usize> {
        let rest = self.bytes.get(from..self.limit)?;
        let hits = memmem::find_iter(rest, &batch::MAGIC).map(|hit| from + hit);
        hits.into_iter().find(|hit| self.parse_batch(*hit).is_some())
    }

    fn parse_batch(&self, at: usize) -> Option<BatchHeader> {
        let bytes = self.bytes.get(at..self.limit)?;
        let header = BatchHeader::parse(bytes, self.context.header.salt, self.position(at))?;
        (header.batch_len() <= bytes.len() as u64).then_some(header)
    }

    fn wrong(&mut self, at: usize, what: DamageKind, remedy: Remedy) {
        let (offset, index) = (at as u64, self.found.next_index);
        self.found.wrong.push(Wrong { offset, index, what, remedy });
    }

    /// The position of an offset. Any position may be in a header.
    fn position(&self, at: usize) -> u64 {
        self.context.header.first_position.saturating_add(at as u64)
    }
}

/// Puts items among others, each behind so many of them.
fn put_between<T>(items: &mut Vec<T>, late: Vec<(usize, T)>) {
    let mut early = std::mem::take(items).into_iter();
    let mut before = 0;
    for (at, item) in late {
        items.extend(early.by_ref().take(at - before));
        before = at;
        items.push(item);
    }
    items.extend(early);
}

/// The bytes of a hole in the place of a record.
fn hole(lost: &Head, salt: crate::checksum::Salt, position: u64) -> Vec<u8> {
    let zeros = vec![0; lost.len as usize];
    let body_sum = salt.checksum(position, &zeros);
    // A lost heal leaves its entry the hole that it was.
    let (kind, id) = match lost.kind {
        Kind::Entry | Kind::Hole => (Kind::Hole, lost.id),
        Kind::Heal | Kind::Void => (Kind::Void, VOID_ID),
    };
    let head = Head { kind, id, body_sum, ..*lost };
    let mut bytes = head.encode(salt, position).to_vec();
    bytes.extend_from_slice(&zeros);
    bytes
}

#[cfg(test)]
mod tests {
    use super::put_between;

    #[test]
    fn what_is_found_late_goes_where_it_belongs() {
        let mut items = vec![10, 20, 30];
        put_between(&mut items, vec![(0, 1), (0, 2), (2, 21), (3, 31)]);
        assert_eq!(items, [1, 2, 10, 20, 21, 30, 31]);
    }
}

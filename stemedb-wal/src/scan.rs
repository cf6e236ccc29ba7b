//! The scanner: the one reader of what lies between a segment's header and its end.
//!
//! [`Scanner`] is a state machine that is fed with bytes. It puts out records as they come, checks
//! that each byte is what was written, and stops at the first *gap*: where something else lies, or
//! the bytes end. [`judge`] says what a gap is: the end of the log, a footer, a torn write, or
//! damage. [`Pass`](pass::Pass) feeds it chunk by chunk, in bounded memory; [`Scanner::all`] with a
//! whole file at once.

pub(crate) mod file;
pub(crate) mod judge;
pub(crate) mod pass;
pub(crate) mod sectors;

use self::file::SegmentFile;
use crate::{
    batch::{self, BatchHeader},
    checksum::Salt,
    error::{Damage, DamageKind},
    internal::{in_memory, in_segment, rest_of},
    record::{HEAD_LEN, Head, Placed},
    segment::{SegmentHeader, encode_footer},
};

/// Why the scanner stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes end before the next piece does: from where it stopped it needs so many.
    More { needed: usize },
    /// What lies there is not what was written.
    Gap(Gap),
}

/// Where the batches stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The offset in the file of what is not what was written.
    pub(crate) offset: u64,
    /// The first entry that it concerns.
    pub(crate) index: u64,
    /// What it is not; [`DamageKind::Short`] where the bytes end.
    pub(crate) what: DamageKind,
}

/// How far whole batches were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The offset in the file behind the last whole batch.
    pub(crate) offset: u64,
    pub(crate) next_index: u64,
    pub(crate) last_time: u64,
    /// The highest `durable_upto` of all batch headers so far.
    pub(crate) durable_upto: u64,
    /// The position behind the last batch that has records.
    pub(crate) records_end: u64,
}

impl Reached {
    /// The footer that belongs behind these batches, with these offsets of entries, and its
    /// trailer's checksum.
    pub(crate) fn footer(&self, header: &SegmentHeader, offsets: &[u32]) -> (Vec<u8>, u32) {
        encode_footer(
            header.salt,
            header.first_position,
            self.offset,
            header.first_index,
            self.last_time,
            offsets,
        )
    }
}

/// The offsets of the entries among records, as the footer lists them.
pub(crate) fn offsets_of(header: &SegmentHeader, placed: &[Placed]) -> impl Iterator<Item = u32> {
    let first_position = header.first_position;
    let entries = placed.iter().filter(|placed| placed.kind.takes_index());
    entries.map(move |placed| in_segment(placed.position.get() - first_position))
}

/// What a scan of all batches in a part of a segment found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// The records of whole batches.
    pub(crate) placed: Vec<Placed>,
    pub(crate) reached: Reached,
    pub(crate) gap: Gap,
}

impl Scanned {
    /// The gap as damage of the file.
    pub(crate) fn damage(&self, file: SegmentFile<'_>) -> Damage {
        let Gap { offset, index, what } = self.gap;
        match what {
            // A batch that is cut off is missing as a whole.
            DamageKind::Short => file.damage(self.reached.offset, self.reached.next_index, what),
            _ => file.damage(offset, index, what),
        }
    }
}

/// Reads the batches of one segment, window by window.
#[derive(Debug)]
pub(crate) struct Scanner {
    salt: Salt,
    first_position: u64,
    next_index: u64,
    last_time: u64,
    /// Whether the time of the entry before is known: from the middle on, only behind a batch.
    time_known: bool,
    /// Bodies before this position are not checked.
    bodies_from: u64,
    open: Option<OpenBatch>,
    reached: Reached,
    /// How many of the records put out belong to whole batches.
    whole: usize,
}

/// A batch whose header was read, and not yet its end.
#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    header: BatchHeader,
    start: u64,
    records_left: u32,
    entries_left: u32,
    payload_left: u64,
}

impl Scanner {
    /// From the segment's first batch on.
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        let offset = crate::segment::HEADER_LEN as u64;
        Self::starting(header, offset, header.first_index, true)
    }

    /// From a batch in the middle on.
    pub(crate) fn from_middle(header: &SegmentHeader, offset: u64, next_index: u64) -> Self {
        Self::starting(header, offset, next_index, false)
    }

    /// From behind a gap on, with what is known of the entries before it.
    pub(crate) fn resumed(
        header: &SegmentHeader,
        offset: u64,
        next_index: u64,
        last_time: u64,
    ) -> Self {
        let mut scanner = Self::starting(header, offset, next_index, true);
        (scanner.last_time, scanner.reached.last_time) = (last_time, last_time);
        scanner
    }

    fn starting(header: &SegmentHeader, offset: u64, next_index: u64, time_known: bool) -> Self {
        Self {
            salt: header.salt,
            first_position: header.first_position,
            next_index,
            last_time: header.time_before,
            time_known,
            bodies_from: 0,
            open: None,
            reached: Reached {
                offset,
                next_index,
                last_time: header.time_before,
                durable_upto: 0,
                records_end: header.first_position + offset,
            },
            whole: 0,
        }
    }

    /// Leaves the bodies before a position unchecked.
    pub(crate) fn check_bodies_from(mut self, position: u64) -> Self {
        self.bodies_from = position;
        self
    }

    /// Reads all batches of a segment whose file begins with `bytes`, up to the first gap.
    pub(crate) fn all(mut self, bytes: &[u8]) -> Scanned {
        let mut placed = Vec::new();
        let offset = self.reached.offset;
        // A file that is cut within its header has no batches.
        let batches = bytes.get(in_memory(offset)..).unwrap_or_default();
        let (read, stop) = self.scan(batches, offset, &mut placed);
        placed.truncate(self.take_whole());
        let gap = match stop {
            Stop::Gap(gap) => gap,
            Stop::More { .. } => self.short(offset + read as u64),
        };
        Scanned { placed, reached: self.reached, gap }
    }

    /// How far whole batches were read.
    pub(crate) fn reached(&self) -> Reached {
        self.reached
    }

    /// The end of the bytes at an offset behind what was read, as a gap.
    pub(crate) fn short(&self, offset: u64) -> Gap {
        Gap { offset, index: self.next_index, what: DamageKind::Short }
    }

    /// How many of the records in the vector that [`scan`](Self::scan) fills are of whole batches.
    /// Counts from zero there: the caller takes them out.
    pub(crate) fn take_whole(&mut self) -> usize {
        std::mem::take(&mut self.whole)
    }

    /// Reads on in `bytes`, which lie at `offset` of the file and begin where the last scan
    /// stopped. Returns how many bytes it read, and why it stopped.
    ///
    /// Records are put out as they are read; a batch may turn out to be bad after some of them.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        offset: u64,
        placed: &mut Vec<Placed>,
    ) -> (usize, Stop) {
        let mut at = 0;
        loop {
            let rest = rest_of(bytes, at);
            let here = offset + at as u64;
            let advanced = match self.open {
                None => self.begin(rest, here),
                Some(open) if open.records_left > 0 => self.records(rest, here, placed),
                Some(open) => self.finish(open, rest, here, placed.len()),
            };
            match advanced {
                Ok(len) => at += len,
                Err(stop) => return (at, stop),
            }
        }
    }

    fn begin(&mut self, bytes: &[u8], offset: u64) -> Result<usize, Stop> {
        if bytes.len() < batch::HEADER_LEN {
            return Err(Stop::More { needed: batch::HEADER_LEN });
        }
        let position = self.first_position + offset;
        let index = self.next_index;
        let bad = |what| Stop::Gap(Gap { offset, index, what });
        let header =
            BatchHeader::parse(bytes, self.salt, position).ok_or_else(|| bad(DamageKind::Batch))?;
        if !self.time_known {
            self.time_known = true;
            let before = match header.entries {
                0 => header.last_time,
                // No entry has the time 0, which a batch may say all the same.
                _ => header.first_time.saturating_sub(1),
            };
            self.last_time = before.max(self.last_time);
        }
        let times_follow = match header.entries {
            0 => header.first_time == self.last_time && header.last_time == self.last_time,
            _ => header.first_time > self.last_time && header.last_time >= header.first_time,
        };
        if header.first_index != self.next_index
            || header.entries > header.records
            || header.durable_upto > position
            || !times_follow
        {
            return Err(bad(DamageKind::Sequence));
        }
        self.reached.durable_upto = self.reached.durable_upto.max(header.durable_upto);
        self.open = Some(OpenBatch {
            header,
            start: offset,
            records_left: header.records,
            entries_left: header.entries,
            payload_left: u64::from(header.payload_len),
        });
        Ok(batch::HEADER_LEN)
    }

    /// Reads as many records of the open batch as there are whole ones.
    fn records(
        &mut self,
        bytes: &[u8],
        offset: u64,
        placed: &mut Vec<Placed>,
    ) -> Result<usize, Stop> {
        let Some(mut open) = self.open else { return Ok(0) };
        let mut at = 0;
        while open.records_left > 0 {
            let rest = rest_of(bytes, at);
            let position = self.first_position + offset + at as u64;
            let (offset, index) = (offset + at as u64, self.next_index);
            let bad = |what| Stop::Gap(Gap { offset, index, what });
            let needed = match Head::parse(rest, self.salt, position) {
                None if rest.len() < HEAD_LEN => HEAD_LEN,
                None => return Err(bad(DamageKind::Head)),
                Some(head) => {
                    let len = head.record_len();
                    if len > open.payload_left {
                        return Err(bad(DamageKind::Sequence));
                    }
                    let whole = in_memory(len);
                    if let Some(body) = rest.get(HEAD_LEN..whole) {
                        if position >= self.bodies_from && !head.covers(body, self.salt, position) {
                            let (index, what) = (head.index, DamageKind::Body);
                            return Err(Stop::Gap(Gap { offset, index, what }));
                        }
                        self.take(&head, &mut open).ok_or_else(|| bad(DamageKind::Sequence))?;
                        placed.push(Placed::new(&head, position));
                        at += whole;
                        continue;
                    }
                    whole
                }
            };
            if at > 0 {
                break;
            }
            return Err(Stop::More { needed });
        }
        self.open = Some(open);
        Ok(at)
    }

    /// Whether a record is the one that comes next.
    fn take(&mut self, head: &Head, open: &mut OpenBatch) -> Option<()> {
        if head.kind.takes_index() {
            let first = open.entries_left == open.header.entries;
            if head.index != self.next_index
                || head.time <= self.last_time
                || (first && head.time != open.header.first_time)
            {
                return None;
            }
            self.next_index = self.next_index.checked_add(1)?;
            self.last_time = head.time;
            open.entries_left = open.entries_left.checked_sub(1)?;
        } else if head.index >= self.next_index {
            return None;
        }
        open.records_left -= 1;
        open.payload_left -= head.record_len();
        Some(())
    }

    fn finish(
        &mut self,
        open: OpenBatch,
        bytes: &[u8],
        offset: u64,
        placed: usize,
    ) -> Result<usize, Stop> {
        let Some(end) = bytes.first_chunk::<4>() else {
            return Err(Stop::More { needed: batch::END.len() });
        };
        if *end != batch::END {
            let (index, what) = (self.next_index, DamageKind::Batch);
            return Err(Stop::Gap(Gap { offset, index, what }));
        }
        if open.entries_left > 0 || open.payload_left > 0 || self.last_time != open.header.last_time
        {
            let (offset, index) = (open.start, open.header.first_index);
            return Err(Stop::Gap(Gap { offset, index, what: DamageKind::Sequence }));
        }
        self.open = None;
        self.reached.offset = offset + end.len() as u64;
        self.reached.next_index = self.next_index;
        self.reached.last_time = self.last_time;
        if open.header.records > 0 {
            self.reached.records_end = self.first_position + self.reached.offset;
        }
        self.whole = placed;
        Ok(end.len())
    }
}

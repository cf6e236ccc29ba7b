//! The end of the log: what of it is whole, what a crash left, and what is damage.
//!
//! A batch that is not whole is *torn* if a crash can have made it so, else it is *damaged*. It is
//! damage wherever it begins below a *mark*: a position up to which the log is known to have been
//! durable, because a batch header anywhere in the segment says so (also behind the bad batch), or
//! the last clean close, or a restart checkpoint, or the trailer of a segment that was sealed. Past
//! all marks, each piece of it (header, head, body, end) that fails its check must be explained:
//!
//! - it runs past the end of the file; or
//! - in an aligned sector, all bytes of the batch are zero: a power cut took that sector; or
//! - its last bytes and all that follows in the file are zero: the write stopped there.
//!
//! The last of these is the death of a process in the middle of a write, or a disk that filled up.
//! A header that fails its check says nothing about the length of its batch, and is judged alone;
//! a sector that was taken is then zero to its end.
//!
//! Behind a torn batch there can be whole ones, when several were written and none was synced: all
//! from the torn one on is cut.

use std::ops::Range;

use memchr::memmem;

use super::walk::{Reached, Stop, Walker};
use crate::{
    batch::{self, BatchHeader},
    disk::SECTOR_LEN,
    error::DamageKind,
    log::{Placed, Watermark},
    record::{HEAD_LEN, Head},
    segment::{SegmentHeader, TRAILER_LEN, Trailer, encode_footer},
};

/// How much is walked before the records found are taken over.
const STEP_LEN: usize = 1 << 20;

/// What lies behind the last whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing, or zeros.
    Clean,
    /// The beginning of a footer, or all of it: the log was about to go on in a new segment.
    Footer,
    /// What a crash left of batches that were never durable.
    Torn,
}

/// What the last segment holds.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) reached: Reached,
    pub(crate) rest: Rest,
    /// The offsets of all its entries.
    pub(crate) offsets: Vec<u32>,
    /// Its records from where the replay begins.
    pub(crate) placed: Vec<Placed>,
    /// Whether a batch begins or ends where the watermark says, with its index.
    pub(crate) at_watermark: bool,
}

/// What is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) offset: u64,
    pub(crate) index: u64,
    pub(crate) what: DamageKind,
}

/// Reads the last segment, whose whole file is `bytes`.
///
/// `marked` is the highest mark that is known from elsewhere, as a position.
pub(crate) fn examine(
    bytes: &[u8],
    header: &SegmentHeader,
    marked: u64,
    watermark: Option<Watermark>,
) -> Result<Tail, Bad> {
    let replay_from = watermark.map_or(0, |watermark| watermark.position);
    let mut walker = Walker::new(header).check_bodies_from(replay_from);
    let mut tail = Tail {
        reached: walker.reached(),
        rest: Rest::Clean,
        offsets: Vec::new(),
        placed: Vec::new(),
        at_watermark: false,
    };
    let mut placed = Vec::new();
    let mut at = crate::segment::HEADER_LEN;
    let mut window_len = STEP_LEN;
    let (bad_at, what) = loop {
        let window = bytes.get(at..).unwrap_or_default();
        let window = window.get(..window_len).unwrap_or(window);
        let (read, stop) = walker.walk(window, at as u64, &mut placed);
        at += read;
        let whole = walker.take_whole();
        for placed in placed.drain(..whole.min(placed.len())) {
            if placed.kind.takes_index() {
                let offset = placed.position - header.first_position;
                tail.offsets.push(u32::try_from(offset).unwrap_or(u32::MAX));
            }
            if placed.position >= replay_from {
                tail.placed.push(placed);
            }
        }
        match stop {
            Stop::More { needed } if bytes.len().saturating_sub(at) < needed => {
                break (at as u64, DamageKind::Short);
            }
            Stop::More { needed } => window_len = needed.max(STEP_LEN),
            Stop::Bad { offset, what } => break (offset, what),
        }
    };

    tail.reached = walker.reached();
    tail.at_watermark = watermark.is_none_or(|watermark| crosses(bytes, header, &tail, watermark));
    tail.rest = judge(bytes, header, marked, &tail).ok_or(Bad {
        offset: bad_at,
        index: tail.reached.next_index,
        what,
    })?;
    Ok(tail)
}

/// Whether the watermark lies between two of the batches that were read.
fn crosses(bytes: &[u8], header: &SegmentHeader, tail: &Tail, watermark: Watermark) -> bool {
    let Some(offset) = watermark.position.checked_sub(header.first_position) else {
        return true;
    };
    let reached = tail.reached;
    if offset == reached.offset {
        return watermark.next_index == reached.next_index;
    }
    let at = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    offset < reached.offset
        && at
            .and_then(|at| BatchHeader::parse(at, header.salt, watermark.position))
            .is_some_and(|batch| batch.first_index == watermark.next_index)
}

/// What lies behind the last whole batch; `None` if that is damage.
fn judge(bytes: &[u8], header: &SegmentHeader, marked: u64, tail: &Tail) -> Option<Rest> {
    let end = tail.reached.offset;
    let at = usize::try_from(end).ok()?;
    let rest = bytes.get(at..).unwrap_or_default();
    if all_zero(rest) {
        return Some(Rest::Clean);
    }
    if begins_footer(rest, end, header, tail) {
        return Some(Rest::Footer);
    }
    let marked = marked.max(tail.reached.durable_upto).max(marked_behind(bytes, at, header));
    (header.first_position + end >= marked && is_torn(bytes, at, header)).then_some(Rest::Torn)
}

/// The highest mark in what follows `from`.
pub(crate) fn marked_behind(bytes: &[u8], from: usize, header: &SegmentHeader) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default();
    let found = |magic: &'static [u8; 8]| {
        memmem::find_iter(rest, magic).filter_map(move |hit| {
            let at = rest.get(hit..)?;
            Some((at, header.first_position + (from + hit) as u64))
        })
    };
    let batches = found(&batch::MAGIC).filter_map(|(at, position)| {
        BatchHeader::parse(at, header.salt, position).map(|batch| batch.durable_upto)
    });
    let trailers = found(&crate::segment::TRAILER_MAGIC).filter_map(|(at, position)| {
        Trailer::parse(at, header.salt, position)
            .map(|trailer| header.first_position + trailer.batches_end)
    });
    batches.chain(trailers).max().unwrap_or(0)
}

/// Whether what follows the last batch is what a crash leaves of the footer that belongs there.
fn begins_footer(rest: &[u8], end: u64, header: &SegmentHeader, tail: &Tail) -> bool {
    let (footer, _) = encode_footer(
        header.salt,
        header.first_position,
        end,
        header.first_index,
        tail.reached.last_time,
        &tail.offsets,
    );
    let written = rest.len() - trailing_zeros(rest);
    let mut at = 0;
    while at < rest.len() {
        let len = SECTOR_LEN - usize::try_from((end + at as u64) % 512).unwrap_or(0);
        let part = rest.get(at..).unwrap_or_default();
        let part = part.get(..len).unwrap_or(part);
        let expected = footer.get(at..).unwrap_or_default();
        // The file may end early, and a write may have stopped early.
        let present = part.get(..written.saturating_sub(at).min(part.len())).unwrap_or_default();
        let same = expected
            .starts_with(present.get(..expected.len().min(present.len())).unwrap_or_default())
            && all_zero(present.get(expected.len()..).unwrap_or_default());
        if !same && !all_zero(part) {
            return false;
        }
        at += len;
    }
    true
}

/// Whether the batch at `start`, which is not whole, can be what a crash left, past all marks.
pub(crate) fn is_torn(bytes: &[u8], start: usize, header: &SegmentHeader) -> bool {
    Judged::new(bytes, start, header).is_torn()
}

/// A batch that is not whole, past all marks.
struct Judged<'a> {
    bytes: &'a [u8],
    header: &'a SegmentHeader,
    batch: Option<BatchHeader>,
    range: Range<usize>,
    /// From where on the file is zeros.
    zeros_from: usize,
}

impl<'a> Judged<'a> {
    fn new(bytes: &'a [u8], start: usize, header: &'a SegmentHeader) -> Self {
        let at = bytes.get(start..).unwrap_or_default();
        let position = header.first_position + start as u64;
        let batch = BatchHeader::parse(at, header.salt, position);
        let len = batch.map_or(batch::HEADER_LEN as u64, |batch| batch.batch_len());
        let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        let zeros_from = bytes.len() - trailing_zeros(bytes);
        Self { bytes, header, batch, range: start..end, zeros_from }
    }

    /// Whether a crash explains each piece that fails its check.
    fn is_torn(&self) -> bool {
        let start = self.range.start;
        let Some(batch) = self.batch else {
            return self.is_explained(start..start + batch::HEADER_LEN);
        };
        let records_end = self.range.end - batch::END.len();
        let mut at = start + batch::HEADER_LEN;
        let mut explained = false;
        for _ in 0..batch.records {
            let position = self.header.first_position + at as u64;
            let rest = self.bytes.get(at..).unwrap_or_default();
            let Some(head) = Head::parse(rest, self.header.salt, position) else {
                // What follows cannot be told apart any more.
                return self.is_explained(at..at + HEAD_LEN);
            };
            let body_at = at + HEAD_LEN;
            at = body_at.saturating_add(head.len as usize);
            if at > records_end {
                return false;
            }
            let body = self.bytes.get(body_at..at);
            if !body.is_some_and(|body| head.covers(body, self.header.salt, position)) {
                if !self.is_explained(body_at..at) {
                    return false;
                }
                explained = true;
            }
        }
        let end = self.bytes.get(records_end..self.range.end);
        if end != Some(&batch::END) {
            return self.is_explained(records_end..self.range.end);
        }
        explained
    }

    fn is_explained(&self, piece: Range<usize>) -> bool {
        piece.end > self.bytes.len()
            || (self.zeros_from < self.range.end && self.zeros_from < piece.end)
            || self.has_zero_sector(&piece)
    }

    /// Whether of some sector that the piece lies in, all bytes of the batch are zero.
    ///
    /// How far a batch goes whose header fails is not known, but nothing in such a sector is newer
    /// than the batch: it is zero to its end. Else a header whose last bytes lie in the next sector
    /// would be explained by a single flipped bit, if they were zeros but for that.
    fn has_zero_sector(&self, piece: &Range<usize>) -> bool {
        let batch_end = self.batch.map_or(self.bytes.len(), |_| self.range.end);
        let sectors = piece.start / SECTOR_LEN..piece.end.div_ceil(SECTOR_LEN);
        sectors.map(|sector| sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN).any(|sector| {
            let part = sector.start.max(self.range.start)..sector.end.min(batch_end);
            self.bytes.get(part).is_some_and(all_zero)
        })
    }
}

/// Whether all bytes are zero; so are none.
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}

fn trailing_zeros(bytes: &[u8]) -> usize {
    let zero_chunks = bytes.rchunks(4096).take_while(|chunk| all_zero(chunk)).map(<[u8]>::len);
    let zeros: usize = zero_chunks.sum();
    let rest = bytes.get(..bytes.len() - zeros).unwrap_or_default();
    zeros + rest.iter().rev().take_while(|byte| **byte == 0).count()
}

const _: () = assert!(TRAILER_LEN < SECTOR_LEN);

//! The judge of a gap: the end of the log, a footer, what a crash left, or damage.
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

use std::{iter, ops::Range};

use memchr::memmem;

use super::Reached;
use crate::{
    batch::{self, BatchHeader},
    disk::SECTOR_LEN,
    internal::{filled, in_memory},
    record::{HEAD_LEN, Head},
    segment::{SegmentHeader, TRAILER_LEN, TRAILER_MAGIC, Trailer},
};

/// What a gap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The end of the log: nothing, or zeros.
    End,
    /// The beginning of a footer, or all of it: the log was about to go on in a new segment.
    Footer,
    /// What a crash left of batches that were never durable.
    Torn,
    /// Bytes that were durable are not what was written.
    Damaged,
}

/// The judge of the gaps in the last segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    /// The whole file.
    pub(crate) bytes: &'a [u8],
    pub(crate) header: &'a SegmentHeader,
    /// The highest mark that is known from elsewhere, as a position.
    pub(crate) marked: u64,
}

impl Judge<'_> {
    /// Says what lies behind the last whole batch, and the entries at these offsets.
    pub(crate) fn judge(&self, reached: &Reached, offsets: &[u32]) -> Verdict {
        let at = in_memory(reached.offset);
        // A file that is cut within its header has nothing there.
        let rest = self.bytes.get(at..).unwrap_or_default();
        if all_zero(rest) {
            return Verdict::End;
        }
        if begins_footer(rest, reached.offset, &reached.footer(self.header, offsets).0) {
            return Verdict::Footer;
        }
        let marked = self.marked.max(reached.durable_upto).max(self.marked_behind(at));
        if self.header.first_position + reached.offset >= marked && self.is_torn(at) {
            Verdict::Torn
        } else {
            Verdict::Damaged
        }
    }

    /// Whether the batch at an offset, which is not whole, can be what a crash left, past all
    /// marks.
    pub(crate) fn is_torn(&self, at: usize) -> bool {
        TornBatch::new(self.bytes, at, self.header).is_torn()
    }

    /// The highest mark in what follows an offset; 0, which marks nothing, if there is none.
    pub(crate) fn marked_behind(&self, from: usize) -> u64 {
        let Self { bytes, header, .. } = *self;
        let Some(rest) = bytes.get(from..) else { return 0 };
        let found = |magic: &'static [u8; 8]| {
            memmem::find_iter(rest, magic).filter_map(move |hit| {
                let at = rest.get(hit..)?;
                Some((at, header.first_position + (from + hit) as u64))
            })
        };
        let batches = found(&batch::MAGIC).filter_map(|(at, position)| {
            BatchHeader::parse(at, header.salt, position).map(|batch| batch.durable_upto)
        });
        let trailers = found(&TRAILER_MAGIC).filter_map(|(at, position)| {
            Trailer::parse(at, header.salt, position)
                .map(|trailer| header.first_position + trailer.batches_end)
        });
        batches.chain(trailers).max().unwrap_or(0)
    }
}

/// Whether what follows the last batch, from offset `end` on, is what a crash leaves of the footer
/// that belongs there.
fn begins_footer(rest: &[u8], end: u64, footer: &[u8]) -> bool {
    // The file may end early, and a write may have stopped early.
    let written = filled(rest, rest.len() - trailing_zeros(rest));
    let to_sector = SECTOR_LEN - in_memory(end % SECTOR_LEN as u64);
    let (front, behind) = written.split_at(to_sector.min(written.len()));
    let mut at = 0;
    [front].into_iter().chain(behind.chunks(SECTOR_LEN)).all(|sector| {
        let expected = footer.iter().chain(iter::repeat(&0)).skip(at).take(sector.len());
        at += sector.len();
        all_zero(sector) || sector.iter().eq(expected)
    })
}

/// A batch that is not whole, past all marks.
struct TornBatch<'a> {
    bytes: &'a [u8],
    header: &'a SegmentHeader,
    batch: Option<BatchHeader>,
    range: Range<usize>,
    /// From where on the file is zeros.
    zeros_from: usize,
}

impl<'a> TornBatch<'a> {
    fn new(bytes: &'a [u8], start: usize, header: &'a SegmentHeader) -> Self {
        // Nothing is behind the end of a file.
        let at = bytes.get(start..).unwrap_or_default();
        let position = header.first_position + start as u64;
        let batch = BatchHeader::parse(at, header.salt, position);
        let len = batch.map_or(batch::HEADER_LEN as u64, |batch| batch.batch_len());
        let end = start + in_memory(len);
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
            let rest = self.bytes.get(at..);
            let head = rest.and_then(|rest| Head::parse(rest, self.header.salt, position));
            let Some(head) = head else {
                // What follows cannot be told apart any more.
                return self.is_explained(at..at + HEAD_LEN);
            };
            let body_at = at + HEAD_LEN;
            at = body_at + head.len as usize;
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
    let rest = filled(bytes, bytes.len() - zeros);
    zeros + rest.iter().rev().take_while(|byte| **byte == 0).count()
}

const _: () = assert!(TRAILER_LEN < SECTOR_LEN);

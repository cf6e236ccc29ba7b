//! Records in the order of the log, with their bodies, read in blocks.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use stemedb_merkle::LogIndex;

use super::{
    LogReader, Placed,
    reader::segment_of,
    segments::{Offsets, Segment},
};
use crate::{
    error::ReadError,
    internal::in_memory,
    record::{HEAD_LEN, Head},
};

/// The most that is read with one call, unless fewer bytes are wanted.
const BLOCK_LEN: usize = 1 << 20;

/// How many offsets of entries are fetched at a time.
const OFFSETS_AT_ONCE: u64 = 4096;

/// Entries with consecutive indexes and their bodies; see [`LogReader::records`].
#[derive(Debug)]
pub struct Records {
    reader: LogReader,
    left: Range<u64>,
    body_len_max: usize,
    block_len: usize,
    /// The segment of the next entry, and the offsets of those from there on that are known.
    segment: Option<Arc<Segment>>,
    /// Whether all bytes of the segment are here.
    in_blocks: bool,
    offsets: VecDeque<u32>,
    /// Where the last entry ends whose offset is known.
    offsets_end: u64,
    /// Bytes of the segment from an offset on.
    block: Vec<u8>,
    block_at: u64,
}

impl LogReader {
    /// The entries with these indexes, as far as they are published now, each with its body unless
    /// that is longer than `body_len_max` bytes, or the entry is a hole. Whole blocks of 1 MiB are
    /// read at a time, and kept.
    ///
    /// An entry that can't be read is an error in its place, and the next one follows. Bodies that
    /// are only in an archive are read one by one.
    pub fn records(&self, indexes: Range<LogIndex>, body_len_max: usize) -> Records {
        let end = indexes.end.min(self.next_index());
        Records {
            reader: self.clone(),
            left: indexes.start.min(end).get()..end.get(),
            body_len_max,
            block_len: BLOCK_LEN,
            segment: None,
            in_blocks: false,
            offsets: VecDeque::new(),
            offsets_end: 0,
            block: Vec::new(),
            block_at: 0,
        }
    }
}

/// An entry with its body, if that is wanted and there.
type Found = (Placed, Option<Vec<u8>>);

impl Records {
    /// The same, for a caller that is done once it has about so many bytes: no more than that are
    /// read at a time.
    #[must_use]
    pub fn ahead(self, bytes: usize) -> Self {
        Self { block_len: bytes.clamp(HEAD_LEN, BLOCK_LEN), ..self }
    }

    /// The entry at an index, which is the next one.
    fn read(&mut self, index: u64) -> Result<Found, ReadError> {
        if self.offsets.is_empty() {
            self.fetch_offsets(index)?;
        }
        let (Some(segment), Some(offset)) = (self.segment.clone(), self.offsets.pop_front()) else {
            return self.read_alone(index);
        };
        let found = if self.in_blocks {
            self.read_in_block(&segment, u64::from(offset), index)
        } else {
            None
        };
        // Alone it tells what is wrong.
        found.map_or_else(|| self.read_alone(index), Ok)
    }

    /// Fetches the offsets of the entries from `index` on that lie in one segment.
    fn fetch_offsets(&mut self, index: u64) -> Result<(), ReadError> {
        let shared = self.reader.shared();
        // In this order: all that is published lies in segments of the list.
        let end = shared.end();
        let segments = shared.segments();
        let segment = segment_of(&segments, index)?;
        // One more, to know where the last one ends.
        let wanted = (self.left.end - index).min(OFFSETS_AT_ONCE) + 1;
        let mut offsets = vec![0; in_memory(wanted)];
        let from = index - segment.header.first_index;
        let found = segment.offsets_into(&*shared.disk, from, &mut offsets)?;
        offsets.truncate(found);
        self.offsets_end = match segment.offsets {
            _ if found as u64 == wanted => offsets.pop().map_or(0, u64::from),
            Offsets::File { at, .. } => at,
            Offsets::Memory(_) => end - segment.header.first_position,
        };
        self.in_blocks = segment.file.is_remote().is_ok_and(|remote| !remote);
        self.offsets = offsets.into();
        self.segment = Some(Arc::clone(segment));
        self.block.clear();
        Ok(())
    }

    /// Reads the record at an offset out of the block, or another block that begins with it. `None`
    /// if it is not what was written, or does not fit a block.
    fn read_in_block(&mut self, segment: &Segment, offset: u64, index: u64) -> Option<Found> {
        if let Some(found) = self.parse(segment, offset, index) {
            return Some(found);
        }
        if self.block_at == offset && !self.block.is_empty() {
            return None;
        }
        // A damaged offset may be any number.
        let len = self.offsets_end.checked_sub(offset)?.min(self.block_len as u64);
        self.block.resize(in_memory(len), 0);
        self.block_at = offset;
        let read = segment.file.read_at(&mut self.block, offset);
        self.block.truncate(read.unwrap_or(0));
        self.parse(segment, offset, index)
    }

    fn parse(&self, segment: &Segment, offset: u64, index: u64) -> Option<Found> {
        let from = usize::try_from(offset.checked_sub(self.block_at)?).ok()?;
        let bytes = self.block.get(from..)?;
        let position = segment.header.first_position + offset;
        let head = Head::parse(bytes, segment.salt(), position)?;
        if head.index != index || !head.kind.takes_index() {
            return None;
        }
        let placed = Placed::new(&head, position);
        let len = head.len as usize;
        if !head.kind.has_body() || len > self.body_len_max {
            return Some((placed, None));
        }
        let body = bytes.get(HEAD_LEN..HEAD_LEN + len)?;
        head.covers(body, segment.salt(), position).then(|| (placed, Some(body.to_vec())))
    }

    fn read_alone(&self, index: u64) -> Result<Found, ReadError> {
        let index = LogIndex(index);
        let entry = self.reader.entry_at(index)?;
        if !entry.kind.has_body() || entry.len as usize > self.body_len_max {
            return Ok((entry, None));
        }
        let record = self.reader.read_index(index)?;
        Ok((record.entry, Some(record.body)))
    }
}

impl Iterator for Records {
    type Item = Result<Found, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.left.next()?;
        Some(self.read(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl std::iter::FusedIterator for Records {}

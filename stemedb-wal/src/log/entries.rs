//! Entries in the order of the log, in either direction.

use std::{collections::VecDeque, ops::Range};

use stemedb_merkle::LogIndex;

use super::{LogReader, Placed, reader::segment_of};
use crate::{
    error::{DamageKind, ReadError},
    internal::{filled, in_memory, internal_error},
    record::{HEAD_LEN, Head},
};

/// How many entries are fetched at a time, at first and at most: who asks for more and more of them
/// is going to read many.
const FETCH_ENTRIES: u64 = 512;
const FETCH_ENTRIES_MAX: u64 = 8192;

/// Up to this length, what lies between two heads is read rather than skipped.
const SPAN_LEN_MAX: usize = 1 << 20;

/// Entries with consecutive indexes, without their bodies; see [`LogReader::entries`].
///
/// Ends after the first error. Holes are entries.
#[derive(Debug)]
pub struct Entries {
    reader: LogReader,
    /// Not yet fetched.
    left: Range<u64>,
    front: VecDeque<Placed>,
    back: VecDeque<Placed>,
    failed: bool,
    /// How many entries the next fetch takes in.
    ahead: u64,
    buffer: Vec<u8>,
}

impl LogReader {
    /// The entries with these indexes, as far as they are published now, in either direction.
    pub fn entries(&self, indexes: Range<LogIndex>) -> Entries {
        let end = indexes.end.min(self.next_index());
        Entries {
            reader: self.clone(),
            left: indexes.start.min(end).get()..end.get(),
            front: VecDeque::new(),
            back: VecDeque::new(),
            failed: false,
            ahead: FETCH_ENTRIES,
            buffer: Vec::new(),
        }
    }
}

impl Entries {
    /// The entries `indexes`, of which there are some: as many from the front as lie in one segment
    /// and one fetch, and before the first that can't be read unless that is the first of all.
    fn fetch(&mut self, indexes: Range<u64>) -> Result<VecDeque<Placed>, ReadError> {
        let reader = self.reader.clone();
        let shared = reader.shared();
        let segments = shared.segments();
        let segment = segment_of(&segments, indexes.start)?;
        let count = (indexes.end - indexes.start).min(self.ahead);
        let mut offsets = vec![0_u32; in_memory(count)];
        let from = indexes.start - segment.header.first_index;
        let found = segment.offsets_into(&*shared.disk, from, &mut offsets)?;
        offsets.truncate(found);
        if offsets.is_empty() {
            return Err(ReadError::NotFound { at: indexes.start });
        }

        let mut entries = VecDeque::with_capacity(offsets.len());
        let mut rest = offsets.as_slice();
        while let Some(&first) = rest.first() {
            // As many heads as one read of the allowed length takes in.
            let within = |offset: &u32| {
                offset.checked_sub(first).is_some_and(|span| span as usize <= SPAN_LEN_MAX)
            };
            let together = rest.iter().take_while(|offset| within(offset)).count();
            let (now, later) = rest.split_at(together);
            let [.., last] = now else { internal_error("the first offset is with itself") };
            self.buffer.resize((last - first) as usize + HEAD_LEN, 0);
            let read = match reader.pread_local(segment, &mut self.buffer, u64::from(first)) {
                // They are told of once those before them are given out.
                Err(_) if !entries.is_empty() => return Ok(entries),
                read => read?,
            };
            let bytes = filled(&self.buffer, read);
            for &offset in now {
                let index = indexes.start + entries.len() as u64;
                let position = segment.header.first_position + u64::from(offset);
                let head = bytes
                    .get((offset - first) as usize..)
                    .and_then(|record| Head::parse(record, segment.salt(), position))
                    .filter(|head| head.index == index && head.kind.takes_index());
                let Some(head) = head else {
                    if !entries.is_empty() {
                        return Ok(entries);
                    }
                    let offset = u64::from(offset);
                    return Err(reader.damaged(segment, offset, LogIndex(index), DamageKind::Head));
                };
                entries.push_back(Placed::new(&head, position));
            }
            rest = later;
        }
        Ok(entries)
    }

    fn fail(&mut self, error: ReadError) -> Result<Placed, ReadError> {
        self.failed = true;
        Err(error)
    }
}

impl Iterator for Entries {
    type Item = Result<Placed, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.front.is_empty() && !self.left.is_empty() {
            match self.fetch(self.left.clone()) {
                Ok(entries) => {
                    self.left.start += entries.len() as u64;
                    self.front = entries;
                    self.ahead = (2 * self.ahead).min(FETCH_ENTRIES_MAX);
                }
                Err(error) => return Some(self.fail(error)),
            }
        }
        self.front.pop_front().or_else(|| self.back.pop_front()).map(Ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left.end - self.left.start);
        let fetched = self.front.len() + self.back.len();
        (0, left.ok().and_then(|left| left.checked_add(fetched)))
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.back.is_empty() && !self.left.is_empty() {
            let Range { start: front, end } = self.left;
            let from = end - (end - front).min(self.ahead);
            let mut start = from;
            // A fetch ends where its segment ends: go on until it reaches the back.
            while start < end {
                match self.fetch(start..end) {
                    Ok(entries) => {
                        start += entries.len() as u64;
                        self.back.extend(entries);
                    }
                    Err(error) => return Some(self.fail(error)),
                }
            }
            self.left.end = from;
            self.ahead = (2 * self.ahead).min(FETCH_ENTRIES_MAX);
        }
        self.back.pop_back().or_else(|| self.front.pop_back()).map(Ok)
    }
}

impl std::iter::FusedIterator for Entries {}

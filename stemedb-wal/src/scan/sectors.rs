//! Reads files of which the disk cannot read every sector.
//!
//! A read that touches a bad sector fails as a whole, whatever else it covers. So a read that fails
//! is split until only single sectors fail. Their bytes are unknown: they are filled with a value
//! that no check takes for bytes that were never written, and the caller gets the ranges.

use std::{io, ops::Range};

pub(crate) use crate::disk::is_unreadable;

use super::{Scanner, offsets_of};
use crate::{
    disk::SECTOR_LEN,
    internal::{filled, in_memory, part_mut},
    log::handles::SegmentBytes,
    segment::{HEADER_LEN, SegmentHeader},
};

/// What stands for a byte that cannot be read: not zero, which would pass for a write that was cut
/// short.
pub(crate) const UNREADABLE: u8 = 0xdb;

/// The steps in which a read that fails is split, in bytes.
const STEPS: [u64; 3] = [1 << 20, 64 << 10, 4 << 10];

/// The bytes of a file, and where they are unknown.
#[derive(Debug, Default)]
pub(crate) struct Sectors {
    pub(crate) bytes: Vec<u8>,
    /// In order, and not adjacent.
    pub(crate) unreadable: Vec<Range<u64>>,
}

impl Sectors {
    /// Reads a file from its front, as many bytes as there is room, as far as it reaches.
    ///
    /// # Errors
    ///
    /// If the disk fails in another way than for want of a sector.
    pub(crate) fn read(file: &SegmentBytes, room: Vec<u8>) -> io::Result<Self> {
        let len = room.len();
        let mut sectors = Self { bytes: room, unreadable: Vec::new() };
        let mut end = 0;
        sectors.fill(file, 0..len as u64, &STEPS, &mut end)?;
        sectors.bytes.truncate(in_memory(end));
        Ok(sectors)
    }

    /// The entry that an offset is in, or the next one.
    pub(crate) fn index_at(&self, header: &SegmentHeader, offset: u64) -> u64 {
        let before = filled(&self.bytes, in_memory(offset));
        let Some(batches) = before.get(HEADER_LEN..) else { return header.first_index };
        let mut placed = Vec::new();
        Scanner::new(header).scan(batches, HEADER_LEN as u64, &mut placed);
        header.first_index + offsets_of(header, &placed).count() as u64
    }

    /// Reads a range, split where it fails. `end` follows the end of what the file has.
    fn fill(
        &mut self,
        file: &SegmentBytes,
        range: Range<u64>,
        steps: &[u64],
        end: &mut u64,
    ) -> io::Result<()> {
        let Range { start, end: stop } = range;
        let place = part_mut(&mut self.bytes, in_memory(start)..in_memory(stop));
        match file.read_salvaged_at(place, start) {
            Ok(read) => {
                if read > 0 {
                    *end = (*end).max(start + read as u64);
                }
                return Ok(());
            }
            Err(error) if !is_unreadable(&error) => return Err(error),
            Err(_) => {}
        }
        let (unit, finer) = match steps.split_first() {
            Some((unit, finer)) => (*unit, finer),
            None => (SECTOR_LEN as u64, steps),
        };
        if steps.is_empty() && stop - start <= unit {
            place.fill(UNREADABLE);
            *end = (*end).max(stop);
            match self.unreadable.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end = stop,
                None => self.unreadable.push(start..stop),
            }
            return Ok(());
        }
        let mut from = start;
        while from < stop {
            let to = ((from / unit + 1) * unit).min(stop);
            self.fill(file, from..to, finer, end)?;
            from = to;
        }
        Ok(())
    }
}

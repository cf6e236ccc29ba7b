//! A scan of a segment in chunks, as they come from the disk.

use super::{Gap, Reached, Scanner, Stop};
use crate::{
    internal::{part_mut, rest_of},
    record::Placed,
};

/// The most that is read with one call: it stays in the processor's cache until it is checked.
pub(crate) const CHUNK_LEN: usize = 1 << 20;

/// The room in front of a chunk for what the chunk before it ended in.
pub(crate) const HEADROOM_LEN: usize = 64 << 10;

/// A scanner, and the beginning of a record that the last chunk ended in.
#[derive(Debug)]
pub(crate) struct Pass {
    scanner: Scanner,
    carry: Vec<u8>,
    /// The offset in the file of the carry.
    at: u64,
}

/// What was read with one chunk: records, and the bytes that hold them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fed<'a> {
    pub(crate) placed: &'a [Placed],
    pub(crate) bytes: &'a [u8],
    /// The offset in the file of the bytes.
    pub(crate) offset: u64,
}

impl Pass {
    /// Begins where the scanner is.
    pub(crate) fn new(scanner: Scanner) -> Self {
        Self { at: scanner.reached().offset, scanner, carry: Vec::new() }
    }

    /// The offset in the file of the bytes that come next.
    pub(crate) fn next(&self) -> u64 {
        self.at + self.carry.len() as u64
    }

    /// The offset behind the last record that was read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// How far whole batches were read.
    pub(crate) fn reached(&self) -> Reached {
        self.scanner.reached()
    }

    /// Takes in the bytes that follow, which lie in `chunk` behind [`HEADROOM_LEN`] others. `each`
    /// gets what was read, and may refuse it.
    ///
    /// # Errors
    ///
    /// At the first gap, with nothing of the chunk handed on.
    pub(crate) fn feed(
        &mut self,
        chunk: &mut [u8],
        each: &mut dyn FnMut(Fed<'_>) -> Result<(), Gap>,
    ) -> Result<(), Gap> {
        let in_place = HEADROOM_LEN.checked_sub(self.carry.len());
        let bytes = if let Some(start) = in_place {
            part_mut(chunk, start..HEADROOM_LEN).copy_from_slice(&self.carry);
            rest_of(chunk, start)
        } else {
            self.carry.extend_from_slice(rest_of(chunk, HEADROOM_LEN));
            self.carry.as_slice()
        };
        let mut placed = Vec::new();
        let (read, stop) = self.scanner.scan(bytes, self.at, &mut placed);
        // The caller keeps what it needs of the records.
        self.scanner.take_whole();
        if let Stop::Gap(gap) = stop {
            return Err(gap);
        }
        if !placed.is_empty() {
            each(Fed { placed: &placed, bytes, offset: self.at })?;
        }
        self.at += read as u64;
        if let Some(start) = in_place {
            self.carry.clear();
            self.carry.extend_from_slice(rest_of(chunk, start + read));
        } else {
            self.carry.drain(..read);
        }
        Ok(())
    }
}

//! Putting a string of bodies together from parts that may come in any order.

use std::collections::BTreeMap;

use crate::{
    codec::{
        CodecError,
        bodies::{ItemReader, Items},
    },
    violation::ProtocolViolation,
};

/// Parts that came early are kept up to so many and so many bytes; the rest come again.
const AHEAD_MAX: usize = 1_024;
const AHEAD_BYTES_MAX: usize = 4 << 20;

/// Bytes that a part takes beside its own, about.
const PART_LEN: usize = 128;

/// The parts of one answer or push.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    next: u32,
    ahead: BTreeMap<u32, Part>,
    ahead_bytes: usize,
    reader: ItemReader,
    ended: bool,
}

#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    last: bool,
}

impl Parts {
    /// Takes in a part; gives the items that are whole now. A part that came before is ignored.
    pub(crate) fn take(
        &mut self,
        place: u32,
        bytes: Vec<u8>,
        last: bool,
        body_len_max: usize,
    ) -> Result<Items, ProtocolViolation> {
        let room = place == self.next
            || self.ahead.len() < AHEAD_MAX && self.ahead_bytes + bytes.len() <= AHEAD_BYTES_MAX;
        if place >= self.next && !self.ended && room && !self.ahead.contains_key(&place) {
            self.ahead_bytes += bytes.len();
            self.ahead.insert(place, Part { bytes, last });
        }
        let mut items = Items::default();
        while let Some(part) = self.ahead.remove(&self.next) {
            self.next = self.next.saturating_add(1);
            self.ahead_bytes -= part.bytes.len();
            if part.bytes.is_empty() && !part.last {
                return Err(ProtocolViolation::Empty);
            }
            self.reader.read(&part.bytes, body_len_max, &mut items)?;
            if part.last {
                self.ended = true;
                if self.reader.is_inside() || !self.ahead.is_empty() {
                    return Err(CodecError::Length.into());
                }
            }
        }
        Ok(items)
    }

    /// Bytes of memory that are held back for later parts.
    pub(crate) fn held(&self) -> usize {
        self.ahead_bytes + self.ahead.len() * PART_LEN + self.reader.held()
    }

    /// Whether all parts have come.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }
}

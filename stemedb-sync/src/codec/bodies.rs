//! Bodies on the way, one item after the other. The string of them is cut into parts anywhere.
//!
//! ```text
//!   body      varint length + 1, the bytes
//!   absent    00, varint length of the rest, id 32, reason u8, more that is skipped
//! ```

use stemedb_merkle::Hash;

use super::{CodecError, varint};
use crate::body_list::BodyList;

/// Bytes of an absent body's id and reason.
const ABSENT_LEN: usize = 33;

/// Bytes that an absent body may take, with what later versions may say of it.
const ABSENT_LEN_MAX: usize = 1_024;

/// One item of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A body.
    Body(Vec<u8>),
    /// An id whose body is not given.
    Absent {
        /// The whole id.
        id: Hash,
        /// The reason.
        reason: AbsentReason,
    },
}

/// Items in order: bodies, and ids without bodies between them.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) bodies: BodyList,
    /// Each with the number of bodies before it.
    pub(crate) absent: Vec<(usize, Hash, AbsentReason)>,
}

impl Items {
    pub(crate) fn len(&self) -> usize {
        self.bodies.len() + self.absent.len()
    }
}

/// Reason for which a body is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsentReason {
    /// 1: it was lost to damage there, or cannot be read.
    Missing,
    /// Something that this version does not know; it is taken for [`Missing`](Self::Missing).
    Unknown(u8),
}

impl AbsentReason {
    /// Its number in the protocol.
    pub const fn number(self) -> u8 {
        match self {
            Self::Missing => 1,
            Self::Unknown(number) => number,
        }
    }

    /// The reason of a number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Missing,
            number => Self::Unknown(number),
        }
    }
}

/// Appends a body.
pub fn write(body: &[u8], bytes: &mut Vec<u8>) {
    varint::write(body.len() as u64 + 1, bytes);
    bytes.extend_from_slice(body);
}

/// Appends an id whose body is not given.
pub fn write_absent(id: &Hash, reason: AbsentReason, bytes: &mut Vec<u8>) {
    bytes.push(0);
    varint::write(ABSENT_LEN as u64, bytes);
    bytes.extend_from_slice(id);
    bytes.push(reason.number());
}

/// Cuts a string of bodies into parts.
#[derive(Debug)]
pub struct PartWriter {
    part_len: usize,
    parts: Vec<Vec<u8>>,
    open: Vec<u8>,
}

impl PartWriter {
    /// Parts of so many bytes, at least one; the last has what is left.
    pub fn new(part_len: usize) -> Self {
        Self { part_len: part_len.max(1), parts: Vec::new(), open: Vec::new() }
    }

    /// Appends a body.
    pub fn push(&mut self, body: &[u8]) {
        let mut len = Vec::with_capacity(varint::LEN_MAX);
        varint::write(body.len() as u64 + 1, &mut len);
        self.extend(&len);
        self.extend(body);
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.open.len() == self.part_len {
                self.parts.push(core::mem::take(&mut self.open));
            }
            if self.open.is_empty() {
                self.open.reserve_exact(self.part_len);
            }
            let room = self.part_len - self.open.len();
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.open.extend_from_slice(now);
            bytes = later;
        }
    }

    /// All parts; none if there was no body.
    pub fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.is_empty() {
            self.parts.push(self.open);
        }
        self.parts
    }
}

/// Puts items together from the parts that they come in.
#[derive(Debug, Default)]
pub struct ItemReader {
    /// The beginning of a length.
    head: Vec<u8>,
    /// Whether that is the length of an absent body.
    absent: bool,
    /// The beginning of an item and how long it will be.
    open: Option<(usize, Vec<u8>)>,
}

impl ItemReader {
    /// Takes in the next part and gives out the items that end in it.
    ///
    /// Holds back at most one item, and never more bytes than came.
    ///
    /// # Errors
    ///
    /// If a body would be longer than `len_max`, or an absent one is none. The reader is of no use
    /// then.
    pub fn push(&mut self, bytes: &[u8], len_max: usize) -> Result<Vec<Item>, CodecError> {
        let mut items = Items::default();
        self.read(bytes, len_max, &mut items)?;
        let body = |body: &[u8]| Item::Body(body.to_vec());
        let mut all: Vec<Item> = items.bodies.iter().map(body).collect();
        for (place, id, reason) in items.absent.into_iter().rev() {
            all.insert(place, Item::Absent { id, reason });
        }
        Ok(all)
    }

    /// As [`push`](Self::push), with the items added to others.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        len_max: usize,
        items: &mut Items,
    ) -> Result<(), CodecError> {
        loop {
            if self.head.is_empty() && !self.absent && self.open.is_none() {
                items.bodies.reserve(bytes.len());
                // Most bodies are short, and whole in the part.
                while let Some((body, behind)) = whole(bytes, len_max)? {
                    items.bodies.push(body);
                    bytes = behind;
                }
            }
            let (len, mut item) = match self.open.take() {
                Some(open) => open,
                None => match self.length(&mut bytes, len_max)? {
                    Some(len) => (len, Vec::with_capacity(len.min(bytes.len()))),
                    None => return Ok(()),
                },
            };
            let (here, behind) = bytes.split_at_checked(len - item.len()).unwrap_or((bytes, &[]));
            item.extend_from_slice(here);
            bytes = behind;
            if item.len() < len {
                self.open = Some((len, item));
                return Ok(());
            }
            if core::mem::take(&mut self.absent) {
                let (id, reason) = absent_item(&item)?;
                items.absent.push((items.bodies.len(), id, reason));
            } else {
                items.bodies.push_owned(item);
            }
        }
    }

    /// Bytes of memory that the item takes which has begun.
    pub fn held(&self) -> usize {
        self.open.as_ref().map_or(0, |(_, item)| item.capacity())
    }

    /// Whether an item or its length has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !self.head.is_empty() || self.absent || self.open.is_some()
    }

    /// How many bytes are to come of the next item.
    fn length(&mut self, bytes: &mut &[u8], max: usize) -> Result<Option<usize>, CodecError> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.head.push(*byte);
            let Some(len) = varint::read(&mut self.head.as_slice())? else { continue };
            self.head.clear();
            if self.absent {
                let len = usize::try_from(len).ok();
                let len = len.filter(|len| (ABSENT_LEN..=ABSENT_LEN_MAX).contains(len));
                return len.ok_or(CodecError::Length).map(Some);
            }
            match len.checked_sub(1) {
                Some(len) => return checked(len, max).map(Some),
                None => self.absent = true,
            }
        }
        Ok(None)
    }
}

/// The body at the beginning, and what is behind it; `None` if it is not all there, or none.
fn whole(mut bytes: &[u8], max: usize) -> Result<Option<(&[u8], &[u8])>, CodecError> {
    let len = varint::read(&mut bytes)?.and_then(|len| len.checked_sub(1));
    let Some(len) = len else { return Ok(None) };
    Ok(bytes.split_at_checked(checked(len, max)?))
}

fn absent_item(bytes: &[u8]) -> Result<(Hash, AbsentReason), CodecError> {
    let (id, rest) = bytes.split_first_chunk::<32>().ok_or(CodecError::Length)?;
    let reason = AbsentReason::from_number(*rest.first().ok_or(CodecError::Length)?);
    Ok((*id, reason))
}

fn checked(len: u64, max: usize) -> Result<usize, CodecError> {
    let len = usize::try_from(len).ok().filter(|len| *len <= max);
    len.ok_or(CodecError::BodyTooLong { max })
}

//! Bodies on the way: each its length as a [`varint`] and its bytes, one after the other. The
//! string of them is cut into parts anywhere.

use super::{CodecError, varint};

/// Appends a body.
pub fn write(body: &[u8], bytes: &mut Vec<u8>) {
    varint::write(body.len() as u64, bytes);
    bytes.extend_from_slice(body);
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
        varint::write(body.len() as u64, &mut len);
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

/// Puts bodies together from the parts that they come in.
#[derive(Debug, Default)]
pub struct BodyReader {
    /// The beginning of a length.
    head: Vec<u8>,
    /// The beginning of a body and how long it will be.
    open: Option<(usize, Vec<u8>)>,
}

impl BodyReader {
    /// Takes in the next part and gives out the bodies that end in it.
    ///
    /// Holds back at most one body, and never more bytes than came.
    ///
    /// # Errors
    ///
    /// If a body would be longer than `len_max`. The reader is of no use then.
    pub fn push(&mut self, mut bytes: &[u8], len_max: usize) -> Result<Vec<Vec<u8>>, CodecError> {
        let mut bodies = Vec::new();
        loop {
            if self.head.is_empty() && self.open.is_none() {
                // Most bodies are short, and whole in the part.
                while let Some((body, behind)) = whole(bytes, len_max)? {
                    bodies.push(body.to_vec());
                    bytes = behind;
                }
            }
            let (len, mut body) = match self.open.take() {
                Some(open) => open,
                None => match self.length(&mut bytes, len_max)? {
                    Some(len) => (len, Vec::with_capacity(len.min(bytes.len()))),
                    None => return Ok(bodies),
                },
            };
            let (here, behind) = bytes.split_at_checked(len - body.len()).unwrap_or((bytes, &[]));
            body.extend_from_slice(here);
            bytes = behind;
            if body.len() == len {
                bodies.push(body);
            } else {
                self.open = Some((len, body));
                return Ok(bodies);
            }
        }
    }

    /// Bytes of memory that the body takes which has begun.
    pub fn held(&self) -> usize {
        self.open.as_ref().map_or(0, |(_, body)| body.capacity())
    }

    /// Whether a body or its length has begun and not ended.
    pub fn is_inside(&self) -> bool {
        !self.head.is_empty() || self.open.is_some()
    }

    fn length(&mut self, bytes: &mut &[u8], max: usize) -> Result<Option<usize>, CodecError> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.head.push(*byte);
            if let Some(len) = varint::read(&mut self.head.as_slice())? {
                self.head.clear();
                return checked(len, max).map(Some);
            }
        }
        Ok(None)
    }
}

/// The body at the front, and what is behind it; `None` if it is not all there.
fn whole(mut bytes: &[u8], max: usize) -> Result<Option<(&[u8], &[u8])>, CodecError> {
    let Some(len) = varint::read(&mut bytes)? else { return Ok(None) };
    Ok(bytes.split_at_checked(checked(len, max)?))
}

fn checked(len: u64, max: usize) -> Result<usize, CodecError> {
    let len = usize::try_from(len).ok().filter(|len| *len <= max);
    len.ok_or(CodecError::BodyTooLong { max })
}

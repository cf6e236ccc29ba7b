//! Compressed segments: sealed ones whose bodies are compressed, block by block.
//!
//! ```text
//!       +--------+---------+---------+- - -+---------+---------+-------+--------+
//!       | header | block   | block   |     | offsets | trailer | heads | header |
//!       +--------+---------+---------+- - -+---------+---------+-------+--------+
//! ```
//!
//! Positions, offsets and indexes are those of the segment before it was compressed, its *plain*
//! bytes. All of them but the bodies lie in the file as they are, so that damage to compressed
//! bytes costs bodies and no entries. What says where things are is there twice: the header, and
//! the head of each block.
//!
//! Header, [`HEADER_LEN`] bytes: that of the segment, with version 2 and, in place of the zeros:
//!
//! ```text
//!  byte 72          76          80          84          88          92          96
//!       +-----------+-----------+-----------+-----------+-----------+-----------+
//!       | plain len | batches   | length of | blocks    | sum of    | zeros     |
//!       | u32       | end u32   | file u32  | u32       | the heads |           |
//!       +-----------+-----------+-----------+-----------+-----------+-----------+
//! ```
//!
//! The sum of the heads is a plain CRC-32. Block, which holds at most [`BLOCK_LEN`] plain bytes:
//! head, frames, payload. Head, [`BLOCK_HEAD_LEN`] bytes:
//!
//! ```text
//!  byte 0           4           8           12          16
//!       +-----------+-----------+-----------+-----------+
//!       | sum u32   | payload   | offset    | len u32   |
//!       |           | sum u32   | u32       |           |
//!       +-----------+-----------+-----------+-----------+
//!       | frames    | payload   | bodies    | method    |
//!       | len u32   | len u32   | u32       | u32       |
//!       +-----------+-----------+-----------+-----------+
//!  byte 16          20          24          28          32
//! ```
//!
//! The sum covers all that follows it in the head; both are bound to the segment and to the
//! position of the block's first plain byte ([`Salt::checksum`]). *Offset* and *len* are those of
//! the plain bytes: the first block begins behind the header, each other one where the one before
//! ends, and the last one ends with the batches. *Frames* are the plain bytes that are no body.
//! The payload, as it is (method 0) or as a zstd frame (method 1), is a row of two u32 for each
//! body or part of one, then these bodies, one behind the other. A row is the length of the frames
//! before the body, and that of the body.

use super::{
    batch::{self, BatchHeader},
    checksum::Salt,
    record::{HEAD_LEN, Head},
    segment::{FORMAT_VERSION, HEADER_LEN, SEGMENT_LEN_MAX, SegmentHeader, TRAILER_LEN},
};

/// The version of the header of a compressed segment.
pub const COMPRESSED_VERSION: u32 = FORMAT_VERSION + 1;

/// The most plain bytes that a block holds.
pub const BLOCK_LEN: usize = 64 << 10;

/// The length of a block's head in bytes.
pub const BLOCK_HEAD_LEN: usize = 32;

/// The length of a row of a payload in bytes.
pub(crate) const ROW_LEN: usize = 8;

/// What stands for the byte of a body that is lost: no check takes it for one that was never
/// written.
pub(crate) const LOST: u8 = 0xdb;

/// What stands at the front of a compressed segment, and at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedHeader {
    /// The header of the segment as it was.
    pub segment: SegmentHeader,
    /// How many plain bytes there are.
    pub plain_len: u32,
    /// The offset in these at which the batches end and the footer begins.
    pub batches_end: u32,
    /// How many bytes the file has.
    pub file_len: u32,
    /// How many blocks there are.
    pub blocks: u32,
    /// The checksum of the heads at the end of the file.
    pub heads_sum: u32,
}

impl CompressedHeader {
    /// Reads the header at the front of `bytes`. `None` if it is cut short, is not what was
    /// written, or is that of another kind of segment.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (segment, rest) = SegmentHeader::parse_version(bytes, COMPRESSED_VERSION)?.ok()?;
        let (fields, zeros) = rest.as_chunks::<4>().0.split_at_checked(5)?;
        let [plain_len, batches_end, file_len, blocks, heads_sum] = fields else { return None };
        let header = Self {
            segment,
            plain_len: u32::from_le_bytes(*plain_len),
            batches_end: u32::from_le_bytes(*batches_end),
            file_len: u32::from_le_bytes(*file_len),
            blocks: u32::from_le_bytes(*blocks),
            heads_sum: u32::from_le_bytes(*heads_sum),
        };
        (zeros == [[0; 4]] && header.is_possible()).then_some(header)
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut rest = [0; 24];
        let fields = [self.plain_len, self.batches_end, self.file_len, self.blocks, self.heads_sum];
        for (place, field) in rest.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        self.segment.encode_version(COMPRESSED_VERSION, &rest)
    }

    /// Where in the file the footer of the segment begins.
    pub(crate) fn footer_at(&self) -> u64 {
        self.heads_at() - u64::from(self.plain_len - self.batches_end)
    }

    /// Where in the file the heads of all blocks are once more.
    pub(crate) fn heads_at(&self) -> u64 {
        u64::from(self.file_len) - (HEADER_LEN as u64 + self.heads_len())
    }

    pub(crate) fn heads_len(&self) -> u64 {
        u64::from(self.blocks) * BLOCK_HEAD_LEN as u64
    }

    /// Whether the numbers can be those of one file.
    fn is_possible(&self) -> bool {
        let (plain_len, batches_end) = (u64::from(self.plain_len), u64::from(self.batches_end));
        // Where a block ends early, it does so before a record that does not fit with it into one.
        let blocks_max = 4 * (plain_len / BLOCK_LEN as u64 + 1);
        let footer_len = plain_len.saturating_sub(batches_end);
        let around = 2 * HEADER_LEN as u64 + footer_len + 2 * self.heads_len();
        plain_len <= SEGMENT_LEN_MAX
            && batches_end >= HEADER_LEN as u64
            && footer_len >= TRAILER_LEN as u64
            && self.segment.first_position.checked_add(plain_len).is_some()
            && u64::from(self.blocks) <= blocks_max
            && around <= u64::from(self.file_len)
    }
}

/// How the payload of a block lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// As a zstd frame.
    Zstd,
}

/// What stands before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// The checksum of the payload as it lies in the file.
    pub payload_sum: u32,
    /// The offset of the first plain byte in the segment.
    pub offset: u32,
    /// How many plain bytes there are.
    pub len: u32,
    /// How many of them are no bodies.
    pub frames_len: u32,
    /// How long the payload is in the file.
    pub payload_len: u32,
    /// Of how many bodies there is a part.
    pub bodies: u32,
    /// How the payload lies in the file.
    pub method: Method,
}

impl BlockHead {
    /// Reads the head at the front of `bytes`, of a block of the segment with this header. `None`
    /// if it is cut short, is not what was written, or was written for another segment.
    pub fn parse(bytes: &[u8], header: &SegmentHeader) -> Option<Self> {
        let head = bytes.first_chunk::<BLOCK_HEAD_LEN>()?;
        let (sum, covered) = head.split_first_chunk::<4>()?;
        let (fields, _) = covered.as_chunks::<4>();
        let [payload_sum, offset, len, frames_len, payload_len, bodies, method] = fields else {
            return None;
        };
        let head = Self {
            payload_sum: u32::from_le_bytes(*payload_sum),
            offset: u32::from_le_bytes(*offset),
            len: u32::from_le_bytes(*len),
            frames_len: u32::from_le_bytes(*frames_len),
            payload_len: u32::from_le_bytes(*payload_len),
            bodies: u32::from_le_bytes(*bodies),
            method: match u32::from_le_bytes(*method) {
                0 => Method::Stored,
                1 => Method::Zstd,
                _ => return None,
            },
        };
        let sum_of = header.salt.checksum(head.position(header)?, covered);
        (u32::from_le_bytes(*sum) == sum_of && head.is_possible()).then_some(head)
    }

    /// The bytes of the head, of a block of the segment with this header.
    pub fn encode(&self, header: &SegmentHeader) -> [u8; BLOCK_HEAD_LEN] {
        let mut head = [0; BLOCK_HEAD_LEN];
        let fields = [
            0,
            self.payload_sum,
            self.offset,
            self.len,
            self.frames_len,
            self.payload_len,
            self.bodies,
            match self.method {
                Method::Stored => 0,
                Method::Zstd => 1,
            },
        ];
        for (place, field) in head.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
            *place = field.to_le_bytes();
        }
        let position = header.first_position.wrapping_add(u64::from(self.offset));
        let sum = header.salt.checksum(position, &head[4..]);
        head[..4].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// Whether the numbers can be those of one block: nothing that is made room for by them is
    /// longer than a block with its rows.
    fn is_possible(&self) -> bool {
        // Before each body but a first one that began in the block before is its head.
        let bodies_max = self.frames_len as usize / HEAD_LEN + 1;
        self.len > 0
            && self.len as usize <= BLOCK_LEN
            && self.frames_len <= self.len
            && self.bodies as usize <= bodies_max
            && match self.method {
                Method::Stored => self.payload_len as usize == self.unpacked_len(),
                Method::Zstd => (self.payload_len as usize) < self.unpacked_len(),
            }
    }

    fn position(&self, header: &SegmentHeader) -> Option<u64> {
        header.first_position.checked_add(u64::from(self.offset))
    }

    /// The offset behind the last plain byte.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }

    /// How long the block is in the file, with this head.
    pub(crate) fn stored_len(&self) -> u64 {
        BLOCK_HEAD_LEN as u64 + u64::from(self.frames_len) + u64::from(self.payload_len)
    }

    /// How long the payload is before it is compressed.
    pub(crate) fn unpacked_len(&self) -> usize {
        self.bodies as usize * ROW_LEN + (self.len - self.frames_len) as usize
    }

    /// Whether these bytes are the payload as it was written.
    pub fn covers(&self, payload: &[u8], header: &SegmentHeader) -> bool {
        let sum_of = |position| header.salt.checksum(position, payload);
        payload.len() == self.payload_len as usize
            && self.position(header).map(sum_of) == Some(self.payload_sum)
    }

    /// The plain bytes, of the frames and a payload that is not compressed any more. `None` if they
    /// do not fit together.
    pub fn join(&self, frames: &[u8], unpacked: &[u8]) -> Option<Vec<u8>> {
        let (rows, bodies) = unpacked.split_at_checked(self.bodies as usize * ROW_LEN)?;
        let (mut frames, mut bodies) = (frames, bodies);
        let mut plain = Vec::with_capacity(self.len as usize);
        for row in rows.as_chunks::<ROW_LEN>().0 {
            let (before, body) = row.split_first_chunk::<4>()?;
            let before = u32::from_le_bytes(*before) as usize;
            let body = u32::from_le_bytes(*body.first_chunk()?) as usize;
            plain.extend_from_slice(frames.split_off(..before)?);
            plain.extend_from_slice(bodies.split_off(..body)?);
        }
        plain.extend_from_slice(frames);
        (bodies.is_empty() && plain.len() == self.len as usize).then_some(plain)
    }

    /// The plain bytes where the payload is lost: the frames, in their places, and [`LOST`] for
    /// bodies. All of them are lost where a frame is damaged as well.
    pub(crate) fn without_bodies(&self, frames: &[u8], header: &SegmentHeader) -> Vec<u8> {
        let lost = vec![LOST; self.len as usize];
        let Some(position) = self.position(header) else { return lost };
        // A block that begins within a body ends with it, or before the next record.
        let first_frame = [0, (self.len - self.frames_len) as usize];
        let placed = first_frame
            .into_iter()
            .find_map(|first| place_frames(lost.clone(), frames, first, header.salt, position));
        placed.unwrap_or(lost)
    }
}

/// Puts frames into their places among bodies, of which the heads tell how long they are. The first
/// frame is at `at`. `None` if one of them is not what was written, or they take another place.
fn place_frames(
    mut plain: Vec<u8>,
    mut frames: &[u8],
    mut at: usize,
    salt: Salt,
    position: u64,
) -> Option<Vec<u8>> {
    while !frames.is_empty() {
        let here = position.checked_add(at as u64)?;
        let (len, body) = if let Some(head) = Head::parse(frames, salt, here) {
            (HEAD_LEN, head.len as usize)
        } else if BatchHeader::parse(frames, salt, here).is_some() {
            (batch::HEADER_LEN, 0)
        } else {
            frames.starts_with(&batch::END).then_some((batch::END.len(), 0))?
        };
        let frame = frames.split_off(..len)?;
        plain.get_mut(at..at + len)?.copy_from_slice(frame);
        at += len + body;
    }
    // The last body may go on in the next block.
    (at >= plain.len()).then_some(plain)
}

/// A plain CRC-32.
pub(crate) fn heads_sum(heads: &[u8]) -> u32 {
    crc32fast::hash(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentHeader = SegmentHeader {
        store_id: [0xaa; 16],
        generation: 2,
        previous_sum: 0x1122_3344,
        first_index: 7,
        first_position: 4096,
        salt: Salt(0x0123_4567_89ab_cdef),
        time_before: 0x0102_0304_0506_0708,
    };

    const HEADER: CompressedHeader = CompressedHeader {
        segment: SEGMENT,
        plain_len: 1000,
        batches_end: 900,
        file_len: 700,
        blocks: 2,
        heads_sum: 0x5566_7788,
    };

    const HEAD: BlockHead = BlockHead {
        payload_sum: 0x99aa_bbcc,
        offset: 96,
        len: 300,
        frames_len: 192,
        payload_len: 50,
        bodies: 2,
        method: Method::Zstd,
    };

    /// The format on disk, byte for byte. If this fails the format has changed: raise
    /// [`COMPRESSED_VERSION`], keep a reader for the old one, and only then write down the new
    /// bytes.
    #[test]
    fn golden_bytes() {
        let bytes = HEADER.encode();
        let plain = SEGMENT.encode();
        assert_eq!(bytes[..8], plain[..8]);
        assert_eq!(bytes[16..72], plain[16..72]);
        assert_eq!(bytes[8..16], [2, 0, 0, 0, 0xa6, 0xb9, 0xce, 0x69], "{bytes:02x?}");
        let expected = [
            0xe8, 0x03, 0x00, 0x00, // plain bytes
            0x84, 0x03, 0x00, 0x00, // the batches end
            0xbc, 0x02, 0x00, 0x00, // length of the file
            0x02, 0x00, 0x00, 0x00, // blocks
            0x88, 0x77, 0x66, 0x55, // sum of their heads
            0x00, 0x00, 0x00, 0x00,
        ];
        assert_eq!(bytes[72..], expected, "{bytes:02x?}");
        let expected = [
            0xe0, 0x64, 0xce, 0x65, // sum
            0xcc, 0xbb, 0xaa, 0x99, // sum of the payload
            0x60, 0x00, 0x00, 0x00, // offset
            0x2c, 0x01, 0x00, 0x00, // plain bytes
            0xc0, 0x00, 0x00, 0x00, // frames
            0x32, 0x00, 0x00, 0x00, // payload
            0x02, 0x00, 0x00, 0x00, // bodies
            0x01, 0x00, 0x00, 0x00, // method
        ];
        assert_eq!(HEAD.encode(&SEGMENT), expected, "{:02x?}", HEAD.encode(&SEGMENT));
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (header, head) = (HEADER.encode(), HEAD.encode(&SEGMENT));
        assert_eq!(CompressedHeader::parse(&header), Some(HEADER));
        assert_eq!(SegmentHeader::parse(&header), Err(crate::segment::HeaderError::Version(2)));
        assert_eq!(CompressedHeader::parse(&SEGMENT.encode()), None);
        assert_eq!(BlockHead::parse(&head, &SEGMENT), Some(HEAD));
        for bit in 0..header.len() * 8 {
            let mut flipped = header;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(CompressedHeader::parse(&flipped), None, "bit {bit}");
        }
        for bit in 0..head.len() * 8 {
            let mut flipped = head;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHead::parse(&flipped, &SEGMENT), None, "bit {bit}");
        }
        assert_eq!(CompressedHeader::parse(&header[..95]), None);
        assert_eq!(BlockHead::parse(&head[..31], &SEGMENT), None);
        let other = SegmentHeader { first_position: 4097, ..SEGMENT };
        assert_eq!(BlockHead::parse(&head, &other), None);
    }

    /// With checksums that hold: no room is made for such numbers.
    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let segment = SegmentHeader { first_position: u64::MAX - 900, ..SEGMENT };
        for header in [
            CompressedHeader { plain_len: 963, ..HEADER },
            CompressedHeader { plain_len: 100, ..HEADER },
            CompressedHeader { batches_end: 95, file_len: 2000, ..HEADER },
            CompressedHeader { file_len: 400, ..HEADER },
            CompressedHeader { blocks: 5, ..HEADER },
            CompressedHeader { blocks: u32::MAX, file_len: u32::MAX, ..HEADER },
            CompressedHeader { segment, ..HEADER },
        ] {
            assert_eq!(CompressedHeader::parse(&header.encode()), None, "{header:?}");
        }
        for head in [
            BlockHead { len: 0, frames_len: 0, ..HEAD },
            BlockHead { len: 70_000, ..HEAD },
            BlockHead { frames_len: 301, ..HEAD },
            BlockHead { bodies: 5, ..HEAD },
            BlockHead { payload_len: 124, ..HEAD },
            BlockHead { method: Method::Stored, ..HEAD },
        ] {
            assert_eq!(BlockHead::parse(&head.encode(&SEGMENT), &SEGMENT), None, "{head:?}");
        }
        let stored = BlockHead { method: Method::Stored, payload_len: 124, ..HEAD };
        assert_eq!(BlockHead::parse(&stored.encode(&SEGMENT), &SEGMENT), Some(stored));
    }
}

//! One record of the log: a head of [`HEAD_LEN`] bytes, then the body.
//!
//! ```text
//!  byte 0           4           8           12          20          28          60
//!       +-----------+-----------+-----------+-----------+-----------+-----------+--- - -
//!       | head sum  | body sum  | kind, len | index     | time      | id        | body
//!       | u32       | u32       | u32       | u64       | u64       | 32 bytes  | len bytes
//!       +-----------+-----------+-----------+-----------+-----------+-----------+--- - -
//!                   |<------------ covered by the head sum -------->|
//! ```
//!
//! All integers are little-endian. The upper two bits of `kind, len` are the [`Kind`], the lower 30
//! the length of the body. Both checksums are bound to the segment and to the record's position
//! ([`Salt::checksum`]). No kind is 0, so zeros are no record.

use std::ops::Range;

use stemedb_merkle::{Hash, LogIndex, Timestamp};

use crate::{
    checksum::Salt,
    internal::{in_memory, part},
    position::Position,
};

/// The bytes before the body.
pub const HEAD_LEN: usize = 60;

/// The longest body that a record can hold, in bytes.
pub const BODY_LEN_MAX: u32 = (1 << 30) - 1;

/// The id in a [`Kind::Void`].
pub(crate) const VOID_ID: Hash = [0; 32];

const _: () = assert!(HEAD_LEN == 3 * 4 + 2 * 8 + 32);

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A body that took the next index.
    Entry,
    /// An entry whose body was lost to damage. Only repair makes these, in the place and of the
    /// length of the entry; the body is zeros.
    Hole,
    /// The body of an earlier hole, come back: it carries the hole's index, time and id, and takes
    /// no index of its own.
    Heal,
    /// A heal whose body was lost as well: its entry is the hole that it was before. Only repair
    /// makes these, in the place and of the length of the heal. On the disk it is a heal whose id
    /// is all zeros, as is its body; no body has that id.
    Void,
}

impl Kind {
    /// Whether the record has an index of its own.
    pub const fn takes_index(self) -> bool {
        matches!(self, Self::Entry | Self::Hole)
    }

    /// Whether the record holds the body of its id.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Entry | Self::Heal)
    }

    /// The upper two bits of the length field.
    const fn bits(self) -> u32 {
        match self {
            Self::Entry => 1,
            Self::Hole => 2,
            Self::Heal | Self::Void => 3,
        }
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entry, hole, heal or void.
    pub kind: Kind,
    /// The length of the body in bytes.
    pub len: u32,
    /// The index of the entry.
    pub index: u64,
    /// The time at which the log took the entry in, NTP64.
    pub time: u64,
    /// The assertion id of the body.
    pub id: Hash,
    /// The checksum of the body.
    pub body_sum: u32,
}

impl Head {
    /// Reads the head at the front of `bytes`, which lie at `position`.
    ///
    /// `None` if it is cut short, is not what was written, or was written for another place.
    #[inline]
    pub fn parse(bytes: &[u8], salt: Salt, position: u64) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_LEN>()?;
        let (sum, covered) = head.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != salt.checksum(position, covered) {
            return None;
        }
        let (body_sum, rest) = covered.split_first_chunk::<4>()?;
        let (kind_len, rest) = rest.split_first_chunk::<4>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (time, id) = rest.split_first_chunk::<8>()?;
        let kind_len = u32::from_le_bytes(*kind_len);
        let kind = match kind_len >> 30 {
            1 => Kind::Entry,
            2 => Kind::Hole,
            3 => Kind::Heal,
            _ => return None,
        };
        let id = *id.first_chunk::<32>()?;
        let kind = if kind == Kind::Heal && id == VOID_ID { Kind::Void } else { kind };
        Some(Self {
            kind,
            len: kind_len & BODY_LEN_MAX,
            index: u64::from_le_bytes(*index),
            time: u64::from_le_bytes(*time),
            id,
            body_sum: u32::from_le_bytes(*body_sum),
        })
    }

    /// Whether `body` is what was written behind this head at `position`.
    #[inline]
    pub fn covers(&self, body: &[u8], salt: Salt, position: u64) -> bool {
        u32::try_from(body.len()) == Ok(self.len) && salt.checksum(position, body) == self.body_sum
    }

    /// The length of head and body together, in bytes.
    #[inline]
    pub(crate) const fn record_len(&self) -> u64 {
        HEAD_LEN as u64 + self.len as u64
    }

    /// The bytes of the head at `position`.
    #[inline]
    pub fn encode(&self, salt: Salt, position: u64) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        let kind_len = self.kind.bits() << 30 | (self.len & BODY_LEN_MAX);
        head[4..8].copy_from_slice(&self.body_sum.to_le_bytes());
        head[8..12].copy_from_slice(&kind_len.to_le_bytes());
        head[12..20].copy_from_slice(&self.index.to_le_bytes());
        head[20..28].copy_from_slice(&self.time.to_le_bytes());
        head[28..60].copy_from_slice(&self.id);
        let sum = salt.checksum(position, &head[4..]);
        head[..4].copy_from_slice(&sum.to_le_bytes());
        head
    }
}

/// One record and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The assertion id.
    pub id: Hash,
    /// The position of the record.
    pub position: Position,
    /// The index of the entry; of a heal, that of the hole.
    pub index: LogIndex,
    /// The time of the entry; of a heal, that of the hole.
    pub time: Timestamp,
    /// The length of the body in bytes.
    pub len: u32,
    /// Entry, hole or heal.
    pub kind: Kind,
}

impl Placed {
    pub(crate) fn new(head: &Head, position: u64) -> Self {
        let Head { kind, len, index, time, id, .. } = *head;
        let (index, time) = (LogIndex(index), Timestamp::from_ntp64(time));
        Self { id, position: Position(position), index, time, len, kind }
    }

    /// Where the body is in bytes of the log that begin at a position, and hold the record.
    pub(crate) fn body_range(&self, first_position: u64) -> Range<usize> {
        let start = in_memory(self.position.get() - first_position) + HEAD_LEN;
        start..start + self.len as usize
    }

    /// The body, in bytes of the log that begin at a position, and hold the record.
    #[track_caller]
    pub(crate) fn body_in<'a>(&self, bytes: &'a [u8], first_position: u64) -> &'a [u8] {
        part(bytes, self.body_range(first_position))
    }

    /// The head of the record, with the checksum of its body.
    pub(crate) fn head(&self, body_sum: u32) -> Head {
        let Self { id, index, time, len, kind, .. } = *self;
        Head { kind, len, index: index.get(), time: time.as_ntp64(), id, body_sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(0x0123_4567_89ab_cdef);

    fn sample() -> (Head, Vec<u8>) {
        let body = b"sky is blue";
        let head = Head {
            kind: Kind::Entry,
            len: 11,
            index: 7,
            time: 0x0102_0304_0506_0708,
            id: [0xee; 32],
            body_sum: SALT.checksum(4096, body),
        };
        let mut bytes = head.encode(SALT, 4096).to_vec();
        bytes.extend_from_slice(body);
        (head, bytes)
    }

    fn whole(bytes: &[u8], position: u64) -> Option<Head> {
        let head = Head::parse(bytes, SALT, position)?;
        let body = bytes.get(HEAD_LEN..HEAD_LEN + head.len as usize)?;
        head.covers(body, SALT, position).then_some(head)
    }

    /// The format on disk, byte for byte. If this fails the format has changed: give segments a
    /// new version, keep a reader for the old one, and only then write down the new bytes.
    #[test]
    fn golden_bytes() {
        let (_, bytes) = sample();
        let mut expected = vec![
            0xe3, 0x36, 0xe0, 0x50, // head sum
            0xdc, 0x16, 0xbb, 0x85, // body sum
            0x0b, 0x00, 0x00, 0x40, // entry, 11 bytes
            0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // index
            0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // time
        ];
        expected.extend_from_slice(&[0xee; 32]);
        expected.extend_from_slice(b"sky is blue");
        assert_eq!(bytes, expected, "{bytes:02x?}");
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (head, bytes) = sample();
        assert_eq!(whole(&bytes, 4096), Some(head));
        for cut in 0..bytes.len() {
            assert_eq!(whole(&bytes[..cut], 4096), None, "cut to {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(whole(&flipped, 4096), None, "bit {bit}");
        }
    }

    #[test]
    fn another_place_and_another_segment_are_noticed() {
        let (_, bytes) = sample();
        for position in (0..10_000).filter(|&position| position != 4096) {
            assert_eq!(whole(&bytes, position), None, "position {position}");
        }
        assert_eq!(Head::parse(&bytes, Salt(SALT.0 ^ 1), 4096), None);
    }

    #[test]
    fn zeros_are_no_record() {
        for position in 0..10_000 {
            assert_eq!(Head::parse(&[0; 128], SALT, position), None);
        }
    }
}

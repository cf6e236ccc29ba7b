//! A batch: what one commit wrote, and how far the log was durable then.
//!
//! ```text
//!  byte 0           8           12          16          20          24
//!       +-----------+-----------+-----------+-----------+-----------+
//!       | "STEMEbat"| sum u32   | payload   | records   | entries   |
//!       |           |           | len u32   | u32       | u32       |
//!       +-----------+-----------+-----------+-----------+-----------+
//!       | first index u64       | durable upto u64      | first     |
//!       +-----------------------+-----------------------+ time u64  |
//!  byte 24                      32                      40          48
//!       +-----------------------+-----------------------+-----------+
//!       | last time u64         | zeros, 7 bytes        | version 1 |
//!       +-----------------------+-----------------------+-----------+--- - -+-------+
//!  byte 48                      56                      63          64      | "bEND"|
//!                                                             records, then +-------+
//! ```
//!
//! All integers are little-endian. The sum covers all that follows it in the header and is bound to
//! the segment and to the batch's position. A batch without records is a *durable mark*. First and
//! last byte of the header and the last of the batch are never zero, so that bytes that were never
//! written can be told from bytes that are damaged.

use crate::checksum::Salt;

/// The length of a batch's header in bytes.
pub const HEADER_LEN: usize = 64;

/// How every batch begins.
pub const MAGIC: [u8; 8] = *b"STEMEbat";

/// How every batch ends.
pub const END: [u8; 4] = *b"bEND";

/// The bytes of a batch that are not records: header and end.
pub const FRAME_LEN: u64 = (HEADER_LEN + END.len()) as u64;

const VERSION: u8 = 1;

/// What stands before the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The length of all records together, in bytes.
    pub payload_len: u32,
    /// How many records follow.
    pub records: u32,
    /// How many of them take an index.
    pub entries: u32,
    /// The index of the first entry, or of the next one if there is none.
    pub first_index: u64,
    /// Up to which position the log was durable when this was written.
    pub durable_upto: u64,
    /// The time of the first entry, or of the last one before if there is none.
    pub first_time: u64,
    /// The time of the last entry, or of the last one before if there is none.
    pub last_time: u64,
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`, which lie at `position`.
    ///
    /// `None` if it is cut short, is not what was written, or was written for another place.
    pub fn parse(bytes: &[u8], salt: Salt, position: u64) -> Option<Self> {
        let (magic, rest) = bytes.first_chunk::<HEADER_LEN>()?.split_first_chunk::<8>()?;
        let (sum, covered) = rest.split_first_chunk::<4>()?;
        if *magic != MAGIC || u32::from_le_bytes(*sum) != salt.checksum(position, covered) {
            return None;
        }
        let (payload_len, rest) = covered.split_first_chunk::<4>()?;
        let (records, rest) = rest.split_first_chunk::<4>()?;
        let (entries, rest) = rest.split_first_chunk::<4>()?;
        let (first_index, rest) = rest.split_first_chunk::<8>()?;
        let (durable_upto, rest) = rest.split_first_chunk::<8>()?;
        let (first_time, rest) = rest.split_first_chunk::<8>()?;
        let (last_time, rest) = rest.split_first_chunk::<8>()?;
        (rest == [0, 0, 0, 0, 0, 0, 0, VERSION]).then_some(Self {
            payload_len: u32::from_le_bytes(*payload_len),
            records: u32::from_le_bytes(*records),
            entries: u32::from_le_bytes(*entries),
            first_index: u64::from_le_bytes(*first_index),
            durable_upto: u64::from_le_bytes(*durable_upto),
            first_time: u64::from_le_bytes(*first_time),
            last_time: u64::from_le_bytes(*last_time),
        })
    }

    /// The bytes of the header at `position`.
    pub fn encode(&self, salt: Salt, position: u64) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        header[12..16].copy_from_slice(&self.payload_len.to_le_bytes());
        header[16..20].copy_from_slice(&self.records.to_le_bytes());
        header[20..24].copy_from_slice(&self.entries.to_le_bytes());
        header[24..32].copy_from_slice(&self.first_index.to_le_bytes());
        header[32..40].copy_from_slice(&self.durable_upto.to_le_bytes());
        header[40..48].copy_from_slice(&self.first_time.to_le_bytes());
        header[48..56].copy_from_slice(&self.last_time.to_le_bytes());
        header[63] = VERSION;
        let sum = salt.checksum(position, &header[12..]);
        header[8..12].copy_from_slice(&sum.to_le_bytes());
        header
    }

    /// The length of header, records and end together, in bytes.
    pub const fn batch_len(&self) -> u64 {
        FRAME_LEN + self.payload_len as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(0x0123_4567_89ab_cdef);
    const HEADER: BatchHeader = BatchHeader {
        payload_len: 71,
        records: 2,
        entries: 1,
        first_index: 7,
        durable_upto: 4000,
        first_time: 0x0102_0304_0506_0708,
        last_time: 0x0102_0304_0506_0709,
    };

    /// The format on disk, byte for byte. If this fails the format has changed: give segments a
    /// new version, keep a reader for the old one, and only then write down the new bytes.
    #[test]
    fn golden_bytes() {
        let bytes = HEADER.encode(SALT, 4096);
        let expected = [
            b'S', b'T', b'E', b'M', b'E', b'b', b'a', b't', // magic
            0xea, 0xb2, 0x4c, 0xb6, // sum
            0x47, 0x00, 0x00, 0x00, // payload of 71 bytes
            0x02, 0x00, 0x00, 0x00, // records
            0x01, 0x00, 0x00, 0x00, // entries
            0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // first index
            0xa0, 0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // durable upto 4000
            0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // first time
            0x09, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // last time
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // version
        ];
        assert_eq!(bytes, expected, "{bytes:02x?}");
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let bytes = HEADER.encode(SALT, 4096);
        assert_eq!(BatchHeader::parse(&bytes, SALT, 4096), Some(HEADER));
        for cut in 0..bytes.len() {
            assert_eq!(BatchHeader::parse(&bytes[..cut], SALT, 4096), None, "cut to {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHeader::parse(&flipped, SALT, 4096), None, "bit {bit}");
        }
        for position in (0..10_000).filter(|&position| position != 4096) {
            assert_eq!(BatchHeader::parse(&bytes, SALT, position), None, "position {position}");
        }
        assert_eq!(BatchHeader::parse(&bytes, Salt(SALT.0 + 1), 4096), None);
    }
}

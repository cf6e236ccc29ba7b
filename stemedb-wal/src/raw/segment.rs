//! Segments: the files that make up the log.
//!
//! ```text
//!  segment-<generation, 4 hex digits>-<first index, 20 decimal digits>.log
//!
//!       +--------+---------+---------+- - -+-----------+---------+
//!       | header | batch   | batch   |     | offsets   | trailer |   sealed
//!       +--------+---------+---------+- - -+-----------+---------+
//!       +--------+---------+- - -+------------------------------+
//!       | header | batch   |     | zeros, or the end of file    |   open: the last one
//!       +--------+---------+- - -+------------------------------+
//! ```
//!
//! A *position* is the offset of a byte in the whole log: the first position of its segment plus
//! its offset in the file. The next segment's first position is where this file ends, trailer
//! included.
//!
//! Header, [`HEADER_LEN`] bytes:
//!
//! ```text
//!  byte 0           8           12          16                      32
//!       +-----------+-----------+-----------+-----------------------+
//!       | "STEMESEG"| version 1 | sum u32   | store id, 16 bytes    |
//!       +-----------+-----------+-----------+-----------------------+
//!       | generation| sum of the| first index u64                   |
//!       | u32       | trailer   |                                   |
//!       |           | before u32|                                   |
//!       +-----------+-----------+-----------------------------------+
//!  byte 32          36          40                                  48
//!       +-----------------------+-----------------------------------+
//!       | first position u64    | salt u64                          |
//!       +-----------------------+-----------------------------------+
//!       | time before, u64      | zeros, 24 bytes                   |
//!       +-----------------------+-----------------------------------+
//!  byte 64                      72                                  96
//! ```
//!
//! The sum is the plain CRC-32 of all other bytes, in every version, so that another version is
//! told from damage. Version 2 is that of a [compressed](super::compressed) segment, and says where
//! its parts are in place of the zeros. *Time before* is the time of the last entry in earlier
//! segments, 0 if there is none.
//!
//! Offsets: for each record that takes an index, in the order of the indexes, the offset of its
//! head in the file, u32. Trailer, [`TRAILER_LEN`] bytes:
//!
//! ```text
//!  byte 0           8           12          16          20          24
//!       +-----------+-----------+-----------+-----------+-----------+
//!       | "STEMEEND"| sum u32   | offsets'  | entries   | zeros     |
//!       |           |           | sum u32   | u32       |           |
//!       +-----------+-----------+-----------+-----------+-----------+
//!       | first index u64       | last time u64         | batches   |
//!       +-----------------------+-----------------------+ end u64   |
//!  byte 24                      32                      40          48
//!       +-----------------------------------------------------------+
//!       | zeros, 15 bytes                                | version 1|
//!       +-----------------------------------------------------------+
//!  byte 48                                                63        64
//! ```
//!
//! Both sums are bound to the segment and the position of what they cover; the trailer's covers all
//! that follows it. All integers are little-endian.

mod trailer;

pub(crate) use trailer::TRAILER_MAGIC;
pub use trailer::{TRAILER_LEN, Trailer};
pub(crate) use trailer::{encode_footer, footer_len, offsets_sum};

use stemedb_merkle::hash::derive;

use crate::{checksum::Salt, internal::internal_error};

/// The length of a segment's header in bytes.
pub const HEADER_LEN: usize = 96;

/// The format that this build reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The bytes of a header behind the fields that all versions have.
pub(super) const REST_LEN: usize = 24;

/// The longest segment file, in bytes: offsets in it are `u32`.
pub const SEGMENT_LEN_MAX: u64 = u32::MAX as u64;

const MAGIC: [u8; 8] = *b"STEMESEG";

/// What stands at the front of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Which store.
    pub store_id: [u8; 16],
    /// Which generation of the store's segments.
    pub generation: u32,
    /// The checksum of the trailer of the segment before; 0 for the first.
    pub previous_sum: u32,
    /// The index of the first entry.
    pub first_index: u64,
    /// The position of this header.
    pub first_position: u64,
    /// What binds the checksums of this segment.
    pub salt: Salt,
    /// The time of the last entry before this segment; 0 if there is none.
    pub time_before: u64,
}

/// Why bytes are no segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Cut short, zeros, or not what was written.
    Damaged,
    /// Whole, and of another format version.
    Version(u32),
}

impl SegmentHeader {
    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    ///
    /// If it is cut short, is not what was written, or is of another format version.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        Self::parse_fields(bytes).unwrap_or(Err(HeaderError::Damaged))
    }

    fn parse_fields(bytes: &[u8]) -> Option<Result<Self, HeaderError>> {
        let (header, rest) = match Self::parse_version(bytes, FORMAT_VERSION)? {
            Ok(parsed) => parsed,
            Err(error) => return Some(Err(error)),
        };
        (rest == [0; REST_LEN]).then_some(Ok(header))
    }

    /// The fields that all versions have, and the bytes behind them; `None` for damage.
    pub(super) fn parse_version(
        bytes: &[u8],
        expected: u32,
    ) -> Option<Result<(Self, [u8; REST_LEN]), HeaderError>> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let (front, rest) = header.split_first_chunk::<12>()?;
        let (sum, covered) = rest.split_first_chunk::<4>()?;
        let (magic, version) = front.split_first_chunk::<8>()?;
        if *magic != MAGIC || u32::from_le_bytes(*sum) != plain_sum(front, covered) {
            return None;
        }
        let version = u32::from_le_bytes(*version.first_chunk()?);
        if version != expected {
            return Some(Err(HeaderError::Version(version)));
        }
        let (store_id, rest) = covered.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (previous_sum, rest) = rest.split_first_chunk::<4>()?;
        let (first_index, rest) = rest.split_first_chunk::<8>()?;
        let (first_position, rest) = rest.split_first_chunk::<8>()?;
        let (salt, rest) = rest.split_first_chunk::<8>()?;
        let (time_before, rest) = rest.split_first_chunk::<8>()?;
        let header = Self {
            store_id: *store_id,
            generation: u32::from_le_bytes(*generation),
            previous_sum: u32::from_le_bytes(*previous_sum),
            first_index: u64::from_le_bytes(*first_index),
            first_position: u64::from_le_bytes(*first_position),
            salt: Salt(u64::from_le_bytes(*salt)),
            time_before: u64::from_le_bytes(*time_before),
        };
        Some(Ok((header, *rest.first_chunk()?)))
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        self.encode_version(FORMAT_VERSION, &[0; REST_LEN])
    }

    /// The bytes of the header of a version, with what it has behind the fields that all have.
    pub(super) fn encode_version(&self, version: u32, rest: &[u8; REST_LEN]) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&version.to_le_bytes());
        header[16..32].copy_from_slice(&self.store_id);
        header[32..36].copy_from_slice(&self.generation.to_le_bytes());
        header[36..40].copy_from_slice(&self.previous_sum.to_le_bytes());
        header[40..48].copy_from_slice(&self.first_index.to_le_bytes());
        header[48..56].copy_from_slice(&self.first_position.to_le_bytes());
        header[56..64].copy_from_slice(&self.salt.0.to_le_bytes());
        header[64..72].copy_from_slice(&self.time_before.to_le_bytes());
        header[72..].copy_from_slice(rest);
        let sum = plain_sum(&header[..12], &header[16..]);
        header[12..16].copy_from_slice(&sum.to_le_bytes());
        header
    }
}

/// The salt of the segment that begins with `first_index`: it can be recomputed when the header
/// that holds it too is lost.
pub fn segment_salt(salt_seed: &[u8; 16], generation: u32, first_index: u64) -> Salt {
    let mut material = [0; 28];
    material[..16].copy_from_slice(salt_seed);
    material[16..20].copy_from_slice(&generation.to_le_bytes());
    material[20..28].copy_from_slice(&first_index.to_le_bytes());
    let hash = derive("segment salt", &material);
    let front = hash.first_chunk().unwrap_or_else(|| internal_error("a hash is too short"));
    Salt(u64::from_le_bytes(*front))
}

/// The name of a segment's file.
pub fn segment_name(generation: u32, first_index: u64) -> String {
    format!("segment-{generation:04x}-{first_index:020}.log")
}

/// Generation and first index from the name of a segment's file; `None` for any other name.
pub fn parse_segment_name(name: &str) -> Option<(u32, u64)> {
    let (generation, first_index) =
        name.strip_prefix("segment-")?.strip_suffix(".log")?.split_once('-')?;
    let parsed = (u32::from_str_radix(generation, 16).ok()?, first_index.parse().ok()?);
    (segment_name(parsed.0, parsed.1) == name).then_some(parsed)
}

/// The name of a segment's stub, which stands for one that is only in an archive; `None` for what
/// is no segment.
pub fn stub_name(segment: &str) -> Option<String> {
    let (generation, first_index) = parse_segment_name(segment)?;
    Some(format!("remote-{generation:04x}-{first_index:020}.seg"))
}

/// The name of the segment whose stub this is; `None` for any other name.
pub fn segment_of_stub(stub: &str) -> Option<String> {
    let name = stub.strip_prefix("remote-")?.strip_suffix(".seg")?;
    let segment = format!("segment-{name}.log");
    (stub_name(&segment)? == stub).then_some(segment)
}

fn plain_sum(front: &[u8], covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(covered);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        store_id: [0xaa; 16],
        generation: 2,
        previous_sum: 0x1122_3344,
        first_index: 7,
        first_position: 4096,
        salt: Salt(0x0123_4567_89ab_cdef),
        time_before: 0x0102_0304_0506_0708,
    };

    /// The format on disk, byte for byte. If this fails the format has changed: raise
    /// [`FORMAT_VERSION`], keep a reader for the old one, and only then write down the new bytes.
    #[test]
    fn golden_bytes() {
        let bytes = HEADER.encode();
        let mut expected = vec![
            b'S', b'T', b'E', b'M', b'E', b'S', b'E', b'G', // magic
            0x01, 0x00, 0x00, 0x00, // version
            0xea, 0x09, 0xee, 0xf9, // sum
        ];
        expected.extend_from_slice(&[0xaa; 16]);
        expected.extend_from_slice(&[
            0x02, 0x00, 0x00, 0x00, // generation
            0x44, 0x33, 0x22, 0x11, // sum of the trailer before
            0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // first index
            0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // first position
            0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, // salt
            0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // time before
        ]);
        expected.extend_from_slice(&[0; 24]);
        assert_eq!(bytes.as_slice(), expected, "{bytes:02x?}");
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::parse(&bytes), Ok(HEADER));
        for cut in 0..bytes.len() {
            assert_eq!(
                SegmentHeader::parse(&bytes[..cut]),
                Err(HeaderError::Damaged),
                "cut to {cut}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::parse(&flipped), Err(HeaderError::Damaged), "bit {bit}");
        }
        let mut later = bytes;
        later[8] = 2;
        let sum = plain_sum(&later[..12], &later[16..]);
        later[12..16].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::parse(&later), Err(HeaderError::Version(2)));
        assert_eq!(SegmentHeader::parse(&[0; 4096]), Err(HeaderError::Damaged));
    }

    #[test]
    fn names_are_read_back_and_nothing_else_is_a_name() {
        let name = segment_name(0x1f, 12_345);
        assert_eq!(name, "segment-001f-00000000000000012345.log");
        assert_eq!(parse_segment_name(&name), Some((0x1f, 12_345)));
        for bad in [
            "segment-001F-00000000000000012345.log",
            "segment-1f-00000000000000012345.log",
            "segment-001f-12345.log",
            "segment-001f-+0000000000000012345.log",
            "segment-001f-99999999999999999999.log",
            "segment-001f-00000000000000012345.log.tmp",
            "spare.tmp",
            "",
        ] {
            assert_eq!(parse_segment_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_stubs_are_read_back_and_nothing_else_is_one() {
        let (segment, stub) =
            ("segment-001f-00000000000000012345.log", "remote-001f-00000000000000012345.seg");
        assert_eq!(segment_of_stub(stub).as_deref(), Some(segment));
        assert_eq!(stub_name(segment).as_deref(), Some(stub));
        for bad in ["remote-1f-1.seg", "remote-001f-00000000000000012345.seg.tmp", "x"] {
            assert_eq!(segment_of_stub(bad), None, "{bad}");
        }
    }

    #[test]
    fn salts_differ_by_seed_generation_and_index() {
        let salts = [
            segment_salt(&[0; 16], 0, 0),
            segment_salt(&[1; 16], 0, 0),
            segment_salt(&[0; 16], 1, 0),
            segment_salt(&[0; 16], 0, 1),
        ];
        for (n, salt) in salts.iter().enumerate() {
            assert!(!salts[..n].contains(salt));
        }
    }
}

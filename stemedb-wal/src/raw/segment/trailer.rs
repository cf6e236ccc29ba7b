//! What a sealed segment ends with: the offsets of its entries, and a trailer.

use super::SegmentHeader;
use crate::{checksum::Salt, internal::in_segment};

/// The length of the trailer in bytes.
pub const TRAILER_LEN: usize = 64;

/// How every trailer begins.
pub(crate) const TRAILER_MAGIC: [u8; 8] = *b"STEMEEND";
const VERSION: u8 = 1;

/// The last bytes of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The checksum of this trailer, which the header of the next segment repeats.
    pub sum: u32,
    /// The checksum of the offsets.
    pub offsets_sum: u32,
    /// How many entries, and so how many offsets.
    pub entries: u32,
    /// The index of the first entry.
    pub first_index: u64,
    /// The time of the last entry in this segment or, if it has none, before it.
    pub last_time: u64,
    /// The offset in the file at which the batches end and the offsets begin.
    pub batches_end: u64,
}

impl Trailer {
    /// Reads a trailer that lies at `position`.
    ///
    /// `None` if it is cut short, is not what was written, or was written for another place.
    pub fn parse(bytes: &[u8], salt: Salt, position: u64) -> Option<Self> {
        let (magic, rest) = bytes.first_chunk::<TRAILER_LEN>()?.split_first_chunk::<8>()?;
        let (sum, covered) = rest.split_first_chunk::<4>()?;
        let sum = u32::from_le_bytes(*sum);
        if *magic != TRAILER_MAGIC || sum != salt.checksum(position, covered) {
            return None;
        }
        let (offsets_sum, rest) = covered.split_first_chunk::<4>()?;
        let (entries, rest) = rest.split_first_chunk::<4>()?;
        let (zeros, rest) = rest.split_first_chunk::<4>()?;
        let (first_index, rest) = rest.split_first_chunk::<8>()?;
        let (last_time, rest) = rest.split_first_chunk::<8>()?;
        let (batches_end, rest) = rest.split_first_chunk::<8>()?;
        let (version, padding) = rest.split_last()?;
        (*zeros == [0; 4] && padding == [0; 15] && *version == VERSION).then_some(Self {
            sum,
            offsets_sum: u32::from_le_bytes(*offsets_sum),
            entries: u32::from_le_bytes(*entries),
            first_index: u64::from_le_bytes(*first_index),
            last_time: u64::from_le_bytes(*last_time),
            batches_end: u64::from_le_bytes(*batches_end),
        })
    }

    /// Reads the trailer of a segment with this header and length: its last bytes are `bytes`,
    /// which may be more than the trailer.
    pub(crate) fn at_end(bytes: &[u8], header: &SegmentHeader, len: u64) -> Option<Self> {
        let (_, bytes) = bytes.split_last_chunk::<TRAILER_LEN>()?;
        let position = header.first_position.checked_add(len.checked_sub(TRAILER_LEN as u64)?)?;
        Self::parse(bytes, header.salt, position).filter(|trailer| {
            trailer.first_index == header.first_index
                && trailer.batches_end.checked_add(footer_len(u64::from(trailer.entries)))
                    == Some(len)
        })
    }
}

/// The length of offsets and trailer together for so many entries, in bytes.
pub(crate) const fn footer_len(entries: u64) -> u64 {
    entries * 4 + TRAILER_LEN as u64
}

/// The checksum of offsets (as they lie on disk) that begin at `position`.
pub(crate) fn offsets_sum(salt: Salt, position: u64, offsets: &[u8]) -> u32 {
    salt.checksum(position, offsets)
}

/// Offsets and trailer of a segment as they are written, and the trailer's checksum.
///
/// The footer follows from the batches alone, so that a lost one can be made again byte for byte.
pub(crate) fn encode_footer(
    salt: Salt,
    first_position: u64,
    batches_end: u64,
    first_index: u64,
    last_time: u64,
    offsets: &[u32],
) -> (Vec<u8>, u32) {
    let mut footer = Vec::with_capacity(offsets.len() * 4 + TRAILER_LEN);
    footer.extend(offsets.iter().flat_map(|offset| offset.to_le_bytes()));
    let position = first_position.wrapping_add(batches_end);
    let offsets_sum = offsets_sum(salt, position, &footer);
    let entries = in_segment(offsets.len());

    let mut trailer = [0; TRAILER_LEN];
    trailer[..8].copy_from_slice(&TRAILER_MAGIC);
    trailer[12..16].copy_from_slice(&offsets_sum.to_le_bytes());
    trailer[16..20].copy_from_slice(&entries.to_le_bytes());
    trailer[24..32].copy_from_slice(&first_index.to_le_bytes());
    trailer[32..40].copy_from_slice(&last_time.to_le_bytes());
    trailer[40..48].copy_from_slice(&batches_end.to_le_bytes());
    trailer[63] = VERSION;
    let sum = salt.checksum(position.wrapping_add(footer.len() as u64), &trailer[12..]);
    trailer[8..12].copy_from_slice(&sum.to_le_bytes());
    footer.extend_from_slice(&trailer);
    (footer, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = Salt(0x0123_4567_89ab_cdef);

    /// The format on disk, byte for byte. If this fails the format has changed: give segments a
    /// new version, keep a reader for the old one, and only then write down the new bytes.
    #[test]
    fn golden_bytes() {
        let (bytes, sum) = encode_footer(SALT, 4096, 1000, 7, 0x0102_0304_0506_0708, &[160, 500]);
        let mut expected = vec![
            0xa0, 0x00, 0x00, 0x00, 0xf4, 0x01, 0x00, 0x00, // offsets
            b'S', b'T', b'E', b'M', b'E', b'E', b'N', b'D', // magic
        ];
        expected.extend_from_slice(&[0xa7, 0x2a, 0xd3, 0xeb]); // sum
        expected.extend_from_slice(&[
            0x65, 0xdd, 0x9b, 0x6e, // sum of the offsets
            0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // entries, zeros
            0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // first index
            0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, // last time
            0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // batches end
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // zeros
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, // version
        ]);
        assert_eq!(bytes, expected, "{bytes:02x?}");
        assert_eq!(sum, 0xebd3_2aa7);
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (bytes, sum) = encode_footer(SALT, 4096, 1000, 7, 99, &[160, 500]);
        let position = 4096 + 1000 + 8;
        let bytes = &bytes[8..];
        let trailer = Trailer::parse(bytes, SALT, position).unwrap();
        assert_eq!((trailer.sum, trailer.entries, trailer.first_index), (sum, 2, 7));
        assert_eq!((trailer.last_time, trailer.batches_end), (99, 1000));
        for cut in 0..bytes.len() {
            assert_eq!(Trailer::parse(&bytes[..cut], SALT, position), None, "cut to {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::parse(&flipped, SALT, position), None, "bit {bit}");
        }
        assert_eq!(Trailer::parse(bytes, SALT, position + 1), None);
    }
}

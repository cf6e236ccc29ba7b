//! CRC-32 that is bound to a segment and a place in the log.
//!
//! A checksum of bytes alone says that they are whole, not that they belong here: log bytes that
//! were copied into a body, left over from an earlier use of the disk, or written to the wrong
//! place are whole too. So each checksum of the log starts from a seed made of the segment's salt
//! and the position of what it covers, and for bytes of one length, other seeds give other sums.

/// What tells the checksums of one segment from those of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub u64);

impl Salt {
    /// The checksum of `bytes`, which lie at `position` of the log.
    ///
    /// CRC-32 (IEEE) continued from the upper 32 bits of
    /// `(salt + position) * 0x9E37_79B9_7F4A_7C15`, modulo 2^64, as if they were that of bytes
    /// before.
    #[inline]
    pub fn checksum(self, position: u64, bytes: &[u8]) -> u32 {
        let mixed = self.0.wrapping_add(position).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let [_, _, _, _, a, b, c, d] = mixed.to_le_bytes();
        let mut hasher = crc32fast::Hasher::new_with_initial(u32::from_le_bytes([a, b, c, d]));
        hasher.update(bytes);
        hasher.finalize()
    }
}

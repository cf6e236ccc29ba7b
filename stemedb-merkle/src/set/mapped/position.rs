//! Positions as they are stored.

/// A position in six bytes, little-endian: 256 TiB of log.
pub type PackedPosition = [u8; 6];

/// Packs a position; `None` from 2^48 on.
pub fn pack_position(position: u64) -> Option<PackedPosition> {
    let bytes = position.to_le_bytes();
    let (packed, rest) = bytes.split_first_chunk()?;
    (*rest == [0; 2]).then_some(*packed)
}

/// The position that was packed.
pub(crate) fn unpack_position(packed: PackedPosition) -> u64 {
    let mut bytes = [0; 8];
    let (low, _) = bytes.split_at_mut(packed.len());
    low.copy_from_slice(&packed);
    u64::from_le_bytes(bytes)
}

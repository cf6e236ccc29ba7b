//! Bits of ids, most significant bit of the first byte first.

use crate::{id::Hash, internal::internal_error};

/// Bits of an id.
pub(crate) const ID_BITS: usize = 256;

/// The bit of an id at `depth`, which is below [`ID_BITS`].
pub(crate) fn bit(id: &Hash, depth: usize) -> bool {
    let Some(byte) = id.get(depth / 8) else { internal_error("a bit of an id") };
    byte >> (7 - depth % 8) & 1 == 1
}

/// Number of bits that two ids share before the first that differs.
pub(crate) fn shared_bits(one: &Hash, other: &Hash) -> usize {
    let differing = one.iter().zip(other).enumerate().find(|(_, (one, other))| one != other);
    differing
        .map_or(ID_BITS, |(index, (one, other))| 8 * index + (one ^ other).leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_from_the_most_significant() {
        for depth in 0..ID_BITS {
            let mut id = [0; 32];
            id[depth / 8] = 0x80 >> (depth % 8);
            assert!((0..ID_BITS).all(|at| bit(&id, at) == (at == depth)));
            assert_eq!(shared_bits(&id, &[0; 32]), depth);
        }
        assert_eq!(shared_bits(&[3; 32], &[3; 32]), ID_BITS);
    }
}

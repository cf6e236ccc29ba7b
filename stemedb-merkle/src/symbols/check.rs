//! The hash of an id prefix: `SipHash`-2-4 under the key that the peers share.
//!
//! Written out here for inputs of 8 bytes, which are one word and a last one with nothing but
//! the length: a general hasher would spend more on its buffer than on its rounds.

/// The key of the hashes, ready for use: the first 16 bytes of `derive("symbol check", secret)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CheckKey {
    low: u64,
    high: u64,
}

impl CheckKey {
    /// Takes the 16 bytes of the key.
    pub fn new(key: [u8; 16]) -> Self {
        let (low, high) = halves(u128::from_le_bytes(key));
        Self { low, high }
    }

    /// `SipHash`-2-4 of the 8 bytes of a prefix, which is given as a little-endian integer.
    ///
    /// It is the seed of the id's [indices](super::mapping), and a symbol holds its lower half
    /// beside the prefix.
    #[inline]
    pub fn hash(&self, prefix: u64) -> u64 {
        let mut state = [
            self.low ^ 0x736f_6d65_7073_6575,
            self.high ^ 0x646f_7261_6e64_6f6d,
            self.low ^ 0x6c79_6765_6e65_7261,
            self.high ^ 0x7465_6462_7974_6573,
        ];
        // The last word has the length in its uppermost byte and the rest of the input below.
        for word in [prefix, 8 << 56] {
            let [a, b, c, d] = state;
            let [a, b, c, d] = round(round([a, b, c, d ^ word]));
            state = [a ^ word, b, c, d];
        }
        let [a, b, c, d] = state;
        let [a, b, c, d] = round(round(round(round([a, b, c ^ 0xff, d]))));
        a ^ b ^ c ^ d
    }
}

impl core::fmt::Debug for CheckKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Derived from a secret.
        f.write_str("CheckKey")
    }
}

/// `SipRound`.
#[inline]
fn round([a, b, c, d]: [u64; 4]) -> [u64; 4] {
    let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
    let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
    let a = a.rotate_left(32);
    let (c, a) = (c.wrapping_add(b), a.wrapping_add(d));
    let (b, d) = (b.rotate_left(17) ^ c, d.rotate_left(21) ^ a);
    [a, b, c.rotate_left(32), d]
}

/// The lower and the upper 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the halves of an integer are what is wanted")]
fn halves(wide: u128) -> (u64, u64) {
    (wide as u64, (wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    #![expect(deprecated, reason = "an independent SipHash-2-4 that every toolchain has")]

    use core::hash::{Hasher, SipHasher};

    use super::*;

    #[test]
    fn the_reference_vector_of_8_bytes() {
        let count = |n: usize| u8::try_from(n).unwrap();
        let key = CheckKey::new(core::array::from_fn(count));
        let input = u64::from_le_bytes(core::array::from_fn(count));
        // Line 8 of `vectors_sip64` in the reference implementation.
        let expected = [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93];
        assert_eq!(key.hash(input).to_le_bytes(), expected);
    }

    #[test]
    fn it_is_the_siphash_of_the_standard_library() {
        let mut seed = 1_u64;
        let mut next = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            seed ^ seed >> 29
        };
        for _ in 0..10_000 {
            let [k0, k1, prefix] = [next(), next(), next()];
            let mut theirs = SipHasher::new_with_keys(k0, k1);
            theirs.write(&prefix.to_le_bytes());
            let key = CheckKey::new((u128::from(k0) | u128::from(k1) << 64).to_le_bytes());
            assert_eq!(key.hash(prefix), theirs.finish());
        }
    }
}

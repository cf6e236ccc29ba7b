//! Hashing of ids for hash tables.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes ids, which are hashes already: multiplies two halves of sixteen of their bytes, each
/// mixed with a random seed. Nobody outside knows the seeds, so nobody can make many ids that share
/// a bucket.
///
/// Costs about 1 ns an id. Each [`default`](Self::default) draws seeds of its own.
#[derive(Clone, Debug)]
pub struct IdHashBuilder {
    seeds: [u64; 2],
}

/// Hashes one id; see [`IdHashBuilder`].
#[derive(Debug)]
pub struct IdHasher {
    seeds: [u64; 2],
    hash: u64,
}

/// 2^64 divided by the golden ratio, odd: its bits look random.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15;

/// The two halves of a product, which depend on the high and on the low bits of both factors.
fn fold(product: u128) -> u64 {
    (product >> 64) as u64 ^ (product & 0xffff_ffff_ffff_ffff) as u64
}

impl Default for IdHashBuilder {
    fn default() -> Self {
        let random = RandomState::new();
        Self { seeds: [random.hash_one(0), random.hash_one(1)] }
    }
}

impl BuildHasher for IdHashBuilder {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { seeds: self.seeds, hash: 0 }
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some((halves, _)) = bytes.split_first_chunk::<16>() else { return };
        let (halves, _) = halves.as_chunks::<8>();
        let mixed = halves
            .iter()
            .zip(self.seeds)
            .map(|(half, seed)| u128::from(u64::from_le_bytes(*half) ^ seed));
        let folded = fold(mixed.fold(1, u128::wrapping_mul));
        // Once more: with ids that differ in few bits, and a seed that happens to have zeros there,
        // some low bits of the first product would not depend on them.
        self.hash = fold(u128::from(folded) * SPREAD);
    }

    fn write_usize(&mut self, _len: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Ids that are made to differ in a few bits are spread all the same, and
    /// differently in each table.
    #[test]
    fn made_up_ids_do_not_share_buckets() {
        let low_bits = |hash: u64| hash & 0xfff;
        let buckets = |build: &IdHashBuilder, at: usize, id: &dyn Fn(u64) -> u64| {
            let hashes = (0..4096).map(|n| {
                let mut bytes = [0; 32];
                bytes[at..at + 8].copy_from_slice(&id(n).to_le_bytes());
                low_bits(build.hash_one(bytes))
            });
            hashes.collect::<Vec<_>>()
        };
        let shift = |bits: u32| move |n: u64| n << bits;
        for (at, bits) in [(0, 52), (0, 30), (0, 0), (8, 52), (8, 12), (8, 0)] {
            let (one, other) = (IdHashBuilder::default(), IdHashBuilder::default());
            let (one, other) = (buckets(&one, at, &shift(bits)), buckets(&other, at, &shift(bits)));
            assert_ne!(one, other, "the seeds count");
            let distinct = one.iter().collect::<HashSet<_>>().len();
            assert!(distinct > 1500, "{at}, {bits}: {distinct} of 4096 buckets");
        }
    }
}

//! Hashes of many bodies, side by side in SIMD lanes.
//!
//! A body of up to 1024 bytes is one BLAKE3 chunk of up to 16 blocks, and each block waits for the
//! one before, so that a lone short body can't use wide vectors. Here each lane has a body of its
//! own. Bodies are grouped by their number of blocks; where a group does not fill the lanes, those
//! of fewer blocks share them with the next and have their hash earlier. Longer bodies go to the
//! `blake3` crate, which hashes chunks side by side, and so do all where the processor has neither
//! AVX-512 nor AVX2.

use alloc::vec::Vec;

use crate::id::Hash;

/// Length of a block.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
const BLOCK_LEN: usize = 64;

/// Largest number of blocks of a chunk.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
const BLOCKS_MAX: usize = 16;

/// Number of bodies that are grouped at once: enough to fill the lanes from whatever lengths.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
const BODIES_AT_ONCE: usize = 256;

/// Appends the hash of each body, keyed if there is a key: the bodies' assertion ids.
///
/// The same as `blake3::hash` or `blake3::keyed_hash` of each. Bodies of up to 1024 bytes are
/// several times faster in batches of 16 or more.
///
/// ```
/// use stemedb_merkle::hash::hash_bodies;
///
/// let mut ids = Vec::new();
/// hash_bodies(None, [b"one".as_slice(), b"another"], &mut ids);
/// assert_eq!(ids[1], *blake3::hash(b"another").as_bytes());
/// ```
pub fn hash_bodies<'a>(
    key: Option<&Hash>,
    bodies: impl IntoIterator<Item = &'a [u8]>,
    hashes: &mut Vec<Hash>,
) {
    let bodies = bodies.into_iter();
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    lanes::hash_bodies(pulp::Arch::new(), key, bodies, hashes);
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    hashes.extend(bodies.map(|body| hash_body(key, body)));
}

fn hash_body(key: Option<&Hash>, body: &[u8]) -> Hash {
    match key {
        None => blake3::hash(body).into(),
        Some(key) => blake3::keyed_hash(key, body).into(),
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[expect(clippy::indexing_slicing, reason = "places below a length that is checked beside them")]
#[expect(
    clippy::inline_always,
    reason = "only what is inlined into `vectorize` is compiled for the wider instructions"
)]
mod lanes {
    use core::ops::Range;

    use super::{BLOCK_LEN, BLOCKS_MAX, BODIES_AT_ONCE, hash_body};
    use crate::{
        hash::{
            simd::{Batch, Lanes, compress, hash_batch_with, key_words, load, splat_key, store},
            words::{CHUNK_END, CHUNK_START, KEY, KEYED_HASH, ROOT},
        },
        id::Hash,
    };

    pub(super) fn hash_bodies<'a>(
        arch: pulp::Arch,
        key: Option<&Hash>,
        mut bodies: impl Iterator<Item = &'a [u8]>,
        hashes: &mut Vec<Hash>,
    ) {
        let most = bodies.size_hint().1.map_or(BODIES_AT_ONCE, |most| most.min(BODIES_AT_ONCE));
        let mut window: Vec<&[u8]> = Vec::with_capacity(most);
        let mut order = Vec::with_capacity(most);
        let (words, flags) = key.map_or((KEY, 0), |key| (key_words(key), KEYED_HASH));
        loop {
            window.clear();
            window.extend(bodies.by_ref().take(BODIES_AT_ONCE));
            if window.is_empty() {
                return;
            }
            let first = hashes.len();
            hashes.resize(first + window.len(), [0; 32]);
            let hashes = &mut hashes[first..];
            sort_by_blocks(&window, &mut order);
            if order.len() < window.len() {
                for (body, hash) in window.iter().zip(&mut *hashes) {
                    if block_count(body) > BLOCKS_MAX {
                        *hash = hash_body(key, body);
                    }
                }
            }
            let (bodies, order) = (&window, &order);
            hash_batch_with(arch, Chunks { key, words, flags, bodies, order, hashes });
        }
    }

    /// Number of blocks of a body: an empty one has one, too.
    fn block_count(body: &[u8]) -> usize {
        body.len().div_ceil(BLOCK_LEN).max(1)
    }

    /// The places of the bodies of at most one chunk, those of fewer blocks first.
    fn sort_by_blocks(bodies: &[&[u8]], order: &mut Vec<usize>) {
        // Where the bodies of so many blocks begin, behind those of fewer.
        let mut starts = [0; BLOCKS_MAX + 2];
        for body in bodies {
            starts[block_count(body).min(BLOCKS_MAX + 1)] += 1;
        }
        let mut before = 0;
        for start in &mut starts {
            before += core::mem::replace(start, before);
        }
        order.clear();
        order.resize(starts[BLOCKS_MAX + 1], 0);
        for (place, body) in bodies.iter().enumerate() {
            let blocks = block_count(body);
            if blocks <= BLOCKS_MAX {
                order[starts[blocks]] = place;
                starts[blocks] += 1;
            }
        }
    }

    /// Bodies of one chunk in the order of their numbers of blocks.
    struct Chunks<'o> {
        key: Option<&'o Hash>,
        words: [u32; 8],
        /// Flags of every block.
        flags: u32,
        bodies: &'o [&'o [u8]],
        order: &'o [usize],
        hashes: &'o mut [Hash],
    }

    impl Batch for Chunks<'_> {
        fn len(&self) -> usize {
            self.order.len()
        }

        fn hash_one(&mut self, input: usize) {
            let place = self.order[input];
            self.hashes[place] = hash_body(self.key, self.bodies[place]);
        }

        #[inline(always)]
        fn hash_some<L: Lanes<C>, const C: usize, const W: usize>(
            &mut self,
            l: L,
            inputs: Range<usize>,
        ) {
            if inputs.len() == 2 {
                // Lanes are as fast for eight.
                return inputs.for_each(|input| self.hash_one(input));
            }
            let places = &self.order[inputs];
            let mut bodies = [&[][..]; W];
            for (body, place) in bodies.iter_mut().zip(places) {
                *body = self.bodies[*place];
            }
            let blocks = places.last().map_or(0, |place| block_count(self.bodies[*place]));
            let mut chaining = splat_key(l, &self.words);
            let mut done = 0;
            for block in 0..blocks {
                chaining = hash_block(l, chaining, &bodies, block, self.flags);
                // All that end here lie together: the others have fewer blocks or more.
                let ends = |place: &&usize| block_count(self.bodies[**place]) == block + 1;
                let ending = places[done..].iter().take_while(ends).count();
                if ending > 0 {
                    let mut hashes = [[0; 32]; W];
                    store(l, chaining, &mut hashes);
                    for lane in done..done + ending {
                        self.hashes[places[lane]] = hashes[lane];
                    }
                    done += ending;
                }
            }
        }
    }

    /// The chaining values behind a block of each body. Lanes whose bodies have ended go on with
    /// zeros, and nobody looks at them.
    #[inline(always)]
    fn hash_block<L: Lanes<C>, const C: usize, const W: usize>(
        l: L,
        chaining: [L::Word; 8],
        bodies: &[&[u8]; W],
        block: usize,
        flags: u32,
    ) -> [L::Word; 8] {
        let end = (block + 1) * BLOCK_LEN;
        let start = if block == 0 { flags | CHUNK_START } else { flags };
        let last = start | CHUNK_END | ROOT;
        let chunk = |block: &[u8; BLOCK_LEN], chunk: usize| block.as_chunks::<16>().0[chunk];
        if bodies.iter().all(|body| body.len() >= end) {
            let mut blocks = [&[0; BLOCK_LEN]; W];
            for (whole, body) in blocks.iter_mut().zip(bodies) {
                *whole = &body.as_chunks().0[block];
            }
            let m = load(l, 4, |lane, quad| chunk(blocks[lane], quad));
            let flags = if bodies.iter().all(|body| body.len() > end) {
                l.splat(start)
            } else if bodies.iter().all(|body| body.len() == end) {
                l.splat(last)
            } else {
                let mut flags = [[start; 4]; C];
                for (flags, body) in flags.as_flattened_mut().iter_mut().zip(bodies) {
                    *flags = if body.len() == end { last } else { start };
                }
                l.words(flags)
            };
            return compress(l, chaining, &m, l.splat(64), flags);
        }
        let mut tails = [[0; BLOCK_LEN]; W];
        let (mut lens, mut all_flags) = ([[0; 4]; C], [[start; 4]; C]);
        let lanes = lens.as_flattened_mut().iter_mut().zip(all_flags.as_flattened_mut());
        for ((tail, body), (len, flags)) in tails.iter_mut().zip(bodies).zip(lanes) {
            let rest = body.get(end - BLOCK_LEN..).unwrap_or(&[]);
            if body.len() <= end {
                *flags = last;
            }
            if let Some(whole) = rest.first_chunk() {
                (*tail, *len) = (*whole, 64);
            } else {
                tail[..rest.len()].copy_from_slice(rest);
                *len = u32::try_from(rest.len()).unwrap_or(64);
            }
        }
        let m = load(l, 4, |lane, quad| chunk(&tails[lane], quad));
        compress(l, chaining, &m, l.words(lens), l.words(all_flags))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(len: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// The hashes by every set of instructions that this processor has.
    fn by_all(key: Option<&Hash>, bodies: &[Vec<u8>]) -> Vec<Vec<Hash>> {
        let bodies = || bodies.iter().map(Vec::as_slice);
        let mut all = vec![Vec::new()];
        hash_bodies(key, bodies(), &mut all[0]);
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        for arch in crate::hash::simd::archs() {
            let mut hashes = Vec::new();
            lanes::hash_bodies(arch, key, bodies(), &mut hashes);
            all.push(hashes);
        }
        all
    }

    fn check(bodies: &[Vec<u8>]) {
        let key = [7; 32];
        let plain: Vec<Hash> = bodies.iter().map(|body| blake3::hash(body).into()).collect();
        for hashes in by_all(None, bodies) {
            assert!(hashes == plain);
        }
        let keyed = bodies.iter().map(|body| blake3::keyed_hash(&key, body).into());
        let keyed: Vec<Hash> = keyed.collect();
        for hashes in by_all(Some(&key), bodies) {
            assert!(hashes == keyed);
        }
        assert!(bodies.is_empty() || plain != keyed);
    }

    #[test]
    fn bodies_of_every_length_have_their_hashes() {
        let all: Vec<Vec<u8>> = (0..=1100).map(|len| bytes(len, 1)).collect();
        check(&all);
        for len in 0..=1100 {
            // As many as fill lanes of all widths, and one that is left over.
            check(&(0..17).map(|seed| bytes(len, seed)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_number_of_bodies_is_hashed() {
        let all: Vec<Vec<u8>> = (0..600).map(|seed| bytes(100, seed)).collect();
        for count in (0..70).chain([255, 256, 257, 511, 600]) {
            check(&all[..count]);
        }
    }

    proptest! {
        #[test]
        fn mixtures_of_lengths_have_their_hashes(
            lens in prop::collection::vec(
                prop_oneof![0_usize..=1024, 0_usize..200, Just(1024), 1025_usize..5000], 0..300
            ),
        ) {
            let bodies = lens.iter().zip(0..).map(|(len, seed)| bytes(*len, seed));
            check(&bodies.collect::<Vec<_>>());
        }
    }

    /// Every bit of a body counts, in each block and lane.
    #[test]
    fn another_body_has_another_hash() {
        for len in [1, 63, 64, 65, 256, 1023, 1024] {
            let bodies: Vec<Vec<u8>> = (0..16).map(|seed| bytes(len, seed)).collect();
            let before = by_all(None, &bodies);
            for lane in 0..16 {
                let mut changed = bodies.clone();
                changed[lane][len * lane / 16] ^= 0x10;
                for (before, after) in before.iter().zip(by_all(None, &changed)) {
                    let differing = (0..16).filter(|at| before[*at] != after[*at]);
                    assert_eq!(differing.collect::<Vec<_>>(), [lane], "{len}");
                }
            }
        }
    }
}

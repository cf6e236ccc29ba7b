//! Many leaves and nodes of the history tree side by side in SIMD lanes.
//!
//! Nodes of one level, and leaves, do not depend on each other: one after the other they would wait
//! for each other all the same, as each round of SHA-256 needs the one before. With AVX-512 sixteen
//! are made at once; elsewhere they are made one after the other. Tested against
//! [`node_hash`] and [`leaf_hash`](super::leaf_hash) bit for bit.

#[cfg(target_arch = "x86_64")]
use super::digest::BLOCK_LEN;
use super::digest::{finish, leaf_blocks, node_blocks};
use crate::{id::Hash, internal::internal_error, timestamp::Timestamp};

/// Number of hashes from which on lanes are faster, if some of them stay empty.
#[cfg(target_arch = "x86_64")]
const LANES_MIN: usize = 8;

/// [`leaf_hash`](super::leaf_hash) of many entries, each of a time and an assertion id: one hash
/// for each, in order.
pub fn leaf_hashes(entries: &[(Timestamp, &Hash)]) -> Vec<Hash> {
    let mut hashes = vec![[0; 32]; entries.len()];
    let blocks = |at: usize| {
        let Some((time, id)) = entries.get(at) else { internal_error("an entry") };
        leaf_blocks(*time, id)
    };
    hash_many(blocks, &mut hashes);
    hashes
}

/// [`node_hash`](super::node_hash) of many pairs, one for each.
pub(super) fn node_hashes(pairs: &[[Hash; 2]], hashes: &mut [Hash]) {
    let blocks = |at: usize| {
        let Some([left, right]) = pairs.get(at) else { internal_error("a pair") };
        node_blocks(left, right)
    };
    hash_many(blocks, hashes);
}

/// SHA-256 of padded inputs of `B` blocks each, one for each output.
#[cfg(target_arch = "x86_64")]
fn hash_many<const B: usize>(
    input: impl Fn(usize) -> [[u8; BLOCK_LEN]; B],
    mut outputs: &mut [Hash],
) {
    let mut from = 0;
    if let pulp::Arch::V4(v4) = pulp::Arch::new() {
        while outputs.len() >= LANES_MIN {
            let (now, later) = outputs.split_at_mut(outputs.len().min(simd::LANES));
            let len = now.len();
            pulp::Simd::vectorize(v4, simd::Hashes { v4, input: |at| input(from + at), now });
            (outputs, from) = (later, from + len);
        }
    }
    hash_one_by_one(|at| input(from + at), outputs);
}

#[cfg(not(target_arch = "x86_64"))]
use hash_one_by_one as hash_many;

fn hash_one_by_one<const B: usize>(input: impl Fn(usize) -> [[u8; 64]; B], outputs: &mut [Hash]) {
    for (at, output) in outputs.iter_mut().enumerate() {
        *output = finish(&input(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::inline_always,
    reason = "only what is inlined into `vectorize` is compiled for the wider instructions"
)]
#[expect(
    clippy::indexing_slicing,
    reason = "constant indices, checked when compiled; a checked access would keep lanes in memory"
)]
#[expect(clippy::many_single_char_names, reason = "the names of FIPS 180-4")]
mod simd {
    use core::arch::x86_64::__m512i;

    use pulp::{Simd, WithSimd, cast, u32x16, x86::V4};

    use super::super::digest::{BLOCK_LEN, INITIAL_STATE};
    use crate::{
        hash::simd::{load, store},
        id::Hash,
    };

    /// Number of inputs side by side.
    pub(super) const LANES: usize = 16;

    /// The constants of SHA-256 (FIPS 180-4, section 4.2.2).
    const K: [[u32; 16]; 4] = [
        [
            0x428a_2f98,
            0x7137_4491,
            0xb5c0_fbcf,
            0xe9b5_dba5,
            0x3956_c25b,
            0x59f1_11f1,
            0x923f_82a4,
            0xab1c_5ed5,
            0xd807_aa98,
            0x1283_5b01,
            0x2431_85be,
            0x550c_7dc3,
            0x72be_5d74,
            0x80de_b1fe,
            0x9bdc_06a7,
            0xc19b_f174,
        ],
        [
            0xe49b_69c1,
            0xefbe_4786,
            0x0fc1_9dc6,
            0x240c_a1cc,
            0x2de9_2c6f,
            0x4a74_84aa,
            0x5cb0_a9dc,
            0x76f9_88da,
            0x983e_5152,
            0xa831_c66d,
            0xb003_27c8,
            0xbf59_7fc7,
            0xc6e0_0bf3,
            0xd5a7_9147,
            0x06ca_6351,
            0x1429_2967,
        ],
        [
            0x27b7_0a85,
            0x2e1b_2138,
            0x4d2c_6dfc,
            0x5338_0d13,
            0x650a_7354,
            0x766a_0abb,
            0x81c2_c92e,
            0x9272_2c85,
            0xa2bf_e8a1,
            0xa81a_664b,
            0xc24b_8b70,
            0xc76c_51a3,
            0xd192_e819,
            0xd699_0624,
            0xf40e_3585,
            0x106a_a070,
        ],
        [
            0x19a4_c116,
            0x1e37_6c08,
            0x2748_774c,
            0x34b0_bcb5,
            0x391c_0cb3,
            0x4ed8_aa4a,
            0x5b9c_ca4f,
            0x682e_6ff3,
            0x748f_82ee,
            0x78a5_636f,
            0x84c8_7814,
            0x8cc7_0208,
            0x90be_fffa,
            0xa450_6ceb,
            0xbef9_a3f7,
            0xc671_78f2,
        ],
    ];

    /// Places of the bytes of each word, the other way round: SHA-256 reads words big-endian.
    const SWAPPED: [u8; 64] = {
        let mut places = [0; 64];
        let mut place = 0;
        while place < 64 {
            #[expect(clippy::cast_possible_truncation, reason = "below 64")]
            {
                // Within each 16 bytes.
                places[place] = ((place % 16) ^ 3) as u8;
            }
            place += 1;
        }
        places
    };

    /// At most [`LANES`] hashes to make.
    pub(super) struct Hashes<'o, I> {
        pub(super) v4: V4,
        pub(super) input: I,
        pub(super) now: &'o mut [Hash],
    }

    impl<const B: usize, I: Fn(usize) -> [[u8; BLOCK_LEN]; B]> WithSimd for Hashes<'_, I> {
        type Output = ();
        /// Lanes left over hash zeros.
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self { v4, input, now } = self;
            let mut blocks = [[[0; BLOCK_LEN]; LANES]; B];
            for lane in 0..now.len() {
                for (lanes, block) in blocks.iter_mut().zip(input(lane)) {
                    lanes[lane] = block;
                }
            }
            let mut state = [v4.splat_u32x16(0); 8];
            for i in 0..8 {
                state[i] = v4.splat_u32x16(INITIAL_STATE[i]);
            }
            for lanes in &blocks {
                let mut words = load(v4, 4, |lane, chunk| lanes[lane].as_chunks::<16>().0[chunk]);
                for word in &mut words {
                    *word = swapped(v4, *word);
                }
                Simd::vectorize(v4, Compress { v4, state: &mut state, words });
            }
            for word in &mut state {
                *word = swapped(v4, *word);
            }
            if let Some(now) = now.first_chunk_mut::<LANES>() {
                return store(v4, state, now);
            }
            let mut hashes = [[0; 32]; LANES];
            store(v4, state, &mut hashes);
            for (output, hash) in now.iter_mut().zip(hashes) {
                *output = hash;
            }
        }
    }

    /// The compression of a block of each lane, compiled once and called.
    struct Compress<'a> {
        v4: V4,
        state: &'a mut [u32x16; 8],
        words: [u32x16; 16],
    }

    impl WithSimd for Compress<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self { v4, state, words: mut w } = self;
            let add = |x, y| v4.wrapping_add_u32x16(x, y);
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
            for (sixteenth, k) in K.iter().enumerate() {
                for t in 0..16 {
                    if sixteenth > 0 {
                        let (s0, s1) = (w[(t + 1) % 16], w[(t + 14) % 16]);
                        let s0 = xor(
                            v4,
                            rotated::<7>(v4, s0),
                            rotated::<18>(v4, s0),
                            shifted::<3>(v4, s0),
                        );
                        let s1 = xor(
                            v4,
                            rotated::<17>(v4, s1),
                            rotated::<19>(v4, s1),
                            shifted::<10>(v4, s1),
                        );
                        w[t] = add(add(w[t], s0), add(w[(t + 9) % 16], s1));
                    }
                    let s1 =
                        xor(v4, rotated::<6>(v4, e), rotated::<11>(v4, e), rotated::<25>(v4, e));
                    // Where a bit of e is set that of f, else that of g.
                    let choice = ternary::<0xca>(v4, e, f, g);
                    let first = add(add(h, add(w[t], v4.splat_u32x16(k[t]))), add(s1, choice));
                    let s0 =
                        xor(v4, rotated::<2>(v4, a), rotated::<13>(v4, a), rotated::<22>(v4, a));
                    let majority = ternary::<0xe8>(v4, a, b, c);
                    (h, g, f, e) = (g, f, e, add(d, first));
                    (d, c, b, a) = (c, b, a, add(first, add(s0, majority)));
                }
            }
            for (word, made) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
                *word = add(*word, made);
            }
        }
    }

    #[inline(always)]
    fn swapped(v4: V4, a: u32x16) -> u32x16 {
        cast(v4.avx512bw._mm512_shuffle_epi8(cast(a), cast(SWAPPED)))
    }

    #[inline(always)]
    fn rotated<const R: i32>(v4: V4, a: u32x16) -> u32x16 {
        cast(v4.avx512f._mm512_ror_epi32::<R>(cast(a)))
    }

    #[inline(always)]
    fn shifted<const R: u32>(v4: V4, a: u32x16) -> u32x16 {
        cast(v4.avx512f._mm512_srli_epi32::<R>(cast(a)))
    }

    #[inline(always)]
    fn xor(v4: V4, a: u32x16, b: u32x16, c: u32x16) -> u32x16 {
        ternary::<0x96>(v4, a, b, c)
    }

    /// The bits of a table of eight, at the places that three bits name.
    #[inline(always)]
    fn ternary<const TABLE: i32>(v4: V4, a: u32x16, b: u32x16, c: u32x16) -> u32x16 {
        let made: __m512i =
            v4.avx512f._mm512_ternarylogic_epi32::<TABLE>(cast(a), cast(b), cast(c));
        cast(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{leaf_hash, node_hash};

    /// Whatever the number, so that lanes stay empty or some are left over.
    #[test]
    fn many_hashes_are_the_hashes() {
        let some = |n: u64| *blake3::hash(&n.to_le_bytes()).as_bytes();
        let pairs: Vec<[Hash; 2]> = (0..70).map(|n| [some(2 * n), some(2 * n + 1)]).collect();
        for count in 0..=pairs.len() {
            let pairs = &pairs[..count];
            let mut hashes = vec![[0xee; 32]; count];
            node_hashes(pairs, &mut hashes);
            let expected = pairs.iter().map(|[left, right]| node_hash(left, right));
            assert!(hashes.iter().copied().eq(expected), "{count} nodes");
            let entries: Vec<(Timestamp, &Hash)> = pairs
                .iter()
                .zip(0..)
                .map(|([id, _], n)| (Timestamp::from_ntp64(u64::MAX - (n << 40)), id))
                .collect();
            let expected = entries.iter().map(|(time, id)| leaf_hash(*time, id));
            assert!(leaf_hashes(&entries).into_iter().eq(expected), "{count} leaves");
        }
    }
}

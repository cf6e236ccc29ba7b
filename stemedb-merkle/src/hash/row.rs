//! One keyed BLAKE3 hash of one short block at a time, for chains of them.
//!
//! Each hash of a path is made of the one before, so that only how soon one is there counts, and
//! lanes side by side are of no use. Here a vector holds a row of the state, as in the BLAKE3
//! paper's section 5.3, and the block of a path's next hash never leaves the registers. Without
//! AVX-512 it is `blake3::keyed_hash`, which this is tested against.

use crate::id::Hash;

/// Folds a chain of hashes upwards: each step joins what there is so far with a sibling, which is
/// on the left if the step says so. All that are made are told, from the lowest to the uppermost.
pub(super) fn fold<'a>(
    key: &Hash,
    start: Hash,
    steps: impl Iterator<Item = (bool, &'a Hash)>,
    made: impl FnMut(&Hash),
) -> Hash {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if let pulp::Arch::V4(v4) = pulp::Arch::new() {
        return pulp::Simd::vectorize(v4, simd::Fold { v4, key, start, steps, made });
    }
    one_at_a_time(key, start, steps, made)
}

/// The keyed hash of one block of two halves.
#[cfg(feature = "std")]
pub(super) fn keyed_hash(key: &Hash, halves: [&Hash; 2]) -> Hash {
    let [left, right] = halves;
    fold(key, *left, core::iter::once((false, right)), |_| {})
}

fn one_at_a_time<'a>(
    key: &Hash,
    start: Hash,
    steps: impl Iterator<Item = (bool, &'a Hash)>,
    mut made: impl FnMut(&Hash),
) -> Hash {
    steps.fold(start, |so_far, (sibling_left, sibling)| {
        let (left, right) = if sibling_left { (sibling, &so_far) } else { (&so_far, sibling) };
        let mut block = [0; 64];
        let (front, back) = block.split_at_mut(32);
        front.copy_from_slice(left);
        back.copy_from_slice(right);
        let hash = *blake3::keyed_hash(key, &block).as_bytes();
        made(&hash);
        hash
    })
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[expect(
    clippy::inline_always,
    reason = "only what is inlined into `vectorize` is compiled for the wider instructions"
)]
#[expect(clippy::many_single_char_names, reason = "the names of the BLAKE3 paper")]
mod simd {
    use core::arch::x86_64::{__m128i, __m512i};

    use pulp::{Simd, WithSimd, cast, x86::V4};

    use crate::{
        hash::words::{FLAGS, IV, SCHEDULE},
        id::Hash,
    };

    pub(super) struct Fold<'a, S, M> {
        pub(super) v4: V4,
        pub(super) key: &'a Hash,
        pub(super) start: Hash,
        pub(super) steps: S,
        pub(super) made: M,
    }

    /// For each round but the first, the words of the message in the order in which the two halves
    /// of the round take them: the even and the odd ones of the columns, then of the diagonals,
    /// these turned by one, since the second row stays where it is.
    const ORDER: [[u32; 16]; 6] = {
        const PLACES: [usize; 16] = [0, 2, 4, 6, 1, 3, 5, 7, 14, 8, 10, 12, 15, 9, 11, 13];
        let mut order = [[0; 16]; 6];
        let mut round = 0;
        while round < 6 {
            let mut place = 0;
            while place < 16 {
                #[expect(clippy::cast_possible_truncation, reason = "below 16")]
                #[expect(clippy::indexing_slicing, reason = "checked when compiled")]
                {
                    order[round][place] = SCHEDULE[round + 1][PLACES[place]] as u32;
                }
                place += 1;
            }
            round += 1;
        }
        order
    };

    type Half = [__m128i; 2];

    /// The four quarter rounds that the rows hold side by side.
    #[inline(always)]
    fn mix(v: V4, rows: &mut [__m128i; 4], x: __m128i, y: __m128i) {
        let (s, f) = (v.sse2, v.avx512f);
        let [a, b, c, d] = rows;
        *a = s._mm_add_epi32(s._mm_add_epi32(*a, x), *b);
        *d = f._mm_ror_epi32::<16>(s._mm_xor_si128(*d, *a));
        *c = s._mm_add_epi32(*c, *d);
        *b = f._mm_ror_epi32::<12>(s._mm_xor_si128(*b, *c));
        *a = s._mm_add_epi32(s._mm_add_epi32(*a, y), *b);
        *d = f._mm_ror_epi32::<8>(s._mm_xor_si128(*d, *a));
        *c = s._mm_add_epi32(*c, *d);
        *b = f._mm_ror_epi32::<7>(s._mm_xor_si128(*b, *c));
    }

    /// A whole round. The second row is done last and is needed first: the others turn around it.
    #[inline(always)]
    fn round(v: V4, rows: &mut [__m128i; 4], words: [__m128i; 4]) {
        let s = v.sse2;
        let [column_x, column_y, diagonal_x, diagonal_y] = words;
        mix(v, rows, column_x, column_y);
        let [a, b, c, d] = *rows;
        *rows = [
            s._mm_shuffle_epi32::<0x93>(a),
            b,
            s._mm_shuffle_epi32::<0x39>(c),
            s._mm_shuffle_epi32::<0x4E>(d),
        ];
        mix(v, rows, diagonal_x, diagonal_y);
        let [a, b, c, d] = *rows;
        *rows = [
            s._mm_shuffle_epi32::<0x39>(a),
            b,
            s._mm_shuffle_epi32::<0x93>(c),
            s._mm_shuffle_epi32::<0x4E>(d),
        ];
    }

    #[inline(always)]
    fn even_and_odd(v: V4, [front, back]: Half) -> Half {
        let (front, back) = (cast(front), cast(back));
        [
            cast(v.sse._mm_shuffle_ps::<0b10_00_10_00>(front, back)),
            cast(v.sse._mm_shuffle_ps::<0b11_01_11_01>(front, back)),
        ]
    }

    #[inline(always)]
    fn compress(v: V4, key: Half, left: Half, right: Half) -> Half {
        let (s, f) = (v.sse2, v.avx512f);
        let [k0, k1] = key;
        let mut rows = [k0, k1, cast(IV), cast([0, 0, 64, FLAGS])];
        let [even, odd] = even_and_odd(v, left);
        let [later_even, later_odd] = even_and_odd(v, right);
        let first = [
            even,
            odd,
            s._mm_shuffle_epi32::<0x93>(later_even),
            s._mm_shuffle_epi32::<0x93>(later_odd),
        ];
        let mut block = f._mm512_castsi128_si512(left[0]);
        block = f._mm512_inserti32x4::<1>(block, left[1]);
        block = f._mm512_inserti32x4::<2>(block, right[0]);
        block = f._mm512_inserti32x4::<3>(block, right[1]);
        round(v, &mut rows, first);
        for order in ORDER {
            let words: __m512i = f._mm512_permutexvar_epi32(cast(order), block);
            round(
                v,
                &mut rows,
                [
                    f._mm512_castsi512_si128(words),
                    f._mm512_extracti32x4_epi32::<1>(words),
                    f._mm512_extracti32x4_epi32::<2>(words),
                    f._mm512_extracti32x4_epi32::<3>(words),
                ],
            );
        }
        let [a, b, c, d] = rows;
        [s._mm_xor_si128(a, c), s._mm_xor_si128(b, d)]
    }

    impl<'s, S, M> WithSimd for Fold<'_, S, M>
    where
        S: Iterator<Item = (bool, &'s Hash)>,
        M: FnMut(&Hash),
    {
        type Output = Hash;
        #[inline(always)]
        fn with_simd<W: Simd>(self, _: W) -> Hash {
            let Self { v4, key, start, steps, mut made } = self;
            let key: Half = cast(*key);
            let mut so_far: Half = cast(start);
            for (sibling_left, sibling) in steps {
                let sibling: Half = cast(*sibling);
                so_far = if sibling_left {
                    compress(v4, key, sibling, so_far)
                } else {
                    compress(v4, key, so_far, sibling)
                };
                made(&cast(so_far));
            }
            cast(so_far)
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_made_of_the_hashes() {
        let key = [7; 32];
        let some = |n: u32| *blake3::hash(&n.to_le_bytes()).as_bytes();
        let siblings: Vec<Hash> = (0..100).map(some).collect();
        let steps = || siblings.iter().map(|sibling| (sibling[0] & 1 == 1, sibling));
        for len in 0..=siblings.len() {
            let (mut told, mut expected_told) = (vec![], vec![]);
            let expected = one_at_a_time(&key, some(1000), steps().take(len), |hash| {
                expected_told.push(*hash);
            });
            let hash = fold(&key, some(1000), steps().take(len), |hash| told.push(*hash));
            assert_eq!(hash, expected, "{len}");
            assert_eq!(told, expected_told, "{len}");
            assert_eq!(told.len(), len);
            assert_eq!(told.last().copied(), (len > 0).then_some(expected), "{len}");
        }
        assert_eq!(fold(&key, some(7), core::iter::empty(), |_| {}), some(7));
        let block = [some(1), some(2)];
        let expected = blake3::keyed_hash(&key, block.as_flattened());
        assert_eq!(&keyed_hash(&key, [&block[0], &block[1]]), expected.as_bytes());
    }
}

//! Many keyed BLAKE3 hashes of one short block each, side by side in SIMD lanes.
//!
//! Every hash of the set tree is of 32 or 64 bytes, that is one BLAKE3 block, so a batch of them
//! is the same compression over other words: lane `i` of each vector belongs to input `i`. The
//! `blake3` crate has such a kernel for whole blocks only and doesn't document it; a leaf of 32
//! bytes needs its own. Where the processor has neither AVX-512 nor AVX2 the hashes are made one
//! at a time by `blake3::keyed_hash`, which all of this is tested against bit for bit.

use crate::id::Hash;

/// Flags of the chunk of a keyed hash that is a root, its own start and its own end:
/// `CHUNK_START | CHUNK_END | ROOT | KEYED_HASH` of the BLAKE3 paper, section 2.2.
#[cfg(target_arch = "x86_64")]
pub(super) const FLAGS: u32 = 1 | 2 | 8 | 16;

/// The initial words of BLAKE3, the first four of which enter every compression.
#[cfg(target_arch = "x86_64")]
pub(super) const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];

/// The word of the message that each of the 16 places of a round takes: the identity, then the
/// permutation of the paper's table 2 applied once more each round.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::indexing_slicing, reason = "checked when compiled")]
pub(super) const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut schedule = [[0; 16]; 7];
    let mut round = 0;
    while round < 7 {
        let mut place = 0;
        while place < 16 {
            schedule[round][place] =
                if round == 0 { place } else { schedule[round - 1][PERMUTATION[place]] };
            place += 1;
        }
        round += 1;
    }
    schedule
};

/// Hashes blocks of `H` halves of 32 bytes each under `key`, one for each output: `outputs[i]` from
/// `input(i)`. `H` is 1 or 2.
pub(crate) fn keyed_hash_many<'a, const H: usize>(
    key: &Hash,
    input: impl Fn(usize) -> [&'a Hash; H],
    outputs: &mut [Hash],
) {
    const { assert!(H == 1 || H == 2) };
    #[cfg(target_arch = "x86_64")]
    if outputs.len() > 1 {
        return simd::dispatch(key, input, outputs);
    }
    one_at_a_time(key, input, outputs);
}

fn one_at_a_time<'a, const H: usize>(
    key: &Hash,
    input: impl Fn(usize) -> [&'a Hash; H],
    outputs: &mut [Hash],
) {
    for (index, output) in outputs.iter_mut().enumerate() {
        let mut halves = [[0; 32]; H];
        for (half, from) in halves.iter_mut().zip(input(index)) {
            *half = *from;
        }
        *output = *blake3::keyed_hash(key, halves.as_flattened()).as_bytes();
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
#[expect(clippy::many_single_char_names, reason = "the names of the BLAKE3 paper")]
mod simd {
    use pulp::{
        Arch, Simd, WithSimd, u32x8, u32x16,
        x86::{V3, V4},
    };

    use super::{FLAGS, Hash, IV, SCHEDULE, one_at_a_time};

    /// Operations of a compression on four bytes of each of `4 * C` inputs.
    trait Lanes<const C: usize>: Copy {
        type Word: Copy;
        fn splat(self, word: u32) -> Self::Word;
        fn add(self, a: Self::Word, b: Self::Word) -> Self::Word;
        fn xor(self, a: Self::Word, b: Self::Word) -> Self::Word;
        fn rotate<const R: i32, const L: i32>(self, a: Self::Word) -> Self::Word;
        fn load(self, chunks: [[u8; 16]; C]) -> Self::Word;
        fn store(self, word: Self::Word) -> [[u8; 16]; C];
        /// Transposes each 4 by 4 block of words that the four vectors hold in one 128-bit lane.
        fn transpose(self, rows: [Self::Word; 4]) -> [Self::Word; 4];
    }

    impl Lanes<4> for V4 {
        type Word = u32x16;
        #[inline(always)]
        fn splat(self, word: u32) -> u32x16 {
            self.splat_u32x16(word)
        }
        #[inline(always)]
        fn add(self, a: u32x16, b: u32x16) -> u32x16 {
            self.wrapping_add_u32x16(a, b)
        }
        #[inline(always)]
        fn xor(self, a: u32x16, b: u32x16) -> u32x16 {
            self.xor_u32x16(a, b)
        }
        #[inline(always)]
        fn rotate<const R: i32, const L: i32>(self, a: u32x16) -> u32x16 {
            pulp::cast(self.avx512f._mm512_ror_epi32::<R>(pulp::cast(a)))
        }
        #[inline(always)]
        fn load(self, chunks: [[u8; 16]; 4]) -> u32x16 {
            pulp::cast(chunks)
        }
        #[inline(always)]
        fn store(self, word: u32x16) -> [[u8; 16]; 4] {
            pulp::cast(word)
        }
        #[inline(always)]
        fn transpose(self, [a, b, c, d]: [u32x16; 4]) -> [u32x16; 4] {
            let (a, b, c, d) = (pulp::cast(a), pulp::cast(b), pulp::cast(c), pulp::cast(d));
            let f = self.avx512f;
            let (ab0, ab1) = (f._mm512_unpacklo_epi32(a, b), f._mm512_unpackhi_epi32(a, b));
            let (cd0, cd1) = (f._mm512_unpacklo_epi32(c, d), f._mm512_unpackhi_epi32(c, d));
            [
                pulp::cast(f._mm512_unpacklo_epi64(ab0, cd0)),
                pulp::cast(f._mm512_unpackhi_epi64(ab0, cd0)),
                pulp::cast(f._mm512_unpacklo_epi64(ab1, cd1)),
                pulp::cast(f._mm512_unpackhi_epi64(ab1, cd1)),
            ]
        }
    }

    impl Lanes<2> for V3 {
        type Word = u32x8;
        #[inline(always)]
        fn splat(self, word: u32) -> u32x8 {
            self.splat_u32x8(word)
        }
        #[inline(always)]
        fn add(self, a: u32x8, b: u32x8) -> u32x8 {
            self.wrapping_add_u32x8(a, b)
        }
        #[inline(always)]
        fn xor(self, a: u32x8, b: u32x8) -> u32x8 {
            self.xor_u32x8(a, b)
        }
        #[inline(always)]
        fn rotate<const R: i32, const L: i32>(self, a: u32x8) -> u32x8 {
            let a = pulp::cast(a);
            let right = self.avx2._mm256_srli_epi32::<R>(a);
            let left = self.avx2._mm256_slli_epi32::<L>(a);
            pulp::cast(self.avx2._mm256_or_si256(right, left))
        }
        #[inline(always)]
        fn load(self, chunks: [[u8; 16]; 2]) -> u32x8 {
            pulp::cast(chunks)
        }
        #[inline(always)]
        fn store(self, word: u32x8) -> [[u8; 16]; 2] {
            pulp::cast(word)
        }
        #[inline(always)]
        fn transpose(self, [a, b, c, d]: [u32x8; 4]) -> [u32x8; 4] {
            let (a, b, c, d) = (pulp::cast(a), pulp::cast(b), pulp::cast(c), pulp::cast(d));
            let f = self.avx2;
            let (ab0, ab1) = (f._mm256_unpacklo_epi32(a, b), f._mm256_unpackhi_epi32(a, b));
            let (cd0, cd1) = (f._mm256_unpacklo_epi32(c, d), f._mm256_unpackhi_epi32(c, d));
            [
                pulp::cast(f._mm256_unpacklo_epi64(ab0, cd0)),
                pulp::cast(f._mm256_unpackhi_epi64(ab0, cd0)),
                pulp::cast(f._mm256_unpacklo_epi64(ab1, cd1)),
                pulp::cast(f._mm256_unpackhi_epi64(ab1, cd1)),
            ]
        }
    }

    /// Half as wide, for few inputs: sooner there than all of the width.
    #[derive(Clone, Copy)]
    struct Half(V4);

    impl Lanes<2> for Half {
        type Word = u32x8;
        #[inline(always)]
        fn splat(self, word: u32) -> u32x8 {
            self.0.splat_u32x8(word)
        }
        #[inline(always)]
        fn add(self, a: u32x8, b: u32x8) -> u32x8 {
            self.0.wrapping_add_u32x8(a, b)
        }
        #[inline(always)]
        fn xor(self, a: u32x8, b: u32x8) -> u32x8 {
            self.0.xor_u32x8(a, b)
        }
        #[inline(always)]
        fn rotate<const R: i32, const L: i32>(self, a: u32x8) -> u32x8 {
            pulp::cast(self.0.avx512f._mm256_ror_epi32::<R>(pulp::cast(a)))
        }
        #[inline(always)]
        fn load(self, chunks: [[u8; 16]; 2]) -> u32x8 {
            pulp::cast(chunks)
        }
        #[inline(always)]
        fn store(self, word: u32x8) -> [[u8; 16]; 2] {
            pulp::cast(word)
        }
        #[inline(always)]
        fn transpose(self, [a, b, c, d]: [u32x8; 4]) -> [u32x8; 4] {
            let (a, b, c, d) = (pulp::cast(a), pulp::cast(b), pulp::cast(c), pulp::cast(d));
            let f = self.0.avx2;
            let (ab0, ab1) = (f._mm256_unpacklo_epi32(a, b), f._mm256_unpackhi_epi32(a, b));
            let (cd0, cd1) = (f._mm256_unpacklo_epi32(c, d), f._mm256_unpackhi_epi32(c, d));
            [
                pulp::cast(f._mm256_unpacklo_epi64(ab0, cd0)),
                pulp::cast(f._mm256_unpackhi_epi64(ab0, cd0)),
                pulp::cast(f._mm256_unpacklo_epi64(ab1, cd1)),
                pulp::cast(f._mm256_unpackhi_epi64(ab1, cd1)),
            ]
        }
    }

    /// The quarter round of BLAKE3 on the words `a`, `b`, `c`, `d` of the state.
    macro_rules! mix {
        ($l:ident, $v:ident, $a:literal, $b:literal, $c:literal, $d:literal, $x:expr, $y:expr) => {
            $v[$a] = $l.add($l.add($v[$a], $v[$b]), $x);
            $v[$d] = $l.rotate::<16, 16>($l.xor($v[$d], $v[$a]));
            $v[$c] = $l.add($v[$c], $v[$d]);
            $v[$b] = $l.rotate::<12, 20>($l.xor($v[$b], $v[$c]));
            $v[$a] = $l.add($l.add($v[$a], $v[$b]), $y);
            $v[$d] = $l.rotate::<8, 24>($l.xor($v[$d], $v[$a]));
            $v[$c] = $l.add($v[$c], $v[$d]);
            $v[$b] = $l.rotate::<7, 25>($l.xor($v[$b], $v[$c]));
        };
    }

    macro_rules! round {
        ($l:ident, $v:ident, $m:ident, $r:literal) => {
            mix!($l, $v, 0, 4, 8, 12, $m[SCHEDULE[$r][0]], $m[SCHEDULE[$r][1]]);
            mix!($l, $v, 1, 5, 9, 13, $m[SCHEDULE[$r][2]], $m[SCHEDULE[$r][3]]);
            mix!($l, $v, 2, 6, 10, 14, $m[SCHEDULE[$r][4]], $m[SCHEDULE[$r][5]]);
            mix!($l, $v, 3, 7, 11, 15, $m[SCHEDULE[$r][6]], $m[SCHEDULE[$r][7]]);
            mix!($l, $v, 0, 5, 10, 15, $m[SCHEDULE[$r][8]], $m[SCHEDULE[$r][9]]);
            mix!($l, $v, 1, 6, 11, 12, $m[SCHEDULE[$r][10]], $m[SCHEDULE[$r][11]]);
            mix!($l, $v, 2, 7, 8, 13, $m[SCHEDULE[$r][12]], $m[SCHEDULE[$r][13]]);
            mix!($l, $v, 3, 4, 9, 14, $m[SCHEDULE[$r][14]], $m[SCHEDULE[$r][15]]);
        };
    }

    /// Hashes one input a lane; `W` is `4 * C`.
    #[inline(always)]
    fn compress<L: Lanes<C>, const C: usize, const W: usize, const H: usize>(
        l: L,
        key: &[u32; 8],
        inputs: &[[&Hash; H]; W],
        outputs: &mut [Hash; W],
    ) {
        let mut m = [l.splat(0); 16];
        for quad in 0..2 * H {
            let mut rows = [l.splat(0); 4];
            for row in 0..4 {
                let mut chunks = [[0; 16]; C];
                for column in 0..C {
                    chunks[column] =
                        inputs[4 * column + row][quad / 2].as_chunks::<16>().0[quad % 2];
                }
                rows[row] = l.load(chunks);
            }
            let rows = l.transpose(rows);
            m[4 * quad] = rows[0];
            m[4 * quad + 1] = rows[1];
            m[4 * quad + 2] = rows[2];
            m[4 * quad + 3] = rows[3];
        }
        let mut v = [l.splat(0); 16];
        for i in 0..8 {
            v[i] = l.splat(key[i]);
        }
        for i in 0..4 {
            v[i + 8] = l.splat(IV[i]);
        }
        v[14] = l.splat(if H == 2 { 64 } else { 32 });
        v[15] = l.splat(FLAGS);
        round!(l, v, m, 0);
        round!(l, v, m, 1);
        round!(l, v, m, 2);
        round!(l, v, m, 3);
        round!(l, v, m, 4);
        round!(l, v, m, 5);
        round!(l, v, m, 6);
        for half in 0..2 {
            let mut words = [l.splat(0); 4];
            for i in 0..4 {
                words[i] = l.xor(v[4 * half + i], v[4 * half + i + 8]);
            }
            let words = l.transpose(words);
            for row in 0..4 {
                let chunks = l.store(words[row]);
                for column in 0..C {
                    outputs[4 * column + row].as_chunks_mut::<16>().0[half] = chunks[column];
                }
            }
        }
    }

    /// Hashes as many inputs as there are lanes, or fewer: lanes left over hash zeros.
    #[inline(always)]
    fn compress_some<'a, L: Lanes<C>, const C: usize, const W: usize, const H: usize>(
        l: L,
        key: &[u32; 8],
        input: impl Fn(usize) -> [&'a Hash; H],
        outputs: &mut [Hash],
    ) {
        let mut inputs = [[&[0; 32]; H]; W];
        for (index, lane) in inputs.iter_mut().enumerate().take(outputs.len()) {
            *lane = input(index);
        }
        if let Some(outputs) = outputs.first_chunk_mut() {
            return compress(l, key, &inputs, outputs);
        }
        let mut hashes = [[0; 32]; W];
        compress(l, key, &inputs, &mut hashes);
        for (output, hash) in outputs.iter_mut().zip(hashes) {
            *output = hash;
        }
    }

    struct Wide<'o, I> {
        key: &'o Hash,
        input: I,
        outputs: &'o mut [Hash],
        v4: V4,
    }

    impl<'a, const H: usize, I: Fn(usize) -> [&'a Hash; H]> WithSimd for Wide<'_, I> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self { key, input, outputs, v4 } = self;
            let words = words(key);
            let mut from = 0;
            for outputs in outputs.chunks_mut(16) {
                let len = outputs.len();
                let input = |index| input(from + index);
                match len {
                    1 => one_at_a_time(key, input, outputs),
                    2..=8 => compress_some::<_, 2, 8, H>(Half(v4), &words, input, outputs),
                    _ => compress_some::<_, 4, 16, H>(v4, &words, input, outputs),
                }
                from += len;
            }
        }
    }

    struct Narrow<'o, I> {
        key: &'o Hash,
        input: I,
        outputs: &'o mut [Hash],
        v3: V3,
    }

    impl<'a, const H: usize, I: Fn(usize) -> [&'a Hash; H]> WithSimd for Narrow<'_, I> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self { key, input, outputs, v3 } = self;
            let words = words(key);
            let mut from = 0;
            for outputs in outputs.chunks_mut(8) {
                let len = outputs.len();
                let input = |index| input(from + index);
                match len {
                    1 => one_at_a_time(key, input, outputs),
                    _ => compress_some::<_, 2, 8, H>(v3, &words, input, outputs),
                }
                from += len;
            }
        }
    }

    fn words(key: &Hash) -> [u32; 8] {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        words
    }

    pub(super) fn dispatch<'a, const H: usize>(
        key: &Hash,
        input: impl Fn(usize) -> [&'a Hash; H],
        outputs: &mut [Hash],
    ) {
        match Arch::new() {
            Arch::V4(v4) => Simd::vectorize(v4, Wide { key, input, outputs, v4 }),
            Arch::V3(v3) => Simd::vectorize(v3, Narrow { key, input, outputs, v3 }),
            _ => one_at_a_time(key, input, outputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the `blake3` crate bit for bit, for every count that fills lanes differently.
    #[test]
    fn many_hashes_are_the_hashes() {
        fn check<const H: usize>() {
            let key = [7; 32];
            let inputs: Vec<[Hash; H]> = (0..70_u64)
                .map(|n| {
                    let mut input = [[0; 32]; H];
                    let mut xof = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
                    xof.fill(input.as_flattened_mut());
                    input
                })
                .collect();
            for count in 0..=inputs.len() {
                let mut outputs = vec![[0xEE; 32]; count];
                keyed_hash_many(&key, |index| inputs[index].each_ref(), &mut outputs);
                for (input, output) in inputs.iter().zip(&outputs) {
                    let expected = blake3::keyed_hash(&key, input.as_flattened());
                    assert_eq!(output, expected.as_bytes(), "{H}, {count}");
                }
            }
        }
        check::<1>();
        check::<2>();
    }
}

//! BLAKE3 compressions side by side in SIMD lanes: lane `i` of each vector belongs to input `i`.
//!
//! The `blake3` crate has such a kernel for whole blocks and equal lengths only and doesn't
//! document it. Where the processor has neither AVX-512 nor AVX2, inputs are hashed one at a time.

#![expect(
    clippy::inline_always,
    reason = "only what is inlined into `vectorize` is compiled for the wider instructions"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "constant indices, checked when compiled; a checked access would keep lanes in memory"
)]
#![expect(clippy::many_single_char_names, reason = "the names of the BLAKE3 paper")]

use core::ops::Range;

use pulp::{
    Arch, Simd, WithSimd, u32x8, u32x16,
    x86::{V3, V4},
};

use super::words::{IV, SCHEDULE};
use crate::id::Hash;

/// Operations of a compression on four bytes of each of `4 * C` inputs.
pub(crate) trait Lanes<const C: usize>: Copy {
    type Word: Copy;
    fn splat(self, word: u32) -> Self::Word;
    fn add(self, a: Self::Word, b: Self::Word) -> Self::Word;
    fn xor(self, a: Self::Word, b: Self::Word) -> Self::Word;
    fn rotate<const R: i32, const L: i32>(self, a: Self::Word) -> Self::Word;
    fn load(self, chunks: [[u8; 16]; C]) -> Self::Word;
    /// A word of each lane.
    fn words(self, words: [[u32; 4]; C]) -> Self::Word;
    fn store(self, word: Self::Word) -> [[u8; 16]; C];
    /// Transposes each 4 by 4 block of words that the four vectors hold in one 128-bit lane.
    fn transpose(self, rows: [Self::Word; 4]) -> [Self::Word; 4];
    /// Calls a function that is compiled for these instructions, once for all its callers.
    fn call(self, function: impl WithSimd<Output = ()>);
}

impl Lanes<4> for V4 {
    type Word = u32x16;
    #[inline(always)]
    fn call(self, function: impl WithSimd<Output = ()>) {
        Simd::vectorize(self, function);
    }
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
    fn words(self, words: [[u32; 4]; 4]) -> u32x16 {
        pulp::cast(words)
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
    fn call(self, function: impl WithSimd<Output = ()>) {
        Simd::vectorize(self, function);
    }
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
    fn words(self, words: [[u32; 4]; 2]) -> u32x8 {
        pulp::cast(words)
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
pub(super) struct Half(V4);

impl Lanes<2> for Half {
    type Word = u32x8;
    #[inline(always)]
    fn call(self, function: impl WithSimd<Output = ()>) {
        Simd::vectorize(self.0, function);
    }
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
    fn words(self, words: [[u32; 4]; 2]) -> u32x8 {
        pulp::cast(words)
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

/// Loads up to 16 words of a message: `chunk` gives 16 bytes of a lane by their number.
#[inline(always)]
pub(crate) fn load<L: Lanes<C>, const C: usize>(
    l: L,
    chunks: usize,
    chunk: impl Fn(usize, usize) -> [u8; 16],
) -> [L::Word; 16] {
    let mut m = [l.splat(0); 16];
    for quad in 0..chunks {
        let mut rows = [l.splat(0); 4];
        for (row, words) in rows.iter_mut().enumerate() {
            let mut chunks = [[0; 16]; C];
            for (column, bytes) in chunks.iter_mut().enumerate() {
                *bytes = chunk(4 * column + row, quad);
            }
            *words = l.load(chunks);
        }
        let rows = l.transpose(rows);
        m[4 * quad] = rows[0];
        m[4 * quad + 1] = rows[1];
        m[4 * quad + 2] = rows[2];
        m[4 * quad + 3] = rows[3];
    }
    m
}

/// The compression of the first chunk: from the chaining value before a block to the one behind.
///
/// A function of its own, and not inlined: its thousand instructions take a second to compile each
/// time, and a call for 16 blocks is nothing.
#[inline(always)]
pub(super) fn compress<L: Lanes<C>, const C: usize>(
    l: L,
    mut chaining: [L::Word; 8],
    m: &[L::Word; 16],
    len: L::Word,
    flags: L::Word,
) -> [L::Word; 8] {
    l.call(Compress { l, chaining: &mut chaining, m, len, flags });
    chaining
}

struct Compress<'a, L: Lanes<C>, const C: usize> {
    l: L,
    chaining: &'a mut [L::Word; 8],
    m: &'a [L::Word; 16],
    len: L::Word,
    flags: L::Word,
}

impl<L: Lanes<C>, const C: usize> WithSimd for Compress<'_, L, C> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { l, chaining, m, len, flags } = self;
        let mut v = [l.splat(0); 16];
        v[..8].copy_from_slice(chaining);
        for i in 0..4 {
            v[i + 8] = l.splat(IV[i]);
        }
        v[14] = len;
        v[15] = flags;
        round!(l, v, m, 0);
        round!(l, v, m, 1);
        round!(l, v, m, 2);
        round!(l, v, m, 3);
        round!(l, v, m, 4);
        round!(l, v, m, 5);
        round!(l, v, m, 6);
        for i in 0..8 {
            chaining[i] = l.xor(v[i], v[i + 8]);
        }
    }
}

/// Stores the chaining value of each lane; `W` is `4 * C`.
#[inline(always)]
pub(crate) fn store<L: Lanes<C>, const C: usize, const W: usize>(
    l: L,
    chaining: [L::Word; 8],
    outputs: &mut [Hash; W],
) {
    for half in 0..2 {
        let mut words = [l.splat(0); 4];
        for i in 0..4 {
            words[i] = chaining[4 * half + i];
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

/// The words of a key.
pub(super) fn key_words(key: &Hash) -> [u32; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// The same key in each lane.
#[inline(always)]
pub(super) fn splat_key<L: Lanes<C>, const C: usize>(l: L, key: &[u32; 8]) -> [L::Word; 8] {
    let mut words = [l.splat(0); 8];
    for i in 0..8 {
        words[i] = l.splat(key[i]);
    }
    words
}

/// Inputs to be hashed, a few at a time.
pub(super) trait Batch {
    /// Number of inputs.
    fn len(&self) -> usize;
    /// Hashes one input.
    fn hash_one(&mut self, input: usize);
    /// Hashes at most `W`, which is `4 * C`.
    fn hash_some<L: Lanes<C>, const C: usize, const W: usize>(
        &mut self,
        l: L,
        inputs: Range<usize>,
    );
}

struct Wide<B>(V4, B);

impl<B: Batch> WithSimd for Wide<B> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(v4, mut batch) = self;
        let len = batch.len();
        for from in (0..len).step_by(16) {
            let inputs = from..len.min(from + 16);
            match inputs.len() {
                1 => batch.hash_one(from),
                2..=8 => batch.hash_some::<_, 2, 8>(Half(v4), inputs),
                _ => batch.hash_some::<_, 4, 16>(v4, inputs),
            }
        }
    }
}

struct Narrow<B>(V3, B);

impl<B: Batch> WithSimd for Narrow<B> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(v3, mut batch) = self;
        let len = batch.len();
        for from in (0..len).step_by(8) {
            let inputs = from..len.min(from + 8);
            match inputs.len() {
                1 => batch.hash_one(from),
                _ => batch.hash_some::<_, 2, 8>(v3, inputs),
            }
        }
    }
}

/// Hashes all inputs of a batch with the instructions of this processor.
pub(super) fn hash_batch(batch: impl Batch) {
    hash_batch_with(Arch::new(), batch);
}

pub(super) fn hash_batch_with(arch: Arch, mut batch: impl Batch) {
    match arch {
        Arch::V4(v4) => Simd::vectorize(v4, Wide(v4, batch)),
        Arch::V3(v3) => Simd::vectorize(v3, Narrow(v3, batch)),
        _ => (0..batch.len()).for_each(|input| batch.hash_one(input)),
    }
}

/// Every set of instructions that this processor has.
#[cfg(test)]
pub(crate) fn archs() -> Vec<Arch> {
    let all = [V4::try_new().map(Arch::V4), V3::try_new().map(Arch::V3), Some(Arch::Scalar)];
    all.into_iter().flatten().collect()
}

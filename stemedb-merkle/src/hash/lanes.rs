//! Many keyed BLAKE3 hashes of one short block each, side by side in SIMD lanes.
//!
//! Every hash of the set tree is of 32 or 64 bytes, that is one BLAKE3 block, so a batch of them
//! is the same compression over other words. All of this is tested against `blake3::keyed_hash` bit
//! for bit.

#[cfg(target_arch = "x86_64")]
use super::{
    simd::{Batch, Lanes, compress, hash_batch, key_words, load, splat_key, store},
    words::FLAGS,
};
use crate::id::Hash;

/// Hashes blocks of `H` halves of 32 bytes each under `key`, one for each output: `outputs[i]` from
/// `input(i)`. `H` is 1 or 2.
pub(crate) fn keyed_hash_many<'a, const H: usize>(
    key: &Hash,
    input: impl Fn(usize) -> [&'a Hash; H],
    outputs: &mut [Hash],
) {
    const { assert!(H == 1 || H == 2) };
    #[cfg(target_arch = "x86_64")]
    hash_batch(Blocks { key, words: key_words(key), input, outputs });
    #[cfg(not(target_arch = "x86_64"))]
    for (index, output) in outputs.iter_mut().enumerate() {
        *output = keyed_hash(key, input(index));
    }
}

fn keyed_hash<const H: usize>(key: &Hash, halves: [&Hash; H]) -> Hash {
    *blake3::keyed_hash(key, halves.map(|half| *half).as_flattened()).as_bytes()
}

#[cfg(target_arch = "x86_64")]
struct Blocks<'o, I> {
    key: &'o Hash,
    words: [u32; 8],
    input: I,
    outputs: &'o mut [Hash],
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
impl<'a, const H: usize, I: Fn(usize) -> [&'a Hash; H]> Batch for Blocks<'_, I> {
    fn len(&self) -> usize {
        self.outputs.len()
    }

    fn hash_one(&mut self, input: usize) {
        self.outputs[input] = keyed_hash(self.key, (self.input)(input));
    }

    /// Lanes left over hash zeros.
    #[inline(always)]
    fn hash_some<L: Lanes<C>, const C: usize, const W: usize>(
        &mut self,
        l: L,
        inputs: core::ops::Range<usize>,
    ) {
        let outputs = &mut self.outputs[inputs.clone()];
        let mut lanes = [[&[0; 32]; H]; W];
        for (input, lane) in inputs.zip(&mut lanes) {
            *lane = (self.input)(input);
        }
        let m = load(l, 2 * H, |lane, chunk| lanes[lane][chunk / 2].as_chunks::<16>().0[chunk % 2]);
        let len = l.splat(if H == 2 { 64 } else { 32 });
        let made = compress(l, splat_key(l, &self.words), &m, len, l.splat(FLAGS));
        if let Some(outputs) = outputs.first_chunk_mut::<W>() {
            return store(l, made, outputs);
        }
        let mut hashes = [[0; 32]; W];
        store(l, made, &mut hashes);
        for (output, hash) in outputs.iter_mut().zip(hashes) {
            *output = hash;
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
                let check = |outputs: &[Hash]| {
                    for (input, output) in inputs.iter().zip(outputs) {
                        let expected = blake3::keyed_hash(&key, input.as_flattened());
                        assert_eq!(output, expected.as_bytes(), "{H}, {count}");
                    }
                };
                let input = |index: usize| inputs[index].each_ref();
                let mut outputs = vec![[0xEE; 32]; count];
                keyed_hash_many(&key, input, &mut outputs);
                check(&outputs);
                #[cfg(target_arch = "x86_64")]
                for arch in crate::hash::simd::archs() {
                    outputs.fill([0xEE; 32]);
                    let (key, words) = (&key, key_words(&key));
                    let batch = Blocks { key, words, input, outputs: &mut outputs };
                    crate::hash::simd::hash_batch_with(arch, batch);
                    check(&outputs);
                }
            }
        }
        check::<1>();
        check::<2>();
    }
}

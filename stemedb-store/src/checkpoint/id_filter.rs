//! Filter over the ids of a checkpoint file: what most new ids are not in is told by one cache line
//! of it, so that they touch no cold page of the arrays.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom
//! filters, 2007) whose blocks are cache lines of eight words, with one bit of an id in each word.
//! Blocks are in the order of the ids, which are hashes already: sorted ids fill them front to
//! back.

use core::ops::Range;

use stemedb_merkle::{Hash, MappedSetError};

use super::{
    blocks::{BlockFile, BlockWriter},
    payload::{Array, FilterBlock, elements},
};

/// How many ids there are to a block: 1.25 bytes each, and 1 in 90 other ids is taken for one.
const IDS_PER_BLOCK: usize = 51;

/// How many ids are looked up at once, so that the processor waits for their cache lines together.
const LOOKUPS_AT_ONCE: usize = 64;

/// Filter that is filled before it is written.
#[derive(Debug)]
pub(super) struct IdFilter {
    blocks: Vec<[u64; 8]>,
}

impl IdFilter {
    /// For so many ids, which a checkpoint file can hold.
    pub(super) fn new(ids: u64) -> Self {
        let blocks = ids.div_ceil(IDS_PER_BLOCK as u64);
        Self { blocks: (0..blocks).map(|_| [0; 8]).collect() }
    }

    pub(super) fn insert(&mut self, id: &Hash) {
        let (at, bits) = place(id, self.blocks.len());
        for (word, bit) in self.blocks.get_mut(at).into_iter().flatten().zip(bits) {
            *word |= bit;
        }
    }

    /// Writes it, each block in a cache line of the file.
    pub(super) fn write(
        &self,
        writer: &mut BlockWriter<'_>,
    ) -> std::io::Result<Array<FilterBlock>> {
        writer.align(size_of::<FilterBlock>())?;
        let array = Array::new(writer.len(), self.blocks.len());
        for word in self.blocks.as_flattened() {
            writer.write(&word.to_le_bytes())?;
        }
        Ok(array)
    }
}

/// How many bytes a filter over so many ids has.
pub(super) fn filter_len(ids: usize) -> usize {
    ids.div_ceil(IDS_PER_BLOCK) * size_of::<FilterBlock>()
}

/// Whether each of the ids may be in the file: certainly if it is, and rarely if it is not. Those
/// of which `maybe` is set already are left out.
pub(super) fn look_up(
    file: &BlockFile,
    filter: &Range<usize>,
    ids: &[Hash],
    maybe: &mut [bool],
) -> Result<(), MappedSetError> {
    let blocks = filter.len() / size_of::<FilterBlock>();
    if blocks == 0 {
        return Ok(());
    }
    for (ids, maybe) in ids.chunks(LOOKUPS_AT_ONCE).zip(maybe.chunks_mut(LOOKUPS_AT_ONCE)) {
        for id in ids.iter().filter(|_| ids.len() > 1) {
            let (at, _) = place(id, blocks);
            file.touch(filter.start + at * size_of::<FilterBlock>(), 1);
        }
        for (id, maybe) in ids.iter().zip(maybe).filter(|(_, maybe)| !**maybe) {
            let (at, bits) = place(id, blocks);
            let mut block: [FilterBlock; 1] = [[0; 64]];
            elements(file, filter, at, &mut block)?;
            let words = block.as_flattened().as_chunks::<8>().0.iter();
            let lacking = words
                .zip(bits)
                .fold(0, |lacking, (word, bit)| lacking | bit & !u64::from_le_bytes(*word));
            *maybe = lacking == 0;
        }
    }
    Ok(())
}

/// The block of an id, by its first eight bytes, and its bit in each word, by the next eight.
fn place(id: &Hash, blocks: usize) -> (usize, [u64; 8]) {
    let (&[first, second, ..], _) = id.as_chunks::<8>() else {
        unreachable!("internal error: the words of an id")
    };
    let product = u128::from(u64::from_be_bytes(first)) * blocks as u128;
    let at = usize::try_from(product >> 64);
    let at = at.unwrap_or_else(|_| unreachable!("internal error: a block behind the last"));
    let second = u64::from_be_bytes(second);
    (at, core::array::from_fn(|word| 1 << (second >> (6 * word) & 63)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> Hash {
        *blake3::hash(&n.to_le_bytes()).as_bytes()
    }

    fn may_have(filter: &IdFilter, id: &Hash) -> bool {
        let (at, bits) = place(id, filter.blocks.len());
        filter.blocks.get(at).is_some_and(|block| block.iter().zip(bits).all(|(w, b)| w & b != 0))
    }

    #[test]
    fn all_ids_are_found_and_few_others() {
        for len in [0_u64, 1, 50, 51, 52, 1_000, 100_000] {
            let mut filter = IdFilter::new(len);
            (0..len).for_each(|n| filter.insert(&id(n)));
            assert!((0..len).all(|n| may_have(&filter, &id(n))));
            let wrong = (len..len + 100_000).filter(|n| may_have(&filter, &id(*n))).count();
            assert!(wrong < 1_500, "{wrong} of 100,000 over {len} ids");
            assert!(len < 100_000 || wrong > 500, "{wrong}: too good to be true");
        }
    }

    /// Blocks are in the order of the ids, and the last one is used.
    #[test]
    fn sorted_ids_come_to_the_blocks_in_order() {
        for blocks in [1, 2, 3, 51, 1_000_003] {
            let mut ids: Vec<Hash> = (0..1_000).map(id).collect();
            ids.extend([[0; 32], [255; 32]]);
            ids.sort_unstable();
            let at: Vec<usize> = ids.iter().map(|id| place(id, blocks).0).collect();
            assert!(at.is_sorted());
            assert_eq!((at.first(), at.last()), (Some(&0), Some(&(blocks - 1))));
        }
    }
}

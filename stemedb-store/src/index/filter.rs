//! Tells of most ids that they are not in the set tree, without looking there.

use stemedb_merkle::{Entry, Hash};

/// A Bloom filter in blocks of one half cache line (Putze, Sanders, Singler 2007), made of parts
/// that each hold four times as many ids as the one before.
///
/// Takes 2 to 3 bytes an id, and has not seen 99 of 100 ids that it does not know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    blocks: Vec<Block>,
    /// How many more ids it takes in.
    room: usize,
}

type Block = [u32; 8];

/// How many ids the first part takes in.
const FIRST_PART_LEN: usize = 1 << 14;

/// How many ids there are to a block, of 256 bits.
const BLOCK_LEN: usize = 16;

/// Odd multipliers that spread 32 bits, one for each word of a block.
const SPREAD: Block = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
    0xd6e8_feb9,
    0xcf9c_7a3b,
    0x5851_f42d,
];

impl Filter {
    /// Takes in ids.
    pub(crate) fn extend(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.insert(&entry.id);
        }
    }

    fn insert(&mut self, id: &Hash) {
        if self.parts.last().is_none_or(|part| part.room == 0) {
            let len = FIRST_PART_LEN << (2 * self.parts.len()).min(20);
            self.parts.push(Part { blocks: vec![[0; 8]; len / BLOCK_LEN], room: len });
        }
        let Some(part) = self.parts.last_mut() else { return };
        part.room -= 1;
        let (at, bits) = place(id, part.blocks.len());
        if let Some(block) = part.blocks.get_mut(at) {
            for (word, bit) in block.iter_mut().zip(bits) {
                *word |= bit;
            }
        }
    }

    /// Whether the id may have been inserted: certainly if it was, and rarely if it was not.
    pub(super) fn may_have(&self, id: &Hash) -> bool {
        self.parts.iter().rev().any(|part| {
            let (at, bits) = place(id, part.blocks.len());
            // All words at once: which of them is the first that lacks its bit can't be foreseen.
            let lacking =
                |block: &Block| block.iter().zip(bits).fold(0, |all, (w, b)| all | b & !w);
            part.blocks.get(at).is_some_and(|block| lacking(block) == 0)
        })
    }
}

/// The block of an id, and its bit in each word.
fn place(id: &Hash, blocks: usize) -> (usize, Block) {
    // Ids are hashes. The blocks are in the order of the ids, so that sorted ones come to them in
    // the order of memory.
    let word = |from: usize| {
        let bytes = id.get(from..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    let at = usize::try_from((u64::from(word(0)) * blocks as u64) >> 32).unwrap_or(0);
    let low = word(4);
    (at, SPREAD.map(|factor| 1 << (low.wrapping_mul(factor) >> 27)))
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn has_all_that_it_was_given_and_little_else() {
        let id = |n: u64| *blake3::hash(&n.to_le_bytes()).as_bytes();
        let mut filter = Filter::default();
        assert!(!filter.may_have(&id(0)));
        let len = 200_000;
        for n in 0..len {
            filter.insert(&id(n));
        }
        assert!((0..len).all(|n| filter.may_have(&id(n))));
        let wrong = (len..2 * len).filter(|n| filter.may_have(&id(*n))).count();
        assert!(wrong < 2000 * 2, "{wrong} of {len}");
        assert!(wrong > 0, "{wrong}: too good to be true");
    }
}

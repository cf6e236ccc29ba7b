//! Layout of hashes in blocks, and of blocks in a base.

use crate::internal::internal_error;

/// Least number of ids of a page of the base on average; the largest is less than twice as many.
const PAGE_LEN_AIM: u64 = 11;

/// Largest number of bits of the ids that an inner node or a block spans.
pub(crate) const NODE_BITS_MAX: usize = 4;

/// Name of a block of hashes: it is the one below the first `depth` bits, a multiple of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockKey {
    /// Number of bits; at most 32.
    pub depth: usize,
    /// The bits, as a number.
    pub prefix: u64,
}

/// Number of bits of an id that name its page, in a base of `len` ids.
pub fn page_bits(len: u64) -> usize {
    (len / PAGE_LEN_AIM).checked_ilog2().unwrap_or(0).min(28) as usize
}

/// Number of bits that the block at `depth` spans where pages have `page_bits`: none from the pages
/// on.
pub fn block_bits(depth: usize, page_bits: usize) -> usize {
    page_bits.saturating_sub(depth).min(NODE_BITS_MAX)
}

/// Number of bits from `depth` to the next block, or to the pages.
pub(crate) fn rest_of_block(depth: usize, page_bits: usize) -> usize {
    block_bits(depth, page_bits).min(NODE_BITS_MAX - depth % NODE_BITS_MAX)
}

/// The block that a subtree's hash is in, and the hash's place there.
pub(crate) fn place_in_block(depth: usize, prefix: u64) -> (BlockKey, usize) {
    let above = depth.saturating_sub(1) / NODE_BITS_MAX * NODE_BITS_MAX;
    let level = depth - above;
    let key = BlockKey { depth: above, prefix: prefix >> level };
    (key, level_start(level) + index(prefix & ((1 << level) - 1)))
}

/// Number of hashes in all blocks of a base with pages of `page_bits`.
pub fn hashes_len(page_bits: usize) -> usize {
    block_start(page_bits.next_multiple_of(NODE_BITS_MAX), 0, page_bits)
}

/// Place of the hashes of a block among all of a base: by depth, then by prefix.
pub(crate) fn block_start(depth: usize, prefix: u64, page_bits: usize) -> usize {
    let above: usize = (0..depth)
        .step_by(NODE_BITS_MAX)
        .map(|depth| (1_usize << depth) * level_start(block_bits(depth, page_bits) + 1))
        .sum();
    above + index(prefix) * level_start(block_bits(depth, page_bits) + 1)
}

/// Place of the hashes of the subtrees of `level` bits in a node or a block.
pub(crate) const fn level_start(level: usize) -> usize {
    (1 << level) - 2
}

/// A prefix or a place as an index: below 2^32.
pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or_else(|_| internal_error("the place of a large number"))
}

//! Reading single hashes where they lie.

use super::{
    arrays::DeltaArrays,
    error::MappedSetError,
    layout::{BlockKey, block_start, place_in_block},
    mapped_set::MappedSet,
};
use crate::{hash::EMPTY, id::Hash};

/// Number of hashes beside a path that are prefetched: those above are shared by many paths.
const PREFETCHED_LEVELS: usize = 3;

/// The hashes of a mapped set, read one by one. The place of the last block is kept, since finding
/// it in deltas is a search.
#[derive(Debug)]
pub(crate) struct Blocks<'a> {
    mapped: &'a MappedSet,
    key: Option<BlockKey>,
    /// Place of that block in the base.
    start: usize,
    /// The delta that has it, and its number there.
    changed: Option<(&'a dyn DeltaArrays, usize)>,
}

impl MappedSet {
    /// Its hashes, to be read one by one.
    pub(crate) fn blocks(&self) -> Blocks<'_> {
        Blocks { mapped: self, key: None, start: 0, changed: None }
    }
}

impl Blocks<'_> {
    /// Prefetches the hashes beside the lower end of the path to a page of the base.
    pub(crate) fn prefetch(&self, page: u64) {
        let page_bits = self.mapped.page_bits;
        let mut sum = 0;
        for level in page_bits.saturating_sub(PREFETCHED_LEVELS) + 1..=page_bits {
            let (key, place) = place_in_block(level, page >> (page_bits - level) ^ 1);
            let start = block_start(key.depth, key.prefix, page_bits);
            let mut hash = [EMPTY];
            // Damage is found on reading.
            let read = self.mapped.base.hashes(start + place, &mut hash);
            sum += usize::from(read.is_ok()) + usize::from(hash[0][0]);
        }
        core::hint::black_box(sum);
    }

    /// The hash of the subtree at `depth` with this prefix; zeros if it has no ids. Not the
    /// uppermost one, and none below the pages.
    pub(crate) fn hash(&mut self, depth: usize, prefix: u64) -> Result<Hash, MappedSetError> {
        let (key, place) = place_in_block(depth, prefix);
        if self.key != Some(key) {
            self.key = None;
            self.changed = self.mapped.changed_block(key)?;
            self.start = block_start(key.depth, key.prefix, self.mapped.page_bits);
            self.key = Some(key);
        }
        let mut hash = [EMPTY];
        match self.changed {
            Some((delta, number)) => delta.block_hashes(key, number, place, &mut hash)?,
            None => self.mapped.base.hashes(self.start + place, &mut hash)?,
        }
        let [hash] = hash;
        Ok(hash)
    }
}

//! A base and its deltas as one set.

use std::{ops::Range, sync::Arc};

use super::{
    arrays::{BaseArrays, BlockState, DeltaArrays},
    delta::DeltaCursor,
    error::MappedSetError,
    layout::{
        BlockKey, NODE_BITS_MAX, block_bits, block_start, index, level_start, page_bits,
        place_in_block,
    },
    page::{compare, delta_position, find_in_page, in_order},
    position::unpack_position,
};
use crate::{
    hash,
    id::Hash,
    internal::internal_error,
    set::{
        bits::prefix,
        entry::Entry,
        node::{self, Child, NodeMut, NodeRef, State},
        plan::Plan,
    },
};

/// A base and the deltas on top of it, newest last.
#[derive(Clone, Debug)]
pub struct MappedSet {
    pub(super) base: Arc<dyn BaseArrays>,
    pub(crate) deltas: Vec<Arc<dyn DeltaArrays>>,
    pub(super) page_bits: usize,
}

impl MappedSet {
    /// Puts a base and its deltas together, newest last.
    pub fn new(base: Arc<dyn BaseArrays>, deltas: Vec<Arc<dyn DeltaArrays>>) -> Self {
        let page_bits = page_bits(base.len() as u64);
        Self { base, deltas, page_bits }
    }

    /// Number of bits of an id that name its page.
    pub(crate) fn page_bits(&self) -> usize {
        self.page_bits
    }

    /// Number of parts: the base, which is number 0, and the deltas, the newest last.
    pub fn parts(&self) -> usize {
        1 + self.deltas.len()
    }

    /// Number of ids of all parts together; they have none in common.
    pub fn len(&self) -> u64 {
        self.base.len() as u64 + self.deltas.iter().map(|delta| delta.len() as u64).sum::<u64>()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The error of parts that contradict each other.
    pub(crate) fn inconsistent(&self) -> MappedSetError {
        self.base.inconsistent()
    }

    /// The position kept beside an id. O(1) in the base, O(log log d) in each delta on average.
    pub(crate) fn find(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        for delta in self.deltas.iter().rev() {
            let place = DeltaCursor::default().seek(delta.as_ref(), id)?;
            if let Some(position) = delta_position(delta.as_ref(), place, id)? {
                return Ok(Some(position));
            }
        }
        self.find_in_base(id)
    }

    pub(crate) fn find_in_base(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        let places = self.base_page(index(prefix(id, self.page_bits)))?;
        match find_in_page(self.base.as_ref(), places, id, self.page_bits)? {
            Some(place) => Ok(Some(unpack_position(self.base.position(place)?))),
            None => Ok(None),
        }
    }

    pub(super) fn base_page(&self, page: usize) -> Result<Range<usize>, MappedSetError> {
        let [start, end] = self.base.page_starts(page)?;
        if start <= end { Ok(start..end) } else { Err(self.base.inconsistent()) }
    }

    /// Adds all entries whose ids begin with `prefix` of `depth` bits, sorted. `depth` is at most
    /// that of the pages.
    pub(crate) fn entries(
        &self,
        depth: usize,
        prefix: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), MappedSetError> {
        let below = self.page_bits - depth;
        let first = index(prefix << below);
        let [start, _] = self.base.page_starts(first)?;
        let [_, end] = self.base.page_starts(first + (1 << below) - 1)?;
        if start > end {
            return Err(self.base.inconsistent());
        }
        let from = into.len();
        self.base.entries(start..end, into)?;
        for delta in &self.deltas {
            let places = DeltaCursor::default().seek_prefix(delta.as_ref(), depth, prefix)?;
            if !places.is_empty() {
                delta.entries(places, into)?;
                let (_, added) = into.split_at_mut(from);
                // Two runs, which this sort merges.
                added.sort_by(compare);
            }
        }
        let (_, added) = into.split_at(from);
        if in_order(added, depth, prefix) {
            Ok(())
        } else {
            into.truncate(from);
            Err(self.base.inconsistent())
        }
    }

    /// Number of ids that begin with `prefix` of `depth` bits. `depth` is at most that of the
    /// pages.
    pub(crate) fn count(&self, depth: usize, prefix: u64) -> Result<u64, MappedSetError> {
        let below = self.page_bits - depth;
        let first = index(prefix << below);
        let [start, _] = self.base.page_starts(first)?;
        let [_, end] = self.base.page_starts(first + (1 << below) - 1)?;
        let mut count = end.checked_sub(start).ok_or_else(|| self.base.inconsistent())?;
        for delta in &self.deltas {
            let places = DeltaCursor::default().seek_prefix(delta.as_ref(), depth, prefix)?;
            count += places.len();
        }
        Ok(count as u64)
    }

    /// Whether a delta behind the first `kept` has an id with this prefix.
    pub(crate) fn changed_since(
        &self,
        kept: usize,
        depth: usize,
        prefix: u64,
    ) -> Result<bool, MappedSetError> {
        for delta in self.deltas.iter().skip(kept) {
            if !DeltaCursor::default().seek_prefix(delta.as_ref(), depth, prefix)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Loads the node at `depth` with this prefix, of `bits` bits, which don't pass the next block.
    /// Its children stay mapped.
    pub(crate) fn load(
        &self,
        depth: usize,
        prefix: u64,
        bits: usize,
    ) -> Result<Child, MappedSetError> {
        let mut child = Child::with_bits(bits);
        let Some(mut node) = child.node_mut() else { internal_error("the node just made") };
        let (key, _) = place_in_block(depth + 1, prefix << 1);
        let changed = self.changed_block(key)?;
        let state = changed.map(|(delta, number)| delta.block_state(number)).transpose()?;
        for level in 1..=bits {
            let (_, place) = place_in_block(depth + level, prefix << level);
            let slots = level_start(level)..level_start(level + 1);
            let Some(into) = node.hashes.get_mut(slots) else { internal_error("a node's hashes") };
            if let (Some((delta, number)), Some(state)) = (changed, state) {
                let BlockState { occupied, many } = state;
                delta.block_hashes(key, number, place, into)?;
                for index in 0..1 << level {
                    let state = node::state(occupied, many, place + index);
                    node.set_state(level_start(level) + index, state);
                }
            } else {
                let start = block_start(key.depth, key.prefix, self.page_bits);
                self.base.hashes(start + place, into)?;
            }
        }
        if changed.is_none() {
            self.count_base(depth, prefix, bits, &mut node)?;
        }
        let occupied = *node.occupied >> level_start(bits);
        for (index, child) in node.children.iter_mut().enumerate() {
            if occupied >> index & 1 == 1 {
                *child = Child::Mapped;
            }
        }
        Ok(child)
    }

    /// The newest delta that has a block, and the block's number there.
    pub(super) fn changed_block(
        &self,
        key: BlockKey,
    ) -> Result<Option<(&dyn DeltaArrays, usize)>, MappedSetError> {
        for delta in self.deltas.iter().rev() {
            if let Some(number) = delta.block(key)? {
                return Ok(Some((&**delta, number)));
            }
        }
        Ok(None)
    }

    /// Checks the hashes of the uppermost 12 levels against each other and `top_hash`.
    ///
    /// # Errors
    ///
    /// If they contradict each other, or a part is damaged.
    pub fn check_top(&self, top_hash: &Hash) -> Result<(), MappedSetError> {
        if self.page_bits == 0 {
            let mut entries = Vec::new();
            self.entries(0, 0, &mut entries)?;
            let mut child = Child::build(&entries, 0);
            let (hash, _) = Plan::default().rehash(&mut child, 0);
            return if hash == *top_hash { Ok(()) } else { Err(self.base.inconsistent()) };
        }
        let mut level = vec![*top_hash];
        for depth in (0..self.page_bits.min(12)).step_by(NODE_BITS_MAX) {
            let mut below = Vec::with_capacity(level.len() << NODE_BITS_MAX);
            for (prefix, expected) in level.iter().enumerate() {
                let bits = block_bits(depth, self.page_bits);
                let child = self.load(depth, prefix as u64, bits)?;
                let Some(node) = child.node() else { return Err(self.base.inconsistent()) };
                if folded(node) != Some(*expected) {
                    return Err(self.base.inconsistent());
                }
                let children = level_start(node.bits())..node.hashes.len();
                below.extend(children.map(|slot| node.hash(slot)));
            }
            level = below;
        }
        Ok(())
    }

    /// Notes which subtrees of a node have no ids, one, or many in the base.
    fn count_base(
        &self,
        depth: usize,
        prefix: u64,
        bits: usize,
        node: &mut NodeMut<'_>,
    ) -> Result<(), MappedSetError> {
        let below = self.page_bits - depth - bits;
        let first = index(prefix << (self.page_bits - depth));
        let [mut from, _] = self.base.page_starts(first)?;
        for index in 0..1 << bits {
            let [_, to] = self.base.page_starts(first + ((index + 1) << below) - 1)?;
            let count = to.checked_sub(from).ok_or_else(|| self.base.inconsistent())?;
            node.set_state(level_start(bits) + index, State::of(count));
            from = to;
        }
        for level in (1..bits).rev() {
            for index in 0..1 << level {
                let child = |side| {
                    let slot = level_start(level + 1) + 2 * index + side;
                    node::state(*node.occupied, *node.many, slot)
                };
                let state = child(0).join(child(1));
                node.set_state(level_start(level) + index, state);
            }
        }
        Ok(())
    }
}

/// The hash of a node's subtree by those of its children; `None` if the hashes between contradict.
fn folded(node: NodeRef<'_>) -> Option<Hash> {
    let join = |level: usize, index: usize| {
        let slot = level_start(level) + 2 * index;
        match (node.state(slot), node.state(slot + 1)) {
            (State::Empty, State::Empty | State::One) => node.hash(slot + 1),
            (State::One, State::Empty) => node.hash(slot),
            _ => hash::node(&node.hash(slot), &node.hash(slot + 1)),
        }
    };
    for level in 1..node.bits() {
        for index in 0..1 << level {
            if join(level + 1, index) != node.hash(level_start(level) + index) {
                return None;
            }
        }
    }
    Some(join(1, 0))
}

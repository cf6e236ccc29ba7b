//! The part of a set tree that lies in restart checkpoints, used as it lies.
//!
//! A **base** has all ids at one time, sorted, in pages of one depth, and the hashes above the
//! pages in blocks of up to four bits. A **delta** has the ids that came since what lies below it,
//! and those blocks of hashes that they changed. A lookup asks all; a block is taken from the
//! newest that has it; a page is merged from all.
//!
//! Nothing here knows where the arrays are: [`BaseArrays`] and [`DeltaArrays`] copy parts of them,
//! and fail where they turn out to be damaged. Copies, because the bytes may lie in a map of a file
//! that can't be read any more: whether they were those of the file is known once they were read.

use std::{ops::Range, sync::Arc};

pub use self::arrays::{BaseArrays, BlockState, DeltaArrays, IdArrays};
pub(crate) use self::page::Pages;
use self::{delta::DeltaCursor, page::find_in_page};
use super::{
    node::{Child, Entry, NODE_BITS_MAX, NodeMut, NodeRef, State, level_start},
    plan::Plan,
};
use crate::{Hash, hash};

mod arrays;
mod delta;
mod page;

/// A page of the base has at least this many ids on average, and less than twice as many.
const PAGE_LEN_AIM: u64 = 11;

/// Why a part of a mapped set can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappedSetError {
    /// A block of the file fails its checksum.
    #[error(
        "{file}: the block at byte {offset} fails its checksum; \
         the checkpoint is only a cache: reopen the store to rebuild it from the log"
    )]
    Damaged {
        /// The file.
        file: Arc<str>,
        /// Where in it the block begins.
        offset: u64,
    },
    /// A part of the file can't be read.
    #[error(
        "{file}: cannot read at byte {offset}: {reason}; \
         the checkpoint is only a cache: reopen the store to rebuild it from the log"
    )]
    Unreadable {
        /// The file.
        file: Arc<str>,
        /// Where in it.
        offset: u64,
        /// What the disk reports.
        reason: Arc<str>,
    },
    /// Parts of the mapped set contradict each other.
    #[error(
        "{file}: contradicts itself; \
         the checkpoint is only a cache: reopen the store to rebuild it from the log"
    )]
    Inconsistent {
        /// The file.
        file: Arc<str>,
    },
}

/// A position in six bytes, little-endian: 256 TiB of log.
pub type PackedPosition = [u8; 6];

/// The largest position that a mapped set can hold.
pub const POSITION_MAX: u64 = (1 << 48) - 1;

/// Packs a position; those above [`POSITION_MAX`] don't fit.
pub fn pack_position(position: u64) -> Option<PackedPosition> {
    let bytes = position.to_le_bytes();
    let (packed, rest) = bytes.split_first_chunk()?;
    (*rest == [0; 2]).then_some(*packed)
}

/// The position that was packed.
pub fn unpack_position(packed: PackedPosition) -> u64 {
    let mut bytes = [0; 8];
    for (byte, from) in bytes.iter_mut().zip(packed) {
        *byte = from;
    }
    u64::from_le_bytes(bytes)
}

/// Which block of hashes: that below the first `depth` bits, a multiple of four, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockKey {
    /// How many bits; at most 32.
    pub depth: usize,
    /// The bits, as a number.
    pub prefix: u64,
}

/// How many bits of an id name its page, in a base of so many ids.
pub fn page_bits(len: u64) -> usize {
    (len / PAGE_LEN_AIM).checked_ilog2().unwrap_or(0).min(28) as usize
}

/// How many bits the block at `depth` spans where pages have `page_bits`.
pub fn block_bits(depth: usize, page_bits: usize) -> usize {
    page_bits.saturating_sub(depth).min(NODE_BITS_MAX)
}

/// How many hashes lie in all blocks of a base with pages of so many bits.
pub fn hashes_len(page_bits: usize) -> usize {
    block_start(page_bits.next_multiple_of(NODE_BITS_MAX), 0, page_bits)
}

/// Where the hashes of a block begin among all of a base: by depth, then by prefix.
fn block_start(depth: usize, prefix: u64, page_bits: usize) -> usize {
    let above: usize = (0..depth)
        .step_by(NODE_BITS_MAX)
        .map(|depth| (1_usize << depth) * level_start(block_bits(depth, page_bits) + 1))
        .sum();
    let here = usize::try_from(prefix).unwrap_or(usize::MAX);
    above + here * level_start(block_bits(depth, page_bits) + 1)
}

/// A base and what came on top of it, newest last.
#[derive(Clone, Debug)]
pub struct MappedSet {
    base: Arc<dyn BaseArrays>,
    deltas: Vec<Arc<dyn DeltaArrays>>,
    page_bits: usize,
}

/// The first `depth` bits of an id, as a number; at most 32.
pub(crate) fn prefix(id: &Hash, depth: usize) -> u64 {
    let [a, b, c, d, ..] = *id;
    u64::from(u32::from_be_bytes([a, b, c, d])) >> (32 - depth)
}

/// The first id with this prefix of `depth` bits.
pub(crate) fn first_id(prefix: u64, depth: usize) -> Hash {
    let mut id = [0; 32];
    let front = (prefix << (32 - depth)).to_be_bytes();
    for (byte, value) in id.iter_mut().zip(front.iter().skip(4)) {
        *byte = *value;
    }
    id
}

impl MappedSet {
    /// Puts a base and its deltas together, newest last.
    pub fn new(base: Arc<dyn BaseArrays>, deltas: Vec<Arc<dyn DeltaArrays>>) -> Self {
        let page_bits = page_bits(base.len() as u64);
        Self { base, deltas, page_bits }
    }

    /// How many bits of an id name its page.
    pub(crate) fn page_bits(&self) -> usize {
        self.page_bits
    }

    /// How many ids all parts have together; they have none in common.
    pub fn len(&self) -> u64 {
        self.base.len() as u64 + self.deltas.iter().map(|delta| delta.len() as u64).sum::<u64>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The error that says that its parts contradict each other.
    pub(crate) fn inconsistent(&self) -> MappedSetError {
        self.base.inconsistent()
    }

    /// How many ids the base has.
    pub fn base_len(&self) -> u64 {
        self.base.len() as u64
    }

    /// How many ids each delta has, oldest first.
    pub fn delta_lens(&self) -> Vec<u64> {
        self.deltas.iter().map(|delta| delta.len() as u64).collect()
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

    fn find_in_base(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        let page = usize::try_from(prefix(id, self.page_bits)).unwrap_or(usize::MAX);
        let places = self.base_page(page)?;
        match find_in_page(self.base.as_ref(), places, id, self.page_bits)? {
            Some(place) => Ok(Some(unpack_position(self.base.position(place)?))),
            None => Ok(None),
        }
    }

    fn base_page(&self, page: usize) -> Result<Range<usize>, MappedSetError> {
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
        let first = usize::try_from(prefix << below).unwrap_or(usize::MAX);
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
                if let Some(added) = into.get_mut(from..) {
                    added.sort_unstable_by_key(|entry| entry.id);
                }
            }
        }
        if in_order(into.get(from..).unwrap_or_default(), depth, prefix) {
            Ok(())
        } else {
            into.truncate(from);
            Err(self.base.inconsistent())
        }
    }

    /// All the mapped set's pages, to be asked for from the first to the last.
    pub(crate) fn pages(&self) -> Pages<'_> {
        Pages { mapped: self, cursors: vec![DeltaCursor::default(); self.deltas.len()] }
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

    /// Brings the subtree at `depth` with this prefix into memory: a node whose children are
    /// mapped still, or the ids of one page. `depth` is a multiple of four, or that of the pages.
    pub(crate) fn load(&self, depth: usize, prefix: u64) -> Result<Child, MappedSetError> {
        let bits = block_bits(depth, self.page_bits);
        if bits == 0 {
            let mut entries = Vec::new();
            self.entries(depth, prefix, &mut entries)?;
            return Ok(Child::build(&entries, depth));
        }
        let mut child = Child::with_bits(bits);
        let Some(mut node) = child.node_mut() else { return Ok(child) };
        let mut changed = None;
        for delta in self.deltas.iter().rev() {
            changed = delta.block(BlockKey { depth, prefix }, node.hashes)?;
            if changed.is_some() {
                break;
            }
        }
        match changed {
            Some(BlockState { occupied, many }) => {
                *node.occupied = occupied;
                *node.many = many;
            }
            None => self.load_base(depth, prefix, bits, &mut node)?,
        }
        let occupied = *node.occupied >> level_start(bits);
        for (index, child) in node.children.iter_mut().enumerate() {
            if occupied >> index & 1 == 1 {
                *child = Child::Mapped;
            }
        }
        Ok(child)
    }

    /// Checks the hashes of the uppermost 12 levels against each other and the top's.
    ///
    /// # Errors
    ///
    /// If they don't fit, or a part is damaged.
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
                let child = self.load(depth, prefix as u64)?;
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

    fn load_base(
        &self,
        depth: usize,
        prefix: u64,
        bits: usize,
        node: &mut NodeMut<'_>,
    ) -> Result<(), MappedSetError> {
        let start = block_start(depth, prefix, self.page_bits);
        self.base.hashes(start, node.hashes)?;
        let below = self.page_bits - depth - bits;
        let first = usize::try_from(prefix << (self.page_bits - depth)).unwrap_or(usize::MAX);
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
                    super::node::state(*node.occupied, *node.many, slot)
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

/// Whether entries ascend and their ids begin with `prefix` of `depth` bits: what is built of them
/// relies on it, and a file whose checksums hold can still be wrong.
fn in_order(entries: &[Entry], depth: usize, prefix: u64) -> bool {
    let ascending = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| {
        let (first, second) = (key(&a.id), key(&b.id));
        first < second || first == second && a.id < b.id
    });
    let belongs =
        |entry: Option<&Entry>| entry.is_none_or(|entry| self::prefix(&entry.id, depth) == prefix);
    ascending && belongs(entries.first()) && belongs(entries.last())
}

/// Where in a page of `len` ids an id ought to be if they are spread evenly.
fn expected_place(len: usize, id: &Hash, page_bits: usize) -> usize {
    let share = (u128::from(key(id) << page_bits) * len as u128) >> 64;
    usize::try_from(share).unwrap_or(0)
}

/// The position beside an id whose place in a delta would be this.
fn delta_position(
    delta: &dyn DeltaArrays,
    place: usize,
    id: &Hash,
) -> Result<Option<u64>, MappedSetError> {
    if place >= delta.len() || delta.id(place)? != *id {
        return Ok(None);
    }
    Ok(Some(unpack_position(delta.position(place)?)))
}

/// The first eight bytes of an id as a number: compares as the id does, without a call.
pub(crate) fn key(id: &Hash) -> u64 {
    id.first_chunk().map_or(0, |front| u64::from_be_bytes(*front))
}

//! Which hashes of a changed tree have to be made, and making them many at a time.
//!
//! A pass over what changed only notes what is to be joined with what; the joins are then made in
//! rounds by their height above the leaves, so that all of one round are independent and share the
//! SIMD lanes; a second pass in the same order fetches the results.

use super::node::{
    Child, Entry, NODE_BITS_MAX, NodeMut, PAGE_LEN_MAX, State, bit, level_start, state,
};
use crate::{
    Hash,
    hash::{self, EMPTY},
};

/// The hash of a subtree, which may not have been made yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    value: u32,
    height: u16,
    pub(crate) state: State,
}

impl Part {
    /// The subtree without ids.
    pub(crate) const EMPTY: Self = Self { value: 0, height: 0, state: State::Empty };
}

#[derive(Clone, Copy, Debug)]
struct Join {
    left: u32,
    right: u32,
    joined: u32,
}

/// Hashes to make. The buffers are kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// All hashes, made or to be made; the first is that of the empty subtree.
    values: Vec<Hash>,
    /// Ids whose leaf hashes go to the values of the same place in `leaf_values`.
    leaf_ids: Vec<Hash>,
    leaf_values: Vec<u32>,
    /// Joins by height, lowest first.
    rounds: Vec<Vec<Join>>,
    /// Where the results go, in the order of the pass that notes them.
    results: Vec<u32>,
    pairs: Vec<[u8; 64]>,
    made: Vec<Hash>,
}

impl Plan {
    /// Forgets all but the memory.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.values.push(EMPTY);
        self.leaf_ids.clear();
        self.leaf_values.clear();
        self.rounds.iter_mut().for_each(Vec::clear);
        self.results.clear();
    }

    fn push(&mut self, value: Hash) -> u32 {
        let index = self.values.len();
        self.values.push(value);
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// A subtree whose hash is known.
    pub(crate) fn known(&mut self, hash: Hash, state: State) -> Part {
        Part { value: self.push(hash), height: 0, state }
    }

    fn leaf(&mut self, id: &Hash) -> Part {
        let value = self.push(EMPTY);
        self.leaf_ids.push(*id);
        self.leaf_values.push(value);
        Part { value, height: 0, state: State::One }
    }

    /// The subtree of two halves: of one id or none it has the hash of the half that has it.
    pub(crate) fn join(&mut self, left: Part, right: Part) -> Part {
        match (left.state, right.state) {
            (State::Empty, State::Empty | State::One) => return right,
            (State::One, State::Empty) => return left,
            _ => {}
        }
        let height = left.height.max(right.height) + 1;
        let joined = self.push(EMPTY);
        let round = usize::from(height) - 1;
        if self.rounds.len() <= round {
            self.rounds.resize_with(round + 1, Vec::new);
        }
        if let Some(joins) = self.rounds.get_mut(round) {
            joins.push(Join { left: left.value, right: right.value, joined });
        }
        Part { value: joined, height, state: State::Many }
    }

    /// The subtree at `depth` of sorted ids that share their first `depth` bits.
    pub(crate) fn page(&mut self, entries: &[Entry], depth: usize) -> Part {
        match entries {
            [] => Part::EMPTY,
            [entry] => self.leaf(&entry.id),
            _ => {
                // The 64 bits from `depth` on nearly always tell all of a page's ids apart, and
                // numbers are split faster than ids are.
                let mut keys = [0; PAGE_LEN_MAX];
                match keys.get_mut(..entries.len()) {
                    Some(keys) => {
                        for (key, entry) in keys.iter_mut().zip(entries) {
                            *key = bits_at(&entry.id, depth);
                        }
                        self.keyed_page(entries, keys, depth, 0)
                    }
                    None => self.halve_page(entries, depth),
                }
            }
        }
    }

    fn halve_page(&mut self, entries: &[Entry], depth: usize) -> Part {
        let (zeros, ones) = split_bit(entries, depth);
        let left = self.page(zeros, depth + 1);
        let right = self.page(ones, depth + 1);
        self.join(left, right)
    }

    /// The same with the 64 bits of each id from `depth` on, of which `used` are equal already.
    fn keyed_page(&mut self, entries: &[Entry], keys: &[u64], depth: usize, used: u32) -> Part {
        let (first, last) = match (keys, entries) {
            ([], _) => return Part::EMPTY,
            ([_], [entry]) => return self.leaf(&entry.id),
            ([first, .., last], _) => (first, last),
            _ => return self.halve_page(entries, depth + used as usize),
        };
        let shared = (first ^ last).leading_zeros();
        if shared == 64 {
            return self.halve_page(entries, depth + used as usize);
        }
        let zeros = keys.iter().take_while(|key| **key << shared >> 63 == 0).count();
        let (left_entries, right_entries) = entries.split_at(zeros);
        let (left_keys, right_keys) = keys.split_at(zeros);
        let left = self.keyed_page(left_entries, left_keys, depth, shared + 1);
        let right = self.keyed_page(right_entries, right_keys, depth, shared + 1);
        let mut part = self.join(left, right);
        for level in (used..shared).rev() {
            part = if first << level >> 63 == 0 {
                self.join(part, Part::EMPTY)
            } else {
                self.join(Part::EMPTY, part)
            };
        }
        part
    }

    /// Makes all hashes of a changed subtree anew and says what its own is.
    pub(crate) fn rehash(&mut self, child: &mut Child, depth: usize) -> (Hash, State) {
        self.clear();
        let part = self.child(child, depth);
        self.settle(child, part)
    }

    /// Makes all hashes that were noted for a subtree and says what its own is.
    pub(crate) fn settle(&mut self, child: &mut Child, part: Part) -> (Hash, State) {
        self.run();
        self.fetch(child, &mut 0);
        (self.hash(part), part.state)
    }

    /// The subtree of a child of whose nodes some are noted as changed.
    pub(crate) fn child(&mut self, child: &mut Child, depth: usize) -> Part {
        if let Child::Page(entries) = child {
            return self.page(entries, depth);
        }
        let Some(mut node) = child.node_mut() else { return Part::EMPTY };
        let mut parts = [Part::EMPTY; 1 << NODE_BITS_MAX];
        let below = depth + node.bits();
        let mut dirty = *node.dirty;
        while dirty != 0 {
            let index = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            if let (Some(part), Some(child)) = (parts.get_mut(index), node.children.get_mut(index))
            {
                *part = self.child(child, below);
            }
        }
        self.fold(&mut node, parts)
    }

    /// The subtree of a node, from those of the children that are noted as changed. The node's
    /// masks are brought up to date on the way.
    pub(crate) fn fold(&mut self, node: &mut NodeMut<'_>, mut parts: [Part; 16]) -> Part {
        let bits = node.bits();
        let mut dirty = u32::from(*node.dirty);
        for index in ones(dirty) {
            if let Some(part) = parts.get(index) {
                self.results.push(part.value);
                node.set_state(level_start(bits) + index, part.state);
            }
        }
        for level in (1..=bits).rev() {
            let start = level_start(level);
            let above = halved(dirty);
            for index in ones(above) {
                let mut half = |side: usize| {
                    let place = 2 * index + side;
                    match parts.get(place) {
                        Some(part) if dirty >> place & 1 == 1 => *part,
                        _ => self.clean(node, start + place),
                    }
                };
                let (left, right) = (half(0), half(1));
                let joined = self.join(left, right);
                if level > 1 {
                    self.results.push(joined.value);
                    node.set_state(level_start(level - 1) + index, joined.state);
                }
                if let Some(part) = parts.get_mut(index) {
                    *part = joined;
                }
            }
            dirty = above;
        }
        parts[0]
    }

    /// What the path to a child of a node joins with, the halves first.
    pub(crate) fn siblings(&mut self, node: &NodeMut<'_>, index: usize) -> [Part; NODE_BITS_MAX] {
        let bits = node.bits();
        let mut siblings = [Part::EMPTY; NODE_BITS_MAX];
        for (level, sibling) in (1..=bits).zip(&mut siblings) {
            let slot = level_start(level) + (index >> (bits - level));
            *sibling = self.clean(node, slot ^ 1);
        }
        siblings
    }

    /// As [`fold`](Self::fold), where only one child is changed.
    pub(crate) fn ascend(
        &mut self,
        node: &mut NodeMut<'_>,
        index: usize,
        changed: Part,
        siblings: [Part; NODE_BITS_MAX],
    ) -> Part {
        let bits = node.bits();
        let mut part = changed;
        for (above, sibling) in (0..bits).zip(siblings).rev() {
            let index = index >> (bits - above - 1);
            self.results.push(part.value);
            node.set_state(level_start(above + 1) + index, part.state);
            part = if index & 1 == 0 { self.join(part, sibling) } else { self.join(sibling, part) };
        }
        part
    }

    fn clean(&mut self, node: &NodeMut<'_>, slot: usize) -> Part {
        match state(*node.occupied, *node.many, slot) {
            State::Empty => Part::EMPTY,
            state => self.known(node.hashes.get(slot).copied().unwrap_or(EMPTY), state),
        }
    }

    /// Makes all hashes noted.
    pub(crate) fn run(&mut self) {
        self.made.clear();
        self.made.resize(self.leaf_ids.len(), EMPTY);
        hash::leaves(&self.leaf_ids, &mut self.made);
        for (value, made) in self.leaf_values.iter().zip(&self.made) {
            if let Some(value) = self.values.get_mut(*value as usize) {
                *value = *made;
            }
        }
        for round in &self.rounds {
            let values = &self.values;
            let value = |index: u32| values.get(index as usize).unwrap_or(&EMPTY);
            if let [join] = round.as_slice() {
                let made = hash::node(&hash::pair(value(join.left), value(join.right)));
                if let Some(value) = self.values.get_mut(join.joined as usize) {
                    *value = made;
                }
                continue;
            }
            self.pairs.clear();
            self.pairs
                .extend(round.iter().map(|join| hash::pair(value(join.left), value(join.right))));
            self.made.clear();
            self.made.resize(round.len(), EMPTY);
            hash::nodes(&self.pairs, &mut self.made);
            for (join, made) in round.iter().zip(&self.made) {
                if let Some(value) = self.values.get_mut(join.joined as usize) {
                    *value = *made;
                }
            }
        }
    }

    /// The hash of a part, after [`run`](Self::run).
    pub(crate) fn hash(&self, part: Part) -> Hash {
        self.values.get(part.value as usize).copied().unwrap_or(EMPTY)
    }

    /// Fetches the results into a changed child, in the order in which they were noted.
    pub(crate) fn fetch(&self, child: &mut Child, next: &mut usize) {
        let Some(node) = child.node_mut() else { return };
        let bits = node.bits();
        let mut dirty = u32::from(*node.dirty);
        *node.dirty = 0;
        for index in ones(dirty) {
            if let Some(child) = node.children.get_mut(index) {
                self.fetch(child, next);
            }
        }
        for level in (1..=bits).rev() {
            for index in ones(dirty) {
                self.take(node.hashes.get_mut(level_start(level) + index), next);
            }
            dirty = halved(dirty);
        }
    }

    fn take(&self, slot: Option<&mut Hash>, next: &mut usize) {
        let value = self.results.get(*next).and_then(|value| self.values.get(*value as usize));
        if let (Some(slot), Some(value)) = (slot, value) {
            *slot = *value;
        }
        *next += 1;
    }
}

/// The places of the ones in a mask, lowest first.
pub(crate) fn ones(mut mask: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (place < 32).then_some(place as usize)
    })
}

/// Of each two bits of a mask, whether one is set.
fn halved(mask: u32) -> u32 {
    let mut pairs = (mask | mask >> 1) & 0x5555;
    pairs = (pairs | pairs >> 1) & 0x3333;
    pairs = (pairs | pairs >> 2) & 0x0f0f;
    (pairs | pairs >> 4) & 0x00ff
}

/// The 64 bits of an id from `depth` on; bits behind the last read as zeros.
fn bits_at(id: &Hash, depth: usize) -> u64 {
    let byte = depth / 8;
    let mut bytes = [0; 9];
    let from = id.get(byte..).unwrap_or_default();
    match from.first_chunk::<9>() {
        Some(chunk) => bytes = *chunk,
        None => {
            for (to, from) in bytes.iter_mut().zip(from) {
                *to = *from;
            }
        }
    }
    let [front @ .., last] = bytes;
    let shift = depth % 8;
    u64::from_be_bytes(front) << shift | u64::from(last) << shift >> 8
}

/// Splits sorted ids by their bit at `depth`.
pub(crate) fn split_bit(entries: &[Entry], depth: usize) -> (&[Entry], &[Entry]) {
    let zeros = if entries.len() <= PAGE_LEN_MAX {
        entries.iter().take_while(|entry| !bit(&entry.id, depth)).count()
    } else {
        entries.partition_point(|entry| !bit(&entry.id, depth))
    };
    entries.split_at_checked(zeros).unwrap_or((entries, &[]))
}

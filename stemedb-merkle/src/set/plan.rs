//! Which hashes of a changed tree have to be made, and making them many at a time.
//!
//! A pass over what changed only notes what is to be joined with what; the joins are then made in
//! rounds by their height above the leaves, so that all of one round are independent and share the
//! SIMD lanes; a second pass in the same order fetches the results.

use super::node::{Child, Entry, NodeMut, PAGE_LEN_MAX, State, bit, level_start, state};
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

/// About how many changes are planned at once: their hashes fill a second-level cache.
const CHANGES_AT_ONCE: usize = 2048;

/// Whether the hashes of a changed node's children are made already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    No,
    Children,
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
                let (zeros, ones) = split_bit(entries, depth);
                let left = self.page(zeros, depth + 1);
                let right = self.page(ones, depth + 1);
                self.join(left, right)
            }
        }
    }

    /// Makes all hashes of a changed subtree anew and says what its own is.
    ///
    /// `changes` is about how many ids came or went: with many of them one part of the tree is
    /// finished after the other, so that what is in the making stays in the processor's caches.
    pub(crate) fn rehash(
        &mut self,
        child: &mut Child,
        depth: usize,
        changes: usize,
    ) -> (Hash, State) {
        let mut settled = Settled::No;
        if changes > CHANGES_AT_ONCE
            && let Some(mut node) = child.node_mut()
        {
            settled = Settled::Children;
            let bits = node.bits();
            let mut dirty = *node.dirty;
            let changes = changes / (dirty.count_ones() as usize).max(1);
            while dirty != 0 {
                let index = dirty.trailing_zeros() as usize;
                dirty &= dirty - 1;
                let Some(below) = node.children.get_mut(index) else { break };
                let (hash, state) = self.rehash(below, depth + bits, changes);
                let slot = level_start(bits) + index;
                node.set_state(slot, state);
                if let Some(place) = node.hashes.get_mut(slot) {
                    *place = hash;
                }
            }
        }
        self.clear();
        let part = self.child(child, depth, settled);
        self.run();
        self.fetch(child, settled, &mut 0);
        (self.hash(part), part.state)
    }

    /// The subtree of a changed child.
    fn child(&mut self, child: &mut Child, depth: usize, settled: Settled) -> Part {
        match child {
            Child::Page(entries) => self.page(entries, depth),
            _ => match child.node_mut() {
                Some(node) => self.node(node, depth, settled),
                None => Part::EMPTY,
            },
        }
    }

    /// The subtree of a changed node; its masks are brought up to date on the way.
    fn node(&mut self, mut node: NodeMut<'_>, depth: usize, settled: Settled) -> Part {
        let bits = node.bits();
        // Parts of the subtrees one level down; `None` is as it was and not needed so far.
        let mut below: [Option<Part>; 16] = [None; 16];
        let mut dirty = *node.dirty;
        while dirty != 0 {
            let index = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            let slot = level_start(bits) + index;
            let part = match (settled, node.children.get_mut(index)) {
                (Settled::No, Some(child)) => self.child(child, depth + bits, Settled::No),
                _ => self.clean(&node, slot),
            };
            self.results.push(part.value);
            node.set_state(slot, part.state);
            if let Some(below) = below.get_mut(index) {
                *below = Some(part);
            }
        }
        for level in (1..=bits).rev() {
            let start = level_start(level);
            let mut above: [Option<Part>; 16] = [None; 16];
            for index in 0..1_usize << (level - 1) {
                let pair = (
                    below.get(2 * index).copied().flatten(),
                    below.get(2 * index + 1).copied().flatten(),
                );
                let joined = match pair {
                    (None, None) => continue,
                    (left, right) => {
                        let left = left.unwrap_or_else(|| self.clean(&node, start + 2 * index));
                        let right =
                            right.unwrap_or_else(|| self.clean(&node, start + 2 * index + 1));
                        self.join(left, right)
                    }
                };
                if level > 1 {
                    self.results.push(joined.value);
                    node.set_state(level_start(level - 1) + index, joined.state);
                }
                if let Some(above) = above.get_mut(index) {
                    *above = Some(joined);
                }
            }
            below = above;
        }
        below.first().copied().flatten().unwrap_or(Part::EMPTY)
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
    fn fetch(&self, child: &mut Child, settled: Settled, next: &mut usize) {
        let Some(node) = child.node_mut() else { return };
        let bits = node.bits();
        let mut dirty = *node.dirty;
        *node.dirty = 0;
        for index in (0..16).filter(|index| dirty >> index & 1 == 1) {
            if let (Settled::No, Some(child)) = (settled, node.children.get_mut(index)) {
                self.fetch(child, settled, next);
            }
            self.take(node.hashes.get_mut(level_start(bits) + index), next);
        }
        for level in (1..bits).rev() {
            dirty = (0..8).fold(0, |above, index| {
                above | u16::from(dirty >> (2 * index) & 3 != 0) << index
            });
            for index in (0..8).filter(|index| dirty >> index & 1 == 1) {
                self.take(node.hashes.get_mut(level_start(level) + index), next);
            }
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

/// Splits sorted ids by their bit at `depth`.
pub(crate) fn split_bit(entries: &[Entry], depth: usize) -> (&[Entry], &[Entry]) {
    let zeros = if entries.len() <= PAGE_LEN_MAX {
        entries.iter().take_while(|entry| !bit(&entry.id, depth)).count()
    } else {
        entries.partition_point(|entry| !bit(&entry.id, depth))
    };
    entries.split_at_checked(zeros).unwrap_or((entries, &[]))
}

//! Plan of the hashes of a changed tree, and its execution, many hashes at a time.
//!
//! A pass over the changed nodes only notes the pairs to be joined; the joins are then made in
//! rounds by their height above the leaves, so that all of one round are independent and share the
//! SIMD lanes; a second pass in the same order fetches the results.

use std::sync::Arc;

use super::{
    bits::{bits_at, split_bit},
    entry::Entry,
    mapped::layout::{NODE_BITS_MAX, level_start},
    node::{Child, NodeMut, PAGE_LEN_MAX, State, state},
    slot::Slot,
};
use crate::{
    hash::{self, EMPTY},
    id::Hash,
    internal::internal_error,
};

/// The hash of a subtree, made or planned, and the subtree's state.
///
/// All in one number, since it is passed around a lot: the index in 32 bits, the round in 16, and
/// the state above them. Round 0 is the leaves, round 1 the known hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part(u64);

/// Largest number of ids that are hashed as one page: a page of a mapped set, with some over it.
const KEYS_MAX: usize = 2 * PAGE_LEN_MAX;

/// The first round of joins.
const JOINS: usize = 2;

impl Part {
    /// The subtree without ids.
    pub(crate) const EMPTY: Self = Self(1 << 32);

    fn new(round: usize, index: usize, state: State) -> Self {
        let index =
            u32::try_from(index).unwrap_or_else(|_| internal_error("room for as many hashes"));
        Self((state as u64) << 48 | (round as u64) << 32 | u64::from(index))
    }

    fn round(self) -> usize {
        (self.0 >> 32 & 0xffff) as usize
    }

    fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub(crate) fn state(self) -> State {
        match self.0 >> 48 {
            0 => State::Empty,
            1 => State::One,
            _ => State::Many,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Join {
    left: Part,
    right: Part,
}

/// Hashes to make. The buffers are kept from use to use.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// All hashes: first those known, the first of which is that of the empty subtree; behind
    /// them, once they are made, the leaves' and those of one round of joins after the other, so
    /// that each round goes straight where it belongs.
    values: Vec<Hash>,
    /// Starts of the values of each round.
    starts: Vec<usize>,
    leaf_ids: Vec<Hash>,
    /// Joins by height, lowest first.
    rounds: Vec<Vec<Join>>,
    /// Parts whose hashes the nodes get, in the order of the pass that notes them.
    results: Vec<Part>,
}

impl Plan {
    /// Clears the plan and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.values.push(EMPTY);
        self.leaf_ids.clear();
        self.rounds.iter_mut().for_each(Vec::clear);
        self.results.clear();
    }

    /// A subtree whose hash is known.
    pub(crate) fn known(&mut self, hash: Hash, state: State) -> Part {
        let part = Part::new(1, self.values.len(), state);
        self.values.push(hash);
        part
    }

    fn leaf(&mut self, id: &Hash) -> Part {
        let part = Part::new(0, self.leaf_ids.len(), State::One);
        self.leaf_ids.push(*id);
        part
    }

    /// The subtree of two halves: of one id or none it has the hash of the half that has it.
    pub(crate) fn join(&mut self, left: Part, right: Part) -> Part {
        match (left.state(), right.state()) {
            (State::Empty, State::Empty | State::One) => return right,
            (State::One, State::Empty) => return left,
            _ => {}
        }
        let round = left.round().max(right.round()).max(JOINS - 1) + 1;
        let place = round - JOINS;
        if self.rounds.len() <= place {
            self.rounds.resize_with(place + 1, Vec::new);
        }
        let Some(joins) = self.rounds.get_mut(place) else { internal_error("a round of joins") };
        let part = Part::new(round, joins.len(), State::Many);
        joins.push(Join { left, right });
        part
    }

    /// The subtree at `depth` of sorted ids that share their first `depth` bits.
    pub(crate) fn page(&mut self, entries: &[Entry], depth: usize) -> Part {
        match entries {
            [] => Part::EMPTY,
            [entry] => self.leaf(&entry.id),
            _ => {
                // The 64 bits from `depth` on nearly always tell all of a page's ids apart, and
                // numbers are split faster than ids are.
                let mut keys = [0; KEYS_MAX];
                match keys.get_mut(..entries.len()) {
                    Some(keys) => {
                        for (key, entry) in keys.iter_mut().zip(entries) {
                            *key = bits_at(&entry.id, depth);
                        }
                        self.keyed_page(entries, keys, depth)
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

    /// The same with the 64 bits of each id from `depth` on.
    ///
    /// The number of bits that two neighbours share is the depth at which they part, and a subtree
    /// is complete as soon as the next id parts from it above: one pass, with the open subtrees on
    /// a stack.
    fn keyed_page(&mut self, entries: &[Entry], keys: &[u64], depth: usize) -> Part {
        let shared = |pair: (&u64, &u64)| (pair.0 ^ pair.1).leading_zeros();
        let Some((_, following)) = keys.split_first() else { internal_error("a key") };
        if keys.iter().zip(following).any(|pair| shared(pair) == 64) {
            return self.halve_page(entries, depth);
        }
        let first = self.leaf_ids.len();
        self.leaf_ids.extend(entries.iter().map(|entry| entry.id));
        // Of each open subtree its part, how many bits its ids share, how many of them the next id
        // shares, and the bits of one of its ids.
        let mut parts = [Part::EMPTY; KEYS_MAX];
        let mut levels = [(0_u32, 0_u32); KEYS_MAX];
        let mut prefixes = [0_u64; KEYS_MAX];
        let mut len = 0_usize;
        let mut part = Part::EMPTY;
        let mut next = following.iter();
        for (place, key) in keys.iter().enumerate() {
            part = Part::new(0, first + place, State::One);
            let mut level = 64;
            // Number of bits shared with the next one; none behind the last.
            let parts_at = next.next().map(|next| shared((key, next)));
            while let Some((left_level, above)) =
                len.checked_sub(1).and_then(|top| levels.get(top)).copied()
                && parts_at.is_none_or(|parts_at| above > parts_at)
            {
                len -= 1;
                let (Some(left), Some(left_key)) = (parts.get(len), prefixes.get(len)) else {
                    internal_error("an open subtree")
                };
                let (left, left_key) = (*left, *left_key);
                let left = self.lift(left, left_key, left_level, above + 1);
                let right = self.lift(part, *key, level, above + 1);
                part = self.join(left, right);
                level = above;
            }
            let Some(parts_at) = parts_at else {
                return self.lift(part, *key, level, 0);
            };
            let (Some(open), Some(levels), Some(prefix)) =
                (parts.get_mut(len), levels.get_mut(len), prefixes.get_mut(len))
            else {
                internal_error("room for an open subtree")
            };
            (*open, *levels, *prefix) = (part, (level, parts_at), *key);
            len += 1;
        }
        part
    }

    /// The subtree at level `to` that holds nothing but the one at level `from`.
    fn lift(&mut self, mut part: Part, key: u64, from: u32, to: u32) -> Part {
        if part.state() == State::Many {
            for level in (to..from).rev() {
                part = if key << level >> 63 == 0 {
                    self.join(part, Part::EMPTY)
                } else {
                    self.join(Part::EMPTY, part)
                };
            }
        }
        part
    }

    /// Makes all hashes of a changed subtree and returns its own.
    pub(crate) fn rehash(&mut self, child: &mut Child, depth: usize) -> (Hash, State) {
        self.clear();
        let part = self.child(child, depth);
        self.hash_into(child, part)
    }

    /// Makes all hashes noted for a subtree, stores them in its nodes, and returns its own.
    pub(crate) fn hash_into(&mut self, child: &mut Child, part: Part) -> (Hash, State) {
        self.run();
        self.fetch(child, &mut 0);
        (self.hash(part), part.state())
    }

    /// The subtree of a child of whose nodes some are noted as changed.
    pub(crate) fn child(&mut self, child: &mut Child, depth: usize) -> Part {
        if let Child::Page(entries) = child {
            return self.page(entries, depth);
        }
        if matches!(child, Child::Mapped | Child::Over(_)) {
            // Hashed before it is noted as changed.
            internal_error("what is in the mapped set");
        }
        let Some(mut node) = child.node_mut() else { return Part::EMPTY };
        let mut parts = [Part::EMPTY; 1 << NODE_BITS_MAX];
        let below = depth + node.bits();
        let mut dirty = *node.dirty;
        while dirty != 0 {
            let index = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            let (Some(part), Some(child)) = (parts.get_mut(index), node.children.get_mut(index))
            else {
                internal_error("a changed child")
            };
            *part = self.child(child, below);
        }
        self.fold(&mut node, parts)
    }

    /// The subtree of a node, from those of the children that are noted as changed. The node's
    /// masks are brought up to date on the way.
    pub(crate) fn fold(&mut self, node: &mut NodeMut<'_>, mut parts: [Part; 16]) -> Part {
        let bits = node.bits();
        let mut dirty = u32::from(*node.dirty);
        for index in ones(dirty) {
            let Some(part) = parts.get(index) else { internal_error("a changed child") };
            self.results.push(*part);
            node.set_state(level_start(bits) + index, part.state());
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
                    self.results.push(joined);
                    node.set_state(level_start(level - 1) + index, joined.state());
                }
                let Some(part) = parts.get_mut(index) else { internal_error("a changed half") };
                *part = joined;
            }
            dirty = above;
        }
        parts[0]
    }

    /// Notes a part whose hash is wanted where the next result is fetched.
    pub(crate) fn result(&mut self, part: Part) {
        self.results.push(part);
    }

    /// The siblings of the path to a child of a node, the halves first.
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
            self.results.push(part);
            node.set_state(level_start(above + 1) + index, part.state());
            part = if index & 1 == 0 { self.join(part, sibling) } else { self.join(sibling, part) };
        }
        part
    }

    fn clean(&mut self, node: &NodeMut<'_>, slot: usize) -> Part {
        match state(*node.occupied, *node.many, slot) {
            State::Empty => Part::EMPTY,
            state => {
                let Some(hash) = node.hashes.get(slot) else {
                    internal_error("the hash of a subtree")
                };
                self.known(*hash, state)
            }
        }
    }

    /// Makes all hashes noted.
    pub(crate) fn run(&mut self) {
        self.starts.clear();
        let mut end = self.values.len();
        self.starts.extend([end, 0]);
        end += self.leaf_ids.len();
        for round in &self.rounds {
            self.starts.push(end);
            end += round.len();
        }
        let leaves = self.values.len();
        self.values.resize(end, EMPTY);
        let Some(values) = self.values.get_mut(leaves..leaves + self.leaf_ids.len()) else {
            internal_error("room for the hashes of leaves")
        };
        hash::leaves(&self.leaf_ids, values);
        for (round, start) in self.rounds.iter().zip(self.starts.iter().skip(JOINS)) {
            if round.is_empty() {
                break;
            }
            let (below, rest) = self.values.split_at_mut(*start);
            let Some(made) = rest.get_mut(..round.len()) else {
                internal_error("room for its hashes")
            };
            let value = |part| place(&self.starts, below, part);
            let halves = |at: usize| {
                let Some(join) = round.get(at) else { internal_error("a join") };
                [value(join.left), value(join.right)]
            };
            hash::nodes(halves, made);
        }
    }

    /// The hash of a part, after [`run`](Self::run).
    pub(crate) fn hash(&self, part: Part) -> Hash {
        *place(&self.starts, &self.values, part)
    }

    /// Fetches the results into a changed child, in the order in which they were noted.
    pub(crate) fn fetch(&self, child: &mut Child, next: &mut usize) {
        if let Child::Over(slots) = child {
            return self.fetch_slots(slots, next);
        }
        let Some(node) = child.node_mut() else { return };
        let bits = node.bits();
        let mut dirty = u32::from(*node.dirty);
        *node.dirty = 0;
        for index in ones(dirty) {
            let Some(child) = node.children.get_mut(index) else { internal_error("a child") };
            self.fetch(child, next);
        }
        for level in (1..=bits).rev() {
            for index in ones(dirty) {
                self.take(node.hashes.get_mut(level_start(level) + index), next);
            }
            dirty = halved(dirty);
        }
    }

    /// Fetches the results into an overlay page that was just made; one that was there has none to
    /// come.
    fn fetch_slots(&self, slots: &mut Arc<[Slot]>, next: &mut usize) {
        if slots.iter().any(Slot::is_planned) {
            let Some(slots) = Arc::get_mut(slots) else { internal_error("a new overlay page") };
            for slot in slots.iter_mut().filter(|slot| slot.is_planned()) {
                slot.fetch(self.next(next));
            }
        }
    }

    fn take(&self, slot: Option<&mut Hash>, next: &mut usize) {
        let Some(slot) = slot else { internal_error("the place of a result") };
        *slot = *self.next(next);
    }

    fn next(&self, next: &mut usize) -> &Hash {
        let Some(part) = self.results.get(*next) else { internal_error("a result") };
        *next += 1;
        place(&self.starts, &self.values, *part)
    }
}

fn place<'a>(starts: &[usize], values: &'a [Hash], part: Part) -> &'a Hash {
    let place = starts.get(part.round()).map(|start| start + part.index());
    place
        .and_then(|place| values.get(place))
        .unwrap_or_else(|| internal_error("a hash that was noted"))
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

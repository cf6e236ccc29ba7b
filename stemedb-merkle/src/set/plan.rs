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
    node::{Child, NodeMut, State, state},
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
/// the state above them. Round 0 is the known hashes, round 1 the leaves. The empty one is 0, so
/// that of two parts, one of which is empty, the other is their bitwise or.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part(u64);

/// Largest number of ids that are hashed as one page: a page of a mapped set, with some over it.
const KEYS_MAX: usize = 32;

/// The round of the leaves.
const LEAVES: usize = 1;

/// The first round of joins.
const JOINS: usize = 2;

/// Number of bits by which the ids of a page are told apart at a time.
const BUCKET_BITS: usize = 4;

/// Number of bits of a key.
const KEY_BITS: usize = 64;

impl Part {
    /// The subtree without ids.
    pub(crate) const EMPTY: Self = Self(0);

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
        let part = Part::new(0, self.values.len(), state);
        self.values.push(hash);
        part
    }

    fn leaf(&mut self, id: &Hash) -> Part {
        let part = Part::new(LEAVES, self.leaf_ids.len(), State::One);
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
        self.join_many(left, right)
    }

    /// The subtree of two halves with two ids or more together.
    fn join_many(&mut self, left: Part, right: Part) -> Part {
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
            _ if entries.len() > KEYS_MAX => {
                let (zeros, ones) = split_bit(entries, depth);
                let left = self.page(zeros, depth + 1);
                let right = self.page(ones, depth + 1);
                self.join(left, right)
            }
            _ => {
                let first = self.leaf_ids.len();
                self.leaf_ids.extend(entries.iter().map(|entry| entry.id));
                self.keyed_page(entries, first, depth)
            }
        }
    }

    /// The same of ids that are leaves from `first` on.
    fn keyed_page(&mut self, entries: &[Entry], first: usize, depth: usize) -> Part {
        // The 64 bits from `depth` on nearly always tell all of a page's ids apart, and numbers are
        // split faster than ids are.
        let mut keys = [0; KEYS_MAX];
        let Some(keys) = keys.get_mut(..entries.len()) else { internal_error("a key") };
        for (key, entry) in keys.iter_mut().zip(entries) {
            *key = bits_at(&entry.id, depth);
        }
        self.buckets(entries, keys, first, depth, 0)
    }

    /// The same with the 64 bits of each id from `depth - shift` on, of which the first `shift` are
    /// equal.
    ///
    /// The ids are distributed by their next four bits, and masks tell which subtrees above these
    /// buckets have two ids or more: a branch for each id would be guessed wrong as often as not.
    fn buckets(
        &mut self,
        entries: &[Entry],
        keys: &[u64],
        first: usize,
        depth: usize,
        shift: usize,
    ) -> Part {
        if shift == KEY_BITS {
            return self.keyed_page(entries, first, depth);
        }
        if let [key, other] = keys
            && key != other
        {
            return self.pair(first, *key, *other, shift);
        }
        let bucket_of = |key: u64| (key << shift >> (KEY_BITS - BUCKET_BITS)) as usize;
        let mut parts = [Part::EMPTY; 1 << BUCKET_BITS];
        let (mut occupied, mut many) = (0_u32, 0_u32);
        // From the last: a bucket then has the part of its first id, which tells where it begins.
        for (place, key) in keys.iter().enumerate().rev() {
            let bucket = bucket_of(*key);
            many |= occupied & 1 << bucket;
            occupied |= 1 << bucket;
            *part_mut(&mut parts, bucket) = Part::new(LEAVES, first + place, State::One);
        }
        for bucket in ones(many) {
            let start = part(&parts, bucket).index() - first;
            let behind = occupied & u32::MAX << bucket << 1;
            let end = match ones(behind).next() {
                Some(next) => part(&parts, next).index() - first,
                None => keys.len(),
            };
            let (Some(entries), Some(keys)) = (entries.get(start..end), keys.get(start..end))
            else {
                internal_error("the ids of a bucket")
            };
            let (first, depth, shift) = (first + start, depth + BUCKET_BITS, shift + BUCKET_BITS);
            *part_mut(&mut parts, bucket) = self.buckets(entries, keys, first, depth, shift);
        }
        for _ in 0..BUCKET_BITS {
            many = halved(many) | evens(occupied & occupied >> 1);
            occupied = halved(occupied);
            let mut above = [Part::EMPTY; 1 << BUCKET_BITS];
            // All of them, whatever the level: as vectors they cost less than a loop of some.
            for (above, halves) in above.iter_mut().zip(parts.as_chunks::<2>().0) {
                let [left, right] = *halves;
                *above = Part(left.0 | right.0);
            }
            for place in ones(many) {
                let (left, right) = (part(&parts, 2 * place), part(&parts, 2 * place + 1));
                *part_mut(&mut above, place) = self.join_many(left, right);
            }
            parts = above;
        }
        parts[0]
    }

    /// The subtree of two leaves whose keys share their first `shift` bits.
    fn pair(&mut self, first: usize, key: u64, other: u64, shift: usize) -> Part {
        let [left, right] = [first, first + 1].map(|place| Part::new(LEAVES, place, State::One));
        let mut joined = self.join_many(left, right);
        let shared = (key ^ other).leading_zeros() as usize;
        for level in (shift..shared).rev() {
            joined = match key << level >> (KEY_BITS - 1) {
                0 => self.join_many(joined, Part::EMPTY),
                _ => self.join_many(Part::EMPTY, joined),
            };
        }
        joined
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
        self.starts.extend([0, end]);
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

fn part(parts: &[Part; 1 << BUCKET_BITS], place: usize) -> Part {
    *parts.get(place).unwrap_or_else(|| internal_error("a bucket"))
}

fn part_mut(parts: &mut [Part; 1 << BUCKET_BITS], place: usize) -> &mut Part {
    parts.get_mut(place).unwrap_or_else(|| internal_error("a bucket"))
}

/// Of each two bits of a mask, whether one is set.
fn halved(mask: u32) -> u32 {
    evens(mask | mask >> 1)
}

/// Of each two bits of a mask the lower one.
fn evens(mask: u32) -> u32 {
    let mut pairs = mask & 0x5555;
    pairs = (pairs | pairs >> 1) & 0x3333;
    pairs = (pairs | pairs >> 2) & 0x0f0f;
    (pairs | pairs >> 4) & 0x00ff
}

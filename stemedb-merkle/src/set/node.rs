//! The parts of the set tree in memory: pages of ids, and inner nodes over several bits of them.

use std::sync::Arc;

use super::{
    bits::split_prefix,
    entry::Entry,
    mapped::layout::{NODE_BITS_MAX, level_start},
    slot::Slot,
};
use crate::{
    bits::ID_BITS,
    hash::{self, EMPTY},
    id::Hash,
    internal::internal_error,
};

/// A page holds at most this many ids; one more makes it an inner node.
pub(crate) const PAGE_LEN_MAX: usize = 16;

/// Largest average number of ids of the children of a new node.
pub(crate) const CHILD_LEN_AIM: usize = 11;

/// Number of ids of a subtree, as far as its hash depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    One,
    Many,
}

impl State {
    pub(crate) fn of(count: usize) -> Self {
        match count {
            0 => Self::Empty,
            1 => Self::One,
            _ => Self::Many,
        }
    }

    pub(crate) fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Empty, state) | (state, Self::Empty) => state,
            _ => Self::Many,
        }
    }
}

/// A subtree.
#[derive(Clone, Debug, Default)]
pub(crate) enum Child {
    /// No ids.
    #[default]
    Empty,
    /// A few ids, sorted.
    Page(Arc<[Entry]>),
    Node2(Arc<Node<2, 2>>),
    Node4(Arc<Node<4, 6>>),
    Node8(Arc<Node<8, 14>>),
    Node16(Arc<Node<16, 30>>),
    /// All ids of this prefix that the mapped set has, and no others.
    Mapped,
    /// These, and a few more, sorted.
    Over(Arc<[Slot]>),
}

/// An inner node of `R` children with the hashes of all the `H = 2 * R - 2` subtrees below it,
/// those of one bit first: the two halves, the four quarters, and so on to the children.
///
/// In this order the fields that every visit reads lie in the cache line of the `Arc`'s counts.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Node<const R: usize, const H: usize> {
    occupied: u32,
    many: u32,
    dirty: u16,
    children: [Child; R],
    hashes: [Hash; H],
}

impl<const R: usize, const H: usize> Default for Node<R, H> {
    fn default() -> Self {
        Self {
            hashes: [EMPTY; H],
            children: core::array::from_fn(|_| Child::Empty),
            occupied: 0,
            many: 0,
            dirty: 0,
        }
    }
}

impl<const R: usize, const H: usize> Node<R, H> {
    pub(crate) fn parts(&self) -> (&[Child; R], &[Hash; H]) {
        (&self.children, &self.hashes)
    }
}

/// An inner node of any width, to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeRef<'a> {
    pub(crate) hashes: &'a [Hash],
    pub(crate) children: &'a [Child],
    pub(crate) occupied: u32,
    pub(crate) many: u32,
}

/// An inner node of any width, to change.
#[derive(Debug)]
pub(crate) struct NodeMut<'a> {
    pub(crate) hashes: &'a mut [Hash],
    pub(crate) children: &'a mut [Child],
    /// Mask of the subtrees that hold an id, bit `i` for `hashes[i]`.
    pub(crate) occupied: &'a mut u32,
    /// Mask of the subtrees that hold two ids or more.
    pub(crate) many: &'a mut u32,
    /// Mask of the children whose hashes are out of date.
    pub(crate) dirty: &'a mut u16,
}

/// State of the subtree `slot` by the masks of a node.
pub(crate) fn state(occupied: u32, many: u32, slot: usize) -> State {
    match (occupied >> slot & 1, many >> slot & 1) {
        (0, _) => State::Empty,
        (_, 0) => State::One,
        _ => State::Many,
    }
}

impl<'a> NodeRef<'a> {
    /// Number of bits that the node spans.
    pub(crate) fn bits(&self) -> usize {
        self.children.len().trailing_zeros() as usize
    }

    pub(crate) fn hash(&self, slot: usize) -> Hash {
        *self.hashes.get(slot).unwrap_or_else(|| internal_error("the hash of a subtree"))
    }

    pub(crate) fn state(&self, slot: usize) -> State {
        state(self.occupied, self.many, slot)
    }

    pub(crate) fn child(&self, index: usize) -> &'a Child {
        self.children.get(index).unwrap_or_else(|| internal_error("a child"))
    }
}

impl NodeMut<'_> {
    pub(crate) fn bits(&self) -> usize {
        self.children.len().trailing_zeros() as usize
    }

    pub(crate) fn state(&self, slot: usize) -> State {
        state(*self.occupied, *self.many, slot)
    }

    pub(crate) fn set_state(&mut self, slot: usize, state: State) {
        let mask = 1 << slot;
        *self.occupied = *self.occupied & !mask | if state == State::Empty { 0 } else { mask };
        *self.many = *self.many & !mask | if state == State::Many { mask } else { 0 };
    }

    /// The siblings of the path to a child, the halves first.
    pub(crate) fn siblings(&self, index: usize) -> [(Hash, State); NODE_BITS_MAX] {
        let bits = self.bits();
        let mut siblings = [(EMPTY, State::Empty); NODE_BITS_MAX];
        for (level, sibling) in (1..=bits).zip(&mut siblings) {
            let slot = (level_start(level) + (index >> (bits - level))) ^ 1;
            let Some(hash) = self.hashes.get(slot) else { internal_error("a sibling") };
            *sibling = (*hash, self.state(slot));
        }
        siblings
    }

    /// Takes in the hash of a child and makes those above it, up to that of the node, from the
    /// siblings of the path.
    pub(crate) fn ascend(
        &mut self,
        index: usize,
        (mut hash, mut state): (Hash, State),
        siblings: &[(Hash, State); NODE_BITS_MAX],
    ) -> (Hash, State) {
        let bits = self.bits();
        let Some(siblings) = siblings.get(..bits) else { internal_error("the siblings") };
        let mut level = bits;
        let mut put = |level: usize, hash: &Hash, state| {
            if level > 0 {
                let slot = level_start(level) + (index >> (bits - level));
                let Some(place) = self.hashes.get_mut(slot) else { internal_error("a hash") };
                *place = *hash;
                self.set_state(slot, state);
            }
        };
        put(level, &hash, state);
        let mut above = siblings.iter().rev();
        if state == State::One {
            // An id that is alone has one hash, however far up.
            let lone = above.clone().take_while(|(_, state)| *state == State::Empty).count();
            for _ in 0..lone {
                level -= 1;
                put(level, &hash, state);
            }
            above = siblings.get(..level).unwrap_or(&[]).iter().rev();
        }
        if level > 0 {
            state = State::Many;
            let first = level;
            let sides = (0..first).rev().map(|above| index >> (bits - above - 1) & 1 == 1);
            let steps = sides.zip(above).map(|(left, (sibling, _))| (left, sibling));
            hash = hash::path_told(hash, steps, |hash| {
                level -= 1;
                put(level, hash, State::Many);
            });
        }
        (hash, state)
    }

    /// Takes over what a narrower node has of a subtree in this one, `level` bits below the top.
    pub(crate) fn copy(&mut self, from: NodeRef<'_>, level: usize, index: usize) {
        for below in 1..=from.bits() {
            for place in 0..1 << below {
                let slot = level_start(below) + place;
                let place = index << below | place;
                let to = level_start(level + below) + place;
                let Some(hash) = self.hashes.get_mut(to) else { internal_error("a hash") };
                *hash = from.hash(slot);
                self.set_state(to, from.state(slot));
                if level + below == self.bits() {
                    let Some(child) = self.children.get_mut(place) else {
                        internal_error("a child")
                    };
                    *child = from.child(slot - level_start(below)).clone();
                }
            }
        }
    }
}

/// Evaluates one expression for a node of any width.
macro_rules! with_node {
    ($child:expr, $node:ident => $value:expr) => {
        match $child {
            Child::Node2($node) => Some($value),
            Child::Node4($node) => Some($value),
            Child::Node8($node) => Some($value),
            Child::Node16($node) => Some($value),
            Child::Empty | Child::Page(_) | Child::Mapped | Child::Over(_) => None,
        }
    };
}

impl Child {
    /// The inner node that this is.
    pub(crate) fn node(&self) -> Option<NodeRef<'_>> {
        with_node!(self, node => NodeRef {
            hashes: &node.hashes,
            children: &node.children,
            occupied: node.occupied,
            many: node.many,
        })
    }

    /// The inner node that this is, copied first if a snapshot has it too.
    pub(crate) fn node_mut(&mut self) -> Option<NodeMut<'_>> {
        with_node!(self, node => {
            let node = Arc::make_mut(node);
            NodeMut {
                hashes: &mut node.hashes,
                children: &mut node.children,
                occupied: &mut node.occupied,
                many: &mut node.many,
                dirty: &mut node.dirty,
            }
        })
    }

    /// Number of trees and snapshots that have it.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Empty | Self::Mapped => 0,
            Self::Page(entries) => Arc::strong_count(entries),
            Self::Over(slots) => Arc::strong_count(slots),
            Self::Node2(node) => Arc::strong_count(node),
            Self::Node4(node) => Arc::strong_count(node),
            Self::Node8(node) => Arc::strong_count(node),
            Self::Node16(node) => Arc::strong_count(node),
        }
    }

    /// Memory of the subtree in bytes, each piece with the two counts of its `Arc`.
    pub(crate) fn memory_len(&self) -> usize {
        const COUNTS_LEN: usize = 16;
        let own = match self {
            Self::Empty | Self::Mapped => return 0,
            Self::Page(entries) => return COUNTS_LEN + size_of_val(&**entries),
            Self::Over(slots) => return COUNTS_LEN + size_of_val(&**slots),
            Self::Node2(node) => size_of_val(&**node),
            Self::Node4(node) => size_of_val(&**node),
            Self::Node8(node) => size_of_val(&**node),
            Self::Node16(node) => size_of_val(&**node),
        };
        let below: usize =
            self.node().map_or(0, |node| node.children.iter().map(Self::memory_len).sum());
        COUNTS_LEN + own + below
    }

    /// A node of `2^bits` empty children.
    pub(crate) fn with_bits(bits: usize) -> Self {
        match bits {
            1 => Self::Node2(Arc::default()),
            2 => Self::Node4(Arc::default()),
            3 => Self::Node8(Arc::default()),
            _ => Self::Node16(Arc::default()),
        }
    }

    /// A page of these ids, sorted, at most [`PAGE_LEN_MAX`].
    pub(crate) fn page(entries: &[Entry]) -> Self {
        if entries.is_empty() { Self::Empty } else { Self::Page(Arc::from(entries)) }
    }

    /// The subtree at `depth` of these ids, sorted; all its hashes are still to be made.
    pub(crate) fn build(entries: &[Entry], depth: usize) -> Self {
        if entries.len() <= PAGE_LEN_MAX {
            return Self::page(entries);
        }
        let width = entries.len().div_ceil(CHILD_LEN_AIM).next_power_of_two();
        let count = (width.trailing_zeros() as usize).clamp(1, NODE_BITS_MAX);
        let count = count.min(ID_BITS - depth);
        let mut child = Self::with_bits(count);
        let Some(node) = child.node_mut() else { internal_error("the node just made") };
        let mut rest = entries;
        for (index, child) in node.children.iter_mut().enumerate() {
            let (here, behind) = split_prefix(rest, depth, count, index);
            rest = behind;
            *child = Self::build(here, depth + count);
            *node.dirty |= u16::from(!here.is_empty()) << index;
        }
        child
    }

    /// Whether a node of `width` children and `count` ids is to be rebuilt wider.
    pub(crate) fn outgrown(width: usize, count: usize) -> bool {
        width < 1 << NODE_BITS_MAX && count > width * CHILD_LEN_AIM
    }
}

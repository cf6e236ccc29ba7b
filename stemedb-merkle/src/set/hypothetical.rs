//! The root of a set with some ids more and others less, without making that set.
//!
//! Nodes and pages are read where they are and none is copied: only the hashes on the paths to what
//! changes are made, many at a time.

use core::cmp::Ordering;

use super::{
    bits::split_bit,
    entry::Entry,
    mapped::{MappedSet, MappedSetError, layout::level_start},
    node::{Child, NodeRef, State},
    overlay,
    plan::{Part, Plan},
    prefetch::{PrefetchDepth, prefetch},
    snapshot::Snapshot,
};
use crate::{
    bits::{ID_BITS, bit},
    hash,
    id::{Hash, Root},
    internal::internal_error,
};

/// Approximate number of changes that are hashed at once: their hashes fit a second-level cache.
const CHANGES_AT_ONCE: usize = 256;

/// As many ids where there is nothing else beside them.
const IDS_AT_ONCE: usize = 2048;

/// Ids to add and to remove, sorted, all of one prefix.
#[derive(Clone, Copy)]
struct Change<'a> {
    added: &'a [Hash],
    removed: &'a [Hash],
}

impl Change<'_> {
    fn is_empty(self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    fn len(self) -> usize {
        self.added.len() + self.removed.len()
    }

    /// Those with a 0 and with a 1 at `depth`.
    fn halves(self, depth: usize) -> [Self; 2] {
        let split = |ids: &[Hash]| match ids {
            [only] => usize::from(!bit(only, depth)),
            _ => ids.partition_point(|id| !bit(id, depth)),
        };
        let (added, removed) = (split(self.added), split(self.removed));
        let (added, added_ones) = self.added.split_at(added);
        let (removed, removed_ones) = self.removed.split_at(removed);
        [Self { added, removed }, Self { added: added_ones, removed: removed_ones }]
    }
}

/// A subtree by its prefix.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    prefix: u64,
}

struct Hypothesis<'a> {
    mapped: Option<&'a MappedSet>,
    plan: Plan,
    /// Kept to reuse its memory.
    merged: Vec<Entry>,
    gained: u64,
    lost: u64,
}

impl Snapshot {
    /// The root that this set would have with these ids added and those removed; of an id that is
    /// both, with it. O(d log N).
    ///
    /// Checks a peer's word about a difference: nothing is added or removed.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that one of them belongs to is damaged.
    pub fn hypothetical_root(
        &self,
        added: &[Hash],
        removed: &[Hash],
    ) -> Result<Root, MappedSetError> {
        let (mut added_sorted, mut removed_sorted) = (Vec::new(), Vec::new());
        let change = Change {
            added: sorted(added, &mut added_sorted),
            removed: sorted(removed, &mut removed_sorted),
        };
        if change.is_empty() {
            return Ok(self.root);
        }
        let mut hypothesis = Hypothesis {
            mapped: self.mapped.as_deref(),
            plan: Plan::default(),
            merged: Vec::new(),
            gained: 0,
            lost: 0,
        };
        let top = Place { depth: 0, prefix: 0 };
        let (top_hash, _) = hypothesis.hash_child(&self.top, top, change)?;
        Ok(hash::root(self.count + hypothesis.gained - hypothesis.lost, &top_hash))
    }
}

/// The ids, ascending and each once.
fn sorted<'a>(ids: &'a [Hash], buffer: &'a mut Vec<Hash>) -> &'a [Hash] {
    if ids.is_sorted_by(|one, next| one < next) {
        return ids;
    }
    buffer.extend_from_slice(ids);
    buffer.sort_unstable();
    buffer.dedup();
    buffer
}

impl Hypothesis<'_> {
    /// Hash and state of a subtree with a change in it, all hashes made.
    fn hash_child(
        &mut self,
        child: &Child,
        place: Place,
        change: Change<'_>,
    ) -> Result<(Hash, State), MappedSetError> {
        let loaded = self.load(child, place)?;
        let child = loaded.as_ref().unwrap_or(child);
        if change.len() > CHANGES_AT_ONCE {
            if let Some(node) = child.node() {
                return self.hash_node(node, place, change);
            }
            self.merge(child, place, change)?;
            let merged = core::mem::take(&mut self.merged);
            let hashed = self.hash_entries(&merged, place.depth);
            self.merged = merged;
            return Ok(hashed);
        }
        for ids in [change.added, change.removed] {
            if ids.len() > 1 {
                prefetch(child, place.depth, ids, |id| id, PrefetchDepth::Hashes);
            }
        }
        self.plan.clear();
        let part = self.child(child, place, change)?;
        Ok(self.made(part))
    }

    fn hash_node(
        &mut self,
        node: NodeRef<'_>,
        place: Place,
        change: Change<'_>,
    ) -> Result<(Hash, State), MappedSetError> {
        let mut hashed = Vec::new();
        self.hash_children(node, 0, 0, place, change, &mut hashed)?;
        self.plan.clear();
        let mut hashed = hashed.into_iter();
        let part = self.below(node, 0, 0, change, place.depth, &mut |this, _, _| {
            let Some((hash, state)) = hashed.next() else { internal_error("a hashed child") };
            Ok(if state == State::Empty { Part::EMPTY } else { this.plan.known(hash, state) })
        })?;
        Ok(self.made(part))
    }

    /// Hashes each child of a node that a change falls in, from left to right.
    fn hash_children(
        &mut self,
        node: NodeRef<'_>,
        level: usize,
        index: usize,
        place: Place,
        change: Change<'_>,
        hashed: &mut Vec<(Hash, State)>,
    ) -> Result<(), MappedSetError> {
        if change.is_empty() {
            return Ok(());
        }
        if level == node.bits() {
            hashed.push(self.hash_child(node.child(index), place.below(node, index), change)?);
            return Ok(());
        }
        let [zeros, ones] = change.halves(place.depth + level);
        self.hash_children(node, level + 1, 2 * index, place, zeros, hashed)?;
        self.hash_children(node, level + 1, 2 * index + 1, place, ones, hashed)
    }

    /// Hash and state of sorted entries that share their first `depth` bits.
    fn hash_entries(&mut self, entries: &[Entry], depth: usize) -> (Hash, State) {
        if entries.len() <= IDS_AT_ONCE || depth >= ID_BITS {
            self.plan.clear();
            let part = self.plan.page(entries, depth);
            return self.made(part);
        }
        let (zeros, ones) = split_bit(entries, depth);
        let (left, left_state) = self.hash_entries(zeros, depth + 1);
        let (right, right_state) = self.hash_entries(ones, depth + 1);
        // There are two ids or more.
        (hash::node(&left, &right), left_state.join(right_state))
    }

    /// Makes all hashes that were noted.
    fn made(&mut self, part: Part) -> (Hash, State) {
        self.plan.run();
        (self.plan.hash(part), part.state())
    }

    /// A subtree with a change in it.
    fn child(
        &mut self,
        child: &Child,
        place: Place,
        change: Change<'_>,
    ) -> Result<Part, MappedSetError> {
        let loaded = self.load(child, place)?;
        let child = loaded.as_ref().unwrap_or(child);
        if let Some(node) = child.node() {
            return self.below(node, 0, 0, change, place.depth, &mut |this, index, change| {
                this.child(node.child(index), place.below(node, index), change)
            });
        }
        self.merge(child, place, change)?;
        Ok(self.plan.page(&self.merged, place.depth))
    }

    /// A subtree inside a node, `level` bits below its top; `each` gives the children that a
    /// change falls in.
    fn below(
        &mut self,
        node: NodeRef<'_>,
        level: usize,
        index: usize,
        change: Change<'_>,
        depth: usize,
        each: &mut impl FnMut(&mut Self, usize, Change<'_>) -> Result<Part, MappedSetError>,
    ) -> Result<Part, MappedSetError> {
        if change.is_empty() {
            let slot = level_start(level) + index;
            return Ok(match node.state(slot) {
                State::Empty => Part::EMPTY,
                state => self.plan.known(node.hash(slot), state),
            });
        }
        if level == node.bits() {
            return each(self, index, change);
        }
        let [zeros, ones] = change.halves(depth + level);
        let left = self.below(node, level + 1, 2 * index, zeros, depth, each)?;
        let right = self.below(node, level + 1, 2 * index + 1, ones, depth, each)?;
        Ok(self.plan.join(left, right))
    }

    /// Loads the node at a place of the mapped set; `None` for a page or a place in memory.
    fn load(&self, child: &Child, place: Place) -> Result<Option<Child>, MappedSetError> {
        match (child, self.mapped) {
            (Child::Mapped | Child::Over(_), Some(mapped)) if place.depth < mapped.page_bits() => {
                overlay::load(mapped, child, place.depth, place.prefix).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The entries of a page, or of nothing, with a change in them.
    fn merge(
        &mut self,
        child: &Child,
        place: Place,
        change: Change<'_>,
    ) -> Result<(), MappedSetError> {
        let mut loaded = Vec::new();
        let entries = match (child, self.mapped) {
            (Child::Page(entries), _) => entries,
            (Child::Mapped | Child::Over(_), Some(mapped)) => {
                overlay::entries(mapped, child, place.depth, place.prefix, &mut loaded)?;
                &loaded[..]
            }
            (Child::Mapped | Child::Over(_), None) => internal_error("the mapped set"),
            _ => &[],
        };
        let Change { mut added, mut removed } = change;
        self.merged.clear();
        for entry in entries {
            let mut wanted = false;
            while let Some((first, rest)) = added.split_first() {
                match first.cmp(&entry.id) {
                    Ordering::Greater => break,
                    Ordering::Equal => wanted = true,
                    Ordering::Less => {
                        self.gained += 1;
                        self.merged.push(Entry { id: *first, position: 0 });
                    }
                }
                added = rest;
            }
            let mut unwanted = false;
            while let Some((first, rest)) = removed.split_first()
                && *first <= entry.id
            {
                unwanted = *first == entry.id;
                removed = rest;
            }
            if wanted || !unwanted {
                self.merged.push(*entry);
            } else {
                self.lost += 1;
            }
        }
        self.gained += added.len() as u64;
        self.merged.extend(added.iter().map(|id| Entry { id: *id, position: 0 }));
        Ok(())
    }
}

impl Place {
    fn below(self, node: NodeRef<'_>, index: usize) -> Self {
        let bits = node.bits();
        Self { depth: self.depth + bits, prefix: self.prefix << bits | index as u64 }
    }
}

//! Inserting ids into the tree.

use super::{
    bits::{bits, key, split_prefix},
    changed_children::ChangedChildren,
    entry::Entry,
    load_path::{is_grown, load_path},
    mapped::{MappedSetError, layout::NODE_BITS_MAX},
    node::{Child, NodeMut, PAGE_LEN_MAX, State},
    overlay::Grown,
    plan::{Part, Plan},
    prefetch::{PrefetchDepth, prefetch},
    sort,
    tree::MerkleTree,
};
use crate::{bits::ID_BITS, id::Hash, internal::internal_error};

impl MerkleTree {
    /// Inserts an id, with the number of ids before it as its position. Returns whether it is new.
    ///
    /// O(log N): one page and one path are changed, and the root is current when this returns.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged; the tree is as it was then.
    pub fn insert(&mut self, id: Hash) -> Result<bool, MappedSetError> {
        Ok(self.insert_batch(&[Entry { id, position: self.now.count }])? == 1)
    }

    /// Inserts ids, in any order, and returns the number of new ones. Of two entries with one id,
    /// and of one that is there already and one that is not, the first holds.
    ///
    /// Each changed node is hashed once, many at a time.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that one of them belongs to is damaged; none is inserted then.
    pub fn insert_batch(&mut self, entries: &[Entry]) -> Result<usize, MappedSetError> {
        let sorted;
        let mut entries = entries;
        if !entries.is_sorted_by(|a, b| (key(&a.id), &a.id) < (key(&b.id), &b.id)) {
            let mut unique = sort::sorted(entries);
            unique.dedup_by(|later, first| later.id == first.id);
            sorted = unique;
            entries = &sorted;
        }
        self.insert_sorted(entries)
    }

    fn insert_sorted(&mut self, entries: &[Entry]) -> Result<usize, MappedSetError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let (mut page_bits, mut grown) = (0, Vec::new());
        if let Some(mapped) = self.now.mapped.clone() {
            // All that can fail comes first and changes neither the set nor a hash.
            let (plan, merged) = (&mut self.plan, &mut self.scratch);
            grown = load_path(&mut self.now.top, entries, &mapped, plan, merged)?;
            page_bits = mapped.page_bits();
        }
        let mut insertion = Insertion {
            plan: &mut self.plan,
            scratch: &mut self.scratch,
            page_bits,
            grown: grown.into_iter(),
            count: 0,
        };
        let top = match entries {
            [only] => insertion.insert_alone(&mut self.now.top, 0, only),
            _ => insertion.insert_and_hash(&mut self.now.top, 0, entries),
        };
        let inserted = insertion.count;
        if let Some((top_hash, _)) = top {
            self.now.set_top(top_hash, self.now.count + inserted as u64);
        }
        Ok(inserted)
    }
}

/// Approximate number of entries that are hashed at once where there was nothing before: their
/// hashes, and the parts that these are made of, fit a second-level cache.
const HASHED_AT_ONCE: usize = 2048;

/// So many are hashed with an entry that comes where there is something: the rest of its page, and
/// the path above.
const HASHED_WITH_ONE: usize = 12;

struct Insertion<'a> {
    plan: &'a mut Plan,
    scratch: &'a mut Vec<Entry>,
    /// Number of bits of an id that name its mapped page; 0 without a mapped set.
    page_bits: usize,
    /// The subtrees of the mapped set with the entries in them, in order.
    grown: std::vec::IntoIter<Grown>,
    /// Number of new entries.
    count: usize,
}

/// Approximate number of hashes to make for entries in a subtree.
fn hashed(child: &Child, new: &[Entry]) -> usize {
    if matches!(child, Child::Empty) { new.len() } else { HASHED_WITH_ONE * new.len() }
}

impl Insertion<'_> {
    /// Inserts sorted entries that share their first `depth` bits and makes all hashes. `None` if
    /// none was new.
    fn insert_and_hash(
        &mut self,
        child: &mut Child,
        depth: usize,
        new: &[Entry],
    ) -> Option<(Hash, State)> {
        if is_grown(child, depth, self.page_bits) {
            return self.take_grown(child);
        }
        if hashed(child, new) <= HASHED_AT_ONCE
            || !matches!(child, Child::Empty) && child.node().is_none()
        {
            self.plan.clear();
            let part = self.insert_prefetched(child, depth, new)?;
            return Some(self.plan.hash_into(child, part));
        }
        if matches!(child, Child::Empty) {
            // Wide from the start, so that its parts are made one after the other.
            *child = Child::with_bits(NODE_BITS_MAX.min(ID_BITS - depth));
        }
        let Some(mut node) = child.node_mut() else { internal_error("an inner node") };
        let count = node.bits();
        let mut made = ChangedChildren::default();
        let mut planned = 0;
        let mut rest = new;
        self.plan.clear();
        while let Some(first) = rest.first() {
            let index = bits(&first.id, depth, count);
            let (here, behind) = split_prefix(rest, depth, count, index);
            rest = behind;
            let Some(below) = node.children.get(index) else { internal_error("a child") };
            let more = hashed(below, here);
            if planned + more > HASHED_AT_ONCE {
                made.hash_planned(self.plan, &mut node);
                planned = 0;
            }
            let Some(below) = node.children.get_mut(index) else { internal_error("a child") };
            if more > HASHED_AT_ONCE {
                let hashed = self.insert_and_hash(below, depth + count, here);
                self.plan.clear();
                made.hashed.extend(hashed.map(|(hash, state)| (index, hash, state)));
            } else {
                planned += more;
                let part = self.insert_prefetched(below, depth + count, here);
                made.planned.extend(part.map(|part| (index, part)));
            }
        }
        made.hash_planned(self.plan, &mut node);
        if made.hashed.is_empty() {
            return None;
        }
        let parts = made.parts(self.plan, &mut node);
        let part = self.plan.fold(&mut node, parts);
        Some(self.plan.hash_into(child, part))
    }

    /// As [`insert`](Self::insert), with what it visits prefetched.
    fn insert_prefetched(
        &mut self,
        child: &mut Child,
        depth: usize,
        new: &[Entry],
    ) -> Option<Part> {
        if new.len() > 1 && !matches!(child, Child::Empty) {
            prefetch(child, depth, new, |entry| &entry.id, PrefetchDepth::All);
        }
        self.insert(child, depth, new)
    }

    /// Inserts one entry and makes the hashes on its path, one after the other as they depend on
    /// each other. `None` if it is not new.
    fn insert_alone(
        &mut self,
        child: &mut Child,
        depth: usize,
        entry: &Entry,
    ) -> Option<(Hash, State)> {
        let planned = is_grown(child, depth, self.page_bits)
            || child.node().is_none()
            || depth >= self.page_bits && outgrown(child, 1).is_some();
        if planned {
            return self.insert_and_hash(child, depth, core::slice::from_ref(entry));
        }
        let Some(mut node) = child.node_mut() else { internal_error("an inner node") };
        let count = node.bits();
        let index = bits(&entry.id, depth, count);
        // Before the child: these reads miss the caches, and like that none of them waits for
        // another.
        let siblings = node.siblings(index);
        let Some(below) = node.children.get_mut(index) else { internal_error("a child") };
        let changed = self.insert_alone(below, depth + count, entry)?;
        Some(node.ascend(index, changed, &siblings))
    }

    /// Inserts sorted entries that share their first `depth` bits and notes the hashes to be made.
    /// `None` if none was new.
    fn insert(&mut self, child: &mut Child, depth: usize, new: &[Entry]) -> Option<Part> {
        if is_grown(child, depth, self.page_bits) {
            let (hash, state) = self.take_grown(child)?;
            return Some(self.plan.known(hash, state));
        }
        match child {
            Child::Empty => {
                self.count += new.len();
                *child = Child::build(new, depth);
                return Some(self.plan.child(child, depth));
            }
            Child::Page(entries) => {
                self.scratch.clear();
                merge(entries, new, self.scratch);
                let inserted = self.scratch.len() - entries.len();
                return self.rebuild(child, depth, inserted);
            }
            _ => {}
        }
        // Above mapped pages no node spans more than a block, and some are widened before.
        if depth >= self.page_bits
            && let Some(entries) = outgrown(child, new.len())
        {
            self.scratch.clear();
            merge(&entries, new, self.scratch);
            let inserted = self.scratch.len() - entries.len();
            return self.rebuild(child, depth, inserted);
        }
        let Some(mut node) = child.node_mut() else { internal_error("an inner node") };
        if let [only] = new {
            return self.insert_one(&mut node, depth, only);
        }
        let count = node.bits();
        let mut parts = [Part::EMPTY; 1 << NODE_BITS_MAX];
        let mut rest = new;
        while let Some(first) = rest.first() {
            let index = bits(&first.id, depth, count);
            let (here, behind) = split_prefix(rest, depth, count, index);
            rest = behind;
            let (Some(below), Some(part)) = (node.children.get_mut(index), parts.get_mut(index))
            else {
                internal_error("a child")
            };
            if let Some(changed) = self.insert(below, depth + count, here) {
                *node.dirty |= 1 << index;
                *part = changed;
            }
        }
        (*node.dirty != 0).then(|| self.plan.fold(&mut node, parts))
    }

    /// Replaces a subtree of the mapped set by the same with entries in it.
    fn take_grown(&mut self, child: &mut Child) -> Option<(Hash, State)> {
        let Some(grown) = self.grown.next() else { internal_error("a subtree of the mapped set") };
        if grown.inserted == 0 {
            return None;
        }
        self.count += grown.inserted;
        *child = grown.child;
        Some((grown.hash, grown.state))
    }

    /// Inserts one entry below a node.
    fn insert_one(&mut self, node: &mut NodeMut<'_>, depth: usize, entry: &Entry) -> Option<Part> {
        let count = node.bits();
        let index = bits(&entry.id, depth, count);
        // The siblings before the child: these reads miss the caches, and like that none of them
        // waits for another.
        let siblings = self.plan.siblings(node, index);
        let Some(below) = node.children.get_mut(index) else { internal_error("a child") };
        let changed = self.insert(below, depth + count, core::slice::from_ref(entry))?;
        *node.dirty |= 1 << index;
        Some(self.plan.ascend(node, index, changed, siblings))
    }

    /// Rebuilds a subtree from the entries in the scratch buffer, `inserted` of which are new.
    fn rebuild(&mut self, child: &mut Child, depth: usize, inserted: usize) -> Option<Part> {
        if inserted == 0 {
            return None;
        }
        self.count += inserted;
        *child = Child::build(self.scratch, depth);
        Some(self.plan.child(child, depth))
    }
}

/// All entries of a narrow node over pages alone, if `more` entries take a wider one.
fn outgrown(child: &Child, more: usize) -> Option<Vec<Entry>> {
    let node = child.node()?;
    let mut count = 0;
    if !Child::outgrown(node.children.len(), usize::MAX) {
        return None;
    }
    for child in node.children {
        match child {
            Child::Empty => {}
            Child::Page(entries) => count += entries.len(),
            _ => return None,
        }
    }
    if !Child::outgrown(node.children.len(), count + more) {
        return None;
    }
    let mut all = Vec::with_capacity(count);
    for child in node.children {
        if let Child::Page(entries) = child {
            all.extend_from_slice(entries);
        }
    }
    Some(all)
}

/// Adds both, sorted; of equal ids the old entry stays.
fn merge(mut old: &[Entry], new: &[Entry], into: &mut Vec<Entry>) {
    for entry in new {
        let wanted = key(&entry.id);
        let less = |other: &Entry| {
            let key = key(&other.id);
            key < wanted || key == wanted && other.id < entry.id
        };
        let before = if old.len() <= PAGE_LEN_MAX {
            old.iter().take_while(|other| less(other)).count()
        } else {
            old.partition_point(less)
        };
        let (less, rest) = old.split_at(before);
        into.extend_from_slice(less);
        old = rest;
        if old.first().is_none_or(|other| other.id != entry.id) {
            into.push(*entry);
        }
    }
    into.extend_from_slice(old);
}

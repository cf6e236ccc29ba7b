//! Ids that came after the mapped set, over it: the mapped set is never brought into memory.
//!
//! ```text
//!   in memory                                     mapped, read where it lies
//!
//!   node: hashes of both together                 block of hashes
//!     | \ \                                          |
//!     |  \  -  nothing new below: stays mapped       |
//!     |   overlay page: up to 16 new ids             |
//!     |     [id, position, hash] ...                block of hashes
//!     |                                              |
//!   below a page of the mapped set:                 page of ids
//!   an ordinary tree once 17 new ids are there
//! ```
//!
//! Above the pages of the mapped set there are nodes and **overlay pages**. A node has the hashes
//! of the union at its subtrees: where nothing is new they are copies of the mapped ones. An
//! overlay page has the new ids of one prefix alone, at whatever depth, and beside each the hash of
//! the largest subtree in which it is the only new one (the new ids of one mapped page count as
//! one), or of its mapped page where that is near. That hash covers what would be dear to make
//! again: the mapped page with the new id in it. When an id comes into an overlay page, one mapped
//! page is read and hashed together with it, and one other if the new id parts from a neighbour
//! lower than any did before. All else is joins of hashes beside ids with mapped hashes beside the
//! paths, read one by one where they lie.
//!
//! With more than 16 new ids an overlay page becomes a node over overlay pages, as narrow as that
//! takes. A node never spans more than one block of the mapped set, from which it has its hashes.
//! Only a page of the mapped set with more than 16 new ids is loaded: it has about as many itself.
//!
//! **Memory**, an id: 74 bytes in an overlay page, and its share of an `Arc` and of a place in a
//! node, 110 bytes over 6 to 16 ids. That is 87 to 96 bytes, whatever the number of ids in the
//! mapped set; a checkpoint ends it.
//!
//! **Errors**: all that reads the mapped set comes before the first change of the tree (file
//! `load_path`).
//!
//! **Checkpoints** read the union in order (file `iter`), or the blocks that differ from the mapped
//! ones (file `changes`): made for one overlay page after the other.

use core::cmp::Ordering;

use super::{
    bits::{bits, key, prefix},
    changed_children::ChangedChildren,
    entry::Entry,
    mapped::{
        MappedSet, MappedSetError,
        blocks::Blocks,
        layout::{NODE_BITS_MAX, rest_of_block},
        pages::Pages,
    },
    node::{Child, State},
    plan::{Part, Plan},
    slot::Slot,
};
use crate::{bits::shared_bits, hash::EMPTY, id::Hash, internal::internal_error};

/// Approximate number of new ids that are inserted at once: with their pages, and the hashes of
/// these, they fit a second-level cache.
pub(super) const NEW_AT_ONCE: usize = 64;

/// An overlay page has at most so many new ids; one more makes it a node over overlay pages.
const SLOTS_MAX: usize = 16;

/// Largest average number of new ids of the overlay pages below a new node.
const SLOTS_AIM: usize = 11;

/// So near above a mapped page its own hash is kept, and what it is joined with read again each
/// time: that is cheaper than to hash the page once more when another new id comes so near.
const LIFTED_LEVELS: usize = 2;

/// A slot, and the planned hash of its page, if that has changed.
struct Item {
    slot: Slot,
    page: Option<Part>,
}

/// A subtree with new ids in it.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) child: Child,
    pub(super) hash: Hash,
    pub(super) state: State,
    /// Number of new ids.
    pub(super) inserted: usize,
}

/// Parts of a tree over a mapped set, in the making. Changes no tree.
pub(super) struct Overlay<'a> {
    mapped: &'a MappedSet,
    pages: Pages<'a>,
    blocks: Blocks<'a>,
    pub(super) plan: &'a mut Plan,
    merged: &'a mut Vec<Entry>,
    /// Kept to reuse its memory.
    items: Vec<Item>,
    /// Largest number of ids of an overlay page above the pages of the mapped set.
    page_len_max: usize,
}

/// Whether a subtree lies in the mapped set, with or without new ids over it.
pub(super) fn is_over(child: &Child) -> bool {
    matches!(child, Child::Mapped | Child::Over(_))
}

/// The new ids of a subtree that lies in the mapped set.
pub(super) fn slots(child: &Child) -> &[Slot] {
    match child {
        Child::Over(slots) => slots,
        _ => &[],
    }
}

/// Adds all entries of a subtree that lies in the mapped set, sorted.
pub(super) fn entries(
    mapped: &MappedSet,
    child: &Child,
    depth: usize,
    prefix: u64,
    into: &mut Vec<Entry>,
) -> Result<(), MappedSetError> {
    let from = into.len();
    mapped.entries(depth, prefix, into)?;
    if let Child::Over(slots) = child {
        into.extend(slots.iter().map(Slot::entry));
        // Two runs, which the sort merges.
        if let Some(added) = into.get_mut(from..) {
            added.sort_by(compare);
        }
    }
    Ok(())
}

/// The part of a subtree that lies in the mapped set whose next `count` bits are `index`.
pub(super) fn part(child: &Child, depth: usize, count: usize, index: usize) -> Child {
    let (_, from) = split(slots(child), |slot| bits(&slot.id, depth, count) < index);
    match split(from, |slot| bits(&slot.id, depth, count) == index) {
        ([], _) => Child::Mapped,
        (here, _) => Child::Over(here.into()),
    }
}

/// The node of a subtree that lies in the mapped set, above its pages: down to the next block.
pub(super) fn load(
    mapped: &MappedSet,
    child: &Child,
    depth: usize,
    prefix: u64,
) -> Result<Child, MappedSetError> {
    load_with(mapped, child, depth, prefix, SLOTS_MAX)
}

/// As [`load`], with all nodes down to the pages of the mapped set on the paths to new ids.
pub(super) fn load_all(
    mapped: &MappedSet,
    child: &Child,
    depth: usize,
    prefix: u64,
) -> Result<Child, MappedSetError> {
    load_with(mapped, child, depth, prefix, 0)
}

fn load_with(
    mapped: &MappedSet,
    child: &Child,
    depth: usize,
    prefix: u64,
    page_len_max: usize,
) -> Result<Child, MappedSetError> {
    let slots = slots(child);
    let bits = rest_of_block(depth, mapped.page_bits());
    if slots.is_empty() {
        return mapped.load(depth, prefix, bits);
    }
    let (mut plan, mut merged) = (Plan::default(), Vec::new());
    let mut overlay = Overlay { page_len_max, ..Overlay::new(mapped, &mut plan, &mut merged) };
    overlay.plan.clear();
    let mut items: Vec<Item> = slots.iter().map(Item::of).collect();
    let (mut node, part) = overlay.node(&mut items, depth, bits)?;
    plan.hash_into(&mut node, part);
    Ok(node)
}

impl Item {
    fn of(slot: &Slot) -> Self {
        Self { slot: *slot, page: None }
    }
}

impl<'a> Overlay<'a> {
    pub(super) fn new(
        mapped: &'a MappedSet,
        plan: &'a mut Plan,
        merged: &'a mut Vec<Entry>,
    ) -> Self {
        let (pages, blocks) = (mapped.pages(), mapped.blocks());
        let (items, page_len_max) = (Vec::new(), SLOTS_MAX);
        Self { mapped, pages, blocks, plan, merged, items, page_len_max }
    }

    /// Number of bits of an id that name its mapped page.
    pub(super) fn page_bits(&self) -> usize {
        self.mapped.page_bits()
    }

    /// Prefetches the mapped parts that inserts into these subtrees read.
    pub(super) fn prefetch<'b>(
        &self,
        inserts: impl Iterator<Item = (&'b [Slot], &'b [Entry])> + Clone,
    ) {
        let page_bits = self.mapped.page_bits();
        let wanted = inserts.flat_map(|(old, new)| {
            let parted = move |entry: &'b Entry| parted(old, &entry.id);
            new.iter().flat_map(move |entry| parted(entry).into_iter().chain([&entry.id]))
        });
        self.pages.prefetch(wanted.clone());
        for id in wanted {
            self.blocks.prefetch(prefix(id, page_bits));
        }
    }

    /// Inserts sorted entries, all of one prefix of `depth` bits, over the new ones that are there,
    /// and makes all hashes. To be called for the lowest ids first.
    pub(super) fn insert(
        &mut self,
        old: &[Slot],
        new: &[Entry],
        depth: usize,
    ) -> Result<Grown, MappedSetError> {
        if new.len() > NEW_AT_ONCE && depth < self.mapped.page_bits() {
            return self.insert_many(old, new, depth);
        }
        self.plan.clear();
        self.prefetch([(old, new)].into_iter());
        let (child, part, inserted) = self.plan_insert(old, new, depth)?;
        Ok(self.grown(child, part, inserted))
    }

    /// Inserts as [`insert`](Self::insert) does, and leaves the hashes to be made to the plan.
    /// Without new entries there is no child.
    pub(super) fn plan_insert(
        &mut self,
        old: &[Slot],
        new: &[Entry],
        depth: usize,
    ) -> Result<(Child, Part, usize), MappedSetError> {
        let mut items = core::mem::take(&mut self.items);
        items.clear();
        let inserted = self.fill(&mut items, old, new)?;
        let (mut child, mut part) = (Child::Empty, Part::EMPTY);
        if inserted > 0 {
            (child, part) = self.subtree(&mut items, depth)?;
        }
        self.items = items;
        Ok((child, part, inserted))
    }

    /// Makes the hashes of a planned subtree.
    fn grown(&mut self, mut child: Child, part: Part, inserted: usize) -> Grown {
        let (hash, state) = self.plan.hash_into(&mut child, part);
        Grown { child, hash, state, inserted }
    }

    fn insert_many(
        &mut self,
        mut old: &[Slot],
        mut new: &[Entry],
        depth: usize,
    ) -> Result<Grown, MappedSetError> {
        let Some(first) = new.first() else { internal_error("a new entry") };
        let count = self.node_bits(depth, old.len() + new.len());
        let mut child = self.mapped.load(depth, prefix(&first.id, depth), count)?;
        let Some(mut node) = child.node_mut() else { internal_error("the node just made") };
        let below = depth + count;
        let mut made = ChangedChildren::default();
        let (mut inserted, mut planned) = (0, 0);
        self.plan.clear();
        for index in 0..1 << count {
            let here = |id: &Hash| bits(id, depth, count) <= index;
            let (old_here, new_here);
            (old_here, old) = old.split_at(old.partition_point(|slot| here(&slot.id)));
            (new_here, new) = new.split_at(new.partition_point(|entry| here(&entry.id)));
            if old_here.is_empty() && new_here.is_empty() {
                continue;
            }
            let many = new_here.len() > NEW_AT_ONCE && below < self.mapped.page_bits();
            if many || planned + new_here.len() > NEW_AT_ONCE {
                made.hash_planned(self.plan, &mut node);
                planned = 0;
            }
            let (mut child, mut part, mut inserted_here) = (Child::Empty, Part::EMPTY, 0);
            if many {
                let grown = self.insert_many(old_here, new_here, below)?;
                self.plan.clear();
                inserted_here = grown.inserted;
                if inserted_here > 0 {
                    child = grown.child;
                    part = self.plan.known(grown.hash, grown.state);
                }
            } else if !new_here.is_empty() {
                self.prefetch([(old_here, new_here)].into_iter());
                (child, part, inserted_here) = self.plan_insert(old_here, new_here, below)?;
            }
            if inserted_here == 0 {
                if old_here.is_empty() {
                    continue;
                }
                let mut items: Vec<Item> = old_here.iter().map(Item::of).collect();
                (child, part) = self.subtree(&mut items, below)?;
            }
            inserted += inserted_here;
            planned += inserted_here;
            let Some(place) = node.children.get_mut(index) else { internal_error("a child") };
            *place = child;
            made.planned.push((index, part));
        }
        made.hash_planned(self.plan, &mut node);
        if inserted == 0 {
            return Ok(self.grown(Child::Empty, Part::EMPTY, 0));
        }
        let parts = made.parts(self.plan, &mut node);
        let part = self.plan.fold(&mut node, parts);
        Ok(self.grown(child, part, inserted))
    }

    /// Replaces a node over overlay pages by a wider one, if `more` ids take that. Its set of ids
    /// and its hash stay as they are.
    pub(super) fn widen(
        &mut self,
        child: &mut Child,
        depth: usize,
        more: usize,
    ) -> Result<(), MappedSetError> {
        let Some(node) = child.node() else { return Ok(()) };
        let pages = |child: &Child| is_over(child) || matches!(child, Child::Empty);
        let len: usize = node.children.iter().map(|child| slots(child).len()).sum();
        let count = self.node_bits(depth, len + more);
        if count <= node.bits() || len == 0 || !node.children.iter().all(pages) {
            return Ok(());
        }
        let mut items: Vec<Item> = node.children.iter().flat_map(slots).map(Item::of).collect();
        self.plan.clear();
        let (mut wide, part) = self.node(&mut items, depth, count)?;
        self.plan.hash_into(&mut wide, part);
        *child = wide;
        Ok(())
    }

    /// Number of bits that a new node for so many ids spans.
    fn node_bits(&self, depth: usize, len: usize) -> usize {
        let width = len.div_ceil(SLOTS_AIM).next_power_of_two();
        let count = width.trailing_zeros() as usize;
        count.clamp(1, rest_of_block(depth, self.mapped.page_bits()))
    }

    /// Adds the slots that are there and those of entries that neither they nor the mapped set
    /// have, sorted. Returns the number of the latter, the hashes of whose pages are planned.
    fn fill(
        &mut self,
        items: &mut Vec<Item>,
        mut old: &[Slot],
        mut new: &[Entry],
    ) -> Result<usize, MappedSetError> {
        let page_bits = self.mapped.page_bits();
        let mut inserted = 0;
        while let Some(first) = new.first() {
            let page = prefix(&first.id, page_bits);
            let (before, there, here);
            (here, new) = split(new, |entry| prefix(&entry.id, page_bits) <= page);
            (before, old) = split(old, |slot| prefix(&slot.id, page_bits) < page);
            (there, old) = split(old, |slot| prefix(&slot.id, page_bits) <= page);
            items.extend(before.iter().map(Item::of));
            let start = items.len();
            items.extend(there.iter().map(Item::of));
            self.merged.clear();
            self.pages.ids(page, self.merged)?;
            add(self.merged, there.iter().map(Slot::entry));
            let held = self.merged.as_slice();
            let fresh =
                |entry: &&Entry| held.binary_search_by(|held| compare(held, entry)).is_err();
            let fresh = here.iter().filter(fresh);
            items.extend(fresh.map(|entry| Item { slot: Slot::new(entry), page: None }));
            let count = items.len() - start - there.len();
            if count == 0 {
                continue;
            }
            inserted += count;
            let fresh = items.iter().skip(start + there.len());
            add(self.merged, fresh.map(|item| item.slot.entry()));
            let Some(items) = items.get_mut(start..) else { internal_error("the items added") };
            items.sort_by(|one, other| compare_ids(&one.slot.id, &other.slot.id));
            for item in &mut *items {
                item.slot.forget();
            }
            if let Some(first) = items.first_mut() {
                first.page = Some(self.plan.page(self.merged, page_bits));
            }
        }
        items.extend(old.iter().map(Item::of));
        Ok(inserted)
    }

    /// The subtree of sorted items, in place or as a node.
    fn subtree(
        &mut self,
        items: &mut [Item],
        depth: usize,
    ) -> Result<(Child, Part), MappedSetError> {
        let page_bits = self.mapped.page_bits();
        if depth == page_bits && items.len() > SLOTS_MAX {
            let Some(first) = items.first() else { internal_error("a new id") };
            let page = prefix(&first.slot.id, depth);
            self.merged.clear();
            self.mapped.entries(depth, page, self.merged)?;
            add(self.merged, items.iter().map(|item| item.slot.entry()));
            let mut child = Child::build(self.merged, depth);
            let part = self.plan.child(&mut child, depth);
            return Ok((child, part));
        }
        if depth == page_bits || items.len() <= self.page_len_max {
            let part = self.hash(items, depth)?;
            return Ok((Child::Over(items.iter().map(|item| item.slot).collect()), part));
        }
        let count = match self.page_len_max {
            0 => rest_of_block(depth, page_bits),
            _ => self.node_bits(depth, items.len()),
        };
        self.node(items, depth, count)
    }

    /// The subtree of sorted items, as a node of `count` bits.
    fn node(
        &mut self,
        items: &mut [Item],
        depth: usize,
        count: usize,
    ) -> Result<(Child, Part), MappedSetError> {
        let Some(first) = items.first() else { internal_error("a new id") };
        let mut child = self.mapped.load(depth, prefix(&first.slot.id, depth), count)?;
        let Some(mut node) = child.node_mut() else { internal_error("the node just made") };
        let mut parts = [Part::EMPTY; 1 << NODE_BITS_MAX];
        let mut rest = items;
        for (index, (below, part)) in node.children.iter_mut().zip(&mut parts).enumerate() {
            let len = rest.partition_point(|item| bits(&item.slot.id, depth, count) <= index);
            let (here, behind) = rest.split_at_mut(len);
            rest = behind;
            if !here.is_empty() {
                (*below, *part) = self.subtree(here, depth + count)?;
                *node.dirty |= 1 << index;
            }
        }
        let part = self.plan.fold(&mut node, parts);
        Ok((child, part))
    }

    /// The hash of the subtree of sorted items at `depth`.
    fn hash(&mut self, items: &mut [Item], depth: usize) -> Result<Part, MappedSetError> {
        let page_bits = self.mapped.page_bits();
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            internal_error("a new id")
        };
        let (id, page) = (first.slot.id, prefix(&first.slot.id, page_bits));
        if prefix(&last.slot.id, page_bits) == page {
            return self.hash_page(items, page, depth);
        }
        let below = depth + 1;
        let zeros = items.partition_point(|item| bits(&item.slot.id, depth, 1) == 0);
        let (zeros, ones) = items.split_at_mut(zeros);
        let mut half = |items: &mut [Item]| match items {
            [] => self.beside(below, prefix(&id, below) ^ 1),
            items => self.hash(items, below),
        };
        let (left, right) = (half(zeros)?, half(ones)?);
        Ok(self.plan.join(left, right))
    }

    /// The hash of the subtree at `depth` in which the items, all of one mapped page, are the only
    /// new ids.
    fn hash_page(
        &mut self,
        items: &mut [Item],
        page: u64,
        depth: usize,
    ) -> Result<Part, MappedSetError> {
        let page_bits = self.mapped.page_bits();
        let Some(first) = items.first() else { internal_error("a new id") };
        // Depth of the hash that is still to be kept, if it is made here.
        let mut kept = Some(if page_bits - depth <= LIFTED_LEVELS { page_bits } else { depth });
        let (mut part, mut level) = match (first.page, first.slot.hash()) {
            (Some(page), _) => (page, page_bits),
            (None, Some((level, many, hash))) if level >= depth => {
                kept = None;
                let state = if many { State::Many } else { State::One };
                (self.plan.known(*hash, state), level)
            }
            _ => {
                // A new id parts from these lower than any did before.
                self.merged.clear();
                self.mapped.pages().ids(page, self.merged)?;
                add(self.merged, items.iter().map(|item| item.slot.entry()));
                (self.plan.page(self.merged, page_bits), page_bits)
            }
        };
        loop {
            if kept == Some(level)
                && let Some(first) = items.first_mut()
            {
                first.slot.plan(level, part.state() == State::Many);
                self.plan.result(part);
            }
            if level == depth {
                break;
            }
            let here = page >> (page_bits - level);
            let beside = self.beside(level, here ^ 1)?;
            let (left, right) = if here & 1 == 0 { (part, beside) } else { (beside, part) };
            part = self.plan.join(left, right);
            level -= 1;
        }
        Ok(part)
    }

    /// The hash of a subtree of the mapped set alone, beside new ids: whether it has one id or many
    /// does not matter then.
    fn beside(&mut self, depth: usize, prefix: u64) -> Result<Part, MappedSetError> {
        let hash = self.blocks.hash(depth, prefix)?;
        Ok(if hash == EMPTY { Part::EMPTY } else { self.plan.known(hash, State::Many) })
    }
}

fn compare(one: &Entry, other: &Entry) -> Ordering {
    compare_ids(&one.id, &other.id)
}

fn compare_ids(one: &Hash, other: &Hash) -> Ordering {
    key(one).cmp(&key(other)).then_with(|| one.cmp(other))
}

/// Merges sorted entries into others, which have none of them.
fn add<I>(into: &mut Vec<Entry>, entries: I)
where
    I: DoubleEndedIterator<Item = Entry> + ExactSizeIterator,
{
    // From the last on, so that each is moved once.
    let (mut from, mut to) = (into.len(), into.len() + entries.len());
    into.resize(to, Entry { id: EMPTY, position: 0 });
    for entry in entries.rev() {
        let (before, _) = into.split_at(from);
        let above = before.iter().rev().take_while(|other| compare(other, &entry).is_gt()).count();
        into.copy_within(from - above..from, to - above);
        from -= above;
        to -= above + 1;
        let Some(place) = into.get_mut(to) else { internal_error("the place of an entry") };
        *place = entry;
    }
}

/// The id that is no longer alone where its hash is, once this one is there.
fn parted<'a>(old: &'a [Slot], id: &Hash) -> Option<&'a Hash> {
    let place = old.partition_point(|slot| key(&slot.id) < key(id));
    let below = place.checked_sub(1).and_then(|below| old.get(below));
    [below, old.get(place)].into_iter().flatten().find_map(|slot| {
        let (depth, ..) = slot.hash()?;
        (shared_bits(&slot.id, id) >= depth).then_some(&slot.id)
    })
}

/// Splits sorted items behind those at the front that satisfy the condition.
fn split<T>(items: &[T], front: impl Fn(&T) -> bool) -> (&[T], &[T]) {
    items.split_at(items.partition_point(front))
}

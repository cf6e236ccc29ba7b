//! Inserting into the tree, and, for hypothetical sets only, removing from it.

use super::{
    MerkleTree,
    archive::{Archive, ArchiveError, key, prefix},
    node::{Child, Entry, bits, split_prefix},
    plan::Plan,
};
use crate::Hash;

/// The entries sorted by id, the first of each id only.
pub(super) fn sorted(entries: &[Entry]) -> Vec<Entry> {
    let mut sorted = entries.to_vec();
    // Stable, so that the first of equals stays first.
    sorted.sort_by(|a, b| key(&a.id).cmp(&key(&b.id)).then_with(|| a.id.cmp(&b.id)));
    sorted.dedup_by(|later, first| later.id == first.id);
    sorted
}

impl MerkleTree {
    pub(super) fn insert_sorted(&mut self, entries: &[Entry]) -> Result<usize, ArchiveError> {
        let fresh;
        let mut entries = entries;
        if let Some(archive) = self.now.archive.clone() {
            // All that can fail comes first and changes nothing but where the tree lies.
            let mut kept = Vec::with_capacity(entries.len());
            for entry in entries {
                if self.now.position(&entry.id)?.is_none() {
                    kept.push(*entry);
                }
            }
            for entry in &kept {
                thaw(&mut self.now.top, &entry.id, &archive, &mut self.plan)?;
            }
            fresh = kept;
            entries = &fresh;
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let inserted = insert(&mut self.now.top, 0, entries, &mut self.scratch);
        self.rehash(inserted, self.now.count + inserted as u64);
        Ok(inserted)
    }

    /// Removes ids. Only for sets that are asked for their root and dropped: the public types have
    /// no such call.
    pub(super) fn remove_batch(&mut self, ids: &[Hash]) -> Result<usize, ArchiveError> {
        let mut removed = 0;
        for id in ids {
            if self.now.position(id)?.is_none() {
                continue;
            }
            if let Some(archive) = self.now.archive.clone() {
                thaw(&mut self.now.top, id, &archive, &mut self.plan)?;
            }
            removed += usize::from(remove(&mut self.now.top, 0, id));
        }
        self.rehash(removed, self.now.count - removed as u64);
        Ok(removed)
    }

    fn rehash(&mut self, changes: usize, count: u64) {
        if changes > 0 {
            let (top_hash, _) = self.plan.rehash(&mut self.now.top, 0, changes);
            self.now.settle(top_hash, count);
        }
    }
}

/// Brings all of the path to an id into memory. The tree's hashes stay what they are.
fn thaw(
    top: &mut Child,
    id: &Hash,
    archive: &Archive,
    plan: &mut Plan,
) -> Result<(), ArchiveError> {
    let mut child = top;
    let mut depth = 0;
    loop {
        if let Child::Archived = child {
            *child = archive.thaw(depth, prefix(id, depth))?;
            if depth == archive.page_bits() {
                plan.rehash(child, depth, 0);
                return Ok(());
            }
        }
        let Some(node) = child.node_mut() else { return Ok(()) };
        let count = node.bits();
        let Some(below) = node.children.get_mut(bits(id, depth, count)) else { return Ok(()) };
        child = below;
        depth += count;
    }
}

/// Inserts sorted entries that share their first `depth` bits; says how many are new. Whose hashes
/// change is noted in the nodes.
fn insert(child: &mut Child, depth: usize, new: &[Entry], scratch: &mut Vec<Entry>) -> usize {
    match child {
        Child::Empty => {
            *child = Child::build(new, depth);
            return new.len();
        }
        Child::Page(entries) => {
            scratch.clear();
            merge(entries, new, scratch);
            let inserted = scratch.len() - entries.len();
            if inserted > 0 {
                *child = Child::build(scratch, depth);
            }
            return inserted;
        }
        Child::Archived => {
            debug_assert!(false, "paths are thawed before entries are inserted");
            return 0;
        }
        _ => {}
    }
    if let Some(entries) = outgrown(child, new.len()) {
        scratch.clear();
        merge(&entries, new, scratch);
        let inserted = scratch.len() - entries.len();
        if inserted > 0 {
            *child = Child::build(scratch, depth);
        }
        return inserted;
    }
    let Some(node) = child.node_mut() else { return 0 };
    let count = node.bits();
    let mut inserted = 0;
    let mut rest = new;
    while let Some(first) = rest.first() {
        let index = bits(&first.id, depth, count);
        let (here, behind) = match rest.len() {
            1 => (rest, Default::default()),
            _ => split_prefix(rest, depth, count, index),
        };
        rest = behind;
        let Some(below) = node.children.get_mut(index) else { break };
        let inserted_here = insert(below, depth + count, here, scratch);
        if inserted_here > 0 {
            *node.dirty |= 1 << index;
            inserted += inserted_here;
        }
    }
    inserted
}

/// All entries of a narrow node over pages alone, if with so many more it had better be wider.
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
        let before = if old.len() <= super::node::PAGE_LEN_MAX {
            old.iter().take_while(|other| other.id < entry.id).count()
        } else {
            old.partition_point(|other| other.id < entry.id)
        };
        let (less, rest) = old.split_at_checked(before).unwrap_or((old, &[]));
        into.extend_from_slice(less);
        old = rest;
        if old.first().is_none_or(|other| other.id != entry.id) {
            into.push(*entry);
        }
    }
    into.extend_from_slice(old);
}

fn remove(child: &mut Child, depth: usize, id: &Hash) -> bool {
    if let Child::Page(entries) = child {
        let kept: Vec<Entry> = entries.iter().filter(|entry| entry.id != *id).copied().collect();
        let removed = kept.len() < entries.len();
        *child = Child::page(&kept);
        return removed;
    }
    let Some(node) = child.node_mut() else { return false };
    let count = node.bits();
    let index = bits(id, depth, count);
    let removed =
        node.children.get_mut(index).is_some_and(|below| remove(below, depth + count, id));
    *node.dirty |= u16::from(removed) << index;
    removed
}

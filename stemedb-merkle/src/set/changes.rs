//! Changes of a tree since the older parts of its mapped set: the contents of the next delta.

use super::{
    entry::Entry,
    mapped::{BlockKey, MappedSet, MappedSetError, layout::rest_of_block},
    node::{Child, State},
    overlay::{self, is_over},
    snapshot::Snapshot,
};
use crate::{id::Hash, internal::internal_error};

/// Entries and hash blocks that came or changed since a position in the log.
#[derive(Debug, Default)]
pub struct Changes {
    /// The entries, sorted by id.
    pub entries: Vec<Entry>,
    /// The blocks, by depth and then by prefix.
    pub blocks: Vec<ChangedBlock>,
}

/// A block of hashes with a change in it.
#[derive(Debug)]
pub struct ChangedBlock {
    /// The name of the block.
    pub key: BlockKey,
    /// Mask of its subtrees that hold an id.
    pub occupied: u32,
    /// Mask of those that hold two ids or more.
    pub many: u32,
    /// The hashes.
    pub hashes: Vec<Hash>,
}

impl Snapshot {
    /// Changes since the log was `since` bytes long, given that the first `deltas_kept` deltas of
    /// the mapped set and its base have all that came before. O(changes), and O(N) without a mapped
    /// set.
    ///
    /// # Errors
    ///
    /// If a part of the mapped set is damaged.
    pub fn changes(&self, since: u64, deltas_kept: usize) -> Result<Changes, MappedSetError> {
        let mut changes = Changes::default();
        let Some(mapped) = &self.mapped else {
            for entry in self {
                changes.entries.extend(Some(entry?).filter(|entry| entry.position >= since));
            }
            return Ok(changes);
        };
        let walk = Walk { mapped, page_bits: mapped.page_bits(), since, deltas_kept };
        walk.subtree(&self.top, 0, 0, &mut changes)?;
        changes.blocks.sort_unstable_by_key(|block| block.key);
        Ok(changes)
    }
}

struct Walk<'a> {
    mapped: &'a MappedSet,
    page_bits: usize,
    since: u64,
    deltas_kept: usize,
}

impl Walk<'_> {
    fn subtree(
        &self,
        child: &Child,
        depth: usize,
        prefix: u64,
        changes: &mut Changes,
    ) -> Result<(), MappedSetError> {
        let walk = match child {
            Child::Empty => false,
            Child::Mapped => self.mapped.changed_since(self.deltas_kept, depth, prefix)?,
            _ => true,
        };
        if !walk {
            return Ok(());
        }
        if depth < self.page_bits {
            return self.node(&self.block(child, depth, prefix)?, depth, prefix, changes);
        }
        if is_over(child) {
            let mut entries = Vec::new();
            overlay::entries(self.mapped, child, depth, prefix, &mut entries)?;
            changes.entries.extend(entries.iter().filter(|entry| self.is_new(entry)));
        } else if let Child::Page(entries) = child {
            changes.entries.extend(entries.iter().filter(|entry| self.is_new(entry)));
        } else {
            self.node(child, depth, prefix, changes)?;
        }
        Ok(())
    }

    /// The same subtree above the pages in a node that goes down to the next block.
    fn block(&self, child: &Child, depth: usize, prefix: u64) -> Result<Child, MappedSetError> {
        if is_over(child) {
            return overlay::load_all(self.mapped, child, depth, prefix);
        }
        let Some(node) = child.node() else { internal_error("an inner node") };
        let (bits, rest) = (node.bits(), rest_of_block(depth, self.page_bits));
        if bits == rest {
            return Ok(child.clone());
        }
        let mut block = Child::with_bits(rest);
        let Some(mut wide) = block.node_mut() else { internal_error("the node just made") };
        wide.copy(node, 0, 0);
        for index in 0..1 << bits {
            let child = node.child(index);
            if !matches!(child, Child::Empty) {
                let child = self.block(child, depth + bits, prefix << bits | index as u64)?;
                let Some(below) = child.node() else { internal_error("an inner node") };
                wide.copy(below, bits, index);
            }
        }
        Ok(block)
    }

    fn is_new(&self, entry: &Entry) -> bool {
        entry.position >= self.since
    }

    fn node(
        &self,
        child: &Child,
        depth: usize,
        prefix: u64,
        changes: &mut Changes,
    ) -> Result<(), MappedSetError> {
        let Some(node) = child.node() else { internal_error("an inner node") };
        let count = node.bits();
        let before = changes.entries.len();
        for index in 0..1_usize << count {
            let below = prefix << count | index as u64;
            self.subtree(node.child(index), depth + count, below, changes)?;
        }
        if depth < self.page_bits && changes.entries.len() > before {
            debug_assert!(node.state(0).join(node.state(1)) != State::Empty, "it has an entry");
            changes.blocks.push(ChangedBlock {
                key: BlockKey { depth, prefix },
                occupied: node.occupied,
                many: node.many,
                hashes: node.hashes.to_vec(),
            });
        }
        Ok(())
    }
}

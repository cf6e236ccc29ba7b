//! Changes of a tree since the older parts of its mapped set: the contents of the next delta.

use super::{
    entry::Entry,
    mapped::{BlockKey, MappedSet, MappedSetError, layout::block_bits},
    node::{Child, State},
    plan::Plan,
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

/// Whether a subtree above the pages is made of nodes as wide as the mapped set's blocks.
fn fits_blocks(child: &Child, depth: usize, page_bits: usize) -> bool {
    match child {
        Child::Empty | Child::Mapped => true,
        Child::Page(_) => false,
        _ => child.node().is_some_and(|node| node.bits() == block_bits(depth, page_bits)),
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
        if depth < self.page_bits && !fits_blocks(child, depth, self.page_bits) {
            // It came where the mapped set has no id, so that its nodes are of any width.
            let aligned = self.aligned(child, depth)?;
            return self.node(&aligned, depth, prefix, changes);
        }
        match child {
            Child::Empty => Ok(()),
            Child::Page(entries) => {
                changes.entries.extend(entries.iter().filter(|entry| self.is_new(entry)));
                Ok(())
            }
            Child::Mapped => {
                if !self.mapped.changed_since(self.deltas_kept, depth, prefix)? {
                    return Ok(());
                }
                if depth == self.page_bits {
                    let mut entries = Vec::new();
                    self.mapped.entries(depth, prefix, &mut entries)?;
                    changes.entries.extend(entries.iter().filter(|entry| self.is_new(entry)));
                    return Ok(());
                }
                self.node(&self.mapped.load(depth, prefix)?, depth, prefix, changes)
            }
            _ => self.node(child, depth, prefix, changes),
        }
    }

    /// The same subtree, in nodes as wide as the mapped set's blocks.
    fn aligned(&self, child: &Child, depth: usize) -> Result<Child, MappedSetError> {
        let part = Snapshot { top: child.clone(), ..Snapshot::default() };
        let entries = part.iter().collect::<Result<Vec<_>, _>>()?;
        let mut aligned = Child::build_blocks(&entries, depth, self.page_bits);
        Plan::default().rehash(&mut aligned, depth);
        Ok(aligned)
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

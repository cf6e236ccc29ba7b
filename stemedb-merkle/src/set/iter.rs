//! Iterating over the tree in the order of the ids.

use std::{
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use super::{
    bits::{bits, prefix},
    entry::Entry,
    mapped::{MappedSet, MappedSetError, layout::NODE_BITS_MAX},
    node::Child,
    overlay,
    snapshot::Snapshot,
};
use crate::id::Hash;

/// Largest number of bits of pages of a mapped subtree that is read at once.
const READ_BITS_MAX: usize = 6;

/// The entries of a set tree in the order of their ids. Ends at the first that cannot be read.
#[derive(Debug)]
pub struct Iter {
    mapped: Option<Arc<MappedSet>>,
    /// Subtrees still to come, the next one last.
    ahead: Vec<Subtree>,
    /// Entries still to come before them, the next one last.
    page: Vec<Entry>,
    start: Option<Hash>,
    end: Bound<Hash>,
}

#[derive(Debug)]
struct Subtree {
    child: Child,
    depth: usize,
    prefix: u64,
}

impl Snapshot {
    /// All entries in the order of their ids, each of them or its error.
    pub fn iter(&self) -> Iter {
        self.range(..)
    }

    /// The entries whose ids are in a range, in order, each of them or its error.
    pub fn range(&self, ids: impl RangeBounds<Hash>) -> Iter {
        Iter::new(self, ids)
    }
}

impl Iter {
    fn new(snapshot: &Snapshot, ids: impl RangeBounds<Hash>) -> Self {
        let start = match ids.start_bound() {
            Bound::Unbounded => None,
            Bound::Included(start) => Some(*start),
            Bound::Excluded(start) => match successor(start) {
                Some(start) => Some(start),
                None => return Self::none(),
            },
        };
        Self {
            mapped: snapshot.mapped.clone(),
            ahead: vec![Subtree { child: snapshot.top.clone(), depth: 0, prefix: 0 }],
            page: Vec::new(),
            start,
            end: ids.end_bound().cloned(),
        }
    }

    fn none() -> Self {
        Self {
            mapped: None,
            ahead: Vec::new(),
            page: Vec::new(),
            start: None,
            end: Bound::Unbounded,
        }
    }

    /// Opens the next subtree, without the parts before the start.
    fn open(&mut self, subtree: &Subtree) -> Result<(), MappedSetError> {
        let Subtree { child, depth, prefix: here } = subtree;
        if let (Child::Mapped | Child::Over(_), Some(mapped)) = (child, &self.mapped) {
            if mapped.page_bits() - depth <= READ_BITS_MAX {
                overlay::entries(mapped, child, *depth, *here, &mut self.page)?;
                self.turn_page();
            } else {
                let part = |index| overlay::part(child, *depth, NODE_BITS_MAX, index);
                self.push_parts(subtree, NODE_BITS_MAX, part);
            }
        } else if let Child::Page(entries) = child {
            self.page.extend_from_slice(entries);
            self.turn_page();
        } else if let Some(node) = child.node() {
            self.push_parts(subtree, node.bits(), |index| node.child(index).clone());
        }
        Ok(())
    }

    /// Puts the parts of a subtree ahead, `count` bits below it, without those before the start.
    fn push_parts(&mut self, subtree: &Subtree, count: usize, part: impl Fn(usize) -> Child) {
        let Subtree { depth, prefix: here, .. } = *subtree;
        let first = match &self.start {
            Some(start) if prefix_agrees(start, depth, here) => bits(start, depth, count),
            _ => 0,
        };
        for index in (first..1 << count).rev() {
            let child = part(index);
            if !matches!(child, Child::Empty) {
                let prefix = here << count | index as u64;
                self.ahead.push(Subtree { child, depth: depth + count, prefix });
            }
        }
    }

    fn turn_page(&mut self) {
        if let Some(start) = self.start {
            self.page.retain(|entry| entry.id >= start);
        }
        self.page.reverse();
    }
}

/// Whether an id is known to begin with these `depth` bits; deeper than 32 it is not.
fn prefix_agrees(id: &Hash, depth: usize, here: u64) -> bool {
    depth <= 32 && prefix(id, depth) == here
}

fn successor(id: &Hash) -> Option<Hash> {
    let mut id = *id;
    for byte in id.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(id);
        }
    }
    None
}

impl IntoIterator for &Snapshot {
    type Item = Result<Entry, MappedSetError>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

impl Iterator for Iter {
    type Item = Result<Entry, MappedSetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.pop() {
                let inside = match &self.end {
                    Bound::Unbounded => true,
                    Bound::Included(end) => entry.id <= *end,
                    Bound::Excluded(end) => entry.id < *end,
                };
                if inside {
                    return Some(Ok(entry));
                }
                *self = Self::none();
                return None;
            }
            let subtree = self.ahead.pop()?;
            if let Err(error) = self.open(&subtree) {
                *self = Self::none();
                return Some(Err(error));
            }
        }
    }
}

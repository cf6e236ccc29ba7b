//! An id that came after the mapped set.

use super::entry::Entry;
use crate::{id::Hash, internal::internal_error};

/// An id over the mapped set, and the hash of the part of the tree that it is alone in.
///
/// Alone among the ids that came after the mapped set, but for those of its own page: the first of
/// the page has the hash then. Without padding: 74 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) id: Hash,
    position: [u8; 8],
    hash: Hash,
    depth: u8,
    many: bool,
}

/// No hash is here.
const NOWHERE: u8 = 0xff;

/// The hash is planned and not made yet.
const PLANNED: u8 = 0x80;

impl Slot {
    pub(crate) fn new(entry: &Entry) -> Self {
        let position = entry.position.to_le_bytes();
        Self { id: entry.id, position, hash: [0; 32], depth: NOWHERE, many: false }
    }

    pub(crate) fn entry(&self) -> Entry {
        Entry { id: self.id, position: u64::from_le_bytes(self.position) }
    }

    /// Depth of the subtree whose hash is here, whether it has two ids or more, and the hash.
    pub(crate) fn hash(&self) -> Option<(usize, bool, &Hash)> {
        (self.depth & PLANNED == 0).then_some((usize::from(self.depth), self.many, &self.hash))
    }

    /// Announces the hash of a subtree at `depth`.
    pub(crate) fn plan(&mut self, depth: usize, many: bool) {
        let depth = u8::try_from(depth).unwrap_or_else(|_| internal_error("a depth below 29"));
        (self.depth, self.many) = (depth | PLANNED, many);
    }

    /// Forgets the hash.
    pub(crate) fn forget(&mut self) {
        self.depth = NOWHERE;
    }

    pub(crate) fn is_planned(&self) -> bool {
        self.depth != NOWHERE && self.depth & PLANNED != 0
    }

    /// Takes in the hash that was announced.
    pub(crate) fn fetch(&mut self, hash: &Hash) {
        self.hash = *hash;
        self.depth &= !PLANNED;
    }
}

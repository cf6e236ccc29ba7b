//! Numbers of ids by their first byte, without reading the ids.

use super::{
    mapped::{MappedSet, MappedSetError},
    node::Child,
    overlay::{is_over, slots},
    snapshot::Snapshot,
};
use crate::internal::internal_error;

/// Bits of the first byte.
const BYTE_BITS: usize = 8;

impl Snapshot {
    /// Number of ids that begin with each byte: the sizes of the 256 uppermost subtrees.
    ///
    /// O(pages in memory). Of a mapped set only the starts of pages are read, at the ends of its
    /// untouched parts.
    ///
    /// # Errors
    ///
    /// If a part of a mapped set is damaged.
    pub fn counts_by_first_byte(&self) -> Result<[u64; 256], MappedSetError> {
        let mut counts = [0; 256];
        self.count_bytes(&self.top, 0, 0, &mut counts)?;
        Ok(counts)
    }

    fn count_bytes(
        &self,
        child: &Child,
        depth: usize,
        prefix: u64,
        counts: &mut [u64; 256],
    ) -> Result<(), MappedSetError> {
        if depth >= BYTE_BITS {
            *count_of(counts, prefix >> (depth - BYTE_BITS)) += self.count(child, depth, prefix)?;
        } else if let Some(node) = child.node() {
            for index in 0..1 << node.bits() {
                let below = prefix << node.bits() | index as u64;
                self.count_bytes(node.child(index), depth + node.bits(), below, counts)?;
            }
        } else if let Child::Page(entries) = child {
            for entry in entries.iter() {
                *count_of(counts, u64::from(entry.id[0])) += 1;
            }
        } else if is_over(child) {
            let mapped = self.mapped();
            if mapped.page_bits() < BYTE_BITS {
                // Few pages.
                let mut entries = Vec::new();
                mapped.entries(depth, prefix, &mut entries)?;
                for entry in entries {
                    *count_of(counts, u64::from(entry.id[0])) += 1;
                }
            } else {
                let below = BYTE_BITS - depth;
                for byte in prefix << below..(prefix + 1) << below {
                    *count_of(counts, byte) += mapped.count(BYTE_BITS, byte)?;
                }
            }
            for slot in slots(child) {
                *count_of(counts, u64::from(slot.id[0])) += 1;
            }
        }
        Ok(())
    }

    /// Number of ids of a subtree; the prefix counts above the pages of a mapped set only.
    fn count(&self, child: &Child, depth: usize, prefix: u64) -> Result<u64, MappedSetError> {
        if is_over(child) {
            return Ok(self.mapped().count(depth, prefix)? + slots(child).len() as u64);
        }
        if let Child::Page(entries) = child {
            return Ok(entries.len() as u64);
        }
        let Some(node) = child.node() else { return Ok(0) };
        let count = |index: usize| {
            let below = prefix << node.bits() | index as u64;
            self.count(node.child(index), depth + node.bits(), below)
        };
        (0..node.children.len()).map(count).sum()
    }

    fn mapped(&self) -> &MappedSet {
        self.mapped.as_deref().unwrap_or_else(|| internal_error("the mapped set"))
    }
}

fn count_of(counts: &mut [u64; 256], byte: u64) -> &mut u64 {
    let count = usize::try_from(byte).ok().and_then(|byte| counts.get_mut(byte));
    count.unwrap_or_else(|| internal_error("the count of a byte"))
}

//! Looking up ids by their first bytes.

use super::{
    bits::{bits, prefix},
    entry::Entry,
    mapped::MappedSetError,
    node::Child,
    overlay::slots,
    prefetch::{PATHS_AT_ONCE, PrefetchDepth, prefetch},
    slot::Slot,
    snapshot::Snapshot,
};
use crate::{id::Hash, internal::internal_error};

impl Snapshot {
    /// Finds for each of these prefixes the id that begins with it; `None` where there is none, or
    /// more than one.
    ///
    /// Fastest if they ascend, when neighbours have most of their paths in common. O(log N) each,
    /// O(1) in a mapped set.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that one of them belongs to is damaged.
    pub fn find_by_prefix<const N: usize>(
        &self,
        prefixes: &[[u8; N]],
    ) -> Result<Vec<Option<Hash>>, MappedSetError> {
        const { assert!(N <= 32, "an id has 32 bytes") };
        let mut found = Vec::with_capacity(prefixes.len());
        let mut paths = Vec::with_capacity(PATHS_AT_ONCE.min(prefixes.len()));
        for prefixes in prefixes.chunks(PATHS_AT_ONCE) {
            paths.clear();
            paths.extend(prefixes.iter().map(first_id));
            prefetch(&self.top, 0, &paths, |id| id, PrefetchDepth::Ids);
            for first in &paths {
                found.push(self.find_one_by_prefix::<N>(first)?);
            }
        }
        Ok(found)
    }

    /// The only id that begins with the first `N` bytes of this one, the lowest that could.
    fn find_one_by_prefix<const N: usize>(
        &self,
        first: &Hash,
    ) -> Result<Option<Hash>, MappedSetError> {
        let mut child = &self.top;
        let mut depth = 0;
        loop {
            match (child, &self.mapped) {
                (Child::Page(entries), _) => return Ok(only::<N>(entries, first)),
                (Child::Mapped | Child::Over(_), Some(mapped)) => {
                    let page_bits = mapped.page_bits();
                    if page_bits > 8 * N {
                        return self.find_in_range::<N>(first);
                    }
                    let mut entries = Vec::new();
                    mapped.entries(page_bits, prefix(first, page_bits), &mut entries)?;
                    entries.extend(slots(child).iter().map(Slot::entry));
                    return Ok(only::<N>(&entries, first));
                }
                (Child::Mapped | Child::Over(_), None) => internal_error("the mapped set"),
                (Child::Empty, _) => return Ok(None),
                _ => {}
            }
            let Some(node) = child.node() else { internal_error("an inner node") };
            let count = node.bits();
            if depth + count > 8 * N {
                // Ids that share more bits than are known.
                return self.find_in_range::<N>(first);
            }
            child = node.child(bits(first, depth, count));
            depth += count;
        }
    }

    fn find_in_range<const N: usize>(&self, first: &Hash) -> Result<Option<Hash>, MappedSetError> {
        let mut last = *first;
        last.iter_mut().skip(N).for_each(|byte| *byte = 0xff);
        let mut found = self.range(*first..=last);
        let id = found.next().transpose()?.map(|entry| entry.id);
        let more = found.next().transpose()?.is_some();
        Ok(id.filter(|_| !more))
    }
}

/// The lowest id with a prefix.
fn first_id<const N: usize>(prefix: &[u8; N]) -> Hash {
    let mut id = [0; 32];
    for (byte, known) in id.iter_mut().zip(prefix) {
        *byte = *known;
    }
    id
}

/// The only entry that shares its first `N` bytes with `first`.
fn only<const N: usize>(entries: &[Entry], first: &Hash) -> Option<Hash> {
    let prefix = first.first_chunk::<N>();
    let mut found = entries.iter().filter(|entry| entry.id.first_chunk::<N>() == prefix);
    let id = found.next().map(|entry| entry.id);
    if found.next().is_some() { None } else { id }
}

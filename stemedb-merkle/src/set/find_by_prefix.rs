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
    /// Finds the ids that begin with these prefixes, in the order of these; `None` if one prefix
    /// has no id, or more than `each_max`.
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
        each_max: usize,
    ) -> Result<Option<Vec<Hash>>, MappedSetError> {
        const { assert!(N <= 32, "an id has 32 bytes") };
        let mut found = Vec::with_capacity(prefixes.len());
        let mut paths = Vec::with_capacity(PATHS_AT_ONCE.min(prefixes.len()));
        for prefixes in prefixes.chunks(PATHS_AT_ONCE) {
            paths.clear();
            paths.extend(prefixes.iter().map(first_id));
            prefetch(&self.top, 0, &paths, |id| id, PrefetchDepth::Ids);
            for first in &paths {
                let before = found.len();
                self.find_one_prefix::<N>(first, each_max, &mut found)?;
                if !(1..=each_max).contains(&(found.len() - before)) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(found))
    }

    /// Finds the ids that begin with the first `N` bytes of this one, the lowest that could; of
    /// more than `each_max` not all.
    fn find_one_prefix<const N: usize>(
        &self,
        first: &Hash,
        each_max: usize,
        found: &mut Vec<Hash>,
    ) -> Result<(), MappedSetError> {
        let mut child = &self.top;
        let mut depth = 0;
        loop {
            match (child, &self.mapped) {
                (Child::Page(entries), _) => {
                    found.extend(fitting::<N>(entries, first));
                    return Ok(());
                }
                (Child::Mapped | Child::Over(_), Some(mapped)) => {
                    let page_bits = mapped.page_bits();
                    if page_bits > 8 * N {
                        return self.find_in_range::<N>(first, each_max, found);
                    }
                    let mut entries = Vec::new();
                    mapped.entries(page_bits, prefix(first, page_bits), &mut entries)?;
                    entries.extend(slots(child).iter().map(Slot::entry));
                    let mut fitting: Vec<Hash> = fitting::<N>(&entries, first).collect();
                    fitting.sort_unstable();
                    found.append(&mut fitting);
                    return Ok(());
                }
                (Child::Mapped | Child::Over(_), None) => internal_error("the mapped set"),
                (Child::Empty, _) => return Ok(()),
                _ => {}
            }
            let Some(node) = child.node() else { internal_error("an inner node") };
            let count = node.bits();
            if depth + count > 8 * N {
                // Ids that share more bits than are known.
                return self.find_in_range::<N>(first, each_max, found);
            }
            child = node.child(bits(first, depth, count));
            depth += count;
        }
    }

    fn find_in_range<const N: usize>(
        &self,
        first: &Hash,
        each_max: usize,
        found: &mut Vec<Hash>,
    ) -> Result<(), MappedSetError> {
        let mut last = *first;
        last.iter_mut().skip(N).for_each(|byte| *byte = 0xff);
        for entry in self.range(*first..=last).take(each_max.saturating_add(1)) {
            found.push(entry?.id);
        }
        Ok(())
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

/// The ids that share their first `N` bytes with `first`.
fn fitting<const N: usize>(entries: &[Entry], first: &Hash) -> impl Iterator<Item = Hash> {
    let prefix = first.first_chunk::<N>();
    entries.iter().map(|entry| entry.id).filter(move |id| id.first_chunk::<N>() == prefix)
}

//! Looking up many ids at once.

use super::{
    Snapshot,
    mapped::{MappedSet, MappedSetError, key},
    node::{Child, bits},
    prefetch::{PATHS_AT_ONCE, PrefetchDepth, prefetch},
};
use crate::Hash;

/// What memory knows of an id.
pub(super) enum Lookup {
    /// The position, if the id is there.
    Known(Option<u64>),
    /// The mapped set knows.
    Mapped,
}

/// Ids by their beginnings, with their places: from the lowest to the highest.
fn sorted(ids: &[Hash]) -> Vec<(u64, &Hash, usize)> {
    let mut order: Vec<(u64, &Hash, usize)> =
        ids.iter().enumerate().map(|(place, id)| (key(id), id, place)).collect();
    if !order.is_sorted() {
        order.sort_unstable();
    }
    order
}

impl MappedSet {
    /// The positions kept beside ids, in the order of the ids, which may be any; as
    /// [`Snapshot::positions`].
    ///
    /// # Errors
    ///
    /// If the part that one of them belongs to is damaged.
    pub fn positions(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, MappedSetError> {
        let mut found = vec![None; ids.len()];
        let mut pages = self.pages();
        for order in sorted(ids).chunks(PATHS_AT_ONCE) {
            pages.prefetch_places(order.iter().map(|(_, id, _)| *id));
            for (_, id, place) in order {
                if let Some(found) = found.get_mut(*place) {
                    *found = pages.find(id)?;
                }
            }
        }
        Ok(found)
    }
}

impl Snapshot {
    /// The positions kept beside ids, in the order of the ids, which may be any. It is what
    /// [`position`](Self::position) says of each, several times sooner for thousands of them:
    /// they are looked up from the lowest to the highest, many side by side.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that one of them belongs to is damaged.
    pub fn positions(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, MappedSetError> {
        let order = sorted(ids);
        let mut found = vec![None; ids.len()];
        let mut pages = self.mapped.as_ref().map(|mapped| mapped.pages());
        let mut in_mapped_set = Vec::new();
        for order in order.chunks(PATHS_AT_ONCE) {
            prefetch(&self.top, 0, order, |(_, id, _)| id, PrefetchDepth::Ids);
            in_mapped_set.clear();
            for item in order {
                match self.find_in_memory(item.1) {
                    Lookup::Known(known) => {
                        if let Some(found) = found.get_mut(item.2) {
                            *found = known;
                        }
                    }
                    Lookup::Mapped => in_mapped_set.push(*item),
                }
            }
            let Some(pages) = &mut pages else { continue };
            pages.prefetch_places(in_mapped_set.iter().map(|(_, id, _)| *id));
            for item in &in_mapped_set {
                if let Some(found) = found.get_mut(item.2) {
                    *found = pages.find(item.1)?;
                }
            }
        }
        Ok(found)
    }

    /// The position beside an id, as far as it can be said without the mapped set.
    pub(super) fn find_in_memory(&self, id: &Hash) -> Lookup {
        let mut child = &self.top;
        let mut depth = 0;
        loop {
            match child {
                Child::Empty => return Lookup::Known(None),
                Child::Mapped => return Lookup::Mapped,
                Child::Page(entries) => {
                    let wanted = key(id);
                    let found = entries
                        .iter()
                        .take_while(|entry| key(&entry.id) <= wanted)
                        .find(|entry| key(&entry.id) == wanted && entry.id == *id);
                    return Lookup::Known(found.map(|entry| entry.position));
                }
                _ => {
                    let Some(node) = child.node() else { return Lookup::Known(None) };
                    let count = node.bits();
                    child = node.child(bits(id, depth, count));
                    depth += count;
                }
            }
        }
    }
}

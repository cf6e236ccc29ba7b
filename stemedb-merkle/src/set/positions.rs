//! Looking up positions, of one id or of many at once.

use super::{
    bits::{bits, key},
    mapped::{MappedSet, MappedSetError, delta::DeltaCursor, page::delta_position},
    node::Child,
    prefetch::{PATHS_AT_ONCE, PrefetchDepth, prefetch},
    slot::Slot,
    snapshot::Snapshot,
};
use crate::{id::Hash, internal::internal_error};

/// Result of a lookup in memory.
enum Lookup {
    /// The position, if the id is there.
    Known(Option<u64>),
    /// The id belongs to the mapped set.
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

/// The result of an id by its place.
fn at(found: &mut [Option<u64>], place: usize) -> &mut Option<u64> {
    found.get_mut(place).unwrap_or_else(|| internal_error("the place of an id"))
}

impl MappedSet {
    /// The position kept beside the id, if it is there. O(1).
    ///
    /// # Errors
    ///
    /// If the part that it belongs to is damaged.
    pub fn position(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        self.find(id)
    }

    /// The position kept beside the id in one of the [parts](Self::parts), if it is in that. O(1)
    /// in the base, O(log log d) in a delta on average.
    ///
    /// # Errors
    ///
    /// If the part is damaged.
    pub fn position_in(&self, part: usize, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        self.find_in(part, &mut DeltaCursor::default(), id)
    }

    /// The positions kept beside ids in one of the [parts](Self::parts), in the order of the ids,
    /// which may be any; as [`Snapshot::positions`].
    ///
    /// # Errors
    ///
    /// If the part is damaged.
    pub fn positions_in(
        &self,
        part: usize,
        ids: &[Hash],
    ) -> Result<Vec<Option<u64>>, MappedSetError> {
        let mut found = vec![None; ids.len()];
        let (pages, mut cursor) = (self.pages(), DeltaCursor::default());
        for order in sorted(ids).chunks(PATHS_AT_ONCE) {
            if part == 0 {
                pages.prefetch_places(order.iter().map(|(_, id, _)| *id));
            }
            for (_, id, place) in order {
                *at(&mut found, *place) = self.find_in(part, &mut cursor, id)?;
            }
        }
        Ok(found)
    }

    fn find_in(
        &self,
        part: usize,
        cursor: &mut DeltaCursor,
        id: &Hash,
    ) -> Result<Option<u64>, MappedSetError> {
        let Some(delta) = part.checked_sub(1) else { return self.find_in_base(id) };
        let delta = self.deltas.get(delta).ok_or_else(|| self.inconsistent())?;
        let place = cursor.seek(delta.as_ref(), id)?;
        delta_position(delta.as_ref(), place, id)
    }
}

impl Snapshot {
    /// Whether the id is there. O(log N), O(1) in a mapped set.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn contains(&self, id: &Hash) -> Result<bool, MappedSetError> {
        Ok(self.position(id)?.is_some())
    }

    /// The position kept beside the id, if it is there. O(log N), O(1) in a mapped set.
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn position(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        match (self.find_in_memory(id), &self.mapped) {
            (Lookup::Known(known), _) => Ok(known),
            (Lookup::Mapped, Some(mapped)) => mapped.find(id),
            (Lookup::Mapped, None) => internal_error("the mapped set"),
        }
    }

    /// The positions kept beside ids, in the order of the ids, which may be any. Several times
    /// faster for thousands of ids than [`position`](Self::position) of each: they are looked up
    /// from the lowest to the highest, many side by side.
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
                        *at(&mut found, item.2) = known;
                    }
                    Lookup::Mapped => in_mapped_set.push(*item),
                }
            }
            let Some(pages) = &mut pages else { continue };
            pages.prefetch_places(in_mapped_set.iter().map(|(_, id, _)| *id));
            for item in &in_mapped_set {
                *at(&mut found, item.2) = pages.find(item.1)?;
            }
        }
        Ok(found)
    }

    /// The position beside an id, unless it belongs to the mapped set.
    fn find_in_memory(&self, id: &Hash) -> Lookup {
        let mut child = &self.top;
        let mut depth = 0;
        loop {
            match child {
                Child::Empty => return Lookup::Known(None),
                Child::Mapped => return Lookup::Mapped,
                Child::Over(slots) => {
                    let wanted = key(id);
                    let order =
                        |slot: &Slot| key(&slot.id).cmp(&wanted).then_with(|| slot.id.cmp(id));
                    let found = slots.binary_search_by(order).ok();
                    return match found.and_then(|place| slots.get(place)) {
                        Some(slot) => Lookup::Known(Some(slot.entry().position)),
                        None => Lookup::Mapped,
                    };
                }
                Child::Page(entries) => {
                    let wanted = key(id);
                    let found = entries
                        .iter()
                        .take_while(|entry| key(&entry.id) <= wanted)
                        .find(|entry| key(&entry.id) == wanted && entry.id == *id);
                    return Lookup::Known(found.map(|entry| entry.position));
                }
                _ => {
                    let Some(node) = child.node() else { internal_error("an inner node") };
                    let count = node.bits();
                    child = node.child(bits(id, depth, count));
                    depth += count;
                }
            }
        }
    }
}

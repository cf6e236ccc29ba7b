//! Reading pages in the order in which they lie.

use std::ops::Range;

use super::{
    arrays::{BaseArrays, IdArrays},
    delta::DeltaCursor,
    error::MappedSetError,
    layout::index,
    mapped_set::MappedSet,
    page::{compare, delta_position, in_order, near},
};
use crate::{
    id::Hash,
    set::{bits::prefix, entry::Entry},
};

/// Number of ids that are copied at a time: those of most pages.
const IDS_AT_ONCE: usize = 24;

/// The pages of a mapped set, visited from the first to the last: in a delta the search for the ids
/// of a page begins where those of the one before end.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    mapped: &'a MappedSet,
    cursors: Vec<DeltaCursor>,
}

impl MappedSet {
    /// All pages, to be visited from the first to the last.
    pub(crate) fn pages(&self) -> Pages<'_> {
        Pages { mapped: self, cursors: vec![DeltaCursor::default(); self.deltas.len()] }
    }
}

impl Pages<'_> {
    /// Prefetches the pages of these ids, without waiting for any of them.
    ///
    /// The lines of a page are read one after the other; those of many pages that are prefetched
    /// together come side by side. Damage is found on reading.
    pub(crate) fn prefetch<'b>(&self, ids: impl Iterator<Item = &'b Hash> + Clone) {
        self.prefetch_ranges(ids, |base, _, places| base.prefetch_ids(places));
    }

    /// Prefetches only the expected places of the ids in their pages, and the positions there.
    pub(crate) fn prefetch_places<'b>(&self, ids: impl Iterator<Item = &'b Hash> + Clone) {
        let page_bits = self.mapped.page_bits;
        self.prefetch_ranges(ids, |base, id, places| {
            let near = near(places, id, page_bits);
            base.prefetch_ids(near.clone()).wrapping_add(base.prefetch_positions(near))
        });
    }

    fn prefetch_ranges<'b>(
        &self,
        ids: impl Iterator<Item = &'b Hash> + Clone,
        prefetch: impl Fn(&dyn BaseArrays, &Hash, Range<usize>) -> u64,
    ) {
        let mapped = self.mapped;
        let page = |id| index(prefix(id, mapped.page_bits));
        let mut sum: u64 = 0;
        for id in ids.clone() {
            let starts = mapped.base.page_starts(page(id));
            sum = sum.wrapping_add(starts.map_or(0, |[start, _]| start as u64));
        }
        for id in ids {
            let Ok(places) = mapped.base_page(page(id)) else { continue };
            sum = sum.wrapping_add(prefetch(mapped.base.as_ref(), id, places));
        }
        core::hint::black_box(sum);
    }

    /// As [`MappedSet::find`], for ids in order.
    pub(crate) fn find(&mut self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        for (delta, cursor) in self.mapped.deltas.iter().zip(&mut self.cursors) {
            let place = cursor.seek(delta.as_ref(), id)?;
            if let Some(position) = delta_position(delta.as_ref(), place, id)? {
                return Ok(Some(position));
            }
        }
        self.mapped.find_in_base(id)
    }

    /// Adds all ids of one page, sorted, without their positions. Pages in order, as the ids of
    /// [`find`](Self::find).
    pub(crate) fn ids(&mut self, page: u64, into: &mut Vec<Entry>) -> Result<(), MappedSetError> {
        let (mapped, from) = (self.mapped, into.len());
        add_ids(mapped.base.as_ref(), mapped.base_page(index(page))?, into)?;
        let mut sorted = true;
        for (delta, cursor) in mapped.deltas.iter().zip(&mut self.cursors) {
            let places = cursor.seek_prefix(delta.as_ref(), mapped.page_bits, page)?;
            sorted &= places.is_empty();
            add_ids(delta.as_ref(), places, into)?;
        }
        let (_, added) = into.split_at_mut(from);
        if !sorted {
            added.sort_unstable_by(compare);
        }
        if !in_order(added, mapped.page_bits, page) {
            return Err(mapped.base.inconsistent());
        }
        Ok(())
    }
}

/// Adds the ids of these places.
fn add_ids<A: IdArrays + ?Sized>(
    arrays: &A,
    places: Range<usize>,
    into: &mut Vec<Entry>,
) -> Result<(), MappedSetError> {
    let mut ids = [[0; 32]; IDS_AT_ONCE];
    for first in places.clone().step_by(IDS_AT_ONCE) {
        let (ids, _) = ids.split_at_mut(IDS_AT_ONCE.min(places.end - first));
        arrays.ids(first, ids)?;
        into.extend(ids.iter().map(|id| Entry { id: *id, position: 0 }));
    }
    Ok(())
}

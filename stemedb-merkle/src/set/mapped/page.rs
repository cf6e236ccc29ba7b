//! Reading pages in the order in which they lie, with new entries merged in.

use std::{cmp::Ordering, ops::Range};

use super::{
    BaseArrays, DeltaCursor, MappedSet, MappedSetError, delta_position, expected_place, in_order,
    key, prefix,
};
use crate::{Hash, set::node::Entry};

/// The pages of a mapped set, asked for from the first to the last, so that the place in a delta
/// where one page's ids end is where the search for the next one's begins.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    pub(super) mapped: &'a MappedSet,
    pub(super) cursors: Vec<DeltaCursor>,
}

impl Pages<'_> {
    /// Asks for the memory in which the pages of these ids lie, without waiting for any of it.
    ///
    /// A page alone is read line after line, each of them waited for; asked for together, the lines
    /// of many pages come side by side. What is damaged is found when it is read.
    pub(crate) fn prefetch<'b>(&self, ids: impl Iterator<Item = &'b Hash> + Clone) {
        self.prefetch_ranges(ids, |_, places| places);
    }

    /// Asks for no more than where the ids ought to be in their pages.
    pub(crate) fn prefetch_places<'b>(&self, ids: impl Iterator<Item = &'b Hash> + Clone) {
        let page_bits = self.mapped.page_bits;
        self.prefetch_ranges(ids, |id, places| near(places, id, page_bits));
    }

    fn prefetch_ranges<'b>(
        &self,
        ids: impl Iterator<Item = &'b Hash> + Clone,
        wanted: impl Fn(&Hash, Range<usize>) -> Range<usize>,
    ) {
        let mapped = self.mapped;
        let page = |id| usize::try_from(prefix(id, mapped.page_bits)).unwrap_or(0);
        let mut sum: u64 = 0;
        for id in ids.clone() {
            let starts = mapped.base.page_starts(page(id));
            sum = sum.wrapping_add(starts.map_or(0, |[start, _]| start as u64));
        }
        for id in ids {
            let Ok(places) = mapped.base_page(page(id)) else { continue };
            sum = sum.wrapping_add(mapped.base.prefetch_ids(wanted(id, places)));
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

    /// Makes `merged` all entries of one page, sorted: those of the mapped set and those of `new`,
    /// all of this page and sorted, that it lacks. Says how many it lacks.
    pub(crate) fn merge(
        &mut self,
        new: &[Entry],
        merged: &mut Vec<Entry>,
    ) -> Result<usize, MappedSetError> {
        merged.clear();
        let Some(first) = new.first() else { return Ok(0) };
        let mapped = self.mapped;
        let (depth, page) = (mapped.page_bits, prefix(&first.id, mapped.page_bits));
        let places = mapped.base_page(usize::try_from(page).unwrap_or(usize::MAX))?;
        mapped.base.entries(places, merged)?;
        for (delta, cursor) in mapped.deltas.iter().zip(&mut self.cursors) {
            let places = cursor.seek_prefix(delta.as_ref(), depth, page)?;
            if !places.is_empty() {
                delta.entries(places, merged)?;
                merged.sort_unstable_by(compare);
            }
        }
        if !in_order(merged, depth, page) {
            return Err(mapped.base.inconsistent());
        }
        let held = merged.len();
        if let [only] = new {
            if let Err(place) = merged.binary_search_by(|entry| compare(entry, only)) {
                merged.insert(place, *only);
            }
        } else {
            merged.extend_from_slice(new);
            // Stable: of equals the one that was there comes first.
            merged.sort_by(compare);
            merged.dedup_by(|later, first| later.id == first.id);
        }
        Ok(merged.len() - held)
    }
}

/// The place of an id among the sorted ids of its page.
///
/// From where it ought to be it is a step or two: that touches fewest lines of memory.
pub(super) fn find_in_page(
    base: &dyn BaseArrays,
    places: Range<usize>,
    id: &Hash,
    page_bits: usize,
) -> Result<Option<usize>, MappedSetError> {
    let near = near(places.clone(), id, page_bits);
    let mut ids = [[0; 32]; NEAR];
    let ids = ids.get_mut(..near.len()).unwrap_or_default();
    base.ids(near.start, ids)?;
    let wanted = key(id);
    // Two words of eight bytes settle nearly all comparisons without a call.
    let compare = |other: &Hash| key(other).cmp(&wanted).then_with(|| other.cmp(id));
    let mut before = 0;
    for other in &*ids {
        match compare(other) {
            Ordering::Less => before += 1,
            Ordering::Equal => return Ok(Some(near.start + before)),
            Ordering::Greater => break,
        }
    }
    let Range { start: mut low, end: mut high } = match before {
        0 => places.start..near.start,
        _ if before == ids.len() => near.end..places.end,
        _ => return Ok(None),
    };
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(&base.id(middle)?) {
            Ordering::Less => low = middle + 1,
            Ordering::Equal => return Ok(Some(middle)),
            Ordering::Greater => high = middle,
        }
    }
    Ok(None)
}

/// How many ids are looked at together.
const NEAR: usize = 6;

/// The places next to the one where an id ought to be in its page.
fn near(places: Range<usize>, id: &Hash, page_bits: usize) -> Range<usize> {
    let expected = places.start + expected_place(places.len(), id, page_bits);
    let start = expected.saturating_sub(NEAR / 3).max(places.start);
    start..(start + NEAR).min(places.end)
}

fn compare(one: &Entry, other: &Entry) -> Ordering {
    key(&one.id).cmp(&key(&other.id)).then_with(|| one.id.cmp(&other.id))
}

//! Reading pages in the order in which they lie, with new entries merged in.

use super::{
    Archive, ArchiveError, DeltaCursor, collect, delta_position, expected_place, in_order, key,
    prefix,
};
use crate::{Hash, set::node::Entry};

/// The pages of an archive, asked for from the first to the last, so that the place in a delta
/// where one page's ids end is where the search for the next one's begins.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    pub(super) archive: &'a Archive,
    pub(super) cursors: Vec<DeltaCursor>,
}

impl Pages<'_> {
    /// Asks for the memory in which the pages of these ids lie, without waiting for any of it.
    ///
    /// A page alone is read line after line, each of them waited for; asked for together, the lines
    /// of many pages come side by side. What is damaged is found when it is read.
    pub(crate) fn ask<'b>(&self, ids: impl Iterator<Item = &'b Hash> + Clone) {
        self.ask_for(ids, |_, page| {
            const LINE_IDS: usize = 2;
            page.iter().step_by(LINE_IDS).map(|id| usize::from(id[0])).sum()
        });
    }

    /// Asks for no more than where the ids ought to be in their pages.
    pub(crate) fn ask_places<'b>(&self, ids: impl Iterator<Item = &'b Hash> + Clone) {
        let page_bits = self.archive.page_bits;
        self.ask_for(ids, |id, page| {
            let place = expected_place(page.len(), id, page_bits);
            let near = page.get(place.saturating_sub(2)..).unwrap_or_default();
            near.iter().take(6).map(|id| usize::from(id[0])).sum()
        });
    }

    fn ask_for<'b>(
        &self,
        ids: impl Iterator<Item = &'b Hash> + Clone,
        read: impl Fn(&Hash, &[Hash]) -> usize,
    ) {
        let archive = self.archive;
        let page = |id| usize::try_from(prefix(id, archive.page_bits)).unwrap_or(0);
        let mut sum = 0;
        for id in ids.clone() {
            sum += archive.base.page_start(page(id)).unwrap_or(0);
        }
        for id in ids {
            let Ok(places) = archive.base_page(page(id)) else { continue };
            sum += archive.base.ids(places).map_or(0, |page| read(id, page));
        }
        core::hint::black_box(sum);
    }

    /// As [`Archive::find`], for ids in order.
    pub(crate) fn find(&mut self, id: &Hash) -> Result<Option<u64>, ArchiveError> {
        for (delta, cursor) in self.archive.deltas.iter().zip(&mut self.cursors) {
            let place = cursor.seek(delta.as_ref(), id)?;
            if let Some(position) = delta_position(delta.as_ref(), place, id)? {
                return Ok(Some(position));
            }
        }
        self.archive.find_in_base(id)
    }

    /// Makes `merged` all entries of one page, sorted: those of the archive and those of `new`,
    /// all of this page and sorted, that it lacks. Says how many it lacks.
    pub(crate) fn merge(
        &mut self,
        new: &[Entry],
        merged: &mut Vec<Entry>,
    ) -> Result<usize, ArchiveError> {
        merged.clear();
        let Some(first) = new.first() else { return Ok(0) };
        let archive = self.archive;
        let (depth, page) = (archive.page_bits, prefix(&first.id, archive.page_bits));
        let places = archive.base_page(usize::try_from(page).unwrap_or(usize::MAX))?;
        collect(archive.base.ids(places.clone())?, archive.base.positions(places)?, merged);
        for (delta, cursor) in archive.deltas.iter().zip(&mut self.cursors) {
            let places = cursor.seek_prefix(delta.as_ref(), depth, page)?;
            if !places.is_empty() {
                collect(delta.ids(places.clone())?, delta.positions(places)?, merged);
                merged.sort_unstable_by(compare);
            }
        }
        if !in_order(merged, depth, page) {
            return Err(archive.base.inconsistent());
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

fn compare(one: &Entry, other: &Entry) -> core::cmp::Ordering {
    key(&one.id).cmp(&key(&other.id)).then_with(|| one.id.cmp(&other.id))
}

//! Reading pages in the order in which they lie, with new entries merged in.

use super::{Archive, ArchiveError, DeltaCursor, collect, in_order, key, prefix};
use crate::set::node::Entry;

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
    pub(crate) fn ask<'b>(&self, firsts: impl Iterator<Item = &'b Entry> + Clone) {
        const LINE_IDS: usize = 2;
        let archive = self.archive;
        let page =
            |entry: &Entry| usize::try_from(prefix(&entry.id, archive.page_bits)).unwrap_or(0);
        let mut sum = 0;
        for first in firsts.clone() {
            sum += archive.base.page_start(page(first)).unwrap_or(0);
        }
        for first in firsts {
            let Ok(places) = archive.base_page(page(first)) else { continue };
            let positions = archive.base.positions(places.clone()).unwrap_or_default();
            let ids = archive.base.ids(places).unwrap_or_default();
            sum += ids.iter().step_by(LINE_IDS).map(|id| usize::from(id[0])).sum::<usize>();
            sum += positions.first().map_or(0, |position| usize::from(position[0]));
        }
        core::hint::black_box(sum);
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

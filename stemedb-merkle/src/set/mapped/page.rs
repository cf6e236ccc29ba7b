//! Ids and entries of one page, and of one place of a delta.

use std::{cmp::Ordering, ops::Range};

use super::{
    arrays::{BaseArrays, DeltaArrays},
    error::MappedSetError,
    position::unpack_position,
};
use crate::{
    id::Hash,
    internal::internal_error,
    set::{
        bits::{self, key},
        entry::Entry,
    },
};

/// Finds the place of an id among the sorted ids of its page, from the place where it is expected:
/// that touches fewest lines of memory.
pub(super) fn find_in_page(
    base: &dyn BaseArrays,
    places: Range<usize>,
    id: &Hash,
    page_bits: usize,
) -> Result<Option<usize>, MappedSetError> {
    let near = near(places.clone(), id, page_bits);
    let mut ids = [[0; 32]; NEAR];
    let (ids, _) = ids.split_at_mut(near.len());
    // Asked for together, so that one is not waited for after the other.
    core::hint::black_box(base.prefetch_positions(near.clone()));
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

/// Number of ids that are compared together.
const NEAR: usize = 6;

/// The places next to the expected one of an id in its page.
pub(super) fn near(places: Range<usize>, id: &Hash, page_bits: usize) -> Range<usize> {
    let expected = places.start + expected_place(places.len(), id, page_bits);
    let start = expected.saturating_sub(NEAR / 3).max(places.start);
    start..(start + NEAR).min(places.end)
}

pub(super) fn compare(one: &Entry, other: &Entry) -> Ordering {
    key(&one.id).cmp(&key(&other.id)).then_with(|| one.id.cmp(&other.id))
}

/// Place of an id in a page of `len` ids if they are spread evenly: below `len`.
fn expected_place(len: usize, id: &Hash, page_bits: usize) -> usize {
    let share = (u128::from(key(id) << page_bits) * len as u128) >> 64;
    usize::try_from(share).unwrap_or_else(|_| internal_error("a place below the length"))
}

/// Whether entries ascend and their ids begin with `prefix` of `depth` bits. The tree relies on it,
/// and a file whose checksums hold can still be wrong.
pub(super) fn in_order(entries: &[Entry], depth: usize, prefix: u64) -> bool {
    let ascending = entries.is_sorted_by(|one, next| compare(one, next).is_lt());
    let belongs =
        |entry: Option<&Entry>| entry.is_none_or(|entry| bits::prefix(&entry.id, depth) == prefix);
    ascending && belongs(entries.first()) && belongs(entries.last())
}

/// The position beside an id, if it is at this place of a delta.
pub(crate) fn delta_position(
    delta: &dyn DeltaArrays,
    place: usize,
    id: &Hash,
) -> Result<Option<u64>, MappedSetError> {
    if place >= delta.len() || delta.id(place)? != *id {
        return Ok(None);
    }
    Ok(Some(unpack_position(delta.position(place)?)))
}

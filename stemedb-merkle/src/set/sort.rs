//! Sorting of entries by their ids, which are spread evenly as hashes are.

use super::{bits::key, entry::Entry, mapped::layout::index};
use crate::internal::internal_error;

/// Most bits by which ids are distributed at once: one place of each part lies in a cache then.
const PART_BITS_MAX: u32 = 12;

/// The entries sorted by id; those with equal ids stay in the order in which they came.
///
/// Ids are distributed by their first bits and the parts sorted, as numbers. Ids that are no hashes
/// take O(n log n).
pub fn sorted(entries: &[Entry]) -> Vec<Entry> {
    let part_bits = entries.len().checked_ilog2().unwrap_or(0).saturating_sub(3);
    let part_bits = part_bits.clamp(1, PART_BITS_MAX);
    let part = |entry: &Entry| index(key(&entry.id) >> (u64::BITS - part_bits));
    // Where each part begins; once they are distributed, where it ends.
    let mut places = vec![0; (1 << part_bits) + 1];
    for entry in entries {
        *place_of(&mut places, part(entry) + 1) += 1;
    }
    let mut sum = 0;
    for place in &mut places {
        sum += *place;
        *place = sum;
    }
    let mut order = vec![(0, 0); entries.len()];
    for (at, entry) in entries.iter().enumerate() {
        let place = place_of(&mut places, part(entry));
        let Some(to) = order.get_mut(*place) else { internal_error("the place of an entry") };
        *to = (key(&entry.id), at);
        *place += 1;
    }
    let mut rest = order.as_mut_slice();
    let mut from = 0;
    for end in places.iter().take(1 << part_bits) {
        let (part, behind) = rest.split_at_mut(end - from);
        part.sort_unstable();
        (rest, from) = (behind, *end);
    }
    let mut sorted: Vec<Entry> =
        order.iter().filter_map(|(_, at)| entries.get(*at)).copied().collect();
    if !sorted.is_sorted_by(|one, next| one.id <= next.id) {
        // Stable, as ids that share their first 64 bits are still in the order in which they came.
        sorted.sort_by_key(|entry| entry.id);
    }
    sorted
}

fn place_of(places: &mut [usize], part: usize) -> &mut usize {
    places.get_mut(part).unwrap_or_else(|| internal_error("a part by its bits"))
}

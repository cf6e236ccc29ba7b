//! Runs of bits of ids, and sorted entries split by them.

use super::entry::Entry;
use crate::{bits::bit, id::Hash, internal::internal_error};

/// Length up to which a search from the start is faster than one by halves.
const SCAN_LEN_MAX: usize = 16;

/// `count` bits of an id from `depth` on, at most 8; bits behind the last read as zeros.
pub(crate) fn bits(id: &Hash, depth: usize, count: usize) -> usize {
    let byte = |at: usize| id.get(at).map_or(0, |byte| usize::from(*byte));
    let two = byte(depth / 8) << 8 | byte(depth / 8 + 1);
    (two >> (16 - depth % 8 - count)) & ((1 << count) - 1)
}

/// The 64 bits of an id from `depth` on; bits behind the last read as zeros.
pub(crate) fn bits_at(id: &Hash, depth: usize) -> u64 {
    let mut bytes = [0; 9];
    let Some(from) = id.get(depth / 8..) else { internal_error("a bit of an id") };
    match from.first_chunk::<9>() {
        Some(chunk) => bytes = *chunk,
        None => {
            for (to, from) in bytes.iter_mut().zip(from) {
                *to = *from;
            }
        }
    }
    let [front @ .., last] = bytes;
    let shift = depth % 8;
    u64::from_be_bytes(front) << shift | u64::from(last) << shift >> 8
}

/// The first eight bytes of an id as a number: compares as the id does, without a call.
pub(crate) fn key(id: &Hash) -> u64 {
    let Some(front) = id.first_chunk() else { internal_error("the front of an id") };
    u64::from_be_bytes(*front)
}

/// The first `depth` bits of an id, as a number; at most 32.
pub(crate) fn prefix(id: &Hash, depth: usize) -> u64 {
    let [a, b, c, d, ..] = *id;
    u64::from(u32::from_be_bytes([a, b, c, d])) >> (32 - depth)
}

/// The lowest id with this prefix of `depth` bits.
pub(crate) fn first_id(prefix: u64, depth: usize) -> Hash {
    let mut id = [0; 32];
    let [_, _, _, _, front @ ..] = (prefix << (32 - depth)).to_be_bytes();
    [id[0], id[1], id[2], id[3]] = front;
    id
}

/// Replaces `count` bits of an id from `depth` on.
pub(crate) fn set_bits(id: &mut Hash, depth: usize, count: usize, value: usize) {
    for place in 0..count {
        let depth = depth + place;
        let mask = 0x80 >> (depth % 8);
        let Some(byte) = id.get_mut(depth / 8) else { internal_error("a bit of an id") };
        let one = value >> (count - 1 - place) & 1 == 1;
        *byte = *byte & !mask | if one { mask } else { 0 };
    }
}

/// Splits sorted entries by their bit at `depth`.
pub(crate) fn split_bit(entries: &[Entry], depth: usize) -> (&[Entry], &[Entry]) {
    split_where(entries, |entry| !bit(&entry.id, depth))
}

/// Splits sorted entries into those whose `count` bits from `depth` on are `index`, and the rest
/// behind; entries before them must be gone already.
pub(crate) fn split_prefix(
    entries: &[Entry],
    depth: usize,
    count: usize,
    index: usize,
) -> (&[Entry], &[Entry]) {
    split_where(entries, |entry| bits(&entry.id, depth, count) <= index)
}

/// Splits entries behind those at the front that satisfy the condition.
///
/// Searches from the front: the entries come one child after the other, and probes far ahead would
/// each wait for memory that the next children find gone from the caches again.
#[inline]
fn split_where(entries: &[Entry], front: impl Fn(&Entry) -> bool) -> (&[Entry], &[Entry]) {
    let (mut from, mut to) = (0, SCAN_LEN_MAX);
    while entries.get(to - 1).is_some_and(&front) {
        (from, to) = (to, 2 * to);
    }
    let rest = entries.get(from..to.min(entries.len())).unwrap_or(&[]);
    let len = if rest.len() <= SCAN_LEN_MAX {
        rest.iter().take_while(|entry| front(entry)).count()
    } else {
        rest.partition_point(front)
    };
    entries.split_at(from + len)
}

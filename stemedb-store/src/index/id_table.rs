//! Numbers by id.

use std::hash::BuildHasher;

use stemedb_merkle::Hash;

use crate::id_hash::IdHashBuilder;

/// A hash table of numbers, each of an id that is kept elsewhere under that number.
///
/// Open addressing with linear probing; a slot has 32 bits of the id's hash beside the number, so
/// that hardly any other id is ever looked at. Takes 16 to 32 bytes an id.
#[derive(Clone, Debug, Default)]
pub(super) struct IdTable {
    /// The hash above, the number plus one below; 0 where nothing is. A power of two, or none.
    slots: Vec<u64>,
    len: usize,
    hasher: IdHashBuilder,
}

/// The least number of slots of a table that has any.
const SLOTS_MIN: usize = 64;

impl IdTable {
    /// Has room for so many ids from the start.
    pub(super) fn with_capacity(len: usize) -> Self {
        let slots = if len == 0 { 0 } else { slots_for(len) };
        Self { slots: vec![0; slots], ..Self::default() }
    }

    /// Forgets all ids and keeps the room.
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.len = 0;
    }

    /// How many ids it has.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    /// The number of an id, if it is there. `is_at` says whether the id is kept under a number.
    pub(super) fn get(&self, id: &Hash, is_at: impl Fn(usize) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let (_, number) = self.probe(self.hash(id), &is_at);
        number
    }

    /// The number of an id; `number` from now on if it was not there.
    pub(super) fn get_or_insert(
        &mut self,
        id: &Hash,
        number: usize,
        is_at: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        self.make_room();
        let hash = self.hash(id);
        let (place, former) = self.probe(hash, &is_at);
        if former.is_none() {
            self.put(place, hash, number);
            self.len += 1;
        }
        former
    }

    /// Gives an id this number, whether it was there or not.
    pub(super) fn insert(&mut self, id: &Hash, number: usize, is_at: impl Fn(usize) -> bool) {
        self.make_room();
        let hash = self.hash(id);
        let (place, former) = self.probe(hash, &is_at);
        self.put(place, hash, number);
        self.len += usize::from(former.is_none());
    }

    fn hash(&self, id: &Hash) -> u64 {
        self.hasher.hash_one(id) >> 32
    }

    /// The place of the id with this hash, or where it belongs, and its number if it is there.
    fn probe(&self, hash: u64, is_at: &impl Fn(usize) -> bool) -> (usize, Option<usize>) {
        let mask = self.slots.len() - 1;
        let mut place = self.home(hash);
        loop {
            let slot = *self.slots.get(place).unwrap_or_else(|| no_place(place));
            if slot == 0 {
                return (place, None);
            }
            if slot >> 32 == hash {
                let number = (slot & 0xffff_ffff) as usize - 1;
                if is_at(number) {
                    return (place, Some(number));
                }
            }
            place = (place + 1) & mask;
        }
    }

    /// Where an id with this hash is first looked for: the upper bits of the hash, so that a larger
    /// table takes over a smaller one front to back.
    fn home(&self, hash: u64) -> usize {
        let bits = self.slots.len().trailing_zeros();
        usize::try_from(hash >> (32 - bits)).unwrap_or_else(|_| no_place(usize::MAX))
    }

    fn put(&mut self, place: usize, hash: u64, number: usize) {
        let slot = self.slots.get_mut(place).unwrap_or_else(|| no_place(place));
        *slot = slot_of(hash, number);
    }

    /// At least half of the slots stay free, so that few are looked at.
    fn make_room(&mut self) {
        if self.slots.len() >= slots_for(self.len + 1) {
            return;
        }
        let former = std::mem::take(&mut self.slots);
        self.slots = vec![0; slots_for(self.len + 1)];
        let mask = self.slots.len() - 1;
        for slot in former.into_iter().filter(|slot| *slot != 0) {
            let mut place = self.home(slot >> 32);
            while self.slots.get(place).is_some_and(|taken| *taken != 0) {
                place = (place + 1) & mask;
            }
            *self.slots.get_mut(place).unwrap_or_else(|| no_place(place)) = slot;
        }
    }
}

fn slots_for(len: usize) -> usize {
    (2 * len).next_power_of_two().max(SLOTS_MIN)
}

fn slot_of(hash: u64, number: usize) -> u64 {
    let number = u32::try_from(number).ok().and_then(|number| number.checked_add(1));
    let Some(number) = number else { unreachable!("internal error: 2^32 recent records") };
    hash << 32 | u64::from(number)
}

#[cold]
fn no_place(place: usize) -> ! {
    unreachable!("internal error: no slot {place}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Few ids, many of which differ in one bit alone, in all ways of taking them in.
    #[test]
    fn agrees_with_a_map() {
        let step = (any::<bool>(), 0..300_u16);
        proptest!(|(steps in prop::collection::vec(step, 0..600), capacity in 0..200_usize)| {
            let mut table = IdTable::with_capacity(capacity);
            let (mut map, mut kept) = (HashMap::new(), Vec::<Hash>::new());
            for (replace, n) in steps {
                let mut id = [0; 32];
                id[usize::from(n) / 8 % 32] = 1 << (n % 8);
                id[31] ^= u8::from(n >= 256);
                let number = kept.len();
                kept.push(id);
                let is_at = |number: usize| kept.get(number) == Some(&id);
                prop_assert_eq!(table.get(&id, is_at), map.get(&id).copied());
                if replace {
                    table.insert(&id, number, is_at);
                    map.insert(id, number);
                } else {
                    let former = table.get_or_insert(&id, number, is_at);
                    prop_assert_eq!(former, map.get(&id).copied());
                    map.entry(id).or_insert(number);
                }
                prop_assert_eq!(table.len(), map.len());
            }
            for (id, number) in &map {
                prop_assert_eq!(table.get(id, |at| kept[at] == *id), Some(*number));
            }
        });
    }
}

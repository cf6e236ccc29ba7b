//! Coded symbols by their definition, written to be read: for each index, all ids are looked at.

#![expect(deprecated, reason = "an independent SipHash-2-4 that every toolchain has")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::hash::{Hasher, SipHasher};

use stemedb_sync::symbols::Symbol;

pub(crate) type Id = [u8; 32];

/// `SplitMix64`: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn id(&mut self) -> Id {
        let words = [self.next(), self.next(), self.next(), self.next()];
        words.map(u64::to_le_bytes).concat().try_into().unwrap()
    }

    pub(crate) fn ids(&mut self, count: usize) -> Vec<Id> {
        (0..count).map(|_| self.id()).collect()
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The hash of a prefix, of which the lower half is the check.
pub(crate) fn hash(key: [u8; 16], prefix: &[u8]) -> u64 {
    let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut hasher = SipHasher::new_with_keys(half(&key[..8]), half(&key[8..]));
    hasher.write(prefix);
    hasher.finish()
}

/// The indices below `end` of the id with a hash.
pub(crate) fn indices(hash: u64, end: u64) -> Vec<u64> {
    let mut found = vec![0];
    let (mut stage, mut draws, mut last) = (0_u64, 0_u64, 0_u64);
    loop {
        let bits = mix(hash.wrapping_add((draws + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let draw = (bits >> 32).max(bits % (1 << 32));
        draws += 1;
        let stage_end = 1 << (14 + 3 * stage);
        let bound = (2 * last + 3) << 32;
        let next = bound.checked_div(draw).map_or(stage_end, smallest_above);
        if next < stage_end {
            last = next;
            if last >= end {
                return found;
            }
            found.push(last);
        } else if stage_end >= end {
            return found;
        } else {
            last = stage_end - 1;
            stage += 1;
            draws = stage << 32;
        }
    }
}

/// The index of the smallest odd weight above a quotient, given rounded down.
fn smallest_above(quotient: u64) -> u64 {
    let weight = if quotient.is_multiple_of(2) { quotient + 1 } else { quotient + 2 };
    (weight - 3) / 2
}

/// The symbols from `from` to `to` of a set.
pub(crate) fn symbols(key: [u8; 16], ids: &[Id], from: u64, to: u64) -> Vec<Symbol> {
    let placed: Vec<(u64, u32, Vec<u64>)> = ids
        .iter()
        .map(|id| {
            let hash = hash(key, &id[..8]);
            let check = u32::try_from(hash % (1 << 32)).unwrap();
            (u64::from_le_bytes(id[..8].try_into().unwrap()), check, indices(hash, to))
        })
        .collect();
    (from..to)
        .map(|index| {
            let mut symbol = Symbol::default();
            for (prefix, check, indices) in &placed {
                if indices.contains(&index) {
                    symbol.sum ^= prefix;
                    symbol.check ^= check;
                    symbol.count += 1;
                }
            }
            symbol
        })
        .collect()
}

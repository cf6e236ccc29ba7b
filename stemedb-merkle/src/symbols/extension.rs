//! Symbols beyond those that a store maintains, computed in one pass over its ids.

use core::ops::Range;

use super::{
    check::CheckKey,
    mapping::{INDEX_END, Walks, stage_end, stage_of},
    symbol::{Symbol, check_of, prefix_of},
};
use crate::internal::internal_error;

/// Number of ids that are gathered, to walk over their indices side by side.
const IDS_AT_ONCE: usize = 256;

/// The symbols of a range of indices, over the ids inserted.
///
/// Costs 16 bytes a symbol, and for each id one hash of 8 bytes and about `2 ln(to / from)`
/// changed symbols if it begins at 16,384 (where a stage of the [mapping](super::mapping) does), or
/// else a few more.
#[derive(Clone, Debug)]
pub struct Extension {
    key: CheckKey,
    range: Range<u32>,
    symbols: Vec<Symbol>,
    /// Prefixes of ids gathered.
    pending: Vec<u64>,
    /// Their hashes; kept to reuse the memory.
    hashes: Vec<u64>,
    walks: Walks,
}

impl Extension {
    /// Symbols at the indices of `range`, as far as that is below [`INDEX_END`], over no id yet.
    ///
    /// Memory for all of them is taken at once: the caller limits the range.
    pub fn new(key: [u8; 16], range: Range<u32>) -> Self {
        let end = range.end.min(INDEX_END);
        let range = range.start.min(end)..end;
        let symbols = vec![Symbol::default(); range.len()];
        let (pending, hashes, walks) = (Vec::new(), Vec::new(), Walks::default());
        Self { key: CheckKey::new(key), range, symbols, pending, hashes, walks }
    }

    /// Adds an id, which must not have been added yet.
    pub fn insert(&mut self, id: &[u8; 32]) {
        self.pending.push(prefix_of(id));
        if self.pending.len() >= IDS_AT_ONCE {
            self.add_pending();
        }
    }

    /// Adds the ids that were gathered to their symbols.
    fn add_pending(&mut self) {
        if self.range.is_empty() {
            return self.pending.clear();
        }
        self.hashes.clear();
        self.hashes.extend(self.pending.iter().map(|prefix| self.key.hash(*prefix)));
        for stage in stage_of(self.range.start)..=stage_of(self.range.end - 1) {
            if self.walks.begin(self.hashes.iter().copied(), stage) {
                self.add_reached();
            }
            while self.walks.advance(stage_end(stage).min(self.range.end)) {
                self.add_reached();
            }
        }
        self.pending.clear();
    }

    /// Adds each id to the symbol at the index that its walk has reached.
    fn add_reached(&mut self) {
        for (place, index) in self.walks.reached() {
            let Some(at) = index.checked_sub(self.range.start) else { continue };
            let symbol = self.symbols.get_mut(at as usize);
            let (prefix, hash) = (self.pending.get(place), self.hashes.get(place));
            let (Some(symbol), Some(prefix), Some(hash)) = (symbol, prefix, hash) else {
                internal_error("a symbol, or an id")
            };
            symbol.add(*prefix, check_of(*hash), 1);
        }
    }

    /// The symbols, over all ids added.
    pub fn into_symbols(mut self) -> Vec<Symbol> {
        self.add_pending();
        self.symbols
    }
}

//! Symbols beyond those that a store maintains, computed in one pass over its ids.

use core::ops::Range;

use super::{
    check::CheckKey,
    mapping::{INDEX_END, Walk},
    symbol::{Symbol, prefix_of},
};
use crate::internal::internal_error;

/// Number of changes that are gathered before they are made.
///
/// The changes of a batch do not depend on each other, so that their cache misses overlap; the end
/// of an id's walk, by contrast, is a branch that the processor cannot predict. That halves the
/// time.
const PENDING_LEN: usize = 256;

/// The symbols of a range of indices, over the ids inserted.
///
/// Costs 32 bytes a symbol, and for each id one hash of 16 bytes and about `2 ln(to / from)`
/// changed symbols if it begins at 16,384 (where a stage of the [mapping](super::mapping) does), or
/// else a few more.
#[derive(Clone, Debug)]
pub struct Extension {
    key: CheckKey,
    range: Range<u32>,
    symbols: Vec<Symbol>,
    /// Changes gathered: the place of the symbol, prefix, and check.
    pending: Vec<(u32, u128, u64)>,
}

impl Extension {
    /// Symbols at the indices of `range`, as far as that is below [`INDEX_END`], over no id yet.
    ///
    /// Memory for all of them is taken at once: the caller limits the range.
    pub fn new(key: [u8; 16], range: Range<u32>) -> Self {
        let end = range.end.min(INDEX_END);
        let range = range.start.min(end)..end;
        let symbols = vec![Symbol::default(); range.len()];
        Self { key: CheckKey::new(key), range, symbols, pending: Vec::new() }
    }

    /// Adds an id, which must not have been added yet.
    pub fn insert(&mut self, id: &[u8; 32]) {
        let prefix = prefix_of(id);
        let check = self.key.check(prefix);
        let Range { start, end } = self.range;
        let Some(mut walk) = Walk::enter(check, start, end) else { return };
        let mut index = Some(walk.index());
        while let Some(at) = index {
            self.pending.push((at - start, prefix, check));
            index = walk.advance(end);
        }
        if self.pending.len() >= PENDING_LEN {
            self.make_changes();
        }
    }

    /// Makes the changes that were gathered.
    fn make_changes(&mut self) {
        for (at, prefix, check) in self.pending.drain(..) {
            let symbol = self.symbols.get_mut(at as usize);
            symbol.unwrap_or_else(|| internal_error("a symbol")).add(prefix, check, 1);
        }
    }

    /// The symbols, over all ids added.
    pub fn into_symbols(mut self) -> Vec<Symbol> {
        self.make_changes();
        self.symbols
    }
}

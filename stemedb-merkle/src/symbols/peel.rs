//! Recovers the ids that only one of two sets has from their subtracted symbols.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{
    check::CheckKey,
    estimate::{Estimate, Estimator},
    mapping::{INDEX_END, Walk, Walks, stage_end, stage_of},
    symbol::{Prefix, Symbol, check_of},
};
use crate::internal::internal_error;

/// The one of two sets that has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Only the local one.
    Local,
    /// Only the remote one.
    Remote,
}

/// An id that only one of the sets has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The first 8 bytes of the id.
    pub prefix: Prefix,
    /// The set that has it.
    pub side: Side,
}

/// Result of a [`Peeler`] so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All symbols are empty: the items are the difference, unless somebody cheats or ids
    /// share prefixes. Only the roots can say.
    Complete,
    /// More symbols are needed, or ids were crafted such that no number of them is enough.
    Stalled,
    /// These are not the symbols of two sets. The items mean nothing, and it stays so.
    Suspicious,
}

/// Recovers the symmetric difference of two sets from their symbols, as these come.
///
/// A symbol holds one id if its count is one, its check is that of its sum, and its index is one of
/// that id. The sum of several ids passes for one with a chance of 2^-32 at the few indices that
/// nearly every id has, and of less elsewhere.
///
/// Two things do not happen with the symbols of two sets, but for that chance, and are
/// [`Outcome::Suspicious`]:
///
/// - an id is to be taken out of a symbol that holds nothing;
/// - more symbols come than there are indices.
///
/// An id is recovered from a symbol that this leaves empty, and that stays empty by the first
/// rule. So there are never more items than symbols; and no id comes twice, as it would be taken
/// out of the same symbols again. Memory is thus at most about 120 bytes a symbol, and work is one
/// hash and one change for each index that an item has, about `2 ln(m)` of `m`, and one walk for
/// each symbol that looks as if it held one id. The caller limits the symbols.
#[derive(Clone, Debug)]
pub struct Peeler {
    key: CheckKey,
    /// Of the differences, less the items recovered.
    symbols: Vec<Symbol>,
    /// Number of symbols that are not empty.
    open: usize,
    /// The indices of symbols that held one id when last changed.
    pure: Vec<u32>,
    items: Vec<Item>,
    /// For each item its next index, at which no symbol has come yet, and its place in `items`; not
    /// for those recovered since the last symbol.
    awaited: BinaryHeap<Reverse<(u32, u32)>>,
    /// For each of these items the walk that led there.
    walks: Vec<Walk>,
    suspicious: bool,
    estimator: Estimator,
    /// The indices of ids that are about to be recovered; kept to reuse the memory.
    paths: Vec<Vec<u32>>,
    traces: Walks,
}

/// Number of ids whose indices are looked for side by side.
const ITEMS_AT_ONCE: usize = 64;

/// A symbol that seems to hold one id alone.
struct Lone {
    index: u32,
    symbol: Symbol,
    /// Of that id.
    hash: u64,
}

impl Peeler {
    /// Without symbols yet. The key is the first 16 bytes of `derive("symbol check", secret)`.
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            key: CheckKey::new(key),
            symbols: Vec::new(),
            open: 0,
            pure: Vec::new(),
            items: Vec::new(),
            awaited: BinaryHeap::new(),
            walks: Vec::new(),
            suspicious: false,
            estimator: Estimator::default(),
            paths: Vec::new(),
            traces: Walks::default(),
        }
    }

    /// Takes in the symbols of both sides at the next index, from 0 on.
    ///
    /// Logarithmic in the number of items, for each recovered item that is at this index.
    pub fn push(&mut self, local: Symbol, remote: Symbol) {
        let mut symbol = local.minus(remote);
        self.estimator.push(&symbol);
        let index = self.next_index();
        if index >= INDEX_END {
            self.suspicious = true;
            return;
        }
        self.await_next(index);
        while let Some(mut top) = self.awaited.peek_mut() {
            let Reverse((next, place)) = *top;
            if next != index {
                break;
            }
            let at = place as usize;
            let (Some(item), Some(walk)) = (self.items.get(at), self.walks.get_mut(at)) else {
                internal_error("a recovered item")
            };
            self.suspicious |= !take_out(item, check_of(walk.seed()), &mut symbol);
            walk.advance_or_end();
            *top = Reverse((walk.index(), place));
        }
        self.open += usize::from(!symbol.is_empty());
        if self.hash_of_one(&symbol).is_some() {
            self.pure.push(index);
        }
        self.symbols.push(symbol);
    }

    /// Recovers ids until no symbol holds one alone.
    ///
    /// For each new item as many steps as it has indices.
    pub fn run(&mut self) -> Outcome {
        while !self.suspicious && !self.pure.is_empty() {
            self.peel();
        }
        if self.suspicious {
            Outcome::Suspicious
        } else if self.open == 0 && !self.symbols.is_empty() {
            Outcome::Complete
        } else {
            Outcome::Stalled
        }
    }

    /// Takes the ids that symbols hold alone out of all symbols that these are in: of some of those
    /// that were noted, whose indices are looked for side by side.
    fn peel(&mut self) {
        let from = self.pure.len().saturating_sub(ITEMS_AT_ONCE);
        let noted: Vec<u32> = self.pure.drain(from..).collect();
        let lone = noted.into_iter().filter_map(|index| {
            // It may have been emptied since it was noted.
            let symbol = *self.symbols.get(index as usize)?;
            Some(Lone { index, symbol, hash: self.hash_of_one(&symbol)? })
        });
        let lone: Vec<Lone> = lone.collect();
        self.trace(&lone);
        let paths = core::mem::take(&mut self.paths);
        for (lone, path) in lone.iter().zip(&paths) {
            // What has changed meanwhile was noted again.
            if self.symbols.get(lone.index as usize) == Some(&lone.symbol) {
                self.recover(lone, path);
            }
        }
        self.paths = paths;
    }

    fn recover(&mut self, lone: &Lone, path: &[u32]) {
        let Lone { index, symbol, hash } = lone;
        if self.suspicious || path.binary_search(index).is_err() {
            // Several that only look like one.
            return;
        }
        let side = if symbol.count > 0 { Side::Local } else { Side::Remote };
        let item = Item { prefix: symbol.sum.to_le_bytes(), side };
        for index in path {
            let Some(symbol) = self.symbols.get_mut(*index as usize) else {
                internal_error("a symbol")
            };
            self.suspicious |= !take_out(&item, check_of(*hash), symbol);
            if self.suspicious {
                return;
            }
            self.open -= usize::from(symbol.is_empty());
            let symbol = *symbol;
            if self.hash_of_one(&symbol).is_some() {
                self.pure.push(*index);
            }
        }
        self.items.push(item);
    }

    /// Finds the indices that symbols came at and that these ids have.
    fn trace(&mut self, lone: &[Lone]) {
        let len = self.next_index();
        self.paths.resize(self.paths.len().max(lone.len()), Vec::new());
        self.paths.iter_mut().for_each(Vec::clear);
        let paths = &mut self.paths;
        let mut reached = |walks: &Walks| {
            for (place, index) in walks.reached() {
                let Some(path) = paths.get_mut(place) else { internal_error("a path") };
                path.push(index);
            }
        };
        for stage in 0..=stage_of(len.saturating_sub(1)) {
            if self.traces.begin(lone.iter().map(|lone| lone.hash), stage) {
                reached(&self.traces);
            }
            while self.traces.advance(stage_end(stage).min(len)) {
                reached(&self.traces);
            }
        }
    }

    /// Takes the items recovered since the last symbol came to their next indices.
    fn await_next(&mut self, index: u32) {
        for item in self.items.iter().skip(self.walks.len()) {
            let hash = self.key.hash(u64::from_le_bytes(item.prefix));
            let walk = Walk::enter_or_end(hash, index);
            // There are no more items than symbols, and no more symbols than indices.
            let place = u32::try_from(self.walks.len());
            let place = place.unwrap_or_else(|_| internal_error("room for an item"));
            self.awaited.push(Reverse((walk.index(), place)));
            self.walks.push(walk);
        }
    }

    /// The index of the next symbol.
    fn next_index(&self) -> u32 {
        u32::try_from(self.symbols.len()).unwrap_or_else(|_| internal_error("an index"))
    }

    /// The hash of the one id of one side that a symbol holds, by its count and check.
    fn hash_of_one(&self, symbol: &Symbol) -> Option<u64> {
        let one = matches!(symbol.count, 1 | -1);
        let hash = one.then(|| self.key.hash(symbol.sum))?;
        (check_of(hash) == symbol.check).then_some(hash)
    }

    /// The recovered ids, in no order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The prefixes of the recovered ids that only the local set has.
    pub fn only_local(&self) -> impl Iterator<Item = Prefix> {
        self.only(Side::Local)
    }

    /// The prefixes of the recovered ids that only the remote set has.
    pub fn only_remote(&self) -> impl Iterator<Item = Prefix> {
        self.only(Side::Remote)
    }

    fn only(&self, side: Side) -> impl Iterator<Item = Prefix> {
        self.items.iter().filter(move |item| item.side == side).map(|item| item.prefix)
    }

    /// Number of symbols taken; also the index of the next.
    pub fn symbols_taken(&self) -> usize {
        self.symbols.len()
    }

    /// Estimate of the whole difference. `None` before the second symbol.
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimator.estimate()
    }
}

/// Takes an item out of a symbol. `false` if the symbol holds nothing.
fn take_out(item: &Item, check: u32, symbol: &mut Symbol) -> bool {
    let held = !symbol.is_empty();
    let times = match item.side {
        Side::Local => -1,
        Side::Remote => 1,
    };
    symbol.add(u64::from_le_bytes(item.prefix), check, times);
    held
}

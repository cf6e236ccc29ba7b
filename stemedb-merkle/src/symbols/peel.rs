//! Recovers the ids that only one of two sets has from their subtracted symbols.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{
    check::CheckKey,
    estimate::{Estimate, Estimator},
    mapping::{INDEX_END, Walk},
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
    /// For each item its next index, at which no symbol has come yet, and its place in `items`.
    awaited: BinaryHeap<Reverse<(u32, u32)>>,
    /// For each item the walk that led there.
    walks: Vec<Walk>,
    suspicious: bool,
    estimator: Estimator,
    /// Kept to reuse its memory.
    path: Vec<u32>,
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
            path: Vec::new(),
        }
    }

    /// Takes in the symbols of both sides at the next index, from 0 on.
    ///
    /// Logarithmic in the number of items, for each recovered item that is at this index.
    pub fn push(&mut self, local: Symbol, remote: Symbol) {
        let mut symbol = local.minus(remote);
        self.estimator.push(&symbol);
        let index = match u32::try_from(self.symbols.len()) {
            Ok(index) if index < INDEX_END => index,
            _ => {
                self.suspicious = true;
                return;
            }
        };
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
        while !self.suspicious
            && let Some(index) = self.pure.pop()
        {
            self.peel(index);
        }
        if self.suspicious {
            Outcome::Suspicious
        } else if self.open == 0 && !self.symbols.is_empty() {
            Outcome::Complete
        } else {
            Outcome::Stalled
        }
    }

    /// Takes the id that a symbol holds out of all symbols that it is in.
    fn peel(&mut self, index: u32) {
        // It may have been emptied since it was noted.
        let Some(symbol) = self.symbols.get(index as usize).copied() else {
            internal_error("a symbol")
        };
        let Some(hash) = self.hash_of_one(&symbol) else { return };
        let walk = self.trace(hash);
        if self.path.binary_search(&index).is_err() {
            // Several that only look like one.
            return;
        }
        let side = if symbol.count > 0 { Side::Local } else { Side::Remote };
        let item = Item { prefix: symbol.sum.to_le_bytes(), side };
        let path = core::mem::take(&mut self.path);
        for index in &path {
            let Some(symbol) = self.symbols.get_mut(*index as usize) else {
                internal_error("a symbol")
            };
            self.suspicious |= !take_out(&item, check_of(hash), symbol);
            if self.suspicious {
                return;
            }
            self.open -= usize::from(symbol.is_empty());
            let symbol = *symbol;
            if self.hash_of_one(&symbol).is_some() {
                self.pure.push(*index);
            }
        }
        self.path = path;
        // There are no more items than symbols, and no more symbols than indices.
        let Ok(place) = u32::try_from(self.items.len()) else { internal_error("room for an item") };
        self.awaited.push(Reverse((walk.index(), place)));
        self.walks.push(walk);
        self.items.push(item);
    }

    /// Finds the indices that symbols came at and that an id with this hash has. Returns the walk
    /// at the next of its indices.
    fn trace(&mut self, hash: u64) -> Walk {
        let mut walk = Walk::new(hash);
        self.path.clear();
        while (walk.index() as usize) < self.symbols.len() {
            self.path.push(walk.index());
            walk.advance_or_end();
        }
        walk
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

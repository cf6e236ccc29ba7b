//! Recovers the ids that only one of two sets has from their subtracted symbols.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{CheckKey, Estimate, Estimator, Front, INDEX_END, Symbol, mapping::Walk};

/// How often an id may be taken out of a symbol, for each symbol that came.
///
/// Ids are at about `2 ln(m)` of `m` indices, 28 of a million, and there are never more of them
/// than symbols.
const REMOVALS_PER_SYMBOL_MAX: u64 = 64;

/// How many more removals there may be, so that a few symbols have room for chance.
const REMOVALS_MORE_MAX: u64 = 1_024;

/// Which of the two sets has an id.
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
    /// The first 16 bytes of the id.
    pub front: Front,
    /// Their [check](CheckKey::check).
    pub check: u64,
    /// Who has it.
    pub side: Side,
}

/// How far a [`Peeler`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left in any symbol: the items are the difference, unless somebody cheats or ids
    /// share fronts. Only the roots can say.
    Complete,
    /// More symbols are needed, or ids were crafted such that no number of them is enough.
    Stalled,
    /// These are not the symbols of two sets. The items mean nothing, and it stays so.
    Suspicious,
}

/// Recovers the symmetric difference of two sets from their symbols, as these come.
///
/// Whatever the symbols, there are at most as many items as symbols, no item comes twice, and all
/// work and memory are in proportion to the number of symbols: the caller limits that. What an
/// honest pair of sets never shows, and what ends in [`Outcome::Suspicious`]:
///
/// - a symbol that holds one id, to judge by count and check, which does not belong at its index;
/// - a symbol that holds nothing, and from which an id that belongs there is to be taken. An id that
///   is recovered leaves the symbol empty in which it was found, so it can't be recovered again: it
///   would have to be taken out of that symbol once more;
/// - more removals than chance explains.
#[derive(Clone, Debug)]
pub struct Peeler {
    key: CheckKey,
    /// Of the differences, less the items recovered.
    symbols: Vec<Symbol>,
    /// How many of them are not empty.
    open: usize,
    /// The indices of symbols that held one id when last changed.
    pure: Vec<u32>,
    items: Vec<Item>,
    /// For each item its next index, at which no symbol has come yet, and its place in `items`.
    awaited: BinaryHeap<Reverse<(u32, usize)>>,
    /// For each item the walk that led there.
    walks: Vec<Walk>,
    removals: u64,
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
            removals: 0,
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
            let (Some(item), Some(walk)) = (self.items.get(place), self.walks.get_mut(place))
            else {
                break;
            };
            if next != index {
                break;
            }
            self.suspicious |= !take_out(item, &mut symbol);
            self.removals += 1;
            // At the end of all indices nothing is awaited any more, and nothing comes.
            *top = Reverse((walk.advance(INDEX_END).unwrap_or(INDEX_END), place));
        }
        self.open += usize::from(!symbol.is_empty());
        if self.holds_one(&symbol) {
            self.pure.push(index);
        }
        self.symbols.push(symbol);
    }

    /// Recovers what can be recovered.
    ///
    /// For each item as many steps as it has indices; nothing if no symbol came since the last time.
    pub fn run(&mut self) -> Outcome {
        while !self.suspicious
            && let Some(index) = self.pure.pop()
        {
            self.peel(index);
        }
        match () {
            () if self.suspicious => Outcome::Suspicious,
            () if self.open == 0 && !self.symbols.is_empty() => Outcome::Complete,
            () => Outcome::Stalled,
        }
    }

    /// Takes the id that a symbol holds out of all symbols that it is in.
    fn peel(&mut self, index: u32) {
        // It may have been emptied since it was noted.
        let Some(symbol) = self.symbols.get(index as usize).copied() else { return };
        if !self.holds_one(&symbol) {
            return;
        }
        let side = if symbol.count > 0 { Side::Local } else { Side::Remote };
        let item = Item { front: symbol.sum.to_le_bytes(), check: symbol.check, side };
        let mut walk = Walk::new(item.check);
        let mut path = core::mem::take(&mut self.path);
        path.clear();
        let mut next = walk.index();
        while (next as usize) < self.symbols.len() {
            path.push(next);
            next = walk.advance(INDEX_END).unwrap_or(INDEX_END);
        }
        self.removals += path.len() as u64;
        let removals_max = REMOVALS_MORE_MAX + REMOVALS_PER_SYMBOL_MAX * self.symbols.len() as u64;
        self.suspicious |= path.binary_search(&index).is_err() || self.removals > removals_max;
        for index in &path {
            if self.suspicious {
                break;
            }
            let Some(symbol) = self.symbols.get_mut(*index as usize) else { continue };
            self.suspicious |= !take_out(&item, symbol);
            self.open = self.open.saturating_sub(usize::from(symbol.is_empty()));
            let symbol = *symbol;
            if self.holds_one(&symbol) {
                self.pure.push(*index);
            }
        }
        self.path = path;
        self.awaited.push(Reverse((next, self.items.len())));
        self.walks.push(walk);
        self.items.push(item);
    }

    /// Whether a symbol holds one id of one side, but for a chance of 2^-64.
    fn holds_one(&self, symbol: &Symbol) -> bool {
        matches!(symbol.count, 1 | -1) && self.key.check(symbol.sum) == symbol.check
    }

    /// What was recovered, in no order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The fronts of the recovered ids that only the local set has.
    pub fn only_local(&self) -> impl Iterator<Item = Front> {
        self.only(Side::Local)
    }

    /// The fronts of the recovered ids that only the remote set has.
    pub fn only_remote(&self) -> impl Iterator<Item = Front> {
        self.only(Side::Remote)
    }

    fn only(&self, side: Side) -> impl Iterator<Item = Front> {
        self.items.iter().filter(move |item| item.side == side).map(|item| item.front)
    }

    /// How many symbols came; also the index of the next.
    pub fn symbols_taken(&self) -> usize {
        self.symbols.len()
    }

    /// How much the sets differ, recovered or not. `None` before the second symbol.
    pub fn estimate(&self) -> Option<Estimate> {
        self.estimator.estimate()
    }
}

/// Takes an item out of a symbol. `false` if the symbol holds nothing.
fn take_out(item: &Item, symbol: &mut Symbol) -> bool {
    let held = !symbol.is_empty();
    let times = match item.side {
        Side::Local => -1,
        Side::Remote => 1,
    };
    symbol.add(u128::from_le_bytes(item.front), item.check, times);
    held
}

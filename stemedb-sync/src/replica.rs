//! Store as sessions see it.

use core::ops::Range;
use std::sync::Arc;

use stemedb_merkle::{Hash, Root, Snapshot, history::TreeHead};

use crate::{
    internal::internal_error,
    keys::Keys,
    memory::{MemoryBudget, Reservation},
    message::{NodeId, Refusal, SetHead},
    symbols::{Extension, Sketch, Symbol},
};

/// Identity of a store among its peers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its node id.
    pub node: NodeId,
    /// The epoch of its log.
    pub epoch: u64,
    /// Keys that follow from the cluster secret.
    pub keys: Keys,
}

/// A store at one moment: all parts say the same.
#[derive(Clone, Debug)]
pub struct Pin {
    /// The set.
    pub snapshot: Snapshot,
    /// The log.
    pub log: TreeHead,
    /// The first coded symbols of the set, shared until the set changes. Without them the other
    /// layers do.
    pub sketch: Option<Arc<Sketch>>,
}

impl Pin {
    /// Count and root of the set.
    pub fn set(&self) -> SetHead {
        SetHead { count: self.snapshot.len(), root: self.snapshot.root() }
    }
}

/// Failure to read the store at hand; its own messages say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the store could not be read; check the store")]
pub struct Unreadable;

/// Source of what a [`Responder`](crate::Responder) answers. All calls may read from the disk.
pub trait Source {
    /// The store now.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn pin(&self) -> Result<Pin, Unreadable>;

    /// The store now, without coded symbols: for peers that can do nothing with them, and which
    /// need not wait until there are any.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn pin_without_symbols(&self) -> Result<Pin, Unreadable> {
        self.pin().map(|pin| Pin { sketch: None, ..pin })
    }

    /// Count and root of the set and of the log now: [`pin`](Self::pin) without the rest.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn head(&self) -> Result<(SetHead, TreeHead), Unreadable> {
        self.pin().map(|pin| (pin.set(), pin.log))
    }

    /// The history root of the first `size` entries; `None` if there are not as many.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn log_root_at(&self, size: u64) -> Result<Option<Root>, Unreadable>;

    /// The body of an id, checked against it; `None` if the store does not hold it.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable>;

    /// The body of an entry of the log; `None` if it was lost or there is no such entry.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable>;

    /// The bodies of the first of these ids, in order, `None` for those that cannot be read. No
    /// more are read once they come to `bytes_aim`; at least one is, if there are ids at all.
    ///
    /// A store that reads several at once faster than one by one does so here.
    fn bodies(&self, ids: &[Hash], bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        let bodies = ids.iter().map(|id| self.body(id).ok().flatten());
        up_to(bodies, bytes_aim)
    }

    /// The bodies of the first entries of a part of the log: what [`bodies`](Self::bodies) is for
    /// ids.
    fn entries(&self, entries: Range<u64>, bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        let bodies = entries.map(|index| self.entry(index).ok().flatten());
        up_to(bodies, bytes_aim)
    }
}

/// Takes bodies until they come to `bytes_aim` bytes, as [`Source::bodies`] gives them.
pub fn up_to(
    bodies: impl Iterator<Item = Option<Vec<u8>>>,
    bytes_aim: usize,
) -> Vec<Option<Vec<u8>>> {
    let mut taken = Vec::new();
    let mut len = 0;
    for body in bodies {
        len += body.as_ref().map_or(0, Vec::len);
        taken.push(body);
        if len >= bytes_aim {
            break;
        }
    }
    taken
}

/// Coded symbols of a snapshot, made some way ahead of what is asked for: those beyond the sketch
/// take a pass over all ids, whether they are few or many.
#[derive(Debug)]
pub(crate) struct SymbolsAhead {
    from: u32,
    made: Vec<Symbol>,
    held: Reservation,
    passes: u32,
}

impl SymbolsAhead {
    /// No symbols yet.
    pub(crate) fn new(memory: &MemoryBudget) -> Self {
        Self { from: 0, made: Vec::new(), held: memory.empty(), passes: 0 }
    }

    /// How many passes over all ids there were.
    pub(crate) fn passes(&self) -> u32 {
        self.passes
    }

    /// The symbols of a range of indices. Those up to `until` are likely to be asked for next, and
    /// `most` may be asked for at all.
    pub(crate) fn symbols(
        &mut self,
        pin: &Pin,
        range: Range<u32>,
        until: u32,
        most: u32,
        key: [u8; 16],
    ) -> Result<Vec<Symbol>, Refusal> {
        let count = range.end - range.start;
        let mut found = match &pin.sketch {
            Some(sketch) => sketch.symbols(range.start, count),
            None => Vec::new(),
        };
        let made = u32::try_from(found.len()).ok().filter(|made| *made <= count);
        let start = range.start + made.unwrap_or_else(|| internal_error("a symbol asked for"));
        if start >= range.end {
            return Ok(found);
        }
        if self.slice(start..range.end).is_none() {
            // An estimate from few symbols is off by a fifth. Of so many, all that there may be
            // cost little more than some, and a second pass as much as the first.
            let until = until.max(range.end);
            let some = until.saturating_add(until / 2);
            let ahead = if until > most / 3 { most } else { some.min(most) };
            let end = ahead.max(range.end);
            self.made = Vec::new();
            self.held.resize((end - start) as usize * size_of::<Symbol>())?;
            let mut extension = Extension::new(key, start..end);
            for entry in &pin.snapshot {
                extension.insert(&entry.map_err(|_| Refusal::Damaged)?.id);
            }
            self.passes += 1;
            (self.from, self.made) = (start, extension.into_symbols());
        }
        let made = self.slice(start..range.end);
        found.extend_from_slice(made.unwrap_or_else(|| internal_error("a symbol")));
        Ok(found)
    }

    fn slice(&self, range: Range<u32>) -> Option<&[Symbol]> {
        let place = |index: u32| usize::try_from(index.checked_sub(self.from)?).ok();
        self.made.get(place(range.start)?..place(range.end)?)
    }
}

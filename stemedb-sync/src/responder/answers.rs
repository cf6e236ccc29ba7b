//! The answers that come from the snapshot alone, and what is noted for the end.

use core::ops::Range;
use stemedb_merkle::{
    Hash, MappedSetError,
    set::{Subtree, Summary},
};

use super::{
    open::{Open, State},
    stream::WantedIds,
};
use crate::{
    codec::{
        ids, prefixes,
        subtrees::{Below, LEVELS_MAX, Place, levels_below},
    },
    limits::Limits,
    message::{
        AskIds, AskSymbols, Descend, Fetch, Finish, Finished, Ids, Refusal, Subtrees, Tail, Wanted,
    },
    replica::Source,
    symbols,
};

/// A session may ask for each symbol so often on average: requests are repeated now and then.
const SYMBOL_REPEATS_MAX: u64 = 4;

/// And so often for symbols that take a pass over all ids: one pass makes half as many again as
/// were asked for, so that an initiator that goes on from where it was needs 21, and some more if
/// it has to repeat itself.
const SYMBOL_PASSES_MAX: u32 = 64;

impl Open {
    /// Symbols of some indices, encoded; those up to `until` come next.
    pub(super) fn symbols(
        &self,
        range: Range<u32>,
        until: u32,
        symbols_max: u32,
    ) -> Result<Vec<u8>, Refusal> {
        let mut state = self.state();
        state.symbols += range.len() as u64;
        if state.symbols > SYMBOL_REPEATS_MAX * u64::from(symbols_max)
            || state.ahead.passes() >= SYMBOL_PASSES_MAX
        {
            return Err(Refusal::OverLimit);
        }
        let from = range.start;
        let found = state.ahead.symbols(&self.pin, range, until, symbols_max, self.symbol_key)?;
        drop(state);
        Ok(symbols::encode(&found, from, self.pin.snapshot.len()))
    }

    pub(super) fn ids(&self, ask: &AskIds, limits: &Limits) -> Result<Ids, Refusal> {
        let fit = limits.message_len_max / ids::SUFFIX_LEN;
        let ids = self.ids_of(&ask.prefixes, limits.ids_per_message_max.min(fit), 1)?;
        Ok(Ids { suffixes: ids::write_suffixes(&ids) })
    }

    /// The ids of the snapshot that begin with these: one to `each_max` for each, or none is given.
    fn ids_of(&self, prefixes: &[u8], max: usize, each_max: usize) -> Result<Vec<Hash>, Refusal> {
        let prefixes = ids::read_prefixes(prefixes, max).map_err(|_| Refusal::Malformed)?;
        if prefixes.is_empty() {
            return Err(Refusal::Malformed);
        }
        let found = self.pin.snapshot.find_by_prefix(prefixes, each_max).map_err(damaged)?;
        found.ok_or(Refusal::Unknown)
    }

    pub(super) fn descend(&self, ask: &Descend, limits: &Limits) -> Result<Subtrees, Refusal> {
        let nodes = prefixes::read(&ask.nodes, limits.nodes_per_message_max)
            .map_err(|_| Refusal::Malformed)?;
        if !(1..=LEVELS_MAX).contains(&ask.levels) || nodes.is_empty() {
            return Err(Refusal::Malformed);
        }
        let leaf_ids = ask.leaf_ids.min(limits.leaf_ids_max) as usize;
        let mut subtrees = Vec::new();
        for prefix in nodes {
            let before = subtrees.len();
            let depth = usize::from(prefix.depth());
            let subtree = self.pin.snapshot.subtree(prefix.bits(), depth).map_err(damaged)?;
            let levels = levels_below(&prefix, ask.levels);
            below(&subtree, levels, leaf_ids).map_err(damaged)?.write(&prefix, &mut subtrees);
            if subtrees.len() > limits.message_len_max {
                subtrees.truncate(before);
                break;
            }
        }
        if subtrees.is_empty() {
            return Err(Refusal::TooLarge);
        }
        Ok(Subtrees { subtrees })
    }

    pub(super) fn fetch(&self, ask: &Fetch, limits: &Limits) -> Result<WantedIds, Refusal> {
        let max = limits.ids_per_message_max;
        let ids = match &ask.wanted {
            Wanted::Prefixes(prefixes) => {
                // What is read of a request takes four times as much as it does, and more where
                // ids begin alike.
                let mut held = self.memory.reserve(prefixes.len().saturating_mul(4))?;
                let ids = self.ids_of(prefixes, max, ids::ALIKE_MAX)?;
                held.resize(ids.len() * size_of::<Hash>())?;
                WantedIds::new(ids.into(), true, held)
            }
            Wanted::Ids(bytes) => {
                let ids = ids::read_ids(bytes, max).map_err(|_| Refusal::Malformed)?;
                let held = self.memory.reserve(bytes.len())?;
                WantedIds::new(ids.into(), false, held)
            }
        };
        if ids.as_slice().is_empty() {
            return Err(Refusal::Malformed);
        }
        self.state().keep_fetched(ids.as_slice(), limits);
        Ok(ids)
    }

    pub(super) fn tail(&self, ask: &Tail, limits: &Limits) -> Result<Range<u64>, Refusal> {
        let end = ask.from.checked_add(ask.count).filter(|end| *end <= self.pin.log.size.0);
        match end {
            None => Err(Refusal::Unknown),
            Some(_) if ask.count == 0 => Err(Refusal::Malformed),
            Some(end) => {
                Ok(ask.from..end.min(ask.from.saturating_add(limits.entries_per_message_max)))
            }
        }
    }

    pub(super) fn finish(&self, ask: &Finish, source: &impl Source) -> Result<Finished, Refusal> {
        let (set, log) = source.head().map_err(|_| Refusal::Damaged)?;
        let mut state = self.state();
        let State { fetched: removed, pushed: added, forgot, .. } = &mut *state;
        let checked = match ask.set {
            // Equal roots are equal sets: there is nothing to make again.
            _ if ask.now == Some(set) => true,
            Some(theirs) if !*forgot => {
                for ids in [&mut *removed, &mut *added] {
                    ids.sort_unstable();
                    ids.dedup();
                }
                let root = self.pin.snapshot.hypothetical_root(added, removed);
                root.map_err(damaged)? == theirs.root
            }
            _ => false,
        };
        drop(state);
        Ok(Finished { checked, set, log })
    }
}

/// The indices of the symbols that a request asks for, as far as a limit does not cut them.
pub(super) fn symbols_asked(ask: AskSymbols, limits: &Limits) -> Result<Range<u32>, Refusal> {
    let count = ask.count.min(limits.symbols_per_request_max);
    let end = ask.from.checked_add(count).filter(|end| *end <= limits.symbols_max);
    let end = end.ok_or(Refusal::OverLimit)?;
    if count == 0 { Err(Refusal::Malformed) } else { Ok(ask.from..end) }
}

/// Contents of a subtree some levels below, or its ids if they are few.
fn below(subtree: &Subtree, levels: u16, leaf_ids: usize) -> Result<Below, MappedSetError> {
    if let Some(ids) = subtree.ids(leaf_ids)? {
        return Ok(Below::Ids(ids));
    }
    let mut places = Vec::with_capacity(1 << levels);
    spread(subtree, levels, &mut places)?;
    Ok(Below::Places(places))
}

fn spread(subtree: &Subtree, levels: u16, places: &mut Vec<Place>) -> Result<(), MappedSetError> {
    if subtree.is_empty() {
        places.resize(places.len() + (1 << levels), Place::Empty);
        return Ok(());
    }
    if levels > 0 {
        let [zeros, ones] = subtree.halves()?;
        spread(&zeros, levels - 1, places)?;
        return spread(&ones, levels - 1, places);
    }
    places.push(match subtree.summary() {
        Summary::Empty => Place::Empty,
        Summary::Many(hash) => Place::Many(hash),
        Summary::One(_) => match subtree.ids(1)?.and_then(|ids| ids.first().copied()) {
            Some(id) => Place::One(id),
            None => Place::Empty,
        },
    });
    Ok(())
}

fn damaged(_: MappedSetError) -> Refusal {
    Refusal::Damaged
}

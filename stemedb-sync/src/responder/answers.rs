//! The answers that come from the snapshot alone, and what is noted for the end.

use core::ops::Range;
use std::sync::Arc;

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
        AskIds, AskSymbols, Descend, Fetch, Finish, Finished, Ids, Refusal, Subtrees, Symbols,
        Tail, Wanted,
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
    pub(super) fn symbols(&self, ask: AskSymbols, limits: &Limits) -> Result<Symbols, Refusal> {
        let fit = u32::try_from(limits.message_len_max / symbols::ENCODED_LEN_MAX).unwrap_or(1);
        let count = ask.count.min(limits.symbols_per_message_max).min(fit);
        let end = ask.from.checked_add(count).filter(|end| *end <= limits.symbols_max);
        let end = end.ok_or(Refusal::OverLimit)?;
        if count == 0 {
            return Err(Refusal::Malformed);
        }
        let mut state = self.state();
        state.symbols += u64::from(count);
        if state.symbols > SYMBOL_REPEATS_MAX * u64::from(limits.symbols_max)
            || state.ahead.passes() >= SYMBOL_PASSES_MAX
        {
            return Err(Refusal::OverLimit);
        }
        let found =
            state.ahead.symbols(&self.pin, ask.from..end, limits.symbols_max, self.symbol_key);
        let found = found?;
        drop(state);
        let symbols = symbols::encode(&found, ask.from, self.pin.snapshot.len());
        Ok(Symbols { symbols })
    }

    pub(super) fn ids(&self, request: u64, ask: &AskIds, limits: &Limits) -> Result<Ids, Refusal> {
        if let Some(ids) = self.state().listed.get(&request) {
            return Ok(Ids { backs: ids::write_backs(ids) });
        }
        let fronts = ids::read_fronts(&ask.fronts, limits.ids_per_message_max)
            .map_err(|_| Refusal::Malformed)?;
        if fronts.is_empty() {
            return Err(Refusal::Malformed);
        }
        let found = self.pin.snapshot.find_by_prefix(fronts).map_err(damaged)?;
        let ids: Option<Arc<[Hash]>> = found.into_iter().collect();
        let ids = ids.ok_or(Refusal::Unknown)?;
        let backs = ids::write_backs(&ids);
        self.state().list(request, ids, limits)?;
        Ok(Ids { backs })
    }

    pub(super) fn descend(&self, ask: &Descend, limits: &Limits) -> Result<Subtrees, Refusal> {
        let nodes = prefixes::read(&ask.nodes, limits.nodes_per_message_max)
            .map_err(|_| Refusal::Malformed)?;
        if !(1..=LEVELS_MAX).contains(&ask.levels) || nodes.is_empty() {
            return Err(Refusal::Malformed);
        }
        let few = usize::try_from(ask.few.min(limits.few_max)).unwrap_or(0);
        let mut subtrees = Vec::new();
        for prefix in nodes {
            let before = subtrees.len();
            let depth = usize::from(prefix.depth());
            let subtree = self.pin.snapshot.subtree(prefix.bits(), depth).map_err(damaged)?;
            let levels = levels_below(&prefix, ask.levels);
            below(&subtree, levels, few).map_err(damaged)?.write(&prefix, &mut subtrees);
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
        let ids = match &ask.wanted {
            Wanted::Listed { request, from, count } => {
                let state = self.state();
                let listed = state.listed.get(request).ok_or(Refusal::Unknown)?;
                let range = usize::try_from(*from).ok().zip(usize::try_from(*count).ok());
                let end = range.and_then(|(from, count)| Some(from..from.checked_add(count)?));
                let range = end.filter(|range| range.end <= listed.len());
                WantedIds::listed(Arc::clone(listed), range.ok_or(Refusal::Unknown)?)
            }
            Wanted::Ids(bytes) => {
                let ids = ids::read_ids(bytes, limits.ids_per_message_max);
                WantedIds::named(ids.map_err(|_| Refusal::Malformed)?, &self.memory)?
            }
        };
        if ids.as_slice().is_empty() {
            return Err(Refusal::Malformed);
        }
        self.state().keep_fetched(ids.as_slice(), limits);
        Ok(ids)
    }

    pub(super) fn tail(&self, ask: &Tail, limits: &Limits) -> Result<Range<u64>, Refusal> {
        let end = ask.from.checked_add(ask.count).filter(|end| *end <= self.pin.log.size);
        match end {
            None => Err(Refusal::Unknown),
            Some(_) if ask.count == 0 => Err(Refusal::Malformed),
            Some(end) => {
                Ok(ask.from..end.min(ask.from.saturating_add(limits.entries_per_message_max)))
            }
        }
    }

    pub(super) fn finish(&self, ask: &Finish, source: &impl Source) -> Result<Finished, Refusal> {
        let mut state = self.state();
        let State { fetched: removed, pushed: added, forgot, .. } = &mut *state;
        let checked = match ask.set {
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
        let (set, log) = source.head().map_err(|_| Refusal::Damaged)?;
        Ok(Finished { checked, set, log })
    }
}

/// What is some levels below a subtree, or its ids if they are few.
fn below(subtree: &Subtree, levels: u16, few: usize) -> Result<Below, MappedSetError> {
    if let Some(ids) = subtree.ids(few)? {
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

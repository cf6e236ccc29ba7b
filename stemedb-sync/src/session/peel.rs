//! The layer of coded symbols: as many as it takes, within limits.

use core::time::Duration;

use super::core::{Core, Stop, Turn};
use crate::{
    memory::MemoryBudget,
    message::{Ask, AskSymbols},
    replica::SymbolsAhead,
    report::{Ending, Why},
    symbols::{self, Outcome, Peeler, Symbol},
};

/// Up to so many differences one request more is dearer than the symbols that it may save.
const FEW: u64 = 1_000;

/// So many more symbols are asked for at least: a request of its own is dearer than they are.
const MORE_MIN: u64 = 64;

#[derive(Debug)]
pub(super) struct Peeling {
    peeler: Peeler,
    ahead: SymbolsAhead,
    /// How many symbols have been taken in.
    taken: u32,
    /// How many were asked for in the request under way.
    asked: u32,
    requests: u32,
}

impl Peeling {
    pub(super) fn begin(core: &mut Core, now: Duration) -> (Self, Result<Turn, Stop>) {
        let key = core.config.identity.keys.symbol_key();
        let mut peeling = Self {
            peeler: Peeler::new(key),
            // What a session makes itself is bounded by its own limits.
            ahead: SymbolsAhead::new(&MemoryBudget::new(usize::MAX)),
            taken: 0,
            asked: 0,
            requests: 0,
        };
        let first =
            core.peer.as_mut().map(|peer| core::mem::take(&mut peer.symbols)).unwrap_or_default();
        let turn = peeling.feed(core, &first, now);
        (peeling, turn)
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        bytes: &[u8],
        now: Duration,
    ) -> Result<Turn, Stop> {
        let most = usize::try_from(self.asked).unwrap_or(0);
        match symbols::decode(bytes, self.taken, core.peer_set().count, most) {
            Ok(remote) if !remote.is_empty() => self.feed(core, &remote, now),
            // Symbols that can't be read are as good as none: the next layer checks every hash.
            _ => Ok(Turn::Descent(Why::Stalled)),
        }
    }

    fn feed(&mut self, core: &mut Core, remote: &[Symbol], now: Duration) -> Result<Turn, Stop> {
        let count = u32::try_from(remote.len()).unwrap_or(0);
        let range = self.taken..self.taken.saturating_add(count);
        let key = core.config.identity.keys.symbol_key();
        let most = core.config.limits.symbols_max;
        let local = self.ahead.symbols(&core.pin, range, most, key);
        let local = local.map_err(|_| Stop::End(Ending::Unreadable))?;
        for (local, remote) in local.iter().zip(remote) {
            self.peeler.push(*local, *remote);
        }
        self.taken += count;
        match self.peeler.run() {
            Outcome::Complete => self.found(core),
            Outcome::Suspicious => Ok(Turn::Descent(Why::Stalled)),
            Outcome::Stalled => self.more(core, now),
        }
    }

    fn found(&self, core: &Core) -> Result<Turn, Stop> {
        let mut mine: Vec<_> = self.peeler.only_local().collect();
        mine.sort_unstable();
        let mine: Option<Vec<_>> = core.pin.snapshot.find_by_prefix(&mine)?.into_iter().collect();
        // A front that is not ours was made up of others.
        let Some(mine) = mine else { return Ok(Turn::Descent(Why::OtherRoot)) };
        let mut theirs: Vec<_> = self.peeler.only_remote().collect();
        theirs.sort_unstable();
        theirs.dedup();
        Ok(Turn::Ids { mine, theirs })
    }

    fn more(&mut self, core: &mut Core, now: Duration) -> Result<Turn, Stop> {
        let limits = &core.config.limits;
        let Some(estimate) = self.peeler.estimate() else {
            return Ok(Turn::Descent(Why::Stalled));
        };
        let differ = estimate.difference;
        let taken = u64::from(self.taken);
        // The relative error of the estimate from `n` symbols is about the root of `2 / n`.
        let error = differ.saturating_mul((2_000_000 / taken.max(1)).isqrt()) / 1_000;
        let both = core.peer_set().count.saturating_add(core.pin.snapshot.len());
        let enough_for = |differ: u64| differ.saturating_add(differ / 5 * 2).saturating_add(32);
        let enough = enough_for(differ);
        // An estimate that may well be too high is no reason to give up.
        let least = enough_for(differ.saturating_sub(error));
        if least > u64::from(limits.symbols_max) || enough > both.max(256) {
            return Ok(Turn::Descent(Why::TooManyDiffer));
        }
        if taken > enough.saturating_mul(2).saturating_add(256) {
            return Ok(Turn::Descent(Why::Stalled));
        }
        self.requests += 1;
        let target = if differ <= FEW && self.requests == 1 {
            let most = differ.saturating_add(error);
            most + most / 2 + 16
        } else if self.requests == 1 {
            // So many tell the difference to a few in a hundred; the next request is exact then.
            differ
        } else {
            enough.saturating_add(error * 2)
        };
        let target = target.max(taken + (taken / 16).max(MORE_MIN)).min(limits.symbols_max.into());
        let count = u32::try_from(target.saturating_sub(taken)).unwrap_or(0);
        if count == 0 {
            return Ok(Turn::Descent(Why::Stalled));
        }
        self.asked = count.min(limits.symbols_per_message_max);
        core.ask(Ask::Symbols(AskSymbols { from: self.taken, count: self.asked }), now)?;
        Ok(Turn::Stay)
    }
}

//! The layer of coded symbols: as many as it takes, within limits.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{
    core::{Core, Stop, Transition},
    difference::{Difference, Want},
};
use crate::{
    codec::ids,
    internal::internal_error,
    memory::MemoryBudget,
    message::{Ask, AskSymbols, Symbols},
    replica::SymbolsAhead,
    report::{Ending, Why},
    symbols::{self, Outcome, Peeler, Symbol, symbols_for},
    violation::ProtocolViolation,
};

/// The number of the first request of a session.
const HELLO: u64 = 1;

/// So many more symbols are asked for at least: a request of its own is dearer than they are.
const MORE_MIN: u64 = 64;

#[derive(Debug)]
pub(super) struct Peeling {
    peeler: Peeler,
    ahead: SymbolsAhead,
    /// How many symbols have been taken in.
    taken: u32,
    /// The request under way.
    request: Option<u64>,
    /// The index behind the last symbol that it asks for.
    end: u32,
    /// Parts that came before those in front of them.
    early: BTreeMap<u32, Symbols>,
}

impl Peeling {
    /// Begins with the symbols that come with the answer to the first request, if that goes on.
    pub(super) fn new(core: &Core) -> Self {
        let key = core.config.identity.keys.symbol_key();
        Self {
            peeler: Peeler::new(key),
            // What a session makes itself is bounded by its own limits.
            ahead: SymbolsAhead::new(&MemoryBudget::new(usize::MAX)),
            taken: 0,
            request: core.flight.is_waiting(HELLO).then_some(HELLO),
            end: core.peer.as_ref().map_or(0, |peer| peer.symbols),
            early: BTreeMap::new(),
        }
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        request: u64,
        part: Symbols,
        now: Duration,
    ) -> Result<Transition, Stop> {
        if self.request != Some(request) {
            return Ok(Transition::Stay);
        }
        core.parts += 1;
        core.flight.postpone(request, now.saturating_add(core.config.limits.answer_time_max));
        if part.symbols.is_empty() {
            return Err(ProtocolViolation::Empty.into());
        }
        if (self.taken..self.end).contains(&part.from) {
            // There are never more of them than symbols that were asked for.
            self.early.insert(part.from, part);
        }
        while let Some(part) = self.early.remove(&self.taken) {
            let most = (self.end - self.taken) as usize;
            let count = core.peer_set().count;
            let Ok(remote) = symbols::decode(&part.symbols, self.taken, count, most) else {
                // Symbols that cannot be read are as good as none: the next layer checks every
                // hash.
                return Ok(self.descent(core, Why::Stalled));
            };
            self.push(core, &remote)?;
            match self.peeler.run() {
                Outcome::Complete => return self.found(core),
                Outcome::Suspicious => return Ok(self.descent(core, Why::Stalled)),
                Outcome::Stalled => {}
            }
            if part.last || self.taken >= self.end {
                self.done(core);
                return self.more(core, now);
            }
        }
        Ok(Transition::Stay)
    }

    /// Gives a request up: what has not come is asked for again.
    pub(super) fn give_up(&mut self, request: u64) -> bool {
        let given_up = self.request == Some(request);
        if given_up {
            self.request = None;
        }
        given_up
    }

    pub(super) fn pump(&mut self, core: &mut Core, now: Duration) -> Result<Transition, Stop> {
        if self.request.is_some() {
            return Ok(Transition::Stay);
        }
        // What was given up is asked for once more, from where it was cut.
        self.ask(core, (self.end - self.taken).max(1), now)
    }

    fn ask(&mut self, core: &mut Core, count: u32, now: Duration) -> Result<Transition, Stop> {
        let limits = &core.config.limits;
        let left = limits.symbols_max.saturating_sub(self.taken);
        let count = count.min(limits.symbols_per_request_max).min(left);
        if count == 0 {
            return Ok(Transition::Descent(Why::Stalled));
        }
        self.end = self.taken + count;
        let ask = Ask::Symbols(AskSymbols { from: self.taken, count });
        self.request = Some(core.ask(ask, now)?);
        Ok(Transition::Stay)
    }

    /// Nothing more is waited for; what comes all the same is not needed.
    fn done(&mut self, core: &mut Core) {
        if let Some(request) = self.request.take() {
            core.flight.answered(request);
        }
        self.early.clear();
    }

    fn descent(&mut self, core: &mut Core, why: Why) -> Transition {
        self.done(core);
        Transition::Descent(why)
    }

    fn push(&mut self, core: &Core, remote: &[Symbol]) -> Result<(), Stop> {
        let count = u32::try_from(remote.len());
        let count = count.unwrap_or_else(|_| internal_error("a limit of symbols"));
        let range = self.taken..self.taken + count;
        let key = core.config.identity.keys.symbol_key();
        let most = core.config.limits.symbols_max;
        let local = self.ahead.symbols(&core.pin, range, self.end, most, key);
        let local = local.map_err(|_| Stop::End(Ending::Unreadable))?;
        for (local, remote) in local.iter().zip(remote) {
            self.peeler.push(*local, *remote);
        }
        self.taken += count;
        Ok(())
    }

    fn found(&mut self, core: &mut Core) -> Result<Transition, Stop> {
        self.done(core);
        let mut mine: Vec<_> = self.peeler.only_local().collect();
        mine.sort_unstable();
        // Where two begin alike, both are given: the check says whether that was right.
        let mine = core.pin.snapshot.find_by_prefix(&mine, ids::ALIKE_MAX)?;
        // What no id of ours begins with was made up of others.
        let Some(mine) = mine else { return Ok(Transition::Descent(Why::OtherRoot)) };
        let mut theirs: Vec<_> = self.peeler.only_remote().collect();
        theirs.sort_unstable();
        if theirs.is_empty() {
            let difference = Difference::Found { mine, theirs: Vec::new() };
            let fits = difference.fits(core)?;
            return if fits {
                difference.transition(core)
            } else {
                Ok(Transition::Descent(Why::OtherRoot))
            };
        }
        if !core.config.direction.pulls() {
            return Ok(Transition::Suffixes { mine, theirs });
        }
        let theirs = theirs.into_iter().map(Want::Prefix).collect();
        Difference::Claimed { mine, theirs }.transition(core)
    }

    fn more(&mut self, core: &mut Core, now: Duration) -> Result<Transition, Stop> {
        let limits = &core.config.limits;
        let Some(estimate) = self.peeler.estimate() else {
            return Ok(Transition::Descent(Why::Stalled));
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
            return Ok(Transition::Descent(Why::TooManyDiffer));
        }
        if taken > enough.saturating_mul(2).saturating_add(256) {
            return Ok(Transition::Descent(Why::Stalled));
        }
        // The initiator stops taking symbols once it has peeled; so the request caps only what is
        // under way in vain then, on a slow line. Nine times in ten it asks for no more than a
        // quarter too many, and for enough.
        let target = symbols_for(differ.saturating_add(error.saturating_mul(3) / 2));
        let target = target.max(taken + (taken / 16).max(MORE_MIN));
        self.ask(core, u32::try_from(target.saturating_sub(taken)).unwrap_or(u32::MAX), now)
    }
}

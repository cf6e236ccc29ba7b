//! Reading the peer's log: what it took in since it was last read, or all of it.

use core::{ops::Range, time::Duration};
use std::collections::{BTreeMap, VecDeque};

use super::{
    core::{BODY_LIMIT, Core, Stop, Transition, half},
    incoming::Incoming,
};
use crate::{
    body_list::HashedBodies,
    message::{Ask, Bodies, Tail},
    violation::ProtocolViolation,
};

/// So many entries are asked for at first; then as many as one answer holds.
const ENTRIES_FIRST: u64 = 1_024;

#[derive(Debug)]
pub(super) struct Tailing {
    /// Entries not asked for.
    ahead: VecDeque<Range<u64>>,
    under_way: BTreeMap<u64, Reading>,
    at_once: u64,
}

#[derive(Debug)]
struct Reading {
    entries: Range<u64>,
    items: u64,
    incoming: Incoming,
}

impl Tailing {
    pub(super) fn new(entries: Range<u64>) -> Self {
        Self {
            ahead: VecDeque::from([entries]),
            under_way: BTreeMap::new(),
            at_once: ENTRIES_FIRST,
        }
    }

    pub(super) fn pump(&mut self, core: &mut Core, now: Duration) -> Result<Transition, Stop> {
        let limits = &core.config.limits;
        let (most, bytes_max) = (limits.in_flight_max.max(1), limits.pending_bytes_max);
        let entries_max = limits.entries_per_message_max.max(1);
        while core.may_move()
            && self.under_way.len() < most
            && core.appends.bytes < bytes_max
            && let Some(range) = self.ahead.pop_front()
        {
            let end = range.end.min(range.start.saturating_add(self.at_once.min(entries_max)));
            if end < range.end {
                self.ahead.push_front(end..range.end);
            }
            let entries = range.start..end;
            let tail = Tail { from: entries.start, count: end - entries.start };
            let request = core.ask(Ask::Tail(tail), now)?;
            let reading = Reading { entries, items: 0, incoming: Incoming::default() };
            self.under_way.insert(request, reading);
        }
        let over = self.ahead.is_empty() && self.under_way.is_empty();
        if !over && !core.may_move() {
            return Err(BODY_LIMIT);
        }
        Ok(if over { Transition::Settle } else { Transition::Stay })
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        request: u64,
        part: Bodies,
        now: Duration,
    ) -> Result<Transition, Stop> {
        let Some(reading) = self.under_way.get_mut(&request) else { return Ok(Transition::Stay) };
        let items = reading.incoming.take(core, request, part, now)?;
        reading.items += items.len() as u64;
        if reading.items > reading.entries.end - reading.entries.start {
            return Err(ProtocolViolation::Body.into());
        }
        let bodies = HashedBodies::new(&core.config.identity.keys, items.bodies);
        for (id, body) in bodies.iter() {
            core.count_slice(&id, body.len());
            if core.tailed.len() < core.config.limits.ids_kept_max {
                core.tailed.push(half(&id));
            }
        }
        core.append(bodies);
        let Some(end) = reading.incoming.end(core)? else { return Ok(Transition::Stay) };
        let asked = reading.entries.end - reading.entries.start;
        if end.processed == 0 {
            return Err(ProtocolViolation::Empty.into());
        }
        if end.processed > asked || reading.items > end.processed {
            return Err(ProtocolViolation::Surplus.into());
        }
        let rest = reading.entries.start + end.processed..reading.entries.end;
        self.under_way.remove(&request);
        core.flight.answered(request);
        self.at_once = match () {
            () if !rest.is_empty() => end.processed,
            () => self.at_once.max(asked.saturating_mul(2)),
        };
        if !rest.is_empty() {
            self.ahead.push_front(rest);
        }
        Ok(Transition::Stay)
    }

    /// Gives a request up; its entries are asked for again.
    pub(super) fn give_up(&mut self, request: u64) -> bool {
        let Some(reading) = self.under_way.remove(&request) else { return false };
        self.ahead.push_front(reading.entries);
        true
    }
}

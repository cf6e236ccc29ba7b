//! Moving bodies, both ways at once.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use stemedb_merkle::{Hash, set::Iter};

use super::{
    Output, Read,
    core::{BODY_LIMIT, Core, Moved, Stop, Turn, prefix},
    incoming::Incoming,
};
use crate::{
    blame::Blame,
    codec::{bodies::PartWriter, ids},
    message::{Ask, Bodies, Fetch, Push, Pushed, Wanted},
    report::Found,
};

/// So many bodies are asked for at first; then as many as one answer holds.
const IDS_FIRST: usize = 1_024;

/// Bodies are read and pushed so many at a time, or fewer where they are long.
const PUSH_IDS_MAX: usize = 16_384;

/// Bytes of bodies in one push, about.
const PUSH_LEN_AIM: usize = 2 << 20;

/// An id that only the peer has, and where the responder has it in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub(super) id: Hash,
    /// The request that listed it, and the place there.
    pub(super) listed: Option<(u64, u32)>,
}

/// In what the two sets differ.
#[derive(Debug)]
pub(super) enum Difference {
    Found {
        mine: Vec<Hash>,
        theirs: Vec<Want>,
    },
    /// The peer holds nothing.
    AllMine,
}

#[derive(Debug)]
pub(super) struct Transfer {
    wanted: VecDeque<Want>,
    theirs: Vec<Hash>,
    at_once: usize,
    fetches: BTreeMap<u64, Fetching>,
    to_push: ToPush,
    /// What is being read for the next push.
    reading: Vec<Hash>,
    /// Whether it is not read, as no more may be moved.
    held_back: bool,
    /// Pushes under way, with the number of their bodies.
    pushes: BTreeMap<u64, u64>,
    appended: u64,
}

#[derive(Debug)]
enum ToPush {
    These(VecDeque<Hash>),
    All(Box<Iter>),
}

#[derive(Debug)]
struct Fetching {
    wants: Vec<Want>,
    /// How many of them have come or been passed over.
    at: usize,
    got: usize,
    incoming: Incoming,
}

impl Difference {
    pub(super) fn none() -> Self {
        Self::Found { mine: Vec::new(), theirs: Vec::new() }
    }

    /// Whether our set without what only we have, and with what only the peer has, has the root
    /// that the peer announced.
    pub(super) fn fits(&self, core: &Core) -> Result<bool, Stop> {
        let Self::Found { mine, theirs } = self else { return Ok(true) };
        let added: Vec<Hash> = theirs.iter().map(|want| want.id).collect();
        Ok(core.pin.snapshot.hypothetical_root(&added, mine)? == core.peer_set().root)
    }

    /// The ids on both sides, sorted.
    pub(super) fn found(&self, core: &Core) -> Result<Found, Stop> {
        let (mut only_mine, mut only_theirs) = match self {
            Self::Found { mine, theirs } => {
                (mine.clone(), theirs.iter().map(|want| want.id).collect())
            }
            Self::AllMine => {
                let ids: Result<_, _> =
                    core.pin.snapshot.iter().map(|entry| entry.map(|entry| entry.id)).collect();
                (ids?, Vec::new())
            }
        };
        only_mine.sort_unstable();
        only_theirs.sort_unstable();
        Ok(Found { only_mine, only_theirs })
    }

    /// Goes on with what has been found to fit.
    pub(super) fn turn(self, core: &mut Core) -> Result<Turn, Stop> {
        if let Self::Found { mine, theirs } = &self {
            // What came with the peer's log can't be ours alone.
            core.tailed.sort_unstable();
            if mine.iter().any(|id| core.tailed.binary_search(&prefix(id)).is_ok()) {
                return Err(Blame::Body.into());
            }
            core.report.only_mine = mine.len() as u64;
            core.report.only_theirs = core.new_in_log() + theirs.len() as u64;
        }
        core.report.checked = true;
        Ok(Turn::Transfer(Box::new(self)))
    }
}

impl Transfer {
    pub(super) fn new(core: &Core, difference: Difference) -> Self {
        let direction = core.config.direction;
        let (mut to_push, theirs) = match difference {
            Difference::Found { mine, theirs } => (ToPush::These(mine.into()), theirs),
            Difference::AllMine => (ToPush::All(Box::new(core.pin.snapshot.iter())), Vec::new()),
        };
        if !direction.pushes() {
            to_push = ToPush::These(VecDeque::new());
        }
        Self {
            theirs: theirs.iter().map(|want| want.id).collect(),
            wanted: if direction.pulls() && !core.declined {
                theirs.into()
            } else {
                VecDeque::new()
            },
            at_once: IDS_FIRST,
            fetches: BTreeMap::new(),
            to_push,
            reading: Vec::new(),
            held_back: false,
            pushes: BTreeMap::new(),
            appended: 0,
        }
    }

    pub(super) fn pump(&mut self, core: &mut Core, now: Duration) -> Result<Turn, Stop> {
        let limits = &core.config.limits;
        let (most, bytes_max) = (limits.in_flight_max.max(1), limits.pending_bytes_max);
        while core.may_move()
            && self.fetches.len() < most
            && core.appends.bytes < bytes_max
            && let Some(wants) = self.next_wants(core)
        {
            let request = core.ask(Ask::Fetch(Fetch { wanted: wanted(&wants) }), now)?;
            self.fetches
                .insert(request, Fetching { wants, at: 0, got: 0, incoming: Incoming::default() });
        }
        if self.reading.is_empty() && self.pushes.len() < most {
            self.reading = self.next_pushed()?;
            self.held_back = !core.may_move() && !self.reading.is_empty();
            if !self.reading.is_empty() && !self.held_back {
                core.reads += 1;
                let (number, ids) = (core.reads, self.reading.clone());
                let read = Read { number, ids, bytes_aim: PUSH_LEN_AIM };
                core.outputs.push_back(Output::Read(read));
            }
        }
        let left = self.held_back || !self.wanted.is_empty();
        if left && !core.may_move() && self.fetches.is_empty() && self.pushes.is_empty() {
            return Err(BODY_LIMIT);
        }
        let over = self.wanted.is_empty()
            && self.fetches.is_empty()
            && self.reading.is_empty()
            && self.pushes.is_empty()
            && core.appends.is_empty();
        if !over {
            return Ok(Turn::Stay);
        }
        Ok(Turn::Finish(Box::new(Moved {
            theirs: core::mem::take(&mut self.theirs),
            appended: self.appended,
        })))
    }

    /// The next ids to ask for: neighbours in one list, or ids that are in none.
    fn next_wants(&mut self, core: &Core) -> Option<Vec<Want>> {
        let first = self.wanted.pop_front()?;
        let most = self.at_once.min(core.config.limits.ids_per_message_max);
        let mut wants = vec![first];
        while wants.len() < most
            && let Some(next) = self.wanted.front()
        {
            let follows = match (wants.last().and_then(|last| last.listed), next.listed) {
                (Some((request, place)), Some(next)) => next == (request, place + 1),
                (None, None) => true,
                _ => false,
            };
            if !follows {
                break;
            }
            wants.extend(self.wanted.pop_front());
        }
        Some(wants)
    }

    fn next_pushed(&mut self) -> Result<Vec<Hash>, Stop> {
        match &mut self.to_push {
            ToPush::These(ids) => Ok(ids.drain(..ids.len().min(PUSH_IDS_MAX)).collect()),
            ToPush::All(ids) => {
                let ids: Result<Vec<Hash>, _> = ids
                    .by_ref()
                    .take(PUSH_IDS_MAX)
                    .map(|entry| entry.map(|entry| entry.id))
                    .collect();
                Ok(ids?)
            }
        }
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        request: u64,
        part: Bodies,
        now: Duration,
    ) -> Result<Turn, Stop> {
        let Some(fetching) = self.fetches.get_mut(&request) else { return Ok(Turn::Stay) };
        let bodies = fetching.incoming.take(core, request, part, now)?;
        for body in &bodies {
            let id = core.config.identity.keys.id(body);
            fetching.accept(&id)?;
            core.count_slice(&id, body.len());
        }
        core.append(bodies);
        let Some(end) = fetching.incoming.end(core)? else { return Ok(Turn::Stay) };
        let asked = fetching.wants.len();
        let dealt = usize::try_from(end.dealt).unwrap_or(usize::MAX);
        if dealt == 0 {
            return Err(Blame::Empty.into());
        }
        if dealt > asked || fetching.at > dealt {
            return Err(Blame::Surplus.into());
        }
        core.report.withheld += (dealt - fetching.got) as u64;
        for want in fetching.wants.iter().skip(dealt).rev() {
            self.wanted.push_front(*want);
        }
        self.at_once =
            if dealt == asked { self.at_once.max(asked.saturating_mul(2)) } else { dealt };
        self.fetches.remove(&request);
        core.flight.answered(request);
        Ok(Turn::Stay)
    }

    /// Bodies to push have been read.
    pub(super) fn read(
        &mut self,
        core: &mut Core,
        number: u64,
        found: &[Option<Vec<u8>>],
        now: Duration,
    ) {
        if self.reading.is_empty() || number != core.reads {
            // For a transfer that was broken off.
            return;
        }
        for (id, body) in self.reading.iter().zip(found) {
            if let Some(body) = body {
                core.count_slice(id, body.len());
            }
        }
        let rest = self.reading.split_off(self.reading.len().min(found.len()));
        self.reading.clear();
        if let ToPush::These(ids) = &mut self.to_push {
            rest.into_iter().rev().for_each(|id| ids.push_front(id));
        } else if let ToPush::All(ids) = &mut self.to_push
            && let Some(first) = rest.first()
        {
            **ids = core.pin.snapshot.range(first..);
        }
        core.report.unreadable += found.iter().filter(|body| body.is_none()).count() as u64;
        let mut parts = PartWriter::new(core.config.limits.part_len_max);
        let mut count = 0;
        for body in found.iter().flatten() {
            parts.push(body);
            count += 1;
        }
        if count == 0 {
            return;
        }
        let parts = parts.finish();
        let (last, len) = (parts.len() - 1, parts.iter().map(Vec::len).sum());
        let parts = (0..)
            .zip(parts)
            .enumerate()
            .map(|(place, (part, bytes))| Ask::Push(Push { part, bytes, last: place == last }));
        core.count_bodies(0, len);
        if let Ok(request) = core.ask_parts(parts.collect(), now) {
            self.pushes.insert(request, count);
        }
    }

    pub(super) fn pushed(
        &mut self,
        core: &mut Core,
        request: u64,
        pushed: Pushed,
    ) -> Result<Turn, Stop> {
        let Some(count) = self.pushes.remove(&request) else { return Ok(Turn::Stay) };
        if pushed.appended.checked_add(pushed.duplicates) != Some(count) {
            return Err(Blame::Pushed.into());
        }
        core.report.pushed += count;
        core.report.pushed_duplicates += pushed.duplicates;
        self.appended += pushed.appended;
        Ok(Turn::Stay)
    }

    /// Gives no more bodies, if this request is a push. Those under way go on.
    pub(super) fn stop_pushing(&mut self, request: u64) -> bool {
        let refused = self.pushes.remove(&request).is_some();
        if refused {
            self.to_push = ToPush::These(VecDeque::new());
            self.reading.clear();
            self.held_back = false;
        }
        refused
    }

    /// Asks for no more bodies, and for none of those under way.
    pub(super) fn stop_pulling(&mut self, core: &mut Core) {
        self.wanted.clear();
        for request in core::mem::take(&mut self.fetches).into_keys() {
            core.flight.answered(request);
        }
    }

    /// Gives a request for bodies up: what has not come is asked for again. A push is not given up.
    pub(super) fn give_up(&mut self, core: &mut Core, request: u64) -> bool {
        let Some(fetching) = self.fetches.remove(&request) else { return false };
        // Those passed over were left out.
        core.report.withheld += (fetching.at - fetching.got) as u64;
        for want in fetching.wants.iter().skip(fetching.at).rev() {
            self.wanted.push_front(*want);
        }
        true
    }
}

impl Fetching {
    /// Takes note of a body. Bodies come in the order asked for, but some may be left out.
    fn accept(&mut self, id: &Hash) -> Result<(), Stop> {
        let ahead = self.wants.get(self.at..).unwrap_or_default();
        match ahead.iter().position(|want| want.id == *id) {
            Some(passed) => {
                self.at += passed + 1;
                self.got += 1;
                Ok(())
            }
            None if self.wants.iter().take(self.at).any(|want| want.id == *id) => {
                Err(Blame::BodyTwice.into())
            }
            None => Err(Blame::Body.into()),
        }
    }
}

fn wanted(wants: &[Want]) -> Wanted {
    if let Some((request, from)) = wants.first().and_then(|first| first.listed) {
        let count = u32::try_from(wants.len()).unwrap_or(u32::MAX);
        return Wanted::Listed { request, from, count };
    }
    let ids: Vec<Hash> = wants.iter().map(|want| want.id).collect();
    Wanted::Ids(ids::write_ids(&ids))
}

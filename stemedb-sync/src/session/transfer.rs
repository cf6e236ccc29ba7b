//! Moving bodies, both ways at once.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use stemedb_merkle::{Hash, set::Iter};

use super::{
    Output, Read,
    core::{BODY_LIMIT, Core, Moved, Stop, Transition, half},
    difference::{Difference, Want},
    incoming::Incoming,
};
use crate::{
    body_list::HashedBodies,
    codec::{
        bodies::{Items, PartWriter},
        ids,
    },
    message::{Ask, Bodies, Fetch, Push, Pushed, SetHead, Wanted},
    replica::Pin,
    report::Found,
    violation::ProtocolViolation,
};

/// So many bodies are asked for at first; then as many as one answer holds.
const IDS_FIRST: usize = 1_024;

/// Bodies are read and pushed so many at a time, or fewer where they are long.
const PUSH_IDS_MAX: usize = 16_384;

/// Bytes of bodies in one push, about.
const PUSH_LEN_AIM: usize = 2 << 20;

#[derive(Debug)]
pub(super) struct Transfer {
    wanted: VecDeque<Want>,
    /// Ids of bodies that came, or that the peer says it cannot give.
    theirs: Vec<Hash>,
    /// Whether several came for one prefix, of which some may be held here.
    alike: bool,
    /// Ids that only we have, as long as that is not checked.
    claimed: Option<Vec<Hash>>,
    at_once: usize,
    fetches: BTreeMap<u64, Fetching>,
    to_push: ToPush,
    /// Ids of bodies that are being read for the next push.
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
    /// For how many of them an item has come.
    at: usize,
    /// How many items have come for the last of those.
    alike: usize,
    /// Id of the last item.
    last: Hash,
    /// How many items were no body.
    withheld: u64,
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
        fits(core, mine, &ids_of(theirs))
    }

    /// The ids on both sides, sorted.
    pub(super) fn found(&self, core: &Core) -> Result<Found, Stop> {
        let (mut only_mine, mut only_theirs) = match self {
            Self::Found { mine, theirs } | Self::Claimed { mine, theirs } => {
                (mine.clone(), ids_of(theirs))
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
    pub(super) fn transition(self, core: &mut Core) -> Result<Transition, Stop> {
        if let Self::Found { mine, .. } = &self {
            not_in_log(core, mine)?;
        }
        if let Self::Found { mine, theirs } | Self::Claimed { mine, theirs } = &self {
            core.report.only_mine = mine.len() as u64;
            core.report.only_theirs = core.new_in_log() + theirs.len() as u64;
        }
        core.report.checked = !matches!(self, Self::Claimed { .. });
        Ok(Transition::Transfer(Box::new(self)))
    }
}

impl Transfer {
    pub(super) fn new(core: &Core, difference: Difference) -> Self {
        let direction = core.config.direction;
        let mut claimed = None;
        let (mut to_push, theirs) = match difference {
            Difference::Found { mine, theirs } => (ToPush::These(mine.into()), theirs),
            Difference::Claimed { mine, theirs } => {
                claimed = Some(mine.clone());
                (ToPush::These(mine.into()), theirs)
            }
            Difference::AllMine => (ToPush::All(Box::new(core.pin.snapshot.iter())), Vec::new()),
        };
        if !direction.pushes() {
            to_push = ToPush::These(VecDeque::new());
        }
        Self {
            theirs: Vec::with_capacity(theirs.len()),
            alike: false,
            claimed,
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

    pub(super) fn pump(&mut self, core: &mut Core, now: Duration) -> Result<Transition, Stop> {
        let limits = &core.config.limits;
        let (most, bytes_max) = (limits.in_flight_max.max(1), limits.pending_bytes_max);
        while core.may_move()
            && self.fetches.len() < most
            && core.appends.bytes < bytes_max
            && let Some(wants) = self.next_wants(core)
        {
            let request = core.ask(Ask::Fetch(Fetch { wanted: wanted(&wants) }), now)?;
            self.fetches.insert(request, Fetching::new(wants));
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
            return Ok(Transition::Stay);
        }
        let moved = Moved {
            theirs: core::mem::take(&mut self.theirs),
            alike: self.alike,
            claimed: self.claimed.take().filter(|_| !core.declined),
            appended: self.appended,
            // What is held did not change but for others' writes.
            now: Some(core.pin.set()),
        };
        let came = !moved.theirs.is_empty() || moved.claimed.is_some();
        let moved = Box::new(moved);
        Ok(if came { Transition::PinResult(moved) } else { Transition::Finish(moved) })
    }

    /// The next ids to ask for. Prefixes are asked for in ascending order.
    fn next_wants(&mut self, core: &Core) -> Option<Vec<Want>> {
        let first = self.wanted.pop_front()?;
        let most = self.at_once.min(core.config.limits.ids_per_message_max);
        let mut wants = vec![first];
        while wants.len() < most
            && let Some(next) = self.wanted.front()
        {
            let follows =
                matches!(next, Want::Id(_)) || wants.last().is_none_or(|last| last < next);
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
    ) -> Result<Transition, Stop> {
        let Some(fetching) = self.fetches.get_mut(&request) else { return Ok(Transition::Stay) };
        let Items { bodies, absent } = fetching.incoming.take(core, request, part, now)?;
        fetching.withheld += absent.len() as u64;
        let bodies = HashedBodies::new(&core.config.identity.keys, bodies);
        let mut accept = |id: Hash| {
            fetching.accept(&id)?;
            self.alike |= fetching.alike > 1;
            self.theirs.push(id);
            Ok::<_, Stop>(())
        };
        // In the order in which they came.
        let mut absent = absent.iter().peekable();
        for (place, (id, body)) in bodies.iter().enumerate() {
            while let Some((_, id, _)) = absent.next_if(|(before, ..)| *before == place) {
                accept(*id)?;
            }
            core.count_slice(&id, body.len());
            accept(id)?;
        }
        absent.try_for_each(|(_, id, _)| accept(*id))?;
        core.append(bodies);
        let Some(end) = fetching.incoming.end(core)? else { return Ok(Transition::Stay) };
        let asked = fetching.wants.len();
        let processed = usize::try_from(end.processed).unwrap_or(usize::MAX);
        if processed == 0 {
            return Err(ProtocolViolation::Empty.into());
        }
        if processed > asked {
            return Err(ProtocolViolation::Surplus.into());
        }
        if fetching.at != processed {
            return Err(ProtocolViolation::ItemCount.into());
        }
        core.report.withheld += fetching.withheld;
        for want in fetching.wants.iter().skip(processed).rev() {
            self.wanted.push_front(*want);
        }
        self.at_once =
            if processed == asked { self.at_once.max(asked.saturating_mul(2)) } else { processed };
        self.fetches.remove(&request);
        core.flight.answered(request);
        Ok(Transition::Stay)
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
    ) -> Result<Transition, Stop> {
        let Some(count) = self.pushes.remove(&request) else { return Ok(Transition::Stay) };
        if pushed.appended.checked_add(pushed.duplicates) != Some(count) {
            return Err(ProtocolViolation::Pushed.into());
        }
        core.report.pushed += count;
        core.report.pushed_duplicates += pushed.duplicates;
        self.appended += pushed.appended;
        Ok(Transition::Stay)
    }

    /// Whether what differs is as symbols have it, and not checked yet.
    pub(super) fn is_claimed(&self) -> bool {
        self.claimed.is_some()
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
        core.report.withheld += fetching.withheld;
        for want in fetching.wants.iter().skip(fetching.at).rev() {
            self.wanted.push_front(*want);
        }
        true
    }
}

impl Fetching {
    fn new(wants: Vec<Want>) -> Self {
        let incoming = Incoming::default();
        Self { wants, at: 0, alike: 0, last: [0; 32], withheld: 0, incoming }
    }

    /// Takes note of an item. Items come in the order asked for, and those of one prefix ascend.
    fn accept(&mut self, id: &Hash) -> Result<(), Stop> {
        let is_it = |want: &Want| match want {
            Want::Id(wanted) => wanted == id,
            Want::Prefix(prefix) => id.starts_with(prefix),
        };
        let before = self.at.checked_sub(1).and_then(|at| self.wants.get(at));
        if self.wants.get(self.at).is_some_and(is_it) {
            self.at += 1;
            self.alike = 1;
        } else if before.is_some_and(is_it) && self.last < *id && self.alike < ids::ALIKE_MAX {
            self.alike += 1;
        } else {
            let twice = self.wants.iter().take(self.at).any(is_it);
            let twice = if twice { ProtocolViolation::BodyTwice } else { ProtocolViolation::Body };
            return Err(twice.into());
        }
        self.last = *id;
        Ok(())
    }
}

impl Moved {
    /// Takes note of what the store holds once all that came is durable, and checks what symbols
    /// gave as far as that is cheaper now than at the end: where the peer is given nothing, what is
    /// held is the peer's set and what only we have.
    pub(super) fn pinned(&mut self, core: &mut Core, now: &Pin) -> Result<(), Stop> {
        self.now = Some(now.set());
        let Some(mine) = self.claimed.as_deref() else { return Ok(()) };
        if core.config.direction.pushes() && !mine.is_empty() && core.tailed.is_empty() {
            // Both sides have it all in a moment, and then one root says so.
            return Ok(());
        }
        // Unless something else was appended meanwhile.
        if now.snapshot.hypothetical_root(&[], mine)? == core.peer_set().root {
            self.settle(core)
        } else {
            self.check(core)
        }
    }

    /// Checks what symbols gave, if that was not done yet.
    pub(super) fn check(&mut self, core: &mut Core) -> Result<(), Stop> {
        match &self.claimed {
            Some(mine) if !fits(core, mine, &self.theirs)? => Err(Stop::WithoutSymbols),
            Some(_) => self.settle(core),
            None => Ok(()),
        }
    }

    /// Takes note that what symbols gave is right.
    pub(super) fn settle(&mut self, core: &mut Core) -> Result<(), Stop> {
        core.report.checked = true;
        self.claimed.take().map_or(Ok(()), |mine| not_in_log(core, &mine))
    }

    /// Count and root of all that both hold: what was pinned, and what came.
    pub(super) fn union(&self, core: &Core) -> Result<SetHead, Stop> {
        let snapshot = &core.pin.snapshot;
        let root = snapshot.hypothetical_root(&self.theirs, &[])?;
        let mut count = snapshot.len() + self.theirs.len() as u64;
        if self.alike {
            for id in &self.theirs {
                count -= u64::from(snapshot.contains(id)?);
            }
        }
        Ok(SetHead { count, root })
    }
}

/// Whether our set without what only we have, and with what only the peer has, has the root that
/// the peer announced.
fn fits(core: &Core, mine: &[Hash], theirs: &[Hash]) -> Result<bool, Stop> {
    Ok(core.pin.snapshot.hypothetical_root(theirs, mine)? == core.peer_set().root)
}

/// Checks that nothing that came with the peer's log is ours alone.
fn not_in_log(core: &mut Core, mine: &[Hash]) -> Result<(), Stop> {
    core.tailed.sort_unstable();
    if mine.iter().any(|id| core.tailed.binary_search(&half(id)).is_ok()) {
        return Err(ProtocolViolation::Body.into());
    }
    Ok(())
}

fn ids_of(wants: &[Want]) -> Vec<Hash> {
    let id = |want: &Want| match want {
        Want::Id(id) => Some(*id),
        Want::Prefix(_) => None,
    };
    wants.iter().filter_map(id).collect()
}

fn wanted(wants: &[Want]) -> Wanted {
    let prefix = |want: &Want| match want {
        Want::Prefix(prefix) => Some(*prefix),
        Want::Id(_) => None,
    };
    match wants.iter().map(prefix).collect::<Option<Vec<_>>>() {
        Some(prefixes) => Wanted::Prefixes(ids::write_prefixes(&prefixes)),
        None => Wanted::Ids(ids::write_ids(&ids_of(wants))),
    }
}

//! The first exchange, and the choice of the way from there.

use core::time::Duration;

use super::{
    Direction,
    core::{Core, Peer, Stop, Transition},
};
use crate::{
    keys::same,
    message::{Ask, Cursor, CursorState, Echo, Hello, VERSION, Welcome},
    report::{Ending, Layer, PeerCursor, Why},
    session::difference::Difference,
    violation::ProtocolViolation,
};

/// A peer whose set is so many times ours is taken in whole.
const MUCH_LARGER: u64 = 4;

/// Below so many entries a log is not read whole while there is something else.
const BULK_MIN: u64 = 1_000;

/// A log may have so many more entries than the set has grown by.
const TAIL_SLACK: u64 = 64;

pub(super) fn begin(core: &mut Core, now: Duration) {
    core.fresh_flight();
    let identity = &core.config.identity;
    let cursor = core.config.cursor.map(|cursor| {
        let [root, _] = crate::keys::halves(cursor.root.as_bytes());
        Cursor { epoch: cursor.epoch, size: cursor.size, root }
    });
    // What holds nothing reads the log, or goes down the tree: to compare it has nothing.
    let symbols = core.pin.sketch.is_some()
        && !core.pin.snapshot.is_empty()
        && !core.config.without.contains(&Layer::Symbols);
    let mut hello = Hello {
        version: VERSION,
        node: identity.node,
        epoch: identity.epoch,
        proof: [0; 16],
        set: core.pin.set(),
        time: core.time,
        cursor,
        symbols: if symbols { core.config.limits.symbols_first } else { 0 },
    };
    hello.proof = identity.keys.initiator_proof(&core.flight.session, &hello);
    core.hello = Some(hello.clone());
    // The first request of a session is within every limit.
    core.ask(Ask::Hello(hello), now).ok();
}

/// Checks that a welcome comes from a peer that has the secret, and takes note of the session that
/// it opens. Gives what it answers.
pub(super) fn admit(
    core: &mut Core,
    echo: Echo,
    welcome: &Welcome,
) -> Result<Hello, ProtocolViolation> {
    let hello = core.hello.clone().ok_or(ProtocolViolation::Unasked)?;
    let keys = &core.config.identity.keys;
    if welcome.version != VERSION {
        return Err(ProtocolViolation::Version);
    }
    if !same(&keys.responder_proof(&echo, &hello, welcome), &welcome.proof) {
        return Err(ProtocolViolation::Secret);
    }
    core.flight.snapshot = echo.snapshot;
    core.flight.key = Some(keys.session_key(&echo.session, &welcome.nonce));
    Ok(hello)
}

pub(super) fn welcome(core: &mut Core, echo: Echo, welcome: &Welcome) -> Result<Transition, Stop> {
    core.parts += 1;
    let transition = choose(core, echo, welcome);
    // The answer goes on with symbols, which the other ways have no use for.
    if !matches!(transition, Ok(Transition::Symbols)) {
        core.flight.answered(echo.request);
    }
    transition
}

fn choose(core: &mut Core, echo: Echo, welcome: &Welcome) -> Result<Transition, Stop> {
    let hello = admit(core, echo, welcome)?;
    if welcome.node == core.config.identity.node {
        return Ok(Transition::End(Ending::Refused(crate::message::Refusal::Itself)));
    }
    let limits = &core.config.limits;
    let set = welcome.set.unwrap_or(hello.set);
    if !set.is_possible() {
        return Err(ProtocolViolation::Root.into());
    }
    for count in [set.count, welcome.log.size.0] {
        if count > limits.count_max {
            return Err(ProtocolViolation::Count(count).into());
        }
    }
    core.report.peer = Some(welcome.node);
    let ahead = ntp64_since(hello.time, welcome.time);
    core.report.clock_ahead = ahead.filter(|ahead| *ahead > limits.clock_ahead_max);
    let symbols = welcome.symbols;
    if symbols > hello.symbols {
        return Err(ProtocolViolation::Surplus.into());
    }
    let read = core.config.cursor.filter(|cursor| {
        welcome.cursor == CursorState::Good
            && cursor.node == welcome.node
            && cursor.size <= welcome.log.size.0
    });
    core.report.peer_rewritten = welcome.cursor == CursorState::Rewritten
        && core.config.cursor.is_some_and(|cursor| cursor.node == welcome.node);
    let read = read.map(|cursor| cursor.size);
    let peer =
        Peer { node: welcome.node, epoch: welcome.epoch, set, log: welcome.log, read, symbols };
    core.peer = Some(peer);
    if set == hello.set {
        core.report.checked = true;
        core.report.confirmed = true;
        core.report.equal = true;
        core.report.set = Some(set);
        core.report.cursor = core.peer_cursor();
        return Ok(Transition::End(Ending::Complete));
    }
    if echo.snapshot == 0 {
        return Err(ProtocolViolation::Snapshot.into());
    }
    Ok(first_layer(core).unwrap_or_else(|| next_layer(core)))
}

/// The log of the peer, where that is the cheapest.
fn first_layer(core: &Core) -> Option<Transition> {
    let peer = core.peer.as_ref()?;
    let (mine, theirs) = (core.pin.snapshot.len(), peer.set.count);
    let without = |layer| core.config.without.contains(&layer);
    if core.config.direction == Direction::Push {
        return None;
    }
    let behind = theirs.saturating_sub(mine);
    let size = peer.log.size.0;
    // A log is longer than its set only by what was lost.
    let plain = size <= theirs.saturating_mul(2);
    let much = mine == 0 || behind > BULK_MIN && theirs / MUCH_LARGER >= mine;
    if let Some(read) = peer.read.filter(|_| !without(Layer::Cursor)) {
        let grown = size - read;
        if grown > 0 && grown <= behind + behind / 4 + TAIL_SLACK {
            let (layer, why) = (Layer::Cursor, Why::FellBehind);
            return Some(Transition::Tail { entries: read..size, layer, why });
        }
    }
    if much && plain && size > 0 && !without(Layer::Bulk) {
        let (layer, why) = (Layer::Bulk, Why::MuchBehind);
        // What is here may well be the beginning of that log, from a session that was cut. If it is
        // not, the next layer finds what lies before.
        return Some(Transition::Tail { entries: mine.min(size - 1)..size, layer, why });
    }
    None
}

/// Choice of a layer that settles any difference.
fn next_layer(core: &mut Core) -> Transition {
    if core.peer_set().count == 0 {
        core.report.checked = true;
        core.report.only_mine = core.pin.snapshot.len();
        if let Some(root) = core.report.layers.last_mut() {
            root.why = Why::PeerEmpty;
        }
        return Transition::Transfer(Box::new(Difference::AllMine));
    }
    if core.misled {
        return Transition::Descent(Why::OtherRoot);
    }
    let symbols = core.peer.as_ref().is_some_and(|peer| peer.symbols > 0);
    if symbols && core.pin.sketch.is_some() {
        Transition::Symbols
    } else {
        Transition::Descent(Why::NoSymbols)
    }
}

/// The way on when a log was read and the store pinned again.
pub(super) fn after_tail(core: &mut Core) -> Transition {
    if core.pin.set() == core.peer_set() {
        core.report.checked = true;
        (core.report.only_mine, core.report.only_theirs) = (0, core.new_in_log());
        return Transition::Transfer(Box::new(Difference::none()));
    }
    next_layer(core)
}

/// How far an NTP64 time is ahead of another, if it is.
fn ntp64_since(earlier: u64, later: u64) -> Option<Duration> {
    let ahead = later.checked_sub(earlier)?;
    let nanos = ((ahead & u64::from(u32::MAX)) * 1_000_000_000) >> 32;
    Some(Duration::from_secs(ahead >> 32) + Duration::from_nanos(nanos))
}

impl Core {
    /// The whole log of the peer as it was when the session began.
    pub(super) fn peer_cursor(&self) -> Option<PeerCursor> {
        let peer = self.peer.as_ref()?;
        let (size, root) = (peer.log.size.0, peer.log.root);
        Some(PeerCursor { node: peer.node, epoch: peer.epoch, size, root })
    }
}

//! State that all phases of a session share.

use core::{ops::Range, time::Duration};
use std::collections::{BTreeMap, VecDeque};

use stemedb_merkle::{Hash, MappedSetError, Root, history::TreeHead};

use super::{Append, Config, Output, difference::Difference, flight::Flight};
use crate::{
    body_list::HashedBodies,
    codec::{CodecError, ids::IdPrefix},
    message::{Ask, Hello, NodeId, Refusal, Request, SetHead},
    replica::Pin,
    report::{Ending, Layer, Limited, Report, Why},
    violation::ProtocolViolation,
};

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Config,
    pub(super) pin: Pin,
    /// The wall clock at the last pin.
    pub(super) time: u64,
    pub(super) flight: Flight,
    pub(super) outputs: VecDeque<Output>,
    pub(super) peer: Option<Peer>,
    pub(super) appends: Appends,
    pub(super) report: Report,
    pub(super) started: Duration,
    /// Phase that the time since `phase_started` counts for.
    pub(super) phase_clock: Clock,
    phase_started: Duration,
    pub(super) hello: Option<Hello>,
    /// First bytes of the ids of bodies that came with the peer's log, up to a limit.
    pub(super) tailed: Vec<[u8; 16]>,
    /// Reason for which the peer takes no more bodies, if it does not.
    pub(super) push_refused: Option<Refusal>,
    /// Whether this store takes no more bodies.
    pub(super) declined: bool,
    /// How many times bodies were asked for to be read.
    pub(super) reads: u64,
    /// How many sessions were opened.
    attempts: u32,
    /// How many answers of several parts went on.
    pub(super) parts: u64,
    /// Whether what symbols gave was found to be wrong.
    pub(super) misled: bool,
}

/// Peer of a session, as far as it is known.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) epoch: u64,
    pub(super) set: SetHead,
    pub(super) log: TreeHead,
    /// How many entries of its log were read before.
    pub(super) read: Option<u64>,
    /// How many coded symbols came with its answer, or are still to come.
    pub(super) symbols: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    Finding,
    Moving,
    Finishing,
}

/// Next state of a session.
#[derive(Debug)]
pub(super) enum Transition {
    Stay,
    Tail {
        entries: Range<u64>,
        layer: Layer,
        why: Why,
    },
    /// Wait for appends, then pin.
    Settle,
    Pin,
    Symbols,
    Suffixes {
        mine: Vec<Hash>,
        theirs: Vec<IdPrefix>,
    },
    Descent(Why),
    Transfer(Box<Difference>),
    /// Pin, to see what is held now that all bodies are here.
    PinResult(Box<Moved>),
    Finish(Box<Moved>),
    End(Ending),
}

/// As many bytes of bodies have moved as may.
pub(super) const BODY_LIMIT: Stop = Stop::End(Ending::Limit(Limited::BodyBytes));

/// Reason for which a session stops.
#[derive(Debug)]
pub(super) enum Stop {
    End(Ending),
    Restart,
    /// The symbols gave what the peer does not hold: a new session, without them.
    WithoutSymbols,
}

/// Result of a transfer.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Ids that only the peer had, and those that came with them.
    pub(super) theirs: Vec<Hash>,
    /// Whether several came for one prefix, of which some may have been held here.
    pub(super) alike: bool,
    /// Ids that only we have, as symbols have it, until that is checked.
    pub(super) claimed: Option<Vec<Hash>>,
    /// How many bodies the peer appended.
    pub(super) appended: u64,
    /// What this store holds with all that came, and what was written beside it.
    pub(super) now: Option<SetHead>,
}

/// Appends that run at the same time: what is being written, what is queued behind it, and what is
/// there once either is done, as commits end inside of appends. Bodies that come meanwhile wait,
/// and go together. With two, commits were half full, which took a fifth of the rate where syncs
/// are slow.
const APPENDS_MAX: usize = 4;

/// Bytes of bodies in one append, about: a commit has room for as many.
const APPEND_LEN_AIM: usize = 1 << 20;

/// Bodies handed out to be appended.
#[derive(Debug, Default)]
pub(super) struct Appends {
    next: u64,
    /// Of each the number of bodies and of bytes.
    pending: BTreeMap<u64, (u64, usize)>,
    /// Bytes of all that is not durable yet.
    pub(super) bytes: usize,
    /// Bodies to hand out once others are durable.
    waiting: VecDeque<HashedBodies>,
}

impl Core {
    pub(super) fn new(config: Config, pin: Pin, time: u64, now: Duration) -> Self {
        Self {
            config,
            pin,
            time,
            flight: Flight::default(),
            outputs: VecDeque::new(),
            peer: None,
            appends: Appends::default(),
            report: Report::new(),
            started: now,
            phase_clock: Clock::Finding,
            phase_started: now,
            hello: None,
            tailed: Vec::new(),
            push_refused: None,
            declined: false,
            reads: 0,
            attempts: 0,
            parts: 0,
            misled: false,
        }
    }

    /// Begins with a session id of its own: none can be guessed from another.
    pub(super) fn fresh_flight(&mut self) {
        self.attempts += 1;
        let seed = blake3::keyed_hash(&self.config.seed, &self.attempts.to_le_bytes());
        let [session, _] = crate::keys::halves(seed.as_bytes());
        self.flight = Flight::default();
        self.flight.session = session;
        self.peer = None;
    }

    /// Sends a request and gives its number.
    pub(super) fn ask(&mut self, ask: Ask, now: Duration) -> Result<u64, Stop> {
        self.ask_parts(vec![ask], now)
    }

    /// Sends the parts of a request.
    pub(super) fn ask_parts(&mut self, parts: Vec<Ask>, now: Duration) -> Result<u64, Stop> {
        if parts.first().is_some_and(|ask| ask.kind().is_round()) {
            if self.report.rounds >= self.config.limits.rounds_max {
                return Err(Stop::End(Ending::Limit(Limited::Rounds)));
            }
            self.report.rounds += 1;
        }
        let due = now.saturating_add(self.config.limits.answer_time_max);
        let (number, requests) = self.flight.send(parts, due);
        self.outputs.extend(requests.into_iter().map(Output::Send));
        Ok(number)
    }

    /// Sends a request again.
    pub(super) fn repeat(&mut self, request: u64, now: Duration) {
        let due = now.saturating_add(self.config.limits.answer_time_max);
        let requests: Vec<Request> = self.flight.repeat(request, due);
        self.outputs.extend(requests.into_iter().map(Output::Send));
    }

    /// Gives all requests up and tells the peer so, if it has a session open. If it is about to
    /// open one, its answer is waited for.
    pub(super) fn leave(&mut self, now: Duration) {
        let due = now.saturating_add(self.config.limits.leave_time_max);
        let unsent = self.outputs.iter().any(|output| matches!(output, Output::Send(_)));
        self.outputs.retain(|output| matches!(output, Output::Append(_)));
        // What was not sent has no answer, and that of an open session brings nothing new.
        if unsent || self.flight.is_open() {
            self.flight.clear();
        } else {
            self.flight.keep_hello(due);
        }
        if self.flight.is_open() {
            let (_, requests) = self.flight.send(vec![Ask::Leave], due);
            self.outputs.extend(requests.into_iter().map(Output::Send));
        }
    }

    /// Gives all requests up and tells the peer that the session is over, for another one to begin.
    /// Nobody waits for the answer.
    pub(super) fn let_go(&mut self, now: Duration) {
        self.drop_requests();
        if self.flight.is_open() {
            let (number, requests) = self.flight.send(vec![Ask::Leave], now);
            self.outputs.extend(requests.into_iter().map(Output::Send));
            self.flight.answered(number);
        }
    }

    /// Forgets all requests under way, and those that were not sent yet.
    pub(super) fn drop_requests(&mut self) {
        self.flight.clear();
        self.outputs.retain(|output| matches!(output, Output::Append(_)));
    }

    /// Hands out bodies to be appended, now or when others are durable.
    pub(super) fn append(&mut self, bodies: HashedBodies) {
        if bodies.is_empty() {
            return;
        }
        self.appends.bytes += bodies.bytes_len();
        self.appends.waiting.push_back(bodies);
        while let Some(append) = self.appends.begin() {
            self.outputs.push_back(Output::Append(append));
        }
    }

    /// Bodies are durable.
    pub(super) fn appended(&mut self, number: u64, duplicates: u64) {
        self.appends.done(number, duplicates, &mut self.report);
        self.outputs.extend(self.appends.begin().map(Output::Append));
    }

    /// How many bodies came with the peer's log that were not here before.
    pub(super) fn new_in_log(&self) -> u64 {
        self.report.fetched - self.report.fetched_duplicates
    }

    /// Whether more bodies may be moved.
    pub(super) fn may_move(&self) -> bool {
        let moved = self.report.body_bytes_received.saturating_add(self.report.body_bytes_sent);
        moved < self.config.limits.body_bytes_max
    }

    /// A number that grows whenever the peer brings the session on: with a whole answer, symbols,
    /// or a whole body. A part of a body alone does not.
    pub(super) fn progress(&self) -> u64 {
        self.flight.answered_count() + self.appends.next + self.parts
    }

    /// Counts bytes of bodies, whichever way.
    pub(super) fn count_bodies(&mut self, received: usize, sent: usize) {
        self.report.body_bytes_received += received as u64;
        self.report.body_bytes_sent += sent as u64;
    }

    /// Counts a body in its slice, whichever way it goes.
    pub(super) fn count_slice(&mut self, id: &Hash, len: usize) {
        let [first, ..] = id;
        if let Some(slice) = self.report.slices.get_mut(usize::from(first >> 4)) {
            slice.bodies += 1;
            slice.bytes += len as u64;
        }
    }

    /// Counts the time since the last call.
    pub(super) fn clock_phase(&mut self, now: Duration) {
        let times = &mut self.report.times;
        let time = match self.phase_clock {
            Clock::Finding => &mut times.finding,
            Clock::Moving => &mut times.moving,
            Clock::Finishing => &mut times.finishing,
        };
        *time += now.saturating_sub(self.phase_started);
        self.phase_started = now;
    }

    /// Set that the peer announced; an empty one before it did.
    pub(super) fn peer_set(&self) -> SetHead {
        let none = SetHead { count: 0, root: Root([0; 32]) };
        self.peer.as_ref().map_or(none, |peer| peer.set)
    }
}

/// First bytes of an id by which a violation of the protocol is found: 16, as two bodies that
/// share fewer can be made, and both would then count as a violation by an honest peer.
pub(super) fn half(id: &Hash) -> [u8; 16] {
    let [half, _] = crate::keys::halves(id);
    half
}

impl Appends {
    /// Hands out what waits, unless so much is handed out that it does better together with more.
    fn begin(&mut self) -> Option<Append> {
        if self.waiting.is_empty() || self.pending.len() >= APPENDS_MAX {
            return None;
        }
        let (mut bodies, mut count, mut bytes) = (Vec::new(), 0, 0);
        while bytes < APPEND_LEN_AIM
            && let Some(next) = self.waiting.pop_front()
        {
            count += next.len() as u64;
            bytes += next.bytes_len();
            bodies.push(next);
        }
        self.next += 1;
        self.pending.insert(self.next, (count, bytes));
        Some(Append { number: self.next, bodies })
    }

    fn done(&mut self, number: u64, duplicates: u64, report: &mut Report) {
        if let Some((bodies, bytes)) = self.pending.remove(&number) {
            self.bytes -= bytes;
            report.fetched += bodies;
            report.fetched_duplicates += duplicates.min(bodies);
        }
    }

    /// Forgets bodies that the store did not take, and those that wait behind them.
    pub(super) fn decline(&mut self, number: u64) {
        let declined = self.pending.remove(&number).map_or(0, |(_, bytes)| bytes);
        let waiting: usize = self.waiting.drain(..).map(|bodies| bodies.bytes_len()).sum();
        self.bytes -= declined + waiting;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn forget(&mut self) {
        self.pending.clear();
        self.waiting.clear();
        self.bytes = 0;
    }
}

impl From<ProtocolViolation> for Stop {
    fn from(violation: ProtocolViolation) -> Self {
        Self::End(Ending::ProtocolViolation(violation))
    }
}

impl From<CodecError> for Stop {
    fn from(error: CodecError) -> Self {
        ProtocolViolation::from(error).into()
    }
}

impl From<MappedSetError> for Stop {
    fn from(_: MappedSetError) -> Self {
        Self::End(Ending::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two bodies whose ids share 8 bytes take 2^32 tries.
    #[test]
    fn ids_that_share_a_few_bytes_are_told_apart() {
        let (one, mut other) = ([7; 32], [7; 32]);
        assert_eq!(half(&one), half(&other));
        if let Some(byte) = other.get_mut(15) {
            *byte ^= 1;
        }
        assert_ne!(half(&one), half(&other));
    }
}

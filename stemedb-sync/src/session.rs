//! The side that asks: a session as a state machine.
//!
//! Messages, results of reads and appends, and the time go in; [`Output`]s come out of
//! [`Session::next`] until it has none. In between the session waits. A driver
//!
//! 1. calls [`Session::next`] until it gives `None`, doing what it says: send, read, append, pin;
//! 2. waits for an answer, a result, or until [`Session::due`], and says so with the call for it;
//! 3. goes back to 1, until [`Output::Done`] has come.
//!
//! Answers may come late, more than once, in any order, or not at all.
//!
//! A session that ends early, for whatever reason, lets its peer know, so that the peer need not
//! hold its snapshot until it gives the session up by itself. It waits for the peer to take note of
//! that, but not for long, and how it ended does not depend on it.

mod config;
mod core;
mod descent;
mod difference;
mod finish;
mod flight;
mod hello;
mod incoming;
mod output;
mod peel;
mod suffixes;
mod tail;
mod transfer;

use ::core::time::Duration;

pub use self::{
    config::{Config, Direction},
    output::{Append, Output, Read},
};
use self::{
    core::{Core, Moved, Stop, Transition},
    descent::Descent,
    finish::Finishing,
    peel::Peeling,
    suffixes::Suffixes,
    tail::Tailing,
    transfer::Transfer,
};
use crate::{
    keys::SessionKey,
    message::{Answer, Envelope, Kind, Refusal, Response},
    replica::Pin,
    report::{Ending, Layer, Limited, Report, Step, Why},
    violation::ProtocolViolation,
};

/// A session, from the side that asks.
#[derive(Debug)]
pub struct Session {
    core: Core,
    phase: Phase,
    ending: Option<Ending>,
    done: bool,
    /// How often in a row time ran out without anything from the peer that brought the session on.
    silent: u32,
    /// Whether the last request was refused because the peer has no memory for it now.
    starved: bool,
}

#[derive(Debug)]
enum Phase {
    Hello,
    Tail(Tailing),
    /// Waits for appends, then for a new snapshot.
    Settle {
        restart: bool,
    },
    Pinning {
        restart: bool,
    },
    Symbols(Box<Peeling>),
    Suffixes(Suffixes),
    Descent(Box<Descent>),
    Transfer(Box<Transfer>),
    /// Pins what is held once all bodies have moved.
    Result(Box<Moved>),
    Finish(Finishing),
    Over,
}

impl Session {
    /// Begins a session from a snapshot of this store. `time` is the wall clock, NTP64; `now` the
    /// time since any fixed moment, as in all calls.
    pub fn new(config: Config, pin: Pin, time: u64, now: Duration) -> Self {
        let mut session = Self {
            core: Core::new(config, pin, time, now),
            phase: Phase::Hello,
            ending: None,
            done: false,
            silent: 0,
            starved: false,
        };
        session.core.step(Layer::Root, Why::First);
        hello::begin(&mut session.core, now);
        session
    }

    /// Gives the next output; `None` until there is something to tell the session.
    pub fn next(&mut self, now: Duration) -> Option<Output> {
        if self.done {
            return None;
        }
        if self.ending.is_none() {
            let transition = self.pump(now);
            self.go(transition, now);
        }
        if let Some(output) = self.core.outputs.pop_front() {
            return Some(output);
        }
        let ending = self.ending?;
        if self.core.appends.is_empty() && self.core.flight.is_empty() {
            self.done = true;
            self.core.clock_phase(now);
            self.core.report.ending = ending;
            return Some(Output::Done(Box::new(self.core.report.clone())));
        }
        None
    }

    /// When to call [`tick`](Self::tick) if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        if self.ending.is_some() {
            return self.core.flight.due();
        }
        let deadline = self.core.started.saturating_add(self.core.config.limits.session_time_max);
        Some(self.core.flight.due().map_or(deadline, |due| due.min(deadline)))
    }

    /// The time has come.
    pub fn tick(&mut self, now: Duration) {
        if self.ending.is_some() {
            if !self.core.flight.overdue(now).is_empty() {
                self.core.flight.clear();
            }
            return;
        }
        let limits = &self.core.config.limits;
        if now.saturating_sub(self.core.started) >= limits.session_time_max {
            return self.end(Ending::Limit(Limited::Time), now);
        }
        let overdue = self.core.flight.overdue(now);
        if overdue.is_empty() {
            return;
        }
        self.silent += 1;
        if self.silent >= limits.tries_max {
            let starved = Ending::Refused(Refusal::Memory);
            return self.end(if self.starved { starved } else { Ending::Silent }, now);
        }
        for request in overdue {
            self.again(request, now);
        }
    }

    /// A request could not be sent, or its answer will not come: the connection broke. It is sent
    /// again after a pause.
    pub fn lost(&mut self, request: &Envelope, now: Duration) {
        if request.session != self.core.flight.session {
            return;
        }
        if self.ending.is_some() {
            return self.core.flight.answered(request.request);
        }
        let pause = self.core.config.limits.answer_time_max / 8;
        self.core.flight.postpone(request.request, now.saturating_add(pause));
    }

    /// A part of a request has gone out: what comes of it is waited for from now on.
    pub fn goes_on(&mut self, request: &Envelope, now: Duration) {
        if request.session == self.core.flight.session && self.ending.is_none() {
            let due = now.saturating_add(self.core.config.limits.answer_time_max);
            self.core.flight.postpone(request.request, due);
        }
    }

    /// How many bytes a message took.
    pub fn sent(&mut self, kind: Kind, bytes: u64) {
        let traffic = self.core.report.traffic_mut(kind);
        traffic.requests += 1;
        traffic.sent += bytes;
    }

    /// An answer has come, of so many bytes.
    pub fn receive(&mut self, response: Response, bytes: u64, now: Duration) {
        if self.ending.is_some() {
            return self.receive_late(&response, bytes, now);
        }
        if !self.is_authentic(&response) {
            return self.garbled(response.echo.request, now);
        }
        let before = self.core.progress();
        let received = self.check(&response, bytes);
        let transition = match received {
            Ok(None) => return,
            Ok(Some(kind)) => self.dispatch(kind, response, now),
            Err(stop) => Err(stop),
        };
        if self.core.progress() > before {
            (self.silent, self.starved) = (0, false);
        }
        self.go(transition, now);
    }

    /// The peer refuses a request.
    pub fn refused(&mut self, request: &Envelope, refusal: Refusal, now: Duration) {
        let flight = &mut self.core.flight;
        let waiting = request.session == flight.session && flight.is_waiting(request.request);
        if !waiting {
            return;
        }
        if self.ending.is_some() {
            return self.core.flight.answered(request.request);
        }
        if refusal == Refusal::Memory {
            // Other sessions end, and give theirs back.
            let pause = self.core.config.limits.answer_time_max / 8;
            let pause = pause.saturating_mul(1 << self.silent.min(4));
            self.starved = true;
            return flight.postpone(request.request, now.saturating_add(pause));
        }
        flight.answered(request.request);
        self.silent = 0;
        let push = matches!(refusal, Refusal::ReadOnly | Refusal::OverLimit | Refusal::TooLarge);
        if push
            && let Phase::Transfer(transfer) = &mut self.phase
            && transfer.stop_pushing(request.request)
        {
            // What the peer has is asked for all the same.
            self.core.push_refused = Some(refusal);
            return;
        }
        let stop = match refusal {
            // A MAC is wrong where the peer forgot the session and took a repeated Hello for a new
            // one, or the request was changed on its way. The next session has an id of its own.
            Refusal::SnapshotGone | Refusal::Token | Refusal::Taken => Stop::Restart,
            // The symbols gave what the peer has no id for, or more than one: they are no
            // authority, and descent is.
            Refusal::Unknown if matches!(&self.phase, Phase::Transfer(it) if it.is_claimed()) => {
                Stop::WithoutSymbols
            }
            Refusal::Unknown if matches!(self.phase, Phase::Suffixes(_)) => {
                self.core.drop_requests();
                return self.go(Ok(Transition::Descent(Why::OtherRoot)), now);
            }
            // So many parts were lost, and given again, that the peer gives no more.
            Refusal::OverLimit if matches!(self.phase, Phase::Symbols(_)) => {
                self.core.drop_requests();
                return self.go(Ok(Transition::Descent(Why::Stalled)), now);
            }
            refusal => Stop::End(Ending::Refused(refusal)),
        };
        self.go(Err(stop), now);
    }

    /// Bodies have been read: one for each id, in order, `None` for those that cannot be read. They
    /// may be fewer than asked for, but for none at all.
    pub fn read(&mut self, number: u64, bodies: &[Option<Vec<u8>>], now: Duration) {
        if let Phase::Transfer(transfer) = &mut self.phase {
            transfer.read(&mut self.core, number, bodies, now);
        }
    }

    /// The bodies of an [`Append`] are durable; `duplicates` of them were held already.
    pub fn appended(&mut self, number: u64, duplicates: u64) {
        self.core.appended(number, duplicates);
    }

    /// The store takes no bodies, and did not take those of an [`Append`]. None are asked for any
    /// more; what the peer lacks is still given.
    pub fn declined(&mut self, number: u64, now: Duration) {
        self.core.appends.decline(number);
        self.core.declined = true;
        match &mut self.phase {
            Phase::Transfer(transfer) => transfer.stop_pulling(&mut self.core),
            Phase::Tail(_) | Phase::Settle { .. } => self.end(Ending::Limit(Limited::Disk), now),
            _ => {}
        }
    }

    /// The store has been pinned again.
    pub fn pinned(&mut self, pin: Pin, time: u64, now: Duration) {
        if self.ending.is_some() {
            return;
        }
        if let Phase::Result(moved) = &mut self.phase {
            let mut moved = ::core::mem::take(moved);
            let checked = moved.pinned(&mut self.core, &pin);
            return self.go(checked.map(|()| Transition::Finish(moved)), now);
        }
        let Phase::Pinning { restart } = self.phase else { return };
        self.core.pin = pin;
        self.core.time = time;
        if restart {
            self.phase = Phase::Hello;
            hello::begin(&mut self.core, now);
        } else {
            let transition = hello::after_tail(&mut self.core);
            self.go(Ok(transition), now);
        }
    }

    /// The store could not be read, written or pinned.
    pub fn failed(&mut self, now: Duration) {
        self.core.appends.forget();
        self.end(Ending::Unreadable, now);
    }

    /// The peer broke the protocol in a way that shows before a message is one.
    pub fn violation(&mut self, violation: ProtocolViolation, now: Duration) {
        self.end(Ending::ProtocolViolation(violation), now);
    }

    /// Calls it off. What has arrived is still appended, and the peer is told.
    pub fn cancel(&mut self, now: Duration) {
        self.end(Ending::Cancelled, now);
    }

    /// Whether it has come to its end, but for appends under way and for letting the peer know.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Report of what it did so far.
    pub fn report(&self) -> &Report {
        &self.core.report
    }

    /// Whether more is expected of the answer to a request. What comes of one that is not waited
    /// for is not needed.
    pub fn is_waiting(&self, request: &Envelope) -> bool {
        let flight = &self.core.flight;
        request.session == flight.session && flight.is_waiting(request.request)
    }

    /// The key of the session, once its peer has answered.
    pub fn key(&self) -> Option<&SessionKey> {
        self.core.flight.key.as_ref()
    }

    /// Whether a response is as the peer sent it. The first one has a proof instead.
    fn is_authentic(&self, response: &Response) -> bool {
        let echo = &response.echo;
        let welcome = matches!(response.answer, Answer::Welcome(_)) && echo.request == 1;
        let strange = echo.session != self.core.flight.session;
        strange || welcome || self.key().is_none_or(|key| key.admits_response(response))
    }

    /// A response was changed on its way, by accident or not: which is no violation by
    /// the peer: it is asked again, a few times.
    fn garbled(&mut self, request: u64, now: Duration) {
        self.core.report.garbled += 1;
        if !self.core.flight.is_waiting(request) {
            return;
        }
        self.silent += 1;
        if self.silent >= self.core.config.limits.tries_max {
            return self.end(Ending::Silent, now);
        }
        self.again(request, now);
    }

    /// Whether a response is one that is waited for, and of which kind.
    fn check(&mut self, response: &Response, bytes: u64) -> Result<Option<Kind>, Stop> {
        let flight = &self.core.flight;
        if response.echo.session != flight.session {
            return Ok(None);
        }
        let request = response.echo.request;
        let Some(kind) = flight.kind(request) else {
            // A late answer, perhaps to a request that was given up: what it says is not needed.
            let never = request == 0 || request >= flight.next_request();
            return if never { Err(ProtocolViolation::Unasked.into()) } else { Ok(None) };
        };
        self.core.report.traffic_mut(kind).received += bytes;
        if kind != Kind::Hello && response.echo.snapshot != self.core.flight.snapshot {
            return Err(ProtocolViolation::Snapshot.into());
        }
        let limits = &self.core.config.limits;
        if response.answer.list_len() > limits.message_len_max {
            return Err(ProtocolViolation::TooLarge.into());
        }
        if self.core.report.reconcile_bytes() > limits.reconcile_bytes_max {
            return Err(Stop::End(Ending::Limit(Limited::ReconcileBytes)));
        }
        Ok(Some(kind))
    }

    /// An answer has come to a session that has ended: that the peer has taken note of it, or that
    /// it has opened it only now.
    fn receive_late(&mut self, response: &Response, bytes: u64, now: Duration) {
        let echo = response.echo;
        let Some(kind) = self.core.flight.kind(echo.request) else { return };
        if echo.session != self.core.flight.session {
            return;
        }
        self.core.report.traffic_mut(kind).received += bytes;
        if kind == Kind::Hello && !matches!(response.answer, Answer::Welcome(_)) {
            return;
        }
        self.core.flight.answered(echo.request);
        if let Answer::Welcome(welcome) = &response.answer
            && kind == Kind::Hello
            && hello::admit(&mut self.core, echo, welcome).is_ok()
        {
            self.core.leave(now);
        }
    }

    fn dispatch(
        &mut self,
        kind: Kind,
        response: Response,
        now: Duration,
    ) -> Result<Transition, Stop> {
        let (core, echo) = (&mut self.core, response.echo);
        match (&mut self.phase, kind, response.answer) {
            (Phase::Hello, Kind::Hello, Answer::Welcome(welcome)) => {
                hello::welcome(core, echo, &welcome)
            }
            (Phase::Tail(tail), Kind::Tail, Answer::Bodies(bodies)) => {
                tail.receive(core, echo.request, bodies, now)
            }
            // Symbols that overtook the first part of the answer are asked for again, and that part
            // comes twice where the request did.
            (Phase::Hello, Kind::Hello, Answer::Symbols(_))
            | (Phase::Symbols(_), Kind::Hello, Answer::Welcome(_)) => Ok(Transition::Stay),
            (Phase::Symbols(peeling), Kind::Hello | Kind::Symbols, Answer::Symbols(symbols)) => {
                peeling.receive(core, echo.request, symbols, now)
            }
            (Phase::Suffixes(suffixes), Kind::Ids, Answer::Ids(ids)) => {
                core.flight.answered(echo.request);
                suffixes.receive(core, echo.request, &ids.suffixes, now)
            }
            (Phase::Descent(descent), Kind::Descend, Answer::Subtrees(subtrees)) => {
                core.flight.answered(echo.request);
                descent.receive(core, echo.request, &subtrees.subtrees, now)
            }
            (Phase::Transfer(transfer), Kind::Fetch, Answer::Bodies(bodies)) => {
                transfer.receive(core, echo.request, bodies, now)
            }
            (Phase::Transfer(transfer), Kind::Push, Answer::Pushed(pushed)) => {
                core.flight.answered(echo.request);
                transfer.pushed(core, echo.request, pushed)
            }
            (Phase::Finish(finishing), Kind::Finish, Answer::Finished(finished)) => {
                core.flight.answered(echo.request);
                finishing.receive(core, &finished)
            }
            _ => Err(ProtocolViolation::Kind.into()),
        }
    }

    fn pump(&mut self, now: Duration) -> Result<Transition, Stop> {
        match &mut self.phase {
            Phase::Tail(tail) => tail.pump(&mut self.core, now),
            Phase::Transfer(transfer) => transfer.pump(&mut self.core, now),
            Phase::Symbols(peeling) => peeling.pump(&mut self.core, now),
            Phase::Settle { .. } if self.core.appends.is_empty() => Ok(Transition::Pin),
            _ => Ok(Transition::Stay),
        }
    }

    /// Sends a request again, or gives it up for one of the same purpose.
    fn again(&mut self, request: u64, now: Duration) {
        let given_up = match &mut self.phase {
            Phase::Tail(tail) => tail.give_up(request),
            Phase::Symbols(peeling) => peeling.give_up(request),
            Phase::Transfer(transfer) => transfer.give_up(&mut self.core, request),
            _ => false,
        };
        self.core.report.repeats += 1;
        if given_up {
            self.core.flight.answered(request);
        } else {
            self.core.repeat(request, now);
        }
    }

    fn go(&mut self, transition: Result<Transition, Stop>, now: Duration) {
        let mut transition = transition;
        loop {
            transition = match transition {
                Ok(Transition::Stay) => break,
                Ok(Transition::Tail { entries, layer, why }) => {
                    self.core.step(layer, why);
                    if self.core.config.direction == Direction::Neither {
                        self.core.report.only_theirs = entries.end - entries.start;
                        transition = Ok(Transition::Finish(Box::default()));
                        continue;
                    }
                    self.core.clock_phase(now);
                    self.core.phase_clock = core::Clock::Moving;
                    self.phase = Phase::Tail(Tailing::new(entries));
                    break;
                }
                Ok(Transition::Settle) => {
                    self.phase = Phase::Settle { restart: false };
                    break;
                }
                Ok(Transition::Pin) => {
                    self.core.clock_phase(now);
                    self.core.phase_clock = core::Clock::Finding;
                    let restart = matches!(self.phase, Phase::Settle { restart: true });
                    self.phase = Phase::Pinning { restart };
                    let given = self.core.peer.as_ref().is_some_and(|peer| peer.symbols > 0);
                    self.core.outputs.push_back(Output::Pin { symbols: restart || given });
                    break;
                }
                Ok(Transition::Symbols) => {
                    self.core.step(Layer::Symbols, Why::Cheapest);
                    self.phase = Phase::Symbols(Box::new(Peeling::new(&self.core)));
                    break;
                }
                Ok(Transition::Suffixes { mine, theirs }) => {
                    let (suffixes, transition) = Suffixes::begin(&mut self.core, mine, theirs, now);
                    self.phase = Phase::Suffixes(suffixes);
                    transition
                }
                Ok(Transition::Descent(why)) => {
                    self.core.step(Layer::Descent, why);
                    let (descent, transition) = Descent::begin(&mut self.core, now);
                    self.phase = Phase::Descent(Box::new(descent));
                    transition
                }
                Ok(Transition::Transfer(difference))
                    if self.core.config.direction == Direction::Neither =>
                {
                    match difference.found(&self.core) {
                        Ok(found) => self.core.report.found = Some(found),
                        Err(stop) => {
                            transition = Err(stop);
                            continue;
                        }
                    }
                    Ok(Transition::Finish(Box::default()))
                }
                Ok(Transition::Transfer(difference)) => {
                    self.core.clock_phase(now);
                    self.core.phase_clock = core::Clock::Moving;
                    self.phase = Phase::Transfer(Box::new(Transfer::new(&self.core, *difference)));
                    break;
                }
                Ok(Transition::PinResult(moved)) => {
                    self.core.clock_phase(now);
                    self.core.phase_clock = core::Clock::Finishing;
                    self.phase = Phase::Result(moved);
                    self.core.outputs.push_back(Output::Pin { symbols: false });
                    break;
                }
                Ok(Transition::Finish(moved)) => {
                    self.core.clock_phase(now);
                    self.core.phase_clock = core::Clock::Finishing;
                    let (finishing, transition) = Finishing::begin(&mut self.core, *moved, now);
                    self.phase = Phase::Finish(finishing);
                    transition
                }
                Ok(Transition::End(ending)) | Err(Stop::End(ending)) => {
                    self.end(ending, now);
                    break;
                }
                Err(Stop::Restart) => {
                    if self.core.report.restarts >= self.core.config.limits.restarts_max {
                        transition = Ok(Transition::End(Ending::Limit(Limited::Restarts)));
                        continue;
                    }
                    self.core.report.restarts += 1;
                    self.core.drop_requests();
                    self.restart(now);
                    break;
                }
                Err(Stop::WithoutSymbols) => {
                    self.core.misled = true;
                    self.core.config.without.push(Layer::Symbols);
                    self.core.let_go(now);
                    self.restart(now);
                    break;
                }
            }
        }
    }

    /// Goes on with a new session, once what came in this one is durable.
    fn restart(&mut self, now: Duration) {
        // All that is found and moved from here on counts from zero.
        let report = &mut self.core.report;
        (report.withheld, report.unreadable) = (0, 0);
        (report.only_mine, report.only_theirs) = (0, 0);
        (report.checked, report.found, report.clock_ahead) = (false, None, None);
        self.core.tailed.clear();
        (self.core.push_refused, self.core.declined) = (None, false);
        self.core.clock_phase(now);
        self.core.phase_clock = core::Clock::Finding;
        self.core.flight.close();
        self.phase = Phase::Settle { restart: true };
    }

    fn end(&mut self, ending: Ending, now: Duration) {
        if self.ending.is_some() {
            return;
        }
        self.core.clock_phase(now);
        self.core.leave(now);
        self.ending = Some(ending);
        self.phase = Phase::Over;
    }
}

impl Core {
    fn step(&mut self, layer: Layer, why: Why) {
        self.report.layers.push(Step { layer, why });
    }
}

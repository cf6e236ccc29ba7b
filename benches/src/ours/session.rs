//! Sessions in one process: the two state machines, each call of theirs measured by itself.

use std::{net::Ipv4Addr, time::Duration};

use stemedb_rpc::wire_len::{request_len, response_len};
use stemedb_sync::message::{Request, Response};
use stemedb_sync::report::{PeerCursor, Report};
use stemedb_sync::responder::{Reply, RequestContext};
use stemedb_sync::{Config, Ending, Limits, Output, Responder, Session, report::Layer};

use crate::Failure;
use crate::body;
use crate::cpu;
use crate::heap::Meter;
use crate::ours::side::Side;

/// The wall clock of both, NTP64.
const NOW: u64 = 1_780_000_000 << 32;

/// Which of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Initiator,
    Responder,
}

/// What is measured of the calls of each side.
pub(crate) trait Gauge {
    fn on<T>(&mut self, who: Who, call: impl FnOnce() -> T) -> T;

    /// A message goes from one side to the other.
    fn hand<M: Clone>(&mut self, _: Who, message: M) -> M {
        message
    }
}

/// Processor time.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) initiator: Duration,
    pub(crate) responder: Duration,
}

impl Gauge for Cpu {
    fn on<T>(&mut self, who: Who, call: impl FnOnce() -> T) -> T {
        let (given, took) = cpu::timed(call);
        match who {
            Who::Initiator => self.initiator += took,
            Who::Responder => self.responder += took,
        }
        given
    }
}

/// The heap.
#[derive(Debug)]
pub(crate) struct Heap {
    pub(crate) initiator: Meter,
    pub(crate) responder: Meter,
}

impl Heap {
    pub(crate) fn new() -> Self {
        Self { initiator: Meter::new(1), responder: Meter::new(2) }
    }

    fn of(&self, who: Who) -> &Meter {
        match who {
            Who::Initiator => &self.initiator,
            Who::Responder => &self.responder,
        }
    }
}

impl Gauge for Heap {
    fn on<T>(&mut self, who: Who, call: impl FnOnce() -> T) -> T {
        self.of(who).during(call)
    }

    /// It is freed by the one who made it, and made by the one who frees it.
    fn hand<M: Clone>(&mut self, to: Who, message: M) -> M {
        let from = if to == Who::Initiator { Who::Responder } else { Who::Initiator };
        let copy = self.of(to).during(|| message.clone());
        self.of(from).during(|| drop(message));
        copy
    }
}

/// What a session is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) without: Vec<Layer>,
    pub(crate) cursor: Option<PeerCursor>,
}

/// What a session was.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) report: Report,
    /// Bytes of all messages both ways.
    pub(crate) bytes: u64,
}

/// Runs a session. Both sides hold the same afterwards.
pub(crate) fn hold(
    one: &mut Side,
    other: &mut Side,
    plan: &Plan,
    gauge: &mut impl Gauge,
) -> Result<Held, Failure> {
    let now = Duration::ZERO;
    let responder = Responder::new(other.identity.clone(), plan.limits.clone());
    let config = Config::new(one.identity.clone(), seed())
        .limits(plan.limits.clone())
        .cursor(plan.cursor)
        .without(plan.without.clone());
    // Taking the snapshot belongs to the session, on either side.
    let mut session = gauge.on(Who::Initiator, || Session::new(config, one.now(), NOW, now));
    let mut bytes = 0;
    loop {
        let output = gauge.on(Who::Initiator, || session.next(now));
        match output.ok_or("the session waits for nothing")? {
            Output::Done(report) => {
                if report.ending != Ending::Complete {
                    return Err(format!("the session ended otherwise: {}", report.ending).into());
                }
                return Ok(Held { report: *report, bytes });
            }
            Output::Pin { .. } => {
                gauge.on(Who::Initiator, || session.pinned(one.now(), NOW, now));
            }
            Output::Append(append) => {
                one.take(append.iter().map(|(_, body)| body))?;
                gauge.on(Who::Initiator, || {
                    let number = append.number;
                    drop(append);
                    session.appended(number, 0);
                });
            }
            Output::Read(read) => {
                let bodies: Vec<_> =
                    read.ids.iter().map(|id| stemedb_sync::Source::body(one, id)).collect();
                let bodies: Vec<_> =
                    bodies.into_iter().map(Result::ok).map(Option::flatten).collect();
                gauge.on(Who::Initiator, || session.read(read.number, &bodies, now));
            }
            Output::Send(request) => {
                let len = request_len(&request);
                bytes += len;
                session.sent(request.ask.kind(), len);
                let envelope = request.envelope;
                let request = gauge.hand(Who::Responder, request);
                answer(&responder, other, request, gauge, &mut |response, gauge| {
                    let len = response_len(&response);
                    bytes += len;
                    let response = gauge.hand(Who::Initiator, response);
                    gauge.on(Who::Initiator, || session.receive(response, len, now));
                    session.is_waiting(&envelope)
                })?;
            }
        }
    }
}

/// Lets the responder answer, until what it hands on is not waited for any more.
fn answer<G: Gauge>(
    responder: &Responder,
    other: &mut Side,
    request: Request,
    gauge: &mut G,
    hand_on: &mut impl FnMut(Response, &mut G) -> bool,
) -> Result<(), Failure> {
    let from = Ipv4Addr::LOCALHOST.into();
    let context = RequestContext { now: Duration::ZERO, time: NOW, nonce: [9; 16], from };
    let reply = gauge.on(Who::Responder, || responder.answer(request, &*other, context));
    match reply? {
        Reply::Nothing => {}
        Reply::Answer(response) => {
            hand_on(response, gauge);
        }
        Reply::Stream(mut parts) => {
            while let Some(part) = gauge.on(Who::Responder, || parts.next(&*other)) {
                if !hand_on(part?, gauge) {
                    break;
                }
            }
        }
        Reply::Take(mut pending) => {
            let bodies = pending.bodies();
            let taken: Vec<_> =
                other.take(bodies.iter())?.into_iter().map(|id| (id, true)).collect();
            let response = gauge.on(Who::Responder, || {
                drop(bodies);
                pending.done(&taken)
            });
            if let Some(response) = response {
                hand_on(response, gauge);
            }
        }
    }
    Ok(())
}

/// No two sessions have the same.
fn seed() -> [u8; 32] {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    let mut seed = [0; 32];
    body::fill(SESSIONS.fetch_add(1, Relaxed), &mut seed);
    seed
}

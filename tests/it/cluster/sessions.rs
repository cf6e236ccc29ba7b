//! Drives sessions over the links: what the gRPC client, the server and the glue of the store do
//! around the state machines, as events.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};
use stemedb::rpc::store::{PeerStore, peer_identity};

use stemedb::{
    rpc::wire_len::{request_len, response_len},
    sync::{
        BodyList, Config, Ending, Output, Report, Session, Source as _,
        cluster::Outcome,
        message::{Answer, Envelope, Refusal, Request, Response},
        responder::{Reply, RequestContext},
    },
};

use super::{
    network::{Event, Network, News},
    node::{Appended, Running, address},
    sabotage::Sabotage,
    world,
};

/// The node that [`Sabotage::Shunned`] is about.
const SHUNNED: usize = 1;

fn owned(bodies: &BodyList) -> Vec<Vec<u8>> {
    bodies.iter().map(<[u8]>::to_vec).collect()
}

/// No session takes longer: the limit of a session itself, a good-bye, and what a slow disk and
/// slow link add.
pub(crate) fn session_time_max(network: &Network) -> Duration {
    network.shape.limits.session_time_max + network.shape.limits.leave_time_max + 2 * super::SECOND
}

impl Network {
    /// Begins a session.
    pub(crate) fn begin(&mut self, place: usize, peer: usize) {
        let now = self.now;
        let shunned = self.shape.sabotage == Sabotage::Shunned && [place, peer].contains(&SHUNNED);
        let limits = self.shape.limits.clone();
        self.next += 1;
        let number = self.next;
        let node = &mut self.nodes[place];
        node.turn(now);
        let cursor = node.cursors.get(&peer).copied();
        let Some(process) = &mut node.process else { return };
        let pin = PeerStore::new(Arc::clone(&process.store)).pin();
        let Some(pin) = pin.ok().filter(|_| !shunned) else {
            process.cluster.ended(&address(peer), Outcome::Failed, now);
            return;
        };
        let config =
            Config::new(peer_identity(&process.store), world::drawn(32).try_into().unwrap())
                .limits(limits)
                .cursor(cursor);
        let session = Session::new(config, pin, process.store.clock_time().as_ntp64(), now);
        process.sessions.insert(number, Running { session, peer, begun: now, tick: None });
        self.counts.sessions += 1;
        self.drive(place, number);
    }

    fn tell_at(&mut self, time: Duration, (place, run, session): (usize, u64, u64), news: News) {
        self.at(time, Event::Told { place, run, session, news });
    }

    /// Does what a session wants.
    pub(crate) fn drive(&mut self, place: usize, number: u64) {
        loop {
            let now = self.now;
            let Some(process) = &mut self.nodes[place].process else { return };
            let who = (place, process.run, number);
            let Some(running) = process.sessions.get_mut(&number) else { return };
            let peer = running.peer;
            let Some(output) = running.session.next(now) else {
                let due = running.session.due().map(|due| due.max(now + Duration::from_millis(1)));
                if let Some(due) = due
                    && running.tick.is_none_or(|tick| due < tick)
                {
                    running.tick = Some(due);
                    self.tell_at(due, who, News::Due);
                }
                return;
            };
            match output {
                Output::Send(request) => {
                    let len = request_len(&request);
                    running.session.sent(request.ask.kind(), len);
                    self.nodes[place].sent += len;
                    let envelope = request.envelope;
                    let times = self.links.send(&mut self.random, (place, peer), len, now);
                    if times.is_empty() {
                        self.lose(who, envelope);
                    }
                    for time in times {
                        let (run, request) = (who.1, request.clone());
                        let event =
                            Event::Request { from: place, run, session: number, to: peer, request };
                        self.at(time, event);
                    }
                }
                Output::Append(append) => {
                    let after = self.millis(30);
                    let bodies = append.iter().map(|(_, body)| body.to_vec()).collect();
                    self.tell_at(now + after, who, News::Append(append.number, bodies));
                }
                Output::Read(read) => {
                    let after = self.millis(10);
                    self.tell_at(now + after, who, News::Read(read));
                }
                Output::Pin { .. } => {
                    let after = self.millis(10);
                    self.tell_at(now + after, who, News::Pin);
                }
                Output::Done(report) => {
                    self.done(place, number, &report);
                    return;
                }
            }
        }
    }

    /// A call does not get through: the connection breaks, or nothing is heard of it again.
    fn lose(&mut self, who: (usize, u64, u64), request: Envelope) {
        if self.chance(50) {
            let after = self.millis(3_000);
            self.tell_at(self.now + after, who, News::Lost(request));
        }
    }

    /// Tells a session what has happened.
    pub(crate) fn tell(&mut self, place: usize, number: u64, news: News) {
        let now = self.now;
        if let News::Append(append, bodies) = news {
            return self.take_in(place, number, append, bodies);
        }
        let few = self.random.next();
        let forgotten = self.shape.sabotage == Sabotage::Forgotten;
        let node = &mut self.nodes[place];
        node.turn(now);
        let Some(process) = &mut node.process else { return };
        let Some(running) = process.sessions.get_mut(&number) else { return };
        let (session, store) = (&mut running.session, PeerStore::new(Arc::clone(&process.store)));
        match news {
            News::Append(..) => {}
            News::Received(response) => {
                let len = response_len(&response);
                session.receive(response, len, now);
            }
            News::Refused(request, refusal) => session.refused(&request, refusal, now),
            News::Lost(_) | News::Due if forgotten => {}
            News::Lost(request) => session.lost(&request, now),
            News::Read(read) => {
                let some = 1 + usize::try_from(few % read.ids.len().max(1) as u64).unwrap();
                let bodies: Vec<_> =
                    read.ids.iter().take(some).map(|id| store.body(id).unwrap()).collect();
                session.read(read.number, &bodies, now);
            }
            News::Pin => match store.pin() {
                Ok(pin) => session.pinned(pin, process.store.clock_time().as_ntp64(), now),
                Err(_) => session.failed(now),
            },
            News::Due => {
                running.tick = None;
                session.tick(now);
            }
        }
    }

    /// Appends bodies that a session has brought.
    fn take_in(&mut self, place: usize, number: u64, append: u64, mut bodies: Vec<Vec<u8>>) {
        if self.shape.sabotage == Sabotage::Altered
            && let Some(byte) = bodies.first_mut().and_then(|body| body.last_mut())
        {
            *byte ^= 1;
        }
        let appended = self.append(place, &bodies);
        let Some(process) = &mut self.nodes[place].process else { return };
        let Some(running) = process.sessions.get_mut(&number) else { return };
        match appended {
            Appended::Durable(taken) => {
                let held = taken.iter().filter(|(_, new)| !new).count();
                running.session.appended(append, held as u64);
            }
            Appended::Failed | Appended::Crashed(_) => running.session.failed(self.now),
        }
    }

    /// A request arrives.
    pub(crate) fn answer(&mut self, who: (usize, u64, u64), to: usize, request: Request) {
        let now = self.now;
        let asked = request.envelope;
        let node = &mut self.nodes[to];
        node.turn(now);
        let Some(process) = &mut node.process else {
            // Nobody listens there.
            let after = self.millis(50);
            return self.tell_at(now + after, who, News::Lost(asked));
        };
        process.responder.expire(now);
        let store = &PeerStore::new(Arc::clone(&process.store));
        let nonce = process.store.random().unwrap();
        let from = Ipv4Addr::LOCALHOST.into();
        let context =
            RequestContext { now, time: process.store.clock_time().as_ntp64(), nonce, from };
        let mut responses = Vec::new();
        let mut refused = None;
        match process.responder.answer(request, store, context) {
            Err(refusal) => refused = Some(refusal),
            Ok(Reply::Nothing) => {}
            Ok(Reply::Answer(response)) => responses.push(response),
            Ok(Reply::Stream(mut stream)) => {
                // A refusal ends the call behind the parts that came.
                for part in std::iter::from_fn(|| stream.next(store)) {
                    match part {
                        Ok(response) => responses.push(response),
                        Err(refusal) => refused = Some(refusal),
                    }
                }
            }
            Ok(Reply::Take(mut pending)) => match self.append(to, &owned(&pending.bodies())) {
                Appended::Durable(taken) => responses.extend(pending.done(&taken)),
                Appended::Failed => refused = Some(pending.failed()),
                // The connection breaks.
                Appended::Crashed(_) => return self.lose(who, asked),
            },
        }
        for response in responses {
            self.respond(who, to, response);
        }
        if let Some(refusal) = refused {
            let times = self.links.send(&mut self.random, (to, who.0), 50, now);
            if times.is_empty() {
                self.lose(who, asked);
            }
            for time in times {
                self.tell_at(time, who, News::Refused(asked, refusal));
            }
        }
    }

    fn respond(&mut self, who: (usize, u64, u64), from: usize, mut response: Response) {
        if self.shape.sabotage == Sabotage::Lies {
            let byte = match &mut response.answer {
                Answer::Subtrees(subtrees) => subtrees.subtrees.last_mut(),
                Answer::Bodies(bodies) => bodies.bytes.last_mut(),
                _ => None,
            };
            if let Some(byte) = byte {
                *byte ^= 1;
            }
            // It is the responder that lies, so that the lie has the MAC that it must have.
            let session = response.echo.session;
            if let Answer::Welcome(welcome) = &response.answer {
                self.nonces.insert(session, welcome.nonce);
            } else if let Some(nonce) = self.nonces.get(&session) {
                response = self.keys.session_key(&session, nonce).seal_response(response);
            }
        }
        let len = response_len(&response);
        self.nodes[from].sent += len;
        let times = self.links.send(&mut self.random, (from, who.0), len, self.now);
        for time in times {
            self.tell_at(time, who, News::Received(response.clone()));
        }
    }

    /// A session has ended.
    fn done(&mut self, place: usize, number: u64, report: &Report) {
        let (now, longest) = (self.now, session_time_max(self));
        let node = &mut self.nodes[place];
        let Some(process) = &mut node.process else { return };
        let Some(running) = process.sessions.remove(&number) else { return };
        let took = now.checked_sub(running.begun).unwrap();
        assert!(took <= longest, "a session took {took:?}: {report:?}");
        if let Some(cursor) = report.cursor {
            node.cursors.insert(running.peer, cursor);
        }
        let outcome = match report.ending {
            Ending::ProtocolViolation(blame) => panic!(
                "an honest peer is blamed: {blame}, {} by {}: {report:?}",
                address(running.peer),
                node.address
            ),
            Ending::Complete => match report.set.filter(|_| report.equal && !report.peer_moved) {
                Some(set) => Outcome::Repaired(set),
                None => Outcome::Partial,
            },
            Ending::Limit(_) => Outcome::Partial,
            Ending::Refused(
                Refusal::Busy | Refusal::Closing | Refusal::ReadOnly | Refusal::SnapshotGone,
            )
            | Ending::Silent => Outcome::Failed,
            Ending::Unreadable if process.broken => Outcome::Failed,
            Ending::Cancelled => Outcome::Cancelled,
            other => panic!(
                "a session of {} with {} ends with {other:?}: {report:?}",
                node.address,
                address(running.peer)
            ),
        };
        self.counts.repaired += u64::from(matches!(outcome, Outcome::Repaired(_)));
        let head = process.head();
        process.cluster.changed(head, now);
        process.cluster.ended(&address(running.peer), outcome, now);
        self.note(8, place, report.fetched ^ report.pushed.rotate_left(32));
    }
}

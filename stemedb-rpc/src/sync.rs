//! Driving a session: what it wants is done over a [`Client`] and on a [`PeerStore`].
//!
//! ```text
//!  session --next--> requests, reads, appends --tasks--> events --handled--> session
//! ```
//!
//! Calls, reads and appends run beside each other, as many as the session asks for. The session
//! itself never waits but computes, for moments at a time and more where much differs: it does so
//! in threads that give way, so that a runtime that serves as well goes on serving.

use std::{future::Future, iter::from_fn, time::Duration};

use stemedb_store::store::uptime;
use stemedb_sync::{
    Config, Pin, ProtocolViolation, Session, Source as _,
    message::{Ask, Envelope, Kind, Push, Refusal, Request, Response},
    report::Report,
    session::{Append, Output, Read},
};
use tokio::{
    sync::mpsc::{self, Sender},
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tokio_stream::StreamExt as _;

use crate::{
    CallError, Client, PeerStore, Reason, SyncError, blocking::run_blocking, client::Traffic,
    compress::NO_FRAME, computing::compute, store::NotTaken, store::session_seed,
};

/// Events that wait for the session. Parts of bodies are among them, so this bounds memory.
const EVENTS_MAX: usize = 16;

/// How a session went.
#[derive(Debug)]
pub struct Synced {
    /// Report of what it did, and how it ended.
    pub report: Report,
    /// Reason for which it was called off, if the server can't be talked to at all, or how exactly
    /// it broke the protocol, if that shows before a message is one.
    pub error: Option<CallError>,
}

/// Something for the session to handle.
#[derive(Debug)]
enum Event {
    /// A request of one message or more has gone out.
    Sent(Kind, u64),
    /// A part of a request is about to go out.
    GoesOn(Envelope),
    /// An answer has come, of so many bytes.
    Received(Response, u64),
    /// A call has failed.
    Failed(Envelope, CallError),
    /// Bodies are durable; so many of them were held already.
    Appended(u64, u64),
    /// The store does not take these bodies, nor any others.
    Declined(u64),
    /// Bodies were read, or not.
    Read(u64, Vec<Option<Vec<u8>>>),
    /// The store was pinned.
    Pinned(Box<Pin>),
    /// The store at hand failed.
    Broken,
    /// The time has come that the session waited for.
    Due,
    /// Nobody wants the session any more.
    Cancelled,
}

/// Runs a session to its end, or until `cancel` is ready; what has arrived is durable then, and the
/// host is no longer used.
///
/// The store's limiter holds it back; what it has asked for comes in meanwhile, as far as windows
/// allow.
///
/// `progress` is shown the report whenever there is something new in it. The session's id follows
/// from the seed and a number that the store draws. A session that is called off tells its peer so,
/// which takes [`leave_time_max`](stemedb_sync::Limits::leave_time_max) at most; a task that is
/// dropped does not, and the peer holds the session until it was idle for too long.
///
/// # Errors
///
/// If the store can't be read to begin with, or there are no random numbers.
pub async fn run(
    client: &Client,
    config: Config,
    host: PeerStore,
    cancel: impl Future<Output = ()>,
    mut progress: impl FnMut(&Report),
) -> Result<Synced, SyncError> {
    let begin = {
        let host = host.clone();
        run_blocking(move || begin(&host, config))
    };
    let mut session = begin.await?;
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let mut driver = Driver::new(client, host.clone(), sender);
    let mut error = None;
    let mut cancelled = false;
    let mut news = Vec::new();
    let mut spent = 0;
    // One that is held back is so part by part, and stays in touch with its peer.
    let at_once = if host.limiter().is_some() { 1 } else { EVENTS_MAX };
    tokio::pin!(cancel);
    loop {
        let stepping = host.clone();
        let step = compute(move || Step::take(session, news, &stepping)).await;
        error = error.or(step.error);
        (session, news) = (step.session, step.news);
        if session.is_ending() {
            driver.stop_bodies();
        }
        driver.cut(&session);
        for output in step.outputs {
            if let Output::Done(report) = output {
                drop(events);
                driver.let_go().await;
                return Ok(Synced { report: *report, error });
            }
            driver.begin(output);
        }
        driver.tidy();
        let report = session.report();
        progress(report);
        if let Some(limiter) = host.limiter().filter(|_| !cancelled) {
            let moved = report.bytes_sent() + report.bytes_received();
            tokio::select! {
                () = limiter.spend(moved.saturating_sub(spent), step.busy) => spent = moved,
                () = &mut cancel => {
                    cancelled = true;
                    news.push(Event::Cancelled);
                    continue;
                }
            }
        }
        tokio::select! {
            _count = events.recv_many(&mut news, at_once) => {}
            Some(done) = driver.works.join_next() => {
                // A panic is told like any failure.
                news.push(done.ok().flatten().unwrap_or(Event::Broken));
            }
            () = wait(step.wait) => {
                news.push(Event::Due);
            }
            () = &mut cancel, if !cancelled => {
                cancelled = true;
                news.push(Event::Cancelled);
            }
        }
    }
}

/// Ready after a time, or never without one.
async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// A session of a pin of the store. Its id is none that was there before, whatever the seed.
fn begin(host: &PeerStore, mut config: Config) -> Result<Box<Session>, SyncError> {
    // A store that holds nothing compares nothing: it reads a log.
    let empty = host.store().is_empty();
    let pin = if empty { host.pin_without_symbols() } else { host.pin() };
    let pin = pin.map_err(|_| SyncError::Unreadable)?;
    let nonce: [u8; 16] = session_seed(host.store())?;
    config.seed = blake3::keyed_hash(&config.seed, &nonce).into();
    Ok(Box::new(Session::new(config, pin, host.store().clock_time().as_ntp64(), uptime())))
}

/// Step of a session: it is told events, and gives what it wants.
struct Step {
    session: Box<Session>,
    /// Empty, for its memory.
    news: Vec<Event>,
    outputs: Vec<Output>,
    /// How long it waits for the next.
    wait: Option<Duration>,
    /// A call that failed for good.
    error: Option<CallError>,
    /// How long it computed.
    busy: Duration,
}

impl Step {
    fn take(mut session: Box<Session>, mut news: Vec<Event>, host: &PeerStore) -> Self {
        let mut error = None;
        let began = uptime();
        for event in news.drain(..) {
            if let Err(fatal) = handle(&mut session, event, host) {
                error.get_or_insert(fatal);
            }
        }
        let outputs = from_fn(|| session.next(uptime())).collect();
        let wait = session.due().map(|due| due.saturating_sub(uptime()));
        let busy = uptime().saturating_sub(began);
        Self { session, news, outputs, wait, error, busy }
    }
}

/// Tells a session what has happened.
fn handle(session: &mut Session, event: Event, host: &PeerStore) -> Result<(), CallError> {
    let now = uptime();
    match event {
        Event::Sent(kind, bytes) => session.sent(kind, bytes),
        Event::GoesOn(request) => session.goes_on(&request, now),
        Event::Received(response, bytes) => session.receive(response, bytes, now),
        Event::Appended(number, duplicates) => session.appended(number, duplicates),
        Event::Declined(number) => session.declined(number, now),
        Event::Read(number, bodies) => session.read(number, &bodies, now),
        Event::Pinned(pin) => session.pinned(*pin, host.store().clock_time().as_ntp64(), now),
        Event::Broken => session.failed(now),
        Event::Due => session.tick(now),
        Event::Cancelled => session.cancel(now),
        Event::Failed(request, error) => match what_now(&error) {
            Now::Refused(refusal) => session.refused(&request, refusal, now),
            // Nothing hangs on a call that says that a session is over.
            _ if session.is_ending() => session.lost(&request, now),
            Now::Again => session.lost(&request, now),
            Now::Violation(violation) => {
                session.violation(violation, now);
                return Err(error);
            }
            Now::End => {
                session.cancel(now);
                return Err(error);
            }
        },
    }
    Ok(())
}

struct Driver<'a> {
    client: &'a Client,
    host: PeerStore,
    sender: Sender<Event>,
    /// Calls with one short answer. Ended when the session is done.
    tasks: JoinSet<()>,
    /// Reads and appends. Waited for when the session is done.
    works: JoinSet<Option<Event>>,
    /// Calls that move bodies. Ended as soon as the session comes to its end.
    bodies: JoinSet<()>,
    /// Calls with an answer of several parts, by their requests.
    parts: Vec<(Envelope, AbortHandle)>,
    /// The parts of a push so far, each with the envelope that has its MAC.
    push: Vec<(Envelope, Push)>,
}

impl<'a> Driver<'a> {
    fn new(client: &'a Client, host: PeerStore, sender: Sender<Event>) -> Self {
        let (tasks, works, bodies) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let (parts, push) = (Vec::new(), Vec::new());
        Self { client, host, sender, tasks, works, bodies, parts, push }
    }

    /// Ends the calls that move bodies.
    fn stop_bodies(&mut self) {
        self.bodies.abort_all();
    }

    /// Ends the calls of whose answers the session needs no more.
    fn cut(&mut self, session: &Session) {
        self.parts.retain(|(request, call)| {
            let waiting = session.is_waiting(request);
            if !waiting {
                call.abort();
            }
            waiting
        });
    }

    /// Forgets tasks that have ended.
    fn tidy(&mut self) {
        while self.tasks.try_join_next().is_some() || self.bodies.try_join_next().is_some() {}
    }

    /// Waits until nobody uses the store any more.
    async fn let_go(mut self) {
        while self.works.join_next().await.is_some() {}
    }

    /// Begins what the session wants.
    fn begin(&mut self, output: Output) {
        match output {
            Output::Send(request) => self.send(request),
            Output::Append(Append { number, bodies }) => {
                let host = self.host.clone();
                // It waits for the disk, and computes next to nothing.
                self.works.spawn_blocking(move || {
                    let taken = match host.append(&bodies) {
                        Ok(taken) => taken,
                        Err(NotTaken::NoRoom) => return Some(Event::Declined(number)),
                        Err(NotTaken::Failed) => return None,
                    };
                    let held = taken.iter().filter(|(_, new)| !new).count();
                    Some(Event::Appended(number, held as u64))
                });
            }
            Output::Read(Read { number, ids, bytes_aim }) => {
                self.work(move |host| Some(Event::Read(number, host.bodies(&ids, bytes_aim))));
            }
            Output::Pin { symbols } => {
                let host = self.host.clone();
                // Others wait for the trees that it folds.
                self.works.spawn_blocking(move || {
                    let pin = if symbols { host.pin() } else { host.pin_without_symbols() };
                    pin.ok().map(|pin| Event::Pinned(Box::new(pin)))
                });
            }
            Output::Done(_) => {}
        }
    }

    /// Reads from the store, and what there is to compute for that.
    fn work(&mut self, work: impl FnOnce(&PeerStore) -> Option<Event> + Send + 'static) {
        let host = self.host.clone();
        // It hands its news in by ending: a thread that waited for the session to take them in
        // could be the one that the session waits for.
        self.works.spawn(compute(move || work(&host)));
    }

    fn send(&mut self, request: Request) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        let envelope = request.envelope;
        match request.ask {
            Ask::Push(part) => {
                if part.part == 0 {
                    self.push.clear();
                }
                let last = part.last;
                self.push.push((envelope, part));
                if last {
                    let parts = std::mem::take(&mut self.push);
                    self.bodies.spawn(async move {
                        let mut traffic = Traffic::default();
                        let going = sender.clone();
                        let parts = tokio_stream::iter(parts).map(move |part| {
                            // A session that has so much news knows that it goes on.
                            let _sent = going.try_send(Event::GoesOn(envelope));
                            part
                        });
                        let answer = client.push(parts, &mut traffic).await;
                        answered(&sender, Kind::Push, envelope, traffic, answer).await;
                    });
                }
            }
            Ask::Hello(_) | Ask::Symbols(_) | Ask::Fetch(_) | Ask::Tail(_) => {
                // What opens a session late is still waited for, to leave it.
                let moves_bodies = matches!(request.ask, Ask::Fetch(_) | Ask::Tail(_));
                let tasks = if moves_bodies { &mut self.bodies } else { &mut self.tasks };
                let call = tasks.spawn(async move {
                    if let Err(error) = parts(&client, request, &sender).await {
                        send_event(&sender, Event::Failed(envelope, error)).await;
                    }
                });
                self.parts.push((envelope, call));
            }
            _ => {
                self.tasks.spawn(async move {
                    let kind = request.ask.kind();
                    let mut traffic = Traffic::default();
                    let answer = client.ask(request, &mut traffic).await;
                    answered(&sender, kind, envelope, traffic, answer).await;
                });
            }
        }
    }
}

/// Meaning of a failed call for the session.
enum Now {
    /// The responder does not want to.
    Refused(Refusal),
    /// The call may do better another time.
    Again,
    /// The responder broke the protocol.
    Violation(ProtocolViolation),
    /// It never will.
    End,
}

fn what_now(error: &CallError) -> Now {
    match error {
        CallError::Refusal(refusal) => Now::Refused(*refusal),
        // As likely as not it was changed on its way: the peer is asked again, a few times.
        CallError::Malformed(error) if *error == NO_FRAME => Now::Again,
        CallError::Malformed(_) => Now::Violation(ProtocolViolation::Message),
        CallError::Refused { reason: Reason::Stopping, .. } => Now::Refused(Refusal::Closing),
        CallError::Refused { reason: Reason::Busy | Reason::Stalled, .. }
        | CallError::Stalled
        | CallError::Broken { .. } => Now::Again,
        CallError::Connect { .. } if error.may_pass() => Now::Again,
        // Also what a connection gives that breaks; but a server without the service stays so.
        CallError::Status { code, .. } if *code != tonic::Code::Unimplemented => Now::Again,
        _ => Now::End,
    }
}

async fn send_event(sender: &Sender<Event>, event: Event) {
    // A session that is over needs no news.
    let _sent = sender.send(event).await;
}

/// Tells of a call with one answer.
async fn answered(
    sender: &Sender<Event>,
    kind: Kind,
    envelope: Envelope,
    traffic: Traffic,
    answer: Result<Response, CallError>,
) {
    send_event(sender, Event::Sent(kind, traffic.sent)).await;
    send_event(
        sender,
        match answer {
            Ok(response) => Event::Received(response, traffic.received),
            Err(error) => Event::Failed(envelope, error),
        },
    )
    .await;
}

/// Asks for what has an answer of several parts, and tells of each.
async fn parts(client: &Client, request: Request, sender: &Sender<Event>) -> Result<(), CallError> {
    let kind = request.ask.kind();
    let mut traffic = Traffic::default();
    let answer = client.ask_parts(request, &mut traffic).await;
    send_event(sender, Event::Sent(kind, traffic.sent)).await;
    let mut answer = answer?;
    while let Some((response, bytes)) = answer.next().await? {
        send_event(sender, Event::Received(response, bytes)).await;
    }
    Ok(())
}

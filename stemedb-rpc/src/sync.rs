//! Driving a session: what it wants is done over a [`Client`] and on a [`Site`].
//!
//! ```text
//!  session --next--> requests, reads, appends --tasks--> events --told--> session
//! ```
//!
//! Calls and reads run beside each other, as many as the session asks for. The session itself,
//! which computes but never waits, runs in the task of [`run`]: a large difference keeps that busy
//! for moments, so it is best given a thread of its own.

use std::{future::Future, sync::Arc};

use stemedb_sync::{
    Config, Pin, Session,
    message::{Ask, Envelope, Kind, Push, Refusal, Request, Response},
    report::Report,
    session::{Append, Output, Read},
};
use tokio::{
    sync::mpsc::{self, Sender},
    task::{JoinSet, spawn_blocking},
    time::sleep,
};

use crate::{CallError, Client, Reason, client::Traffic, responding::Site};

/// Events that wait for the session. Parts of bodies are among them, so this bounds memory.
const EVENTS_MAX: usize = 16;

/// How a session went.
#[derive(Debug)]
pub struct Synced {
    /// What it did, and how it ended.
    pub report: Report,
    /// Why it was called off, if the server can't be talked to at all.
    pub error: Option<CallError>,
}

/// Why no session began.
#[derive(Debug, thiserror::Error)]
#[error("the store at hand could not be read, so no session began; check it")]
pub struct NoSession;

/// Something to tell the session.
#[derive(Debug)]
enum Event {
    /// A request of one message or more has gone out.
    Sent(Kind, u64),
    /// An answer has come, of so many bytes.
    Received(Response, u64),
    /// A call has failed.
    Failed(Envelope, CallError),
    /// Bodies are durable; so many of them were held already.
    Appended(u64, u64),
    /// Bodies were read, or not.
    Read(u64, Vec<Option<Vec<u8>>>),
    /// The store was pinned.
    Pinned(Box<Pin>),
    /// The store at hand failed.
    Broken,
}

/// Runs a session to its end, or until `cancel` is ready; what has arrived is durable then.
///
/// `progress` is shown the report whenever there is something new in it.
///
/// # Errors
///
/// If the store can't be read to begin with.
pub async fn run<S: Site>(
    client: &Client,
    config: Config,
    site: Arc<S>,
    cancel: impl Future<Output = ()>,
    mut progress: impl FnMut(&Report),
) -> Result<Synced, NoSession> {
    let pinned = {
        let site = Arc::clone(&site);
        spawn_blocking(move || site.pin()).await
    };
    let Ok(Ok(pin)) = pinned else { return Err(NoSession) };
    let mut session = Session::new(config, pin, site.time(), site.now());
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let mut driver = Driver { client, site, sender, tasks: JoinSet::new(), push: Vec::new() };
    let mut error = None;
    let mut cancelled = false;
    tokio::pin!(cancel);
    loop {
        while let Some(output) = session.next(driver.site.now()) {
            if let Output::Done(report) = output {
                return Ok(Synced { report: *report, error });
            }
            driver.begin(output);
        }
        progress(session.report());
        let due = session.due().map(|due| due.saturating_sub(driver.site.now()));
        tokio::select! {
            Some(event) = events.recv() => {
                if let Err(fatal) = driver.tell(&mut session, event) {
                    error.get_or_insert(fatal);
                    session.cancel(driver.site.now());
                }
            }
            () = sleep(due.unwrap_or_default()), if due.is_some() => {
                session.tick(driver.site.now());
            }
            () = &mut cancel, if !cancelled => {
                cancelled = true;
                session.cancel(driver.site.now());
            }
            Some(_ended) = driver.tasks.join_next() => {}
        }
    }
}

struct Driver<'a, S> {
    client: &'a Client,
    site: Arc<S>,
    sender: Sender<Event>,
    /// Ended when the session is.
    tasks: JoinSet<()>,
    /// The parts of a push so far.
    push: Vec<Push>,
}

impl<S: Site> Driver<'_, S> {
    /// Begins what the session wants.
    fn begin(&mut self, output: Output) {
        match output {
            Output::Send(request) => self.send(request),
            Output::Append(Append { number, bodies }) => self.work(move |site| {
                let taken = site.append(bodies).ok()?;
                let held = taken.iter().filter(|(_, new)| !new).count();
                Some(Event::Appended(number, held as u64))
            }),
            Output::Read(Read { number, ids, bytes_aim }) => self.work(move |site| {
                let mut bodies = Vec::new();
                let mut len = 0;
                for id in ids {
                    let body = site.body(&id).ok().flatten();
                    len += body.as_ref().map_or(0, Vec::len);
                    bodies.push(body);
                    if len >= bytes_aim {
                        break;
                    }
                }
                Some(Event::Read(number, bodies))
            }),
            Output::Pin => {
                self.work(|site| site.pin().ok().map(|pin| Event::Pinned(Box::new(pin))));
            }
            Output::Done(_) => {}
        }
    }

    /// Does something that may wait for a disk.
    fn work(&mut self, work: impl FnOnce(&S) -> Option<Event> + Send + 'static) {
        let (site, sender) = (Arc::clone(&self.site), self.sender.clone());
        self.tasks.spawn(async move {
            let event = spawn_blocking(move || work(&site)).await;
            tell(&sender, event.ok().flatten().unwrap_or(Event::Broken)).await;
        });
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
                self.push.push(part);
                if last {
                    let parts = std::mem::take(&mut self.push);
                    self.tasks.spawn(async move {
                        let mut traffic = Traffic::default();
                        let parts = tokio_stream::iter(parts);
                        let answer = client.push(request.envelope, parts, &mut traffic).await;
                        answered(&sender, Kind::Push, envelope, traffic, answer).await;
                    });
                }
            }
            Ask::Fetch(_) | Ask::Tail(_) => {
                self.tasks.spawn(async move {
                    if let Err(error) = bodies(&client, request, &sender).await {
                        tell(&sender, Event::Failed(envelope, error)).await;
                    }
                });
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

    /// Tells the session what has happened.
    fn tell(&self, session: &mut Session, event: Event) -> Result<(), CallError> {
        let now = self.site.now();
        match event {
            Event::Sent(kind, bytes) => session.sent(kind, bytes),
            Event::Received(response, bytes) => session.receive(response, bytes, now),
            Event::Appended(number, duplicates) => session.appended(number, duplicates),
            Event::Read(number, bodies) => session.read(number, &bodies, now),
            Event::Pinned(pin) => session.pinned(*pin, self.site.time(), now),
            Event::Broken => session.failed(now),
            Event::Failed(request, error) => match what_now(&error) {
                Now::Refused(refusal) => session.refused(&request, refusal, now),
                Now::Again => session.lost(&request, now),
                Now::End => return Err(error),
            },
        }
        Ok(())
    }
}

/// What a failed call means for the session.
enum Now {
    /// The responder does not want to.
    Refused(Refusal),
    /// The call may do better another time.
    Again,
    /// It never will.
    End,
}

fn what_now(error: &CallError) -> Now {
    match error {
        CallError::Refusal(refusal) => Now::Refused(*refusal),
        CallError::Refused { reason: Reason::Stopping, .. } => Now::Refused(Refusal::Closing),
        CallError::Refused { reason: Reason::Busy | Reason::Stalled, .. }
        | CallError::Stalled
        | CallError::Connect { .. } => Now::Again,
        // Also what a connection gives that breaks; but a server without the service stays so.
        CallError::Status { code, .. } if *code != tonic::Code::Unimplemented => Now::Again,
        _ => Now::End,
    }
}

async fn tell(sender: &Sender<Event>, event: Event) {
    // A session that is over needs no news.
    let _told = sender.send(event).await;
}

/// Tells of a call with one answer.
async fn answered(
    sender: &Sender<Event>,
    kind: Kind,
    envelope: Envelope,
    traffic: Traffic,
    answer: Result<Response, CallError>,
) {
    tell(sender, Event::Sent(kind, traffic.sent)).await;
    tell(
        sender,
        match answer {
            Ok(response) => Event::Received(response, traffic.received),
            Err(error) => Event::Failed(envelope, error),
        },
    )
    .await;
}

/// Asks for bodies, and tells of each part.
async fn bodies(
    client: &Client,
    request: Request,
    sender: &Sender<Event>,
) -> Result<(), CallError> {
    let kind = request.ask.kind();
    let mut traffic = Traffic::default();
    let answer = client.ask_bodies(request, &mut traffic).await;
    tell(sender, Event::Sent(kind, traffic.sent)).await;
    let mut answer = answer?;
    while let Some((response, bytes)) = answer.next().await? {
        tell(sender, Event::Received(response, bytes)).await;
    }
    Ok(())
}

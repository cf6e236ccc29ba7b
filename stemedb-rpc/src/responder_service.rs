//! The responding side of sessions for a store: the responder decides, the store reads and appends.

use std::{net::IpAddr, sync::Arc, time::Duration};

use stemedb_merkle::Hash;
use stemedb_sync::{
    Responder, Source,
    message::{Refusal, Request, Response},
    responder::{PendingPush, Reply, RequestContext},
};

use crate::{
    backend::Failure,
    replica::{Replica, Said},
};

/// A store that takes part in replication.
pub trait SessionHost: Source + Send + Sync + 'static {
    /// The time since any fixed moment; it never goes back.
    fn now(&self) -> Duration;

    /// The wall clock, NTP64.
    fn time(&self) -> u64;

    /// 16 random bytes, new each time.
    ///
    /// # Errors
    ///
    /// If the system has none to give.
    fn nonce(&self) -> Result<[u8; 16], Failure>;

    /// Appends bodies. Returns once they are durable: for each its id, and whether it was new.
    ///
    /// Called from several threads at once, of which each waits for its own.
    ///
    /// # Errors
    ///
    /// If some were not taken, or nobody knows.
    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure>;

    /// Whether it takes bodies of peers at all. One that does not still gives what it has.
    fn takes_bodies(&self) -> bool {
        true
    }

    /// How long the next bodies that a peer gives are to wait, so that others go first.
    fn hold(&self) -> Option<Duration> {
        None
    }
}

/// The responder of a store.
#[derive(Debug)]
pub struct ResponderService<S> {
    responder: Responder,
    host: Arc<S>,
}

impl<S: SessionHost> ResponderService<S> {
    /// Answers sessions for a store.
    pub fn new(responder: Responder, host: Arc<S>) -> Self {
        Self { responder, host }
    }

    /// The responder.
    pub fn responder(&self) -> &Responder {
        &self.responder
    }
}

impl<S: SessionHost> ResponderService<S> {
    fn reply(&self, request: Request, from: IpAddr) -> Result<Reply, Refusal> {
        let host = &*self.host;
        let nonce = host.nonce().map_err(|_| Refusal::Busy)?;
        let context = RequestContext { now: host.now(), time: host.time(), nonce, from };
        self.responder.answer(request, host, context)
    }
}

impl<S: SessionHost> Replica for ResponderService<S> {
    fn answer(&self, request: Request, from: IpAddr) -> Result<Said, Refusal> {
        Ok(match self.reply(request, from)? {
            Reply::Nothing => Said::Nothing,
            Reply::Answer(response) => Said::Answer(response),
            Reply::Stream(mut parts) => {
                let host = Arc::clone(&self.host);
                Said::Parts(Box::new(std::iter::from_fn(move || parts.next(&*host))))
            }
            Reply::Take(pending) => {
                append(&*self.host, vec![pending])?.map_or(Said::Nothing, Said::Answer)
            }
        })
    }

    fn push(&self, parts: Vec<Request>, from: IpAddr) -> Result<Option<Response>, Refusal> {
        let mut answer = None;
        let mut taken = Vec::with_capacity(parts.len());
        for part in parts {
            match self.reply(part, from)? {
                Reply::Take(pending) => taken.push(pending),
                Reply::Answer(response) => answer = Some(response),
                Reply::Nothing => {}
                Reply::Stream(_) => return Err(Refusal::Malformed),
            }
        }
        Ok(append(&*self.host, taken)?.or(answer))
    }

    fn hold(&self) -> Option<Duration> {
        self.host.hold()
    }

    fn sessions(&self) -> usize {
        self.responder.expire(self.host.now());
        self.responder.sessions()
    }
}

/// Appends the bodies of some parts of a push together, so that they share a sync.
fn append<S: SessionHost>(host: &S, parts: Vec<PendingPush>) -> Result<Option<Response>, Refusal> {
    let (mut bodies, mut counts) = (Vec::new(), Vec::with_capacity(parts.len()));
    let mut parts = parts;
    for part in &mut parts {
        let more = part.bodies();
        counts.push(more.len());
        bodies.extend(more);
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let taken = host.append(bodies).map_err(|_| Refusal::ReadOnly)?;
    let (mut answer, mut rest) = (None, taken.as_slice());
    for (part, count) in parts.into_iter().zip(counts) {
        let (here, behind) = rest.split_at_checked(count).ok_or(Refusal::ReadOnly)?;
        rest = behind;
        answer = part.done(here).or(answer);
    }
    Ok(answer)
}

//! The responding side of sessions for a store: the responder decides, the store reads and appends.

use std::{net::IpAddr, time::Duration};

use stemedb_store::store::uptime;
use stemedb_sync::{
    HashedBodies, Responder,
    message::{Refusal, Request, Response},
    responder::{PendingPush, Reply, RequestContext},
};

use crate::PeerStore;

/// The responder of a store.
#[derive(Debug)]
pub struct ResponderService {
    responder: Responder,
    store: PeerStore,
}

/// Parts of a push that were taken in, with bodies to append.
#[derive(Debug)]
pub struct TakenParts {
    parts: Vec<PendingPush>,
    /// The bodies of each part.
    bodies: Vec<HashedBodies>,
    /// The answer, where the push was answered before.
    answer: Option<Response>,
}

impl ResponderService {
    /// Answers sessions for a store.
    pub fn new(responder: Responder, store: PeerStore) -> Self {
        Self { responder, store }
    }

    /// The responder.
    pub fn responder(&self) -> &Responder {
        &self.responder
    }

    /// The store.
    pub fn store(&self) -> &PeerStore {
        &self.store
    }

    /// Answers a request from an address, or says what has to be done for that. May read from a
    /// disk.
    ///
    /// # Errors
    ///
    /// If the request is not answered.
    pub fn answer(&self, request: Request, from: IpAddr) -> Result<Reply, Refusal> {
        let store = self.store.store();
        let nonce = store.random().map_err(|_| Refusal::Busy)?;
        let context =
            RequestContext { now: uptime(), time: store.clock_time().as_ntp64(), nonce, from };
        self.responder.answer(request, &self.store, context)
    }

    /// Takes in some parts of a push, in order: what there is to append of them, with its ids. The
    /// parts behind them come with the next call.
    ///
    /// # Errors
    ///
    /// If a part is refused.
    pub fn take(&self, parts: Vec<Request>, from: IpAddr) -> Result<TakenParts, Refusal> {
        let (mut answer, mut taken) = (None, Vec::with_capacity(parts.len()));
        for part in parts {
            match self.answer(part, from)? {
                Reply::Take(pending) => taken.push(pending),
                Reply::Answer(response) => answer = Some(response),
                Reply::Nothing => {}
                Reply::Stream(_) => return Err(Refusal::Malformed),
            }
        }
        let keys = self.responder.keys();
        let bodies = taken.iter_mut().map(|part| HashedBodies::new(keys, part.bodies())).collect();
        Ok(TakenParts { parts: taken, bodies, answer })
    }

    /// Appends what was taken in, and gives the answer to the push if that was all of it. Returns
    /// once the bodies are durable, which share a sync.
    ///
    /// # Errors
    ///
    /// If the store does not take them.
    pub fn append(&self, taken: TakenParts) -> Result<Option<Response>, Refusal> {
        let TakenParts { parts, bodies, mut answer } = taken;
        if parts.is_empty() {
            return Ok(answer);
        }
        let taken = self.store.append(&bodies).map_err(|_| Refusal::ReadOnly)?;
        let mut rest = taken.as_slice();
        for (part, bodies) in parts.into_iter().zip(&bodies) {
            let (here, behind) = rest.split_at_checked(bodies.len()).ok_or(Refusal::ReadOnly)?;
            rest = behind;
            answer = part.done(here).or(answer);
        }
        Ok(answer)
    }

    /// Takes in some parts of a push and appends what is in them: [`take`](Self::take), then
    /// [`append`](Self::append).
    ///
    /// # Errors
    ///
    /// As those.
    pub fn push(&self, parts: Vec<Request>, from: IpAddr) -> Result<Option<Response>, Refusal> {
        self.append(self.take(parts, from)?)
    }

    /// How long the next parts of a push are to wait, so that others go first.
    pub(crate) fn push_hold(&self) -> Option<Duration> {
        self.store.push_hold()
    }

    /// How many sessions are open, after letting go of those that were idle for too long.
    pub(crate) fn sessions(&self) -> usize {
        self.responder.expire(uptime());
        self.responder.sessions()
    }
}

//! The responding side of sessions for a store: the responder decides, the store reads and appends.

use std::{net::IpAddr, time::Duration};

use stemedb_store::store::uptime;
use stemedb_sync::{
    Responder,
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

    /// Takes in some parts of a push, in order, and gives the answer to it if that was all of it.
    /// Returns once their bodies are durable, which share a sync; the parts behind them come with
    /// the next call.
    ///
    /// # Errors
    ///
    /// If a part is refused.
    pub fn push(&self, parts: Vec<Request>, from: IpAddr) -> Result<Option<Response>, Refusal> {
        let mut answer = None;
        let mut taken = Vec::with_capacity(parts.len());
        for part in parts {
            match self.answer(part, from)? {
                Reply::Take(pending) => taken.push(pending),
                Reply::Answer(response) => answer = Some(response),
                Reply::Nothing => {}
                Reply::Stream(_) => return Err(Refusal::Malformed),
            }
        }
        Ok(self.append(taken)?.or(answer))
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

    fn append(&self, mut parts: Vec<PendingPush>) -> Result<Option<Response>, Refusal> {
        let (mut bodies, mut counts) = (Vec::new(), Vec::with_capacity(parts.len()));
        for part in &mut parts {
            let more = part.bodies();
            counts.push(more.len());
            bodies.extend(more);
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let taken = self.store.append(&bodies).map_err(|_| Refusal::ReadOnly)?;
        let (mut answer, mut rest) = (None, taken.as_slice());
        for (part, count) in parts.into_iter().zip(counts) {
            let (here, behind) = rest.split_at_checked(count).ok_or(Refusal::ReadOnly)?;
            rest = behind;
            answer = part.done(here).or(answer);
        }
        Ok(answer)
    }
}

//! The responding side of sessions for a store: the responder decides, the store reads and appends.

use std::{sync::Arc, time::Duration};

use stemedb_merkle::Hash;
use stemedb_sync::{
    Responder, Source,
    message::{Refusal, Request, Response},
    responder::{Arrival, Reply},
};

use crate::{backend::Failure, replica::Replica};

/// A store that takes part in replication.
pub trait Site: Source + Send + Sync + 'static {
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
    /// # Errors
    ///
    /// If some were not taken, or nobody knows.
    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure>;
}

/// The responder of a store.
#[derive(Debug)]
pub struct Responding<S> {
    responder: Responder,
    site: Arc<S>,
}

impl<S: Site> Responding<S> {
    /// Answers sessions for a store.
    pub fn new(responder: Responder, site: Arc<S>) -> Self {
        Self { responder, site }
    }

    /// The responder.
    pub fn responder(&self) -> &Responder {
        &self.responder
    }
}

impl<S: Site> Replica for Responding<S> {
    fn answer(
        &self,
        request: Request,
        hand_on: &mut dyn FnMut(Response) -> bool,
    ) -> Result<(), Refusal> {
        let site = &*self.site;
        let nonce = site.nonce().map_err(|_| Refusal::Busy)?;
        let arrival = Arrival { now: site.now(), time: site.time(), nonce };
        match self.responder.answer(request, site, arrival)? {
            Reply::Nothing => {}
            Reply::Answer(response) => {
                hand_on(response);
            }
            Reply::Bodies(mut parts) => {
                while let Some(part) = parts.next(site) {
                    if !hand_on(part) {
                        break;
                    }
                }
            }
            Reply::Take(mut taking) => {
                let Ok(taken) = site.append(taking.bodies()) else { return Err(taking.failed()) };
                if let Some(response) = taking.done(&taken) {
                    hand_on(response);
                }
            }
        }
        Ok(())
    }

    fn sessions(&self) -> usize {
        self.responder.expire(self.site.now());
        self.responder.sessions()
    }
}

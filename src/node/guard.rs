//! The store as peers see it: it takes no bodies from them when the disk is nearly full.

use std::{ops::Range, sync::Arc, time::Duration};

use stemedb_merkle::Hash;
use stemedb_rpc::{Reason, Site, backend::Failure};
use stemedb_sync::{
    Pin, Source, Unreadable,
    message::{LogHead, SetHead},
};

use super::{
    Shared,
    metrics::{Origin, Outcome},
};

/// How long each part that a peer pushes waits while clients wait too long. Well within the peer's
/// patience.
const HELD: Duration = Duration::from_millis(500);

/// The store of a node, for the sessions that peers begin.
#[derive(Debug)]
pub(super) struct Guard(Arc<Shared>);

impl Guard {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl Source for Guard {
    fn pin(&self) -> Result<Pin, Unreadable> {
        self.0.store.pin()
    }

    fn head(&self) -> Result<(SetHead, LogHead), Unreadable> {
        Source::head(&*self.0.store)
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        self.0.store.log_root_at(size)
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        self.0.store.body(id)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        Source::entry(&*self.0.store, index)
    }

    fn bodies(&self, ids: &[Hash], bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        self.0.store.bodies(ids, bytes_aim)
    }

    fn entries(&self, entries: Range<u64>, bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        Source::entries(&*self.0.store, entries, bytes_aim)
    }
}

impl Site for Guard {
    fn now(&self) -> Duration {
        self.0.store.now()
    }

    fn time(&self) -> u64 {
        self.0.store.time()
    }

    fn nonce(&self) -> Result<[u8; 16], Failure> {
        self.0.store.nonce()
    }

    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure> {
        if self.0.room.is_low() {
            return Err(Reason::Failed.into());
        }
        if self.0.limiter.is_held() {
            std::thread::sleep(HELD);
        }
        let began = self.now();
        let count = bodies.len() as u64;
        let taken = Site::append(&*self.0.store, bodies);
        let time = self.now().saturating_sub(began);
        let metrics = &self.0.metrics;
        match &taken {
            Ok(taken) => {
                let new = taken.iter().filter(|(_, new)| *new).count() as u64;
                let held = count.saturating_sub(new);
                metrics.appended(Origin::Peer, Outcome::Done, new, Some(time));
                metrics.appended(Origin::Peer, Outcome::Held, held, None);
            }
            Err(_) => metrics.appended(Origin::Peer, Outcome::Failed, count, None),
        }
        taken
    }
}

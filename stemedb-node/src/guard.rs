//! The store as peers see it: it takes no bodies from them when the disk is nearly full.

use std::{ops::Range, sync::Arc, time::Duration};

use stemedb_merkle::Hash;
use stemedb_rpc::{PeerStore, Reason, SessionHost, backend::Failure};
use stemedb_sync::{
    Pin, Source, Unreadable,
    message::{LogHead, SetHead},
};

use super::{
    Shared,
    metrics::{Origin, Outcome},
};

/// How long what a peer pushes waits while clients wait too long. Well within the peer's
/// patience.
const HELD: Duration = Duration::from_millis(500);

/// The store of a node, for sessions with peers.
#[derive(Debug)]
pub(super) struct Guard {
    shared: Arc<Shared>,
    store: PeerStore,
    /// Whether peers begin the sessions. What comes with others is counted when they end.
    counts: bool,
}

impl Guard {
    fn new(shared: Arc<Shared>, counts: bool) -> Self {
        let store = PeerStore(Arc::clone(&shared.store));
        Self { shared, store, counts }
    }

    /// For the sessions that peers begin.
    pub(super) fn for_peers(shared: Arc<Shared>) -> Self {
        Self::new(shared, true)
    }

    /// For the sessions that this node begins.
    pub(super) fn for_own(shared: Arc<Shared>) -> Self {
        Self::new(shared, false)
    }
}

impl Source for Guard {
    fn pin(&self) -> Result<Pin, Unreadable> {
        self.store.pin()
    }

    fn head(&self) -> Result<(SetHead, LogHead), Unreadable> {
        Source::head(&self.store)
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        self.store.log_root_at(size)
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        self.store.body(id)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        Source::entry(&self.store, index)
    }

    fn bodies(&self, ids: &[Hash], bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        self.store.bodies(ids, bytes_aim)
    }

    fn entries(&self, entries: Range<u64>, bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        Source::entries(&self.store, entries, bytes_aim)
    }
}

impl SessionHost for Guard {
    fn now(&self) -> Duration {
        self.store.now()
    }

    fn time(&self) -> u64 {
        self.store.time()
    }

    fn nonce(&self) -> Result<[u8; 16], Failure> {
        self.store.nonce()
    }

    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure> {
        if self.shared.disk_space.is_low() {
            return Err(Reason::Failed.into());
        }
        let began = self.now();
        let count = bodies.len() as u64;
        let taken = SessionHost::append(&self.store, bodies);
        let time = self.now().saturating_sub(began);
        let metrics = &self.shared.metrics;
        match &taken {
            _ if !self.counts => {}
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

    fn takes_bodies(&self) -> bool {
        !self.shared.disk_space.is_low()
    }

    fn hold(&self) -> Option<Duration> {
        self.shared.limiter.is_held().then_some(HELD)
    }
}

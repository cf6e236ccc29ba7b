//! Store as sessions with peers see it.

use std::{sync::Arc, time::Duration};

use stemedb_merkle::{AssertionId, Hash};
use stemedb_store::{Comparison, Head, LogIndex, LogSize, Secret, Store, store::uptime};
use stemedb_sync::{
    Identity, Keys, Pin, Source, Unreadable,
    message::{LogHead, SetHead},
};

use super::SyncError;
use crate::{Reason, SessionHost, backend::Failure};

/// Store as sessions with peers see it.
#[derive(Clone, Debug)]
pub struct PeerStore(pub Arc<Store>);

/// Identity of a store to its peers.
pub fn peer_identity(store: &Store) -> Identity {
    let log = store.log_id();
    let keys = Keys::new(store.secret().map(Secret::expose));
    Identity { node: log.node, epoch: log.epoch, keys }
}

/// Random bytes for a session.
///
/// # Errors
///
/// If the system has no random bytes to give.
pub fn session_seed<const LEN: usize>(store: &Store) -> Result<[u8; LEN], SyncError> {
    store.random().map_err(|source| SyncError::Entropy(Failure::new(Reason::Failed, source)))
}

impl Source for PeerStore {
    fn pin(&self) -> Result<Pin, Unreadable> {
        let Comparison { set, log, sketch } = self.0.comparison().map_err(|_| Unreadable)?;
        Ok(Pin { snapshot: set, log: LogHead { size: log.size.0, root: log.root }, sketch })
    }

    fn head(&self) -> Result<(SetHead, LogHead), Unreadable> {
        let Head { count, set_root, log_size, log_root, .. } =
            self.0.head().map_err(|_| Unreadable)?;
        Ok((SetHead { count, root: set_root }, LogHead { size: log_size.get(), root: log_root }))
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        if size > self.0.log_size().get() {
            return Ok(None);
        }
        self.0.history_root_at(LogSize(size)).map(Some).map_err(|_| Unreadable)
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        self.0.get(&AssertionId(*id)).map_err(|_| Unreadable)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        self.0.body_at(LogIndex(index)).map_err(|_| Unreadable)
    }
}

impl SessionHost for PeerStore {
    fn now(&self) -> Duration {
        uptime()
    }

    fn time(&self) -> u64 {
        self.0.clock_time().as_ntp64()
    }

    fn nonce(&self) -> Result<[u8; 16], Failure> {
        self.0.random().map_err(|source| Failure::new(Reason::Failed, source))
    }

    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure> {
        Ok(self.0.append_from_peer(&bodies)?)
    }
}

//! Store as sessions with peers see it.

use std::{ops::Range, sync::Arc, time::Duration};

use stemedb_merkle::{AssertionId, Hash, Root};
use stemedb_store::{Comparison, Head, LogIndex, LogSize, Secret, Store, TreeHead, store::uptime};
use stemedb_sync::{
    HashedBodies, Identity, Keys, Pin, Source, Unreadable, message::SetHead, replica::up_to,
};

use super::sync_error::SyncError;
use crate::{
    Limiter,
    observer::{Observer, Origin},
};

/// Store as sessions with peers see it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct PeerStore {
    store: Arc<Store>,
    limiter: Option<Arc<Limiter>>,
    observer: Observer,
}

impl PeerStore {
    /// A store that no limiter holds back and nobody observes.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, limiter: None, observer: Observer::default() }
    }

    /// The same, held back by a limiter.
    #[must_use]
    pub fn with_limiter(self, limiter: Arc<Limiter>) -> Self {
        Self { limiter: Some(limiter), ..self }
    }

    /// The same, whose events are told.
    #[must_use]
    pub fn with_observer(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(crate) fn limiter(&self) -> Option<&Limiter> {
        self.limiter.as_deref()
    }

    /// How long the next bodies that a peer pushes are to wait, so that others go first.
    pub(crate) fn push_hold(&self) -> Option<Duration> {
        self.limiter()?.push_hold()
    }

    /// Appends bodies of a peer. Returns once they are durable: for each its id, and whether it was
    /// new. Called from several threads at once, of which each waits for its own.
    pub(crate) fn append(&self, bodies: &[HashedBodies]) -> Result<Vec<(Hash, bool)>, NotTaken> {
        let len = bodies.iter().flat_map(HashedBodies::iter).map(|(_, body)| body.len() as u64);
        if self.limiter().is_some_and(|limiter| !limiter.has_room(len.sum())) {
            return Err(NotTaken::NoRoom);
        }
        let began = uptime();
        let taken = self.store.append_from_peer(bodies.iter().flat_map(HashedBodies::iter));
        let count = bodies.iter().map(HashedBodies::len).sum();
        let held = taken.as_ref().map(|taken| taken.iter().filter(|(_, new)| !new).count());
        self.observer.append(Origin::Peer, began, count, held.ok());
        taken.map_err(|_| NotTaken::Failed)
    }
}

/// Reason for which bodies of a peer were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The disk is nearly full.
    NoRoom,
    /// The store can't append. Its own status says why.
    Failed,
}

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
    store.random().map_err(SyncError::Entropy)
}

/// Bodies that are read by id together: at first, and at most.
const READ_FIRST: usize = 64;
const READ_MAX: usize = 4096;

fn pin(Comparison { set, log, sketch }: Comparison) -> Pin {
    Pin { snapshot: set, log, sketch }
}

impl Source for PeerStore {
    fn pin(&self) -> Result<Pin, Unreadable> {
        self.store.comparison().map(pin).map_err(|_| Unreadable)
    }

    fn pin_without_symbols(&self) -> Result<Pin, Unreadable> {
        self.store.comparison_as_it_is().map(pin).map_err(|_| Unreadable)
    }

    fn head(&self) -> Result<(SetHead, TreeHead), Unreadable> {
        let Head { count, set_root, log_size, log_root, .. } =
            self.store.head().map_err(|_| Unreadable)?;
        Ok((SetHead { count, root: set_root }, TreeHead { size: log_size, root: log_root }))
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Root>, Unreadable> {
        let size = LogSize(size);
        if size > self.store.log_size() {
            return Ok(None);
        }
        self.store.history_root_at(size).map(Some).map_err(|_| Unreadable)
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        self.store.get(&AssertionId(*id)).map_err(|_| Unreadable)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        self.store.body_at(LogIndex(index)).map_err(|_| Unreadable)
    }

    fn bodies(&self, ids: &[Hash], bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        let (mut taken, mut len, mut next) = (Vec::new(), 0, READ_FIRST);
        while let Some(rest) = ids.get(taken.len()..).filter(|rest| !rest.is_empty())
            && (len < bytes_aim || taken.is_empty())
        {
            let now = rest.get(..next).unwrap_or(rest);
            let now: Vec<AssertionId> = now.iter().copied().map(AssertionId).collect();
            let left = bytes_aim - len;
            let bodies = self.store.get_many(&now).ahead(left.max(1));
            let read = up_to(bodies.map(|body| body.ok().flatten().map(Vec::from)), left);
            len += read.iter().flatten().map(Vec::len).sum::<usize>();
            taken.extend(read);
            // What is read beyond the aim is read in vain: as many as there is room for, by their
            // mean length so far.
            let mean = (len / taken.len().max(1)).max(1);
            next = (bytes_aim.saturating_sub(len) / mean + 1).min(READ_MAX);
        }
        taken
    }

    fn entries(&self, entries: Range<u64>, bytes_aim: usize) -> Vec<Option<Vec<u8>>> {
        let indexes = LogIndex(entries.start)..LogIndex(entries.end);
        let records = self.store.records(indexes, self.store.body_len_max()).ahead(bytes_aim);
        up_to(records.map(|record| record.ok()?.1.map(Vec::from)), bytes_aim)
    }
}

//! Serving a store, and bringing it into step with a served one.

use std::{future::Future, sync::Arc};

use stemedb_rpc::{
    Client, Responding, Server, Site,
    server::{ServeError, Stopped},
    sync::{NoSession, Pace, Synced, run},
};
use stemedb_sync::{
    Config, Direction, Limits, Responder,
    report::{Layer, PeerCursor, Report},
};
use tokio::task::spawn_blocking;

use super::{Store, lock, peers::Peers};

/// What a session is to do, and within which limits.
#[derive(Clone, Debug, Default)]
pub struct SyncOptions {
    /// Which way bodies go. Default: both.
    pub direction: Direction,
    /// Everything that is limited. The longest body is the store's own limit.
    pub limits: Limits,
    /// Layers that are left out. Default: none.
    pub without: Vec<Layer>,
    /// What holds the session back. Default: nothing.
    pub pace: Option<Arc<dyn Pace>>,
}

/// Why no session began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Bodies can't be checked without the secret.
    #[error("this store has a secret, and without it nothing can be synced: give its file")]
    SecretMissing,
    /// The set tree or the log can't be read.
    #[error("this store could not be read, so no session began: see what `stemedb check` says")]
    Unreadable,
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers: {0}")]
    Entropy(stemedb_rpc::backend::Failure),
}

impl From<NoSession> for SyncError {
    fn from(error: NoSession) -> Self {
        match error {
            NoSession::Nonce(failure) => Self::Entropy(failure),
            _ => Self::Unreadable,
        }
    }
}

impl Store {
    /// Serves this store until `stop` is ready; what runs then is finished. Appends and reads go on
    /// in this process beside it.
    ///
    /// # Errors
    ///
    /// See [`ServeError`].
    pub async fn serve(
        self: &Arc<Self>,
        server: Server,
        limits: Limits,
        stop: impl Future<Output = ()>,
    ) -> Result<Stopped, ServeError> {
        let (identity, limits) = (self.peer_identity(), self.fitting(limits));
        let responder = Responder::with_memory(identity, limits, server.memory());
        let replica = Arc::new(Responding::new(responder, Arc::clone(self)));
        server.serve(Arc::clone(self), replica, stop).await
    }

    /// Brings this store and a served one into step: finds out what each lacks and moves that, both
    /// ways unless told otherwise. Bodies are appended as they come, so that whatever arrived stays
    /// if the session is cut; how it ended and what it did is in the report.
    ///
    /// `progress` is shown the report whenever there is something new in it. The session is called
    /// off when `cancel` is ready.
    ///
    /// # Errors
    ///
    /// If no session began. Whatever happens in one is in the report.
    pub async fn sync(
        self: &Arc<Self>,
        client: &Client,
        options: SyncOptions,
        cancel: impl Future<Output = ()>,
        progress: impl FnMut(&Report),
    ) -> Result<Synced, SyncError> {
        self.sync_through(Arc::clone(self), client, options, cancel, progress).await
    }

    /// [`sync`](Self::sync), with what reads this store and appends to it.
    pub(crate) async fn sync_through<S: Site>(
        &self,
        site: Arc<S>,
        client: &Client,
        options: SyncOptions,
        cancel: impl Future<Output = ()>,
        progress: impl FnMut(&Report),
    ) -> Result<Synced, SyncError> {
        if self.lacks_secret() {
            return Err(SyncError::SecretMissing);
        }
        let address = client.peer().to_string();
        let cursor = self.peer_cursor(&address).await;
        let config = Config {
            identity: self.peer_identity(),
            limits: self.fitting(options.limits),
            direction: options.direction,
            cursor,
            without: options.without,
            seed: self.seed()?,
        };
        let pace = options.pace.as_deref();
        let synced = run(client, config, site, pace, cancel, progress).await?;
        if let Some(read) = synced.report.cursor.filter(|read| cursor != Some(*read)) {
            self.keep_cursor(address, read).await;
        }
        Ok(synced)
    }

    /// How far the log at an address has been read.
    async fn peer_cursor(&self, address: &str) -> Option<PeerCursor> {
        let (shared, address) = (Arc::clone(&self.shared), address.to_owned());
        let load = move || Peers::load(shared.disk.as_ref()).cursor(&address);
        spawn_blocking(load).await.ok().flatten()
    }

    async fn keep_cursor(&self, address: String, read: PeerCursor) {
        let shared = Arc::clone(&self.shared);
        let keep = move || {
            let _one = lock(&shared.peers);
            let mut peers = Peers::load(shared.disk.as_ref());
            peers.note(&address, read);
            peers.save(shared.disk.as_ref())
        };
        // Without it the next session finds out what differs in another way.
        let _ = spawn_blocking(keep).await;
    }

    /// Limits with the store's own for bodies.
    pub(crate) fn fitting(&self, mut limits: Limits) -> Limits {
        limits.body_len_max = self.shared.options.body_len_max as usize;
        limits
    }

    pub(crate) fn seed(&self) -> Result<[u8; 32], SyncError> {
        let mut seed = [0; 32];
        for half in seed.as_chunks_mut::<16>().0 {
            *half = self.nonce().map_err(SyncError::Entropy)?;
        }
        Ok(seed)
    }
}

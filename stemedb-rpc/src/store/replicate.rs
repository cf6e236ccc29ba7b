//! Serving a store, and bringing it into step with a served one.

use std::{future::Future, sync::Arc};

use crate::{
    Client, ResponderService, Server,
    server::{ServeError, Stopped},
    sync::{Synced, run},
};
use stemedb_sync::{
    Config, Direction, Limits, Responder,
    report::{Layer, PeerCursor, Report},
};
use tokio::task::spawn_blocking;

use stemedb_store::Store;

use super::{
    peer_store::{PeerStore, peer_identity, session_seed},
    peers::Peers,
    sync_error::SyncError,
};

stemedb_merkle::options! {
    /// Options of a session.
    #[derive(Clone, Debug)]
    pub struct SyncOptions {
        /// Which way bodies go. Default: both.
        pub direction: Direction = Direction::Both,
        /// Everything that is limited. The longest body is the store's own limit.
        pub limits: Limits = Limits::default(),
        /// Layers that are left out. Default: none.
        pub without: Vec<Layer> = Vec::new(),
    }
}

/// Comparing a store with others, and bringing them into step.
pub trait Replicate {
    /// Serves this store until `stop` is ready; what runs then is finished. Appends and reads go on
    /// in this process beside it.
    ///
    /// # Errors
    ///
    /// See [`ServeError`].
    fn serve(
        self: &Arc<Self>,
        server: Server,
        limits: Limits,
        stop: impl Future<Output = ()> + Send,
    ) -> impl Future<Output = Result<Stopped, ServeError>> + Send;

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
    fn sync(
        self: &Arc<Self>,
        client: &Client,
        options: SyncOptions,
        cancel: impl Future<Output = ()> + Send,
        progress: impl FnMut(&Report) + Send,
    ) -> impl Future<Output = Result<Synced, SyncError>> + Send;
}

impl Replicate for Store {
    async fn serve(
        self: &Arc<Self>,
        server: Server,
        limits: Limits,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Stopped, ServeError> {
        let (identity, limits) = (peer_identity(self), fitting(self, limits));
        let responder = Responder::with_memory(identity, limits, server.memory());
        let store = PeerStore::new(Arc::clone(self));
        server.serve(Arc::new(ResponderService::new(responder, store)), stop).await
    }

    async fn sync(
        self: &Arc<Self>,
        client: &Client,
        options: SyncOptions,
        cancel: impl Future<Output = ()> + Send,
        progress: impl FnMut(&Report) + Send,
    ) -> Result<Synced, SyncError> {
        sync(PeerStore::new(Arc::clone(self)), client, options, cancel, progress).await
    }
}

/// [`Replicate::sync`] of a store as peers see it.
///
/// # Errors
///
/// As there.
pub async fn sync(
    host: PeerStore,
    client: &Client,
    options: SyncOptions,
    cancel: impl Future<Output = ()>,
    progress: impl FnMut(&Report),
) -> Result<Synced, SyncError> {
    let store = Arc::clone(host.store());
    if store.lacks_secret() {
        return Err(SyncError::SecretMissing);
    }
    let address = client.peer().to_string();
    let cursor = peer_cursor(&store, &address).await;
    let config = Config::new(peer_identity(&store), session_seed(&store)?)
        .limits(fitting(&store, options.limits))
        .direction(options.direction)
        .cursor(cursor)
        .without(options.without);
    let synced = run(client, config, host, cancel, progress).await?;
    if let Some(read) = synced.report.cursor.filter(|read| cursor != Some(*read)) {
        keep_cursor(&store, address, read).await;
    }
    Ok(synced)
}

/// How far the log at an address has been read.
async fn peer_cursor(store: &Arc<Store>, address: &str) -> Option<PeerCursor> {
    let (store, address) = (Arc::clone(store), address.to_owned());
    let load = move || Peers::load(store.disk()).cursor(&address);
    spawn_blocking(load).await.ok().flatten()
}

async fn keep_cursor(store: &Arc<Store>, address: String, read: PeerCursor) {
    let store = Arc::clone(store);
    let keep = move || {
        if let Ok(_held) = store.lock_caches() {
            let disk = store.disk();
            let mut peers = Peers::load(disk);
            peers.note(&address, read);
            // Without it the next session finds out what differs in another way.
            let _ = peers.save(disk);
        }
    };
    // A panic is reported by itself.
    let _ = spawn_blocking(keep).await;
}

/// Limits of sessions, with the store's own limit for bodies.
pub fn fitting(store: &Store, mut limits: Limits) -> Limits {
    limits.body_len_max = store.body_len_max();
    limits
}

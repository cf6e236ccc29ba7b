//! A store that is served without being a node: it answers status calls, and is not a member.

use std::{future::Future, sync::Arc, time::Duration};

use stemedb_merkle::{Hash, id::to_hex};
use stemedb_rpc::{
    Control, Controlled, Failure, PeerStore, Reason, ResponderService, Server,
    node::Gossiped,
    server::{ServeError, Stopped},
    store::{fitting, peer_identity},
};
use stemedb_store::{Store, error::ReadError, store::uptime};
use stemedb_sync::{Limits, Responder};

use super::{
    disk_space::DiskSpace,
    http::cells,
    status::{HeadStatus, Problem, Status, unix_seconds},
    view::store_problems,
};

/// Serves a store until `stop` is ready, as
/// [`Replicate::serve`](stemedb_rpc::Replicate::serve) does, and answers for its status besides.
///
/// # Errors
///
/// If the server fails.
pub async fn serve(
    store: &Arc<Store>,
    server: Server,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) -> Result<Stopped, ServeError> {
    let address = server.address().to_string();
    let limits = fitting(store, limits);
    let responder = Responder::with_memory(peer_identity(store), limits, server.memory());
    let responder = ResponderService::new(responder, PeerStore::new(Arc::clone(store)));
    let disk_space = DiskSpace::new(store.dir(), Some(0));
    let node = Served { store: Arc::clone(store), address, disk_space, began: uptime() };
    server.serve_node(Arc::new(responder), Some(Arc::new(node)), stop).await
}

/// A served store as the node service sees it.
#[derive(Debug)]
struct Served {
    store: Arc<Store>,
    address: String,
    disk_space: DiskSpace,
    began: Duration,
}

impl Served {
    fn problems(&self) -> Vec<Problem> {
        store_problems(&self.store)
    }
}

impl stemedb_rpc::Node for Served {
    /// It is not a member.
    fn gossip(&self, _frames: Vec<Vec<u8>>) -> Result<Gossiped, Failure> {
        Err(Reason::NotMember.into())
    }

    fn status(&self) -> Status {
        let store = &self.store;
        self.disk_space.look(Some(0));
        let identity = peer_identity(store);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: to_hex(identity.node),
            store: to_hex(store.store_id()),
            epoch: identity.epoch,
            address: self.address.clone(),
            time: unix_seconds(store.clock_time()),
            uptime_seconds: uptime().saturating_sub(self.began).as_secs(),
            head: store.head().ok().as_ref().map(HeadStatus::from),
            not_ready: self.problems(),
            disk: self.disk_space.status(),
            ..Status::default()
        }
    }

    fn cells(&self, bits: u8) -> Result<Vec<Hash>, Failure> {
        let snapshot = self.store.snapshot()?;
        cells(snapshot.tree(), bits).map_err(|error| ReadError::from(error).into())
    }

    async fn control(&self, _what: Control) -> Result<Controlled, Failure> {
        let error = "a store that is only served is not a node: there is nothing to control";
        Err(Failure::new(Reason::Forbidden, error))
    }

    fn is_ready(&self) -> bool {
        self.problems().is_empty()
    }
}

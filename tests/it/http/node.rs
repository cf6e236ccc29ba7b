//! A node that serves over HTTP, and a peer of it.

use std::{
    future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use stemedb::{
    LogIndex, Options, Store,
    node::{
        self, Node,
        http::{Http, HttpOptions},
    },
};
use tokio::{runtime::Runtime, sync::oneshot};

/// The address of a peer that is not there.
pub(super) const AWAY: &str = "localhost:1";

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn open(dir: &tempfile::TempDir) -> Store {
    let options = Options::default().segment_len(1 << 20);
    Store::open(dir.path(), options).unwrap()
}

/// A node that serves, until it is dropped. It begins no sessions.
pub(super) struct Serving {
    pub(super) node: Node,
    /// The store of its peer.
    pub(super) peer: Arc<Store>,
    /// Where the peer is.
    pub(super) peer_address: String,
    pub(super) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
    served: Option<tokio::task::JoinHandle<()>>,
    dirs: Vec<tempfile::TempDir>,
}

impl Serving {
    pub(super) fn start(bodies: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        Self::with(bodies, HttpOptions::default())
    }

    pub(super) fn with(
        bodies: impl IntoIterator<Item = impl AsRef<[u8]>>,
        options: HttpOptions,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        store.append_batch(bodies).unwrap();
        let mut serving = Self::over(store, options);
        serving.dirs.push(dir);
        serving
    }

    /// Serves a store of any kind.
    pub(super) fn over(store: Store, options: HttpOptions) -> Self {
        Self::node(store, options, None)
    }

    /// Serves a store whose disk always counts as nearly full.
    pub(super) fn short_of_room(store: Store, options: HttpOptions) -> Self {
        Self::node(store, options, Some(u64::MAX))
    }

    fn node(store: Store, options: HttpOptions, disk_reserve: Option<u64>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let peer = Arc::new(open(&dir));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let start = |store, peers: &[&str]| {
            let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
            let options = node::Options::default()
                .listen(LOOPBACK)
                .http(None)
                .peers(peers)
                .scrub(None)
                .disk_reserve(disk_reserve);
            runtime.block_on(Node::start(store, options)).unwrap()
        };
        let there = start(Arc::clone(&peer), &[]);
        let peer_address = there.status().address;
        runtime.spawn(async move { there.run(future::pending()).await });
        let node = start(Arc::new(store), &[&peer_address, AWAY]);
        let (stop, stopped) = oneshot::channel();
        let http = runtime.block_on(Http::bind(LOOPBACK, options)).unwrap();
        let address = http.address();
        let stopped = async {
            let _ = stopped.await;
        };
        let served = runtime.spawn(http.serve(node.clone(), stopped));
        Self {
            node,
            peer,
            peer_address,
            address,
            stop: Some(stop),
            runtime: Some(runtime),
            served: Some(served),
            dirs: vec![dir],
        }
    }

    /// The peer is given everything that the node has, but for entries on which `but` says so.
    pub(super) fn fill_peer(&self, but: impl Fn(u64) -> bool) {
        let store = self.node.store();
        let bodies = store.iter().map(Result::unwrap).filter(|entry| !but(entry.index.get()));
        self.peer.append_batch(bodies.map(|entry| store.get(&entry.id).unwrap().unwrap())).unwrap();
    }

    /// Leaves the node with trees that can't be read.
    pub(super) fn break_trees(&self) {
        let store = self.node.store();
        let died = std::thread::scope(|scope| scope.spawn(|| store.break_trees()).join());
        assert!(died.is_err());
        // The first to ask for an id meets the lock that the panic poisoned.
        assert!(store.get(&store.entry(LogIndex(0)).unwrap().unwrap().id).is_err());
    }

    /// Stops, and waits until nothing is served any more.
    pub(super) fn stop(&mut self) {
        drop(self.stop.take());
        if let (Some(runtime), Some(served)) = (&self.runtime, self.served.take()) {
            runtime.block_on(served).unwrap();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

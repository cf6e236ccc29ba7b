//! A node that is nothing but a store, a status and a peer's store.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use stemedb::{
    Hash, Options, Store,
    node::{
        Metrics, Status,
        http::{CompareError, Http, HttpOptions, View, cells},
        status::{
            ArchiveStatus, DiskStatus, HeadStatus, PeerState, PeerStatus, Problem, ScrubStatus,
            SessionStatus, SliceStatus, SyncStatus,
        },
    },
};
use tokio::{runtime::Runtime, sync::oneshot};

/// The peer that is there.
pub(super) const PEER: &str = "10.0.0.2:7845";
/// A peer that is not.
pub(super) const AWAY: &str = "node-3.example:7845";

pub(super) struct FakeNode {
    pub(super) store: Arc<Store>,
    pub(super) peer: Store,
    pub(super) metrics: Metrics,
    pub(super) problems: Mutex<Vec<Problem>>,
}

/// Seconds since 1970 of everything that a test node says happened.
pub(super) const NOW: f64 = 1_763_750_000.0;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

impl View for FakeNode {
    fn status(&self) -> Status {
        let head = self.store.head().unwrap();
        let peer = self.peer.head().unwrap();
        let in_step = head.set_root == peer.set_root;
        let session = SessionStatus {
            time: NOW - 40.0,
            outcome: "complete".into(),
            layer: Some("symbols".into()),
            fetched: 17,
            pushed: 3,
            bytes_sent: 5_300,
            bytes_received: 18_200,
            millis: 84,
        };
        let met = PeerStatus {
            address: PEER.into(),
            node: Some("52".repeat(16)),
            version: Some("0.1.0".into()),
            state: PeerState::Alive,
            count: Some(peer.count),
            set_root: Some(hex(&peer.set_root)),
            in_step: Some(in_step),
            lag_seconds: Some(if in_step { 0.0 } else { 12.5 }),
            last_repaired: Some(NOW - 40.0),
            failures: 0,
            retry_at: None,
            last_session: Some(session),
            remark: None,
        };
        let away = PeerStatus {
            address: AWAY.into(),
            node: None,
            version: None,
            state: PeerState::Down,
            count: None,
            set_root: None,
            in_step: None,
            lag_seconds: None,
            last_repaired: None,
            failures: 4,
            retry_at: Some(NOW + 60.0),
            last_session: None,
            remark: None,
        };
        Status {
            version: "0.1.0".into(),
            node: "51".repeat(16),
            store: "50".repeat(16),
            epoch: 1,
            address: "10.0.0.1:7845".into(),
            time: NOW,
            uptime_seconds: 86_400,
            head: Some(HeadStatus {
                count: head.count,
                set_root: hex(&head.set_root),
                log_size: head.log_size.get(),
                log_root: hex(&head.log_root),
            }),
            not_ready: self.problems.lock().unwrap().clone(),
            sync: SyncStatus { paused: None, running: 1, append_p99_seconds: Some(0.0042) },
            peers: vec![met, away],
            slices: (0..16)
                .map(|slice| SliceStatus {
                    prefix: format!("{slice:x}"),
                    last_repaired: Some(NOW - 40.0),
                    bytes_compared: 5_000 + slice,
                    bytes_transferred: 900 * slice,
                    sessions: 12,
                    mismatches: slice % 3,
                })
                .collect(),
            disk: DiskStatus { free: 180 << 30, total: 240 << 30, reserve: 1 << 30 },
            scrub: Some(ScrubStatus {
                position: head.log_size.get() / 3,
                began: Some(NOW - 900.0),
                last_pass: Some(NOW - 600_000.0),
                damaged: 2,
                healed: 2,
            }),
            archive: Some(ArchiveStatus {
                url: "s3://bucket/stemedb".into(),
                log_size: head.log_size.get() / 2,
                last_sent: Some(NOW - 50.0),
                dropped_segments: 0,
                error: None,
            }),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap().clone()
    }

    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    async fn compare(&self, peer: &str, depth: u8) -> Result<Vec<Hash>, CompareError> {
        let failed = |error: Box<dyn Error + Send + Sync>| CompareError::Failed(error);
        match peer {
            PEER => cells(self.peer.snapshot().unwrap().tree(), depth)
                .map_err(|error| failed(error.into())),
            AWAY => Err(failed("connection refused".into())),
            _ => Err(CompareError::UnknownPeer),
        }
    }
}

fn open(dir: &tempfile::TempDir) -> Store {
    let options = Options { segment_len: 1 << 20, ..Options::default() };
    Store::open(dir.path(), options).unwrap()
}

/// A node that serves, until it is dropped.
pub(super) struct Serving {
    pub(super) node: Arc<FakeNode>,
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
        let dir = tempfile::tempdir().unwrap();
        let peer = open(&dir);
        let (store, metrics) = (Arc::new(store), Metrics::new());
        let node = Arc::new(FakeNode { store, peer, metrics, problems: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let http = runtime.block_on(Http::bind(loopback, options)).unwrap();
        let address = http.address();
        let view = Arc::clone(&node);
        let served = runtime.spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            http.serve(view, stopped).await;
        });
        Self {
            node,
            address,
            stop: Some(stop),
            runtime: Some(runtime),
            served: Some(served),
            dirs: vec![dir],
        }
    }

    /// The peer is given everything that the node has, but for entries on which `but` says so.
    pub(super) fn fill_peer(&self, but: impl Fn(u64) -> bool) {
        let store = &self.node.store;
        let bodies = store.iter().map(Result::unwrap).filter(|entry| !but(entry.index.get()));
        self.node
            .peer
            .append_batch(bodies.map(|entry| store.get(&entry.id).unwrap().unwrap()))
            .unwrap();
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

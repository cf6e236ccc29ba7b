//! Whole sessions between two stores.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
    time::Duration,
};

use stemedb_merkle::{AssertionId, Hash};
use stemedb_rpc::{
    Backend as _, Client, ClientOptions, ResponderService, Server, ServerOptions, SessionHost,
    backend::{Failure, Which},
    sync::{Synced, run as run_session},
};
use stemedb_sync::{
    Config, Direction, Ending, Identity, Keys, Limits, Pin, Responder, Source, Unreadable,
    message::{Kind, LogHead, Refusal},
    report::Layer,
    symbols::Sketch,
};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use super::{
    memory::{Memory, TIME},
    world::run,
};

/// A store among others.
#[derive(Debug)]
pub(crate) struct Node {
    pub memory: Arc<Memory>,
    pub identity: Identity,
    began: Instant,
    sketched: bool,
    nonces: Mutex<u64>,
    /// Who asked for the time.
    threads: Mutex<HashSet<ThreadId>>,
}

impl Node {
    pub(crate) fn new(
        name: u8,
        secret: Option<&[u8]>,
        bodies: impl IntoIterator<Item = u64>,
    ) -> Arc<Self> {
        let identity = Identity { node: [name; 16], epoch: 1, keys: Keys::new(secret) };
        let memory = Memory::with_keys(identity.keys.clone());
        memory.take(bodies.into_iter().map(body).collect());
        let (began, nonces) = (Instant::now(), Mutex::new(0));
        let (memory, threads) = (Arc::new(memory), Mutex::default());
        Arc::new(Self { memory, identity, began, sketched: true, nonces, threads })
    }
}

pub(crate) fn body(n: u64) -> Vec<u8> {
    format!("assertion {n}").into_bytes()
}

impl Source for Node {
    fn pin(&self) -> Result<Pin, Unreadable> {
        let snapshot = self.memory.snapshot();
        let log = LogHead { size: self.memory.len(), root: self.memory.head().unwrap().log_root };
        let sketch = self.sketched.then(|| {
            let mut sketch = Sketch::new(self.identity.keys.symbol_key(), 1024);
            for entry in &snapshot {
                sketch.insert(&entry.unwrap().id);
            }
            Arc::new(sketch)
        });
        Ok(Pin { snapshot, log, sketch })
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        Ok(self.memory.log_root_at(size))
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        Ok(self.memory.body_of(&Which::Id(AssertionId(*id))))
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        Ok(self.memory.body_of(&Which::Index(index)))
    }
}

impl SessionHost for Node {
    fn now(&self) -> Duration {
        self.threads.lock().unwrap().insert(thread::current().id());
        self.began.elapsed()
    }

    fn time(&self) -> u64 {
        TIME
    }

    fn nonce(&self) -> Result<[u8; 16], Failure> {
        let mut nonces = self.nonces.lock().unwrap();
        *nonces += 1;
        Ok((u128::from(*nonces) << 64).to_le_bytes())
    }

    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure> {
        let receipts = self.memory.take(bodies);
        Ok(receipts.iter().map(|receipt| (receipt.id.0, !receipt.duplicate)).collect())
    }
}

/// A node that serves.
pub(crate) struct Served {
    pub address: SocketAddr,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<usize>,
}

impl Served {
    pub(crate) async fn new(node: &Arc<Node>, limits: Limits) -> Self {
        let options = ServerOptions::default();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), options).await.unwrap();
        let address = server.address();
        let responder = Responder::new(node.identity.clone(), limits);
        let responding = Arc::new(ResponderService::new(responder, Arc::clone(node)));
        let memory = Arc::clone(&node.memory);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _stopped = stopped.await;
            };
            server.serve(memory, responding, stopped).await.unwrap().cut
        });
        let client = Client::connect(&address.into(), ClientOptions::default()).await.unwrap();
        Self { address, client, stop, serving }
    }

    /// Stops, and says how many sessions were left open.
    async fn stop(self) -> usize {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap()
    }

    pub(crate) async fn end(self) {
        assert_eq!(self.stop().await, 0);
    }
}

pub(crate) fn config(node: &Node) -> Config {
    let limits = Limits {
        answer_time_max: Duration::from_secs(4),
        leave_time_max: Duration::from_secs(20),
        ..Limits::default()
    };
    let (identity, direction) = (node.identity.clone(), Direction::Both);
    let nonce = node.nonce().unwrap();
    let seed = *blake3::hash(&nonce).as_bytes();
    Config { identity, limits, direction, cursor: None, without: Vec::new(), seed }
}

pub(crate) async fn sync(client: &Client, node: &Arc<Node>, config: Config) -> Synced {
    let never = std::future::pending();
    run_session(client, config, Arc::clone(node), None, never, |_| {}).await.unwrap()
}

/// Two stores meet, and hold the same then.
async fn meet(mine: Arc<Node>, theirs: Arc<Node>, without: Vec<Layer>) -> Synced {
    let served = Served::new(&theirs, Limits::default()).await;
    let synced = sync(&served.client, &mine, Config { without, ..config(&mine) }).await;
    served.end().await;
    assert!(synced.error.is_none(), "{synced:?}");
    let report = &synced.report;
    assert_eq!(report.ending, Ending::Complete, "{report:?}");
    assert!(report.equal && report.checked, "{report:?}");
    assert_eq!(mine.memory.root(), theirs.memory.root());
    synced
}

#[test]
fn equal_stores_need_one_small_exchange() {
    run(async {
        let synced =
            meet(Node::new(1, None, 0..1000), Node::new(2, None, (0..1000).rev()), vec![]).await;
        let report = synced.report;
        assert_eq!((report.rounds, report.fetched, report.pushed), (1, 0, 0));
        let bytes = report.bytes_sent() + report.bytes_received();
        assert!(bytes > 0 && bytes < 300 && report.reconcile_bytes() == bytes, "{bytes}");
    });
}

#[test]
fn stores_that_differ_hold_the_same_afterwards_whatever_layer_is_used() {
    run(async {
        let descent = vec![Layer::Cursor, Layer::Symbols, Layer::Bulk];
        for without in [vec![], descent] {
            let (mine, theirs) = (Node::new(1, None, 0..3000), Node::new(2, None, 100..3200));
            let synced = meet(mine, theirs, without).await;
            let report = synced.report;
            assert_eq!((report.fetched, report.pushed), (200, 100), "{report:?}");
            assert!(report.confirmed, "{report:?}");
        }
    });
}

#[test]
fn an_empty_store_takes_everything_and_a_full_one_gives_it() {
    run(async {
        let synced = meet(Node::new(1, None, []), Node::new(2, None, 0..20_000), vec![]).await;
        assert_eq!(synced.report.fetched, 20_000);
        let synced = meet(Node::new(1, None, 0..20_000), Node::new(2, None, []), vec![]).await;
        assert_eq!(synced.report.pushed, 20_000);
    });
}

#[test]
fn a_peer_that_went_on_is_followed() {
    run(async {
        let (mine, theirs) = (Node::new(1, None, []), Node::new(2, None, 0..500));
        let first = meet(Arc::clone(&mine), Arc::clone(&theirs), vec![]).await;
        for n in 500..600 {
            theirs.memory.take(vec![body(n)]);
        }
        let served = Served::new(&theirs, Limits::default()).await;
        let config = Config { cursor: first.report.cursor, ..config(&mine) };
        let synced = sync(&served.client, &mine, config).await;
        served.end().await;
        let report = synced.report;
        assert_eq!(report.ending, Ending::Complete, "{report:?}");
        assert!(report.layers.iter().any(|step| step.layer == Layer::Cursor), "{report:?}");
        assert_eq!((report.rounds, report.fetched), (1, 100), "{report:?}");
        assert_eq!(mine.memory.root(), theirs.memory.root());
    });
}

#[test]
fn strangers_are_refused_before_anything_is_told() {
    run(async {
        let secret = Some(&b"0123456789abcdef"[..]);
        let other = Some(&b"0123456789abcdeF"[..]);
        let served = Node::new(2, secret, 0..10);
        let host = Served::new(&served, Limits::default()).await;
        for (name, secret, refusal) in
            [(1, None, Refusal::Secret), (1, other, Refusal::Secret), (2, secret, Refusal::Itself)]
        {
            let mine = Node::new(name, secret, 5..15);
            let synced = sync(&host.client, &mine, config(&mine)).await;
            assert_eq!(synced.report.ending, Ending::Refused(refusal), "{synced:?}");
            assert_eq!((mine.memory.len(), served.memory.len()), (10, 10));
        }
        let mine = Node::new(1, secret, 5..15);
        let synced = sync(&host.client, &mine, config(&mine)).await;
        assert_eq!(synced.report.ending, Ending::Complete);
        assert_eq!(mine.memory.root(), served.memory.root());
        host.end().await;
    });
}

#[test]
fn a_session_can_be_called_off_and_what_has_arrived_stays() {
    run(async {
        let (mine, theirs) = (Node::new(1, None, []), Node::new(2, None, 0..50_000));
        let served = Served::new(&theirs, Limits::default()).await;
        let (stop, stopped) = oneshot::channel();
        let mut stop = Some(stop);
        let cancel = async {
            let _stopped = stopped.await;
        };
        let progress = |report: &stemedb_sync::Report| {
            if report.fetched > 0
                && let Some(stop) = stop.take()
            {
                stop.send(()).unwrap();
            }
        };
        let synced =
            run_session(&served.client, config(&mine), Arc::clone(&mine), None, cancel, progress)
                .await;
        let report = synced.unwrap().report;
        assert!(matches!(report.ending, Ending::Cancelled | Ending::Complete), "{report:?}");
        assert!(mine.memory.len() > 0 && mine.memory.len() >= report.fetched);
        let again = sync(&served.client, &mine, config(&mine)).await;
        assert_eq!(again.report.ending, Ending::Complete, "{again:?}");
        assert_eq!(mine.memory.root(), theirs.memory.root());
        served.end().await;
    });
}

/// So many that their symbols take several megabytes.
#[test]
fn a_large_difference_is_found_in_three_rounds() {
    run(async {
        let common = 0..30_000;
        let mine = Node::new(1, None, common.clone().chain(100_000..145_000));
        let theirs = Node::new(2, None, common.chain(200_000..245_000));
        let report = meet(mine, theirs, vec![]).await.report;
        assert_eq!((report.fetched, report.pushed), (45_000, 45_000), "{report:?}");
        let layers: Vec<_> = report.layers.iter().map(|step| step.layer).collect();
        assert_eq!(layers, [Layer::Root, Layer::Symbols]);
        assert_eq!(report.rounds, 3);
        let symbols = report.traffic_of(Kind::Symbols).received;
        assert!(symbols > 3_000_000, "{symbols}");
    });
}

/// Whoever else is served by the runtime of a session is not kept waiting by what it computes.
#[test]
fn a_session_computes_beside_its_runtime() {
    let (mine, theirs) = (Node::new(1, None, 0..3000), Node::new(2, None, 100..3200));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let synced = runtime.block_on(meet(Arc::clone(&mine), theirs, vec![]));
    assert_eq!(synced.report.fetched, 200);
    let threads = mine.threads.lock().unwrap();
    assert!(!threads.is_empty() && !threads.contains(&thread::current().id()));
}

/// A configuration can be used again: no two sessions have the same id all the same.
#[test]
fn the_seed_alone_does_not_name_a_session() {
    run(async {
        let (mine, theirs) = (Node::new(1, None, 0..10), Node::new(2, None, 5..20));
        let served = Served::new(&theirs, Limits::default()).await;
        let config = config(&mine);
        for n in 20..23 {
            theirs.memory.take(vec![body(n)]);
            let synced = sync(&served.client, &mine, config.clone()).await;
            assert_eq!((synced.report.ending, synced.report.restarts), (Ending::Complete, 0));
        }
        served.end().await;
    });
}

/// A server that is gone, and one that never was a responder.
#[test]
fn a_session_with_nobody_ends() {
    run(async {
        let (mine, theirs) = (Node::new(1, None, 0..10), Node::new(2, None, 5..20));
        let served = Served::new(&theirs, Limits::default()).await;
        let client = served.client.clone();
        served.end().await;
        let mut config = config(&mine);
        config.limits.answer_time_max = Duration::from_millis(400);
        let synced = sync(&client, &mine, config).await;
        assert_eq!(synced.report.ending, Ending::Silent, "{synced:?}");
    });
}

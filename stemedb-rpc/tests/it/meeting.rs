//! Whole sessions between two stores.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use stemedb_rpc::{
    Client, ClientOptions, Limiter, Server, ServerOptions,
    store::{peer_identity, session_seed},
    sync::{Synced, run as run_session},
};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{Environment, clock::NTP64, store::ENVIRONMENT};
use stemedb_sync::{
    Config, Direction, Ending, Limits,
    message::{Kind, Refusal},
    report::{Layer, Limited},
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    stores::{TestStore, body},
    world::run,
};

/// A node that serves.
pub(crate) struct Served {
    pub address: SocketAddr,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<usize>,
}

impl Served {
    pub(crate) async fn new(store: &TestStore, limits: Limits) -> Self {
        let options = ServerOptions::default();
        let server = Server::bind(([127, 0, 0, 1], 0).into(), options).await.unwrap();
        let address = server.address();
        let responder = store.responder(limits, server.memory());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _stopped = stopped.await;
            };
            server.serve(responder, stopped).await.unwrap().cut
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

pub(crate) fn config(store: &TestStore) -> Config {
    let limits = Limits::default()
        .answer_time_max(Duration::from_secs(4))
        .leave_time_max(Duration::from_secs(20));
    let (identity, direction) = (peer_identity(&store.store), Direction::Both);
    let seed = session_seed(&store.store).unwrap();
    Config::new(identity, seed).limits(limits).direction(direction)
}

pub(crate) async fn sync(client: &Client, store: &TestStore, config: Config) -> Synced {
    let never = std::future::pending();
    run_session(client, config, store.peer_store(), never, |_| {}).await.unwrap()
}

/// Two stores meet, and hold the same then.
async fn meet(mine: Arc<TestStore>, theirs: Arc<TestStore>, without: Vec<Layer>) -> Synced {
    let served = Served::new(&theirs, Limits::default()).await;
    let synced = sync(&served.client, &mine, config(&mine).without(without)).await;
    served.end().await;
    assert!(synced.error.is_none(), "{synced:?}");
    let report = &synced.report;
    assert_eq!(report.ending, Ending::Complete, "{report:?}");
    assert!(report.equal && report.checked, "{report:?}");
    assert_eq!(mine.root(), theirs.root());
    synced
}

#[test]
fn equal_stores_need_one_small_exchange() {
    run(async {
        let synced =
            meet(TestStore::of(None, 0..1000), TestStore::of(None, (0..1000).rev()), vec![]).await;
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
            let (mine, theirs) = (TestStore::of(None, 0..3000), TestStore::of(None, 100..3200));
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
        let synced = meet(TestStore::of(None, []), TestStore::of(None, 0..20_000), vec![]).await;
        assert_eq!(synced.report.fetched, 20_000);
        let synced = meet(TestStore::of(None, 0..20_000), TestStore::of(None, []), vec![]).await;
        assert_eq!(synced.report.pushed, 20_000);
    });
}

#[test]
fn a_peer_that_went_on_is_followed() {
    run(async {
        let (mine, theirs) = (TestStore::of(None, []), TestStore::of(None, 0..500));
        let first = meet(Arc::clone(&mine), Arc::clone(&theirs), vec![]).await;
        for n in 500..600 {
            theirs.take(vec![body(n)]);
        }
        let served = Served::new(&theirs, Limits::default()).await;
        let config = config(&mine).cursor(first.report.cursor);
        let synced = sync(&served.client, &mine, config).await;
        served.end().await;
        let report = synced.report;
        assert_eq!(report.ending, Ending::Complete, "{report:?}");
        assert!(report.layers.iter().any(|step| step.layer == Layer::Cursor), "{report:?}");
        assert_eq!((report.rounds, report.fetched), (1, 100), "{report:?}");
        assert_eq!(mine.root(), theirs.root());
    });
}

#[test]
fn strangers_are_refused_before_anything_is_disclosed() {
    run(async {
        let secret = Some(&b"0123456789abcdef"[..]);
        let other = Some(&b"0123456789abcdeF"[..]);
        let served = TestStore::of(secret, 0..10);
        let same = TestStore::on(served.disk.fork(), secret);
        let host = Served::new(&served, Limits::default()).await;
        for (mine, refusal) in [
            (TestStore::of(None, 5..15), Refusal::Secret),
            (TestStore::of(other, 5..15), Refusal::Secret),
            (same, Refusal::Itself),
        ] {
            let synced = sync(&host.client, &mine, config(&mine)).await;
            assert_eq!(synced.report.ending, Ending::Refused(refusal), "{synced:?}");
            assert_eq!((mine.len(), served.len()), (10, 10));
        }
        let mine = TestStore::of(secret, 5..15);
        let synced = sync(&host.client, &mine, config(&mine)).await;
        assert_eq!(synced.report.ending, Ending::Complete);
        assert_eq!(mine.root(), served.root());
        host.end().await;
    });
}

#[test]
fn a_session_can_be_called_off_and_what_has_arrived_stays() {
    run(async {
        let (mine, theirs) = (TestStore::of(None, []), TestStore::of(None, 0..50_000));
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
            run_session(&served.client, config(&mine), mine.peer_store(), cancel, progress).await;
        let report = synced.unwrap().report;
        assert!(matches!(report.ending, Ending::Cancelled | Ending::Complete), "{report:?}");
        assert!(mine.len() > 0 && mine.len() >= report.fetched);
        let again = sync(&served.client, &mine, config(&mine)).await;
        assert_eq!(again.report.ending, Ending::Complete, "{again:?}");
        assert_eq!(mine.root(), theirs.root());
        served.end().await;
    });
}

/// So many that their symbols take more than a megabyte.
#[test]
fn a_large_difference_is_found_in_three_rounds() {
    run(async {
        let common = 0..30_000;
        let mine = TestStore::of(None, common.clone().chain(100_000..145_000));
        let theirs = TestStore::of(None, common.chain(200_000..245_000));
        let report = meet(mine, theirs, vec![]).await.report;
        assert_eq!((report.fetched, report.pushed), (45_000, 45_000), "{report:?}");
        let layers: Vec<_> = report.layers.iter().map(|step| step.layer).collect();
        assert_eq!(layers, [Layer::Root, Layer::Symbols]);
        assert!(report.rounds <= 3, "{}", report.rounds);
        let symbols = report.traffic_of(Kind::Symbols).received;
        assert!(symbols > 1_600_000, "{symbols}");
    });
}

/// What else the runtime of a session serves is not kept waiting by what it computes, and neither
/// are the threads where others may block: a session has threads of its own.
#[test]
fn a_session_computes_beside_its_runtime() {
    /// Threads in which the clock was asked for: the session does so whenever it was pinned.
    static THREADS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    fn clock() -> NTP64 {
        let thread = std::thread::current();
        THREADS.lock().unwrap().insert(thread.name().unwrap_or_default().to_owned());
        (ENVIRONMENT.clock)()
    }
    let environment = Environment { clock, ..ENVIRONMENT };
    let mine = TestStore::within(environment, FaultyDisk::new(1), None);
    mine.take((0..3000).map(body).collect());
    let theirs = TestStore::of(None, 100..3200);
    let host = tokio::runtime::Runtime::new().unwrap();
    let served = host.block_on(Served::new(&theirs, Limits::default()));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).enable_all().build().unwrap();
    let session = async {
        let peer = served.address.into();
        let client = Client::connect(&peer, ClientOptions::default()).await.unwrap();
        let (release, released) = mpsc::channel::<()>();
        let mut released = Some(released);
        let mut steps = 0;
        let progress = |_: &stemedb_sync::Report| {
            steps += 1;
            if let Some(released) = released.take() {
                // The runtime has no other thread that may block.
                tokio::task::spawn_blocking(move || released.recv());
            } else {
                // It has gone on all the same.
                let _once = release.send(());
            }
        };
        let (config, never) = (config(&mine), std::future::pending());
        let session = run_session(&client, config, mine.peer_store(), never, progress);
        assert_eq!(session.await.unwrap().report.fetched, 200);
        assert!(steps > 2, "{steps}");
    };
    let patience = Duration::from_secs(60);
    let ended = runtime.block_on(async { tokio::time::timeout(patience, session).await });
    ended.expect("the session waits for a thread of the runtime");
    let threads = THREADS.lock().unwrap();
    assert!(threads.contains("stemedb-session"), "{threads:?}");
    host.block_on(served.end());
}

/// A configuration can be used again: no two sessions have the same id all the same.
#[test]
fn the_seed_alone_does_not_name_a_session() {
    run(async {
        let (mine, theirs) = (TestStore::of(None, 0..10), TestStore::of(None, 5..20));
        let served = Served::new(&theirs, Limits::default()).await;
        let config = config(&mine);
        for n in 20..23 {
            theirs.take(vec![body(n)]);
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
        let (mine, theirs) = (TestStore::of(None, 0..10), TestStore::of(None, 5..20));
        let served = Served::new(&theirs, Limits::default()).await;
        let client = served.client.clone();
        served.end().await;
        let mut config = config(&mine);
        config.limits.answer_time_max = Duration::from_millis(400);
        let synced = sync(&client, &mine, config).await;
        assert_eq!(synced.report.ending, Ending::Silent, "{synced:?}");
    });
}

#[test]
fn room_is_asked_for_before_each_write_of_bodies_that_come() {
    run(async {
        let mine = TestStore::new();
        let theirs = TestStore::new();
        theirs.take((0..64).map(|n| vec![n; 100_000]).collect());
        let served = Served::new(&theirs, Limits::default()).await;
        // Room for a quarter of it.
        let (asked, limiter) = (Arc::new(AtomicU64::new(0)), Arc::new(Limiter::default()));
        let counter = Arc::clone(&asked);
        limiter.ask_for_room(move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed) + bytes <= 1_600_000
        });
        let host = mine.peer_store().with_limiter(limiter);
        let never = std::future::pending();
        let config = config(&mine);
        let synced = run_session(&served.client, config, host, never, |_| {}).await.unwrap();
        assert_eq!(synced.report.ending, Ending::Limit(Limited::Disk));
        assert!(mine.len() <= 16, "{} are more than there is room for", mine.len());
        assert!(asked.load(Ordering::Relaxed) > 1_600_000);
        served.end().await;
    });
}

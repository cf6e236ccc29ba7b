//! Two stores of one program meet over a real connection.
#![expect(clippy::unwrap_used, reason = "a helper that is not a test itself uses it")]

use std::{
    future::pending,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stemedb::{
    Environment, Options, Replicate as _, Store, SyncOptions, Timestamp,
    rpc::{Client, ClientOptions, Server, ServerOptions},
    sync::{
        Direction, Ending, Limits,
        message::Refusal,
        report::{Layer, Report},
        symbols::{SKETCH_LEN, Sketch},
    },
};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::clock::NTP64;

fn body(kind: &str, n: u32) -> Vec<u8> {
    format!("{kind} {n} {}", "x".repeat((n % 300) as usize)).into_bytes()
}

fn bodies(kind: &str, count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|n| body(kind, n)).collect()
}

fn open(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir, Options::default()).unwrap())
}

/// Serves a store for as long as the runtime lasts.
async fn serve(store: &Arc<Store>) -> Client {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await.unwrap();
    let address = server.address();
    let store = Arc::clone(store);
    tokio::spawn(async move { store.serve(server, Limits::default(), pending()).await });
    Client::connect(&address.into(), ClientOptions::default()).await.unwrap()
}

async fn sync(store: &Arc<Store>, peer: &Client, options: SyncOptions) -> Report {
    let synced = store.sync(peer, options, pending(), |_| {}).await.unwrap();
    assert!(synced.error.is_none(), "{:?}", synced.error);
    synced.report
}

fn used(report: &Report) -> Vec<Layer> {
    report.layers.iter().map(|step| step.layer).collect()
}

/// The first coded symbols of all ids that the store says it holds.
fn sketch_of(store: &Store) -> Sketch {
    let mut sketch = Sketch::new(stemedb::sync::Keys::new(None).symbol_key(), SKETCH_LEN);
    store.ids().for_each(|id| sketch.insert(&id.unwrap().0));
    sketch
}

fn check_sketch(store: &Store) {
    let comparison = store.comparison().unwrap();
    assert_eq!(comparison.set.root(), store.root().unwrap());
    assert!(
        *comparison.sketch.unwrap() == sketch_of(store),
        "the symbols are not those of the ids"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_layer_makes_two_stores_equal() {
    let all = [Layer::Cursor, Layer::Symbols, Layer::Bulk];
    for without in [&all[..0], &all[..1], &all[..2], &all[..], &all[1..2], &all[2..]] {
        let dir = tempfile::tempdir().unwrap();
        let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
        north.append_batch(bodies("common", 3_000)).unwrap();
        south.append_batch(bodies("common", 3_000).iter().rev()).unwrap();
        north.append_batch(bodies("north", 200)).unwrap();
        south.append_batch(bodies("south", 300)).unwrap();
        let peer = serve(&north).await;
        let options = SyncOptions::default().without(without.to_vec());
        let report = sync(&south, &peer, options.clone()).await;
        assert_eq!(report.ending, Ending::Complete);
        assert!(report.checked && report.confirmed && report.equal, "{report:?}");
        assert_eq!((report.fetched, report.pushed), (200, 300));
        assert!(used(&report).iter().all(|layer| !without.contains(layer)), "{report:?}");
        assert_eq!(north.root().unwrap(), south.root().unwrap());

        north.append_batch(bodies("later", 1_500)).unwrap();
        let report = sync(&south, &peer, options.clone()).await;
        assert_eq!((report.fetched, report.equal), (1_500, true));
        assert_eq!(used(&report).contains(&Layer::Cursor), !without.contains(&Layer::Cursor));

        let new = open(&dir.path().join("new"));
        let report = sync(&new, &peer, options).await;
        assert_eq!((report.fetched, report.equal), (5_000, true));
        assert_eq!(used(&report).contains(&Layer::Bulk), !without.contains(&Layer::Bulk));
        assert_eq!(new.root().unwrap(), north.root().unwrap());
    }
}

#[test]
fn the_symbols_are_those_of_the_ids_whatever_happens_to_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::default().segment_len(4 << 20);
    let store = Store::open(dir.path(), options()).unwrap();
    check_sketch(&store);
    store.append_batch(bodies("first", 70_000)).unwrap();
    check_sketch(&store);
    for n in 0..50 {
        store.append(&body("alone", n)).unwrap();
    }
    check_sketch(&store);
    store.checkpoint().unwrap();
    store.append_batch(bodies("second", 5_000)).unwrap();
    check_sketch(&store);
    store.checkpoint().unwrap();
    store.append_batch(bodies("third", 10)).unwrap();
    store.close().unwrap();

    // From the checkpoint, the log's tail, and what comes then.
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(!store.open_report().checkpoint_set_aside);
    check_sketch(&store);
    store.append_batch(bodies("fourth", 1_000)).unwrap();
    check_sketch(&store);
    store.close().unwrap();

    // A body is lost, and comes back.
    let lost = body("first", 1_234);
    let damaged = std::fs::read_dir(dir.path()).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(lost.len()).position(|window| window == lost);
        found.is_some_and(|at| {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).is_ok()
        })
    });
    assert!(damaged);
    assert_eq!(stemedb::repair(dir.path(), &options()).unwrap().holes, 1);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(store.len(), 76_059);
    check_sketch(&store);
    store.append(&lost).unwrap();
    assert_eq!(store.len(), 76_060);
    check_sketch(&store);
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    check_sketch(&store);
    store.append_batch(bodies("fifth", 20)).unwrap();
    check_sketch(&store);
    store.close().unwrap();

    // Without the checkpoints all of it comes from the log.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ckpt") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let store = Store::open(dir.path(), options()).unwrap();
    check_sketch(&store);
}

/// Those of a small set are made at once when somebody asks.
#[test]
fn checkpoints_have_the_symbols_of_a_large_set() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    store.append_batch(bodies("first", 65_000)).unwrap();
    let without = store.checkpoint().unwrap().bytes;
    assert!(without < 46 * 65_000, "{without}");
    store.append_batch(bodies("second", 65_000)).unwrap();
    let with = store.checkpoint().unwrap();
    assert_eq!(with.count, 130_000);
    let symbols = 32 * (1 + SKETCH_LEN as u64 / 2);
    assert!(with.bytes > 2 * without + symbols - 100_000, "{} after {without}", with.bytes);
    check_sketch(&store);
    store.close().unwrap();
    // A process that compares nothing saves them too.
    let store = Store::open(dir.path(), Options::default()).unwrap();
    store.append_batch(bodies("third", 1_000)).unwrap();
    let delta = store.checkpoint().unwrap();
    assert!(delta.bytes > symbols, "{}", delta.bytes);
    check_sketch(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_under_constant_writes_ends_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
    north.append_batch(bodies("north", 5_000)).unwrap();
    south.append_batch(bodies("south", 5_000)).unwrap();
    let peer = serve(&north).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [&north, &south]
        .into_iter()
        .enumerate()
        .map(|(side, store)| {
            let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    store.append(&body(&format!("meanwhile {side}"), count)).unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut moved = false;
    for _ in 0..3 {
        let report = sync(&south, &peer, SyncOptions::default()).await;
        assert_eq!(report.ending, Ending::Complete, "{report:?}");
        assert!(report.checked);
        moved |= report.peer_moved;
    }
    stop.store(true, Ordering::Relaxed);
    let written: u32 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    assert!(moved || written == 0, "a peer that goes on writing has moved on");
    let report = sync(&south, &peer, SyncOptions::default()).await;
    assert!(report.equal && !report.peer_moved);
    assert_eq!(north.root().unwrap(), south.root().unwrap());
    assert_eq!(north.len(), u64::from(10_000 + written));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_no_peer_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(b"a").unwrap();
    let peer = serve(&store).await;
    let report = sync(&store, &peer, SyncOptions::default()).await;
    assert_eq!(report.ending, Ending::Refused(Refusal::Itself));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_peer_is_noticed_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let south = open(&dir.path().join("south"));
    let disk = FaultyDisk::new(1);
    let north_on = |disk: &FaultyDisk| {
        let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, Options::default());
        Arc::new(store.unwrap())
    };
    let north = north_on(&disk);
    north.append_batch(bodies("north", 1_000)).unwrap();
    let backup = disk.fork();
    north.append_batch(bodies("lost", 500)).unwrap();

    // Both are served at the same address, one after the other.
    let bind = |address| Server::bind(address, ServerOptions::default());
    let server = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = server.address();
    let serve = |server: Server, store: Arc<Store>| {
        tokio::spawn(async move { store.serve(server, Limits::default(), pending()).await })
    };
    let serving = serve(server, north);
    let peer = Client::connect(&address.into(), ClientOptions::default()).await.unwrap();
    assert_eq!(sync(&south, &peer, SyncOptions::default()).await.fetched, 1_500);
    serving.abort();
    drop((serving.await, peer));

    // The same node, as it was before: an older log, on which other entries follow.
    let north = north_on(&backup);
    north.append_batch(bodies("other", 700)).unwrap();
    let mut server = bind(address).await;
    for _ in 0..100 {
        if server.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        server = bind(address).await;
    }
    serve(server.unwrap(), Arc::clone(&north));
    let peer = Client::connect(&address.into(), ClientOptions::default()).await.unwrap();
    let report = sync(&south, &peer, SyncOptions::default()).await;
    assert!(report.peer_rewritten, "{report:?}");
    assert!(report.equal && !used(&report).contains(&Layer::Cursor));
    assert_eq!((report.fetched, report.pushed), (700, 500), "the backup gets back what it lost");
    assert_eq!(north.root().unwrap(), south.root().unwrap());
}

const NOW: u64 = 1_790_000_000 << 32;

const ENVIRONMENT: Environment =
    Environment { clock: || NTP64(NOW), ..stemedb_store::store::ENVIRONMENT };

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_from_the_future_is_reported_and_moves_no_clock() {
    let future = Environment { clock: || NTP64(NOW + (3_600 << 32)), ..ENVIRONMENT };
    let open = |world| {
        let disk = Arc::new(FaultyDisk::new(1));
        Arc::new(Store::open_on(disk, world, Options::default()).unwrap())
    };
    let (north, south) = (open(future), open(ENVIRONMENT));
    north.append_batch(bodies("north", 100)).unwrap();
    south.append_batch(bodies("south", 100)).unwrap();
    let peer = serve(&north).await;
    let report = sync(&south, &peer, SyncOptions::default()).await;
    assert_eq!(report.clock_ahead, Some(Duration::from_secs(3_600)));
    assert!(report.equal);
    let last = south.head().unwrap().last_time;
    assert!(
        last < Timestamp::from_ntp64(NOW + (1 << 32)),
        "the clock of the store went along: {last}"
    );
    // The other way round nothing is remarkable.
    let peer = serve(&south).await;
    assert_eq!(sync(&north, &peer, SyncOptions::default()).await.clock_ahead, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_session_and_what_arrived_stays() {
    let dir = tempfile::tempdir().unwrap();
    let north = open(dir.path());
    north.append_batch(bodies("north", 20_000)).unwrap();
    let peer = serve(&north).await;
    let disk = FaultyDisk::new(1);
    let options = || Options::default().segment_len(1 << 20);
    let open = |disk: &FaultyDisk| {
        Arc::new(Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap())
    };
    let south = open(&disk);
    disk.set_capacity(Some(3 << 20));
    let report = sync(&south, &peer, SyncOptions::default()).await;
    assert_eq!(report.ending, Ending::Unreadable, "{report:?}");
    drop(south);
    disk.set_capacity(None);
    let south = open(&disk);
    assert!((1..20_000).contains(&south.len()), "{}", south.len());
    assert!(south.len() >= report.fetched);
    let report = sync(&south, &peer, SyncOptions::default()).await;
    assert!(report.equal);
    assert_eq!(south.root().unwrap(), north.root().unwrap());

    // And the same where the responder has no room.
    let disk = FaultyDisk::new(1);
    let full = open(&disk);
    disk.set_capacity(Some(3 << 20));
    let peer = serve(&full).await;
    let report = sync(&north, &peer, SyncOptions::default()).await;
    assert_eq!(report.ending, Ending::Refused(Refusal::ReadOnly), "{report:?}");
    assert_eq!(north.len(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_called_off_keeps_what_arrived() {
    let dir = tempfile::tempdir().unwrap();
    let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
    north.append_batch(bodies("north", 30_000)).unwrap();
    let peer = serve(&north).await;
    let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
    let mut cancel = Some(cancel);
    let options = SyncOptions::default();
    let cancelled = async { drop(cancelled.await) };
    let synced = south.sync(&peer, options, cancelled, |report| {
        if report.fetched > 0 {
            drop(cancel.take());
        }
    });
    let report = synced.await.unwrap().report;
    assert_eq!(report.ending, Ending::Cancelled);
    assert!((1..30_000).contains(&report.fetched), "{report:?}");
    assert_eq!(south.len(), report.fetched);
    let rest = sync(&south, &peer, SyncOptions::default()).await;
    assert!(rest.equal);
    assert_eq!(rest.fetched - rest.fetched_duplicates, 30_000 - report.fetched);
    // Several parts of a log are read at the same time: what lies behind a gap is read again.
    assert!(rest.fetched_duplicates < 16_384, "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_look_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
    north.append_batch(bodies("north", 50)).unwrap();
    south.append_batch(bodies("south", 70)).unwrap();
    let peer = serve(&north).await;
    let before = (north.head().unwrap(), south.head().unwrap());
    let look = SyncOptions::default().direction(Direction::Neither);
    let report = sync(&south, &peer, look).await;
    let found = report.found.clone().unwrap();
    let ids = |store: &Store| store.ids().map(|id| id.unwrap().0).collect::<Vec<_>>();
    assert_eq!((found.only_theirs, found.only_mine), (ids(&north), ids(&south)));
    assert!(!report.equal && report.checked && report.ending == Ending::Complete);
    assert_eq!(before, (north.head().unwrap(), south.head().unwrap()));
}

/// Threads that may wait for a disk can be as few as two, and parts of bodies as small as one each.
#[test]
fn a_session_needs_few_threads_and_no_large_parts() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
        north.append_batch((0..3_000).map(|n: u32| n.to_le_bytes())).unwrap();
        let small = Limits::default().part_len_max(8);
        let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default());
        let server = server.await.unwrap();
        let address = server.address();
        let store = Arc::clone(&north);
        tokio::spawn(async move { store.serve(server, small, pending()).await });
        let peer = Client::connect(&address.into(), ClientOptions::default()).await.unwrap();
        let session = sync(&south, &peer, SyncOptions::default());
        let report = tokio::time::timeout(Duration::from_secs(120), session).await.unwrap();
        assert_eq!((report.equal, report.fetched), (true, 3_000));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_one_byte_still_gets_there() {
    let dir = tempfile::tempdir().unwrap();
    let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
    north.append_batch(bodies("north", 6_000)).unwrap();
    south.append_batch(bodies("south", 4_000)).unwrap();
    let peer = serve(&north).await;
    let limits = Limits::default().body_bytes_max(1);
    let mut held = 10_000;
    for session in 0.. {
        let options = SyncOptions::default().limits(limits.clone());
        let report = sync(&south, &peer, options).await;
        if report.ending == Ending::Complete {
            // All was there: a limit that is passed by the last body fails nothing.
            assert!(report.equal && session > 0, "{session}: {report:?}");
            break;
        }
        let now = north.len() + south.len();
        assert!(now > held, "session {session} moved nothing: {report:?}");
        held = now;
    }
    assert_eq!((north.len(), north.root().unwrap()), (10_000, south.root().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_peers_leave_room_for_those_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let (north, south) = (open(&dir.path().join("north")), open(&dir.path().join("south")));
    south.append_batch(bodies("south", 20_000)).unwrap();
    let peer = serve(&north).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (north, stop) = (Arc::clone(&north), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                north.append(&body("own", count)).unwrap();
                count += 1;
            }
            count
        })
    };
    let report = sync(&south, &peer, SyncOptions::default()).await;
    stop.store(true, Ordering::Relaxed);
    let written = writer.join().unwrap();
    assert!(report.checked && report.pushed == 20_000, "{report:?}");
    assert_eq!(north.len(), u64::from(20_000 + written));
    // Some hundred shares went by, and an append waits for one of them.
    assert!(written > 20, "{written} appends");
}

/// What a cut session left is the beginning of the peer's log, and is not read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_from_where_what_is_held_ends() {
    let dir = tempfile::tempdir().unwrap();
    let north = open(&dir.path().join("north"));
    north.append_batch(bodies("north", 5_000)).unwrap();
    let peer = serve(&north).await;
    let south = open(&dir.path().join("south"));
    south.append_batch(bodies("north", 500)).unwrap();
    let report = sync(&south, &peer, SyncOptions::default()).await;
    assert_eq!(used(&report), [Layer::Root, Layer::Bulk]);
    assert_eq!((report.equal, report.fetched, report.fetched_duplicates), (true, 4_500, 0));
    // Where it is something else, the next layer finds what lies before.
    let other = open(&dir.path().join("other"));
    other.append_batch(bodies("other", 500)).unwrap();
    let report = sync(&other, &peer, SyncOptions::default()).await;
    assert_eq!(used(&report), [Layer::Root, Layer::Bulk, Layer::Symbols]);
    assert_eq!((report.equal, report.fetched, report.pushed), (true, 5_000, 500));
}

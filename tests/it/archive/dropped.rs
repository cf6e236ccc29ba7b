//! Segments whose bodies are only in the archive: all else goes on without it.

use crate::reference::world;
use std::{
    collections::HashSet,
    fs,
    sync::{Arc, Mutex},
};

use super::place::{Place, append, archiver, body, faults, options, push, roots};
use stemedb::{
    AssertionId, Head, LogIndex, Options, Replicate as _, Store, SyncOptions,
    archive::{Archive, ArchiveError, PushOptions, segment_source},
    rpc::{Client, ClientOptions, Server, ServerOptions},
    sync::Limits,
};
use stemedb_simdisk::{FaultyDisk, Survival};
use world::ENVIRONMENT;

fn id(n: u64) -> AssertionId {
    AssertionId(*blake3::hash(&body(n)).as_bytes())
}

fn remote_segments(store: &Store) -> u64 {
    store.dropped_segments().unwrap().len() as u64
}

/// A store with a thousand entries, all sealed segments but one of which are dropped.
async fn dropped(place: &Place) -> (Archive, Arc<Store>) {
    let archive = place.archive();
    let store = Arc::new(Store::open(place.join("one"), with(&archive)).unwrap());
    append(&store, 0..1000);
    assert_eq!(archive.drop_archived(&store, 1).await.unwrap().segments, 0, "nothing is archived");
    push(&archive, &store).await;
    assert_eq!(
        archive.drop_archived(&store, 1).await.unwrap().segments,
        0,
        "opening would replay it"
    );
    store.checkpoint().unwrap();
    let sealed = store.stats().unwrap().segments - 1;
    let done = archive.drop_archived(&store, 1).await.unwrap();
    assert_eq!(done.segments, sealed - 1);
    assert_eq!(remote_segments(&store), sealed - 1);
    assert_eq!(archive.drop_archived(&store, 1).await.unwrap().segments, 0, "again");
    (archive, store)
}

fn with(archive: &Archive) -> Options {
    options().segment_source(Some(segment_source(archive.url())))
}

fn check_held(store: &Store, range: std::ops::Range<u64>) {
    for n in range {
        assert_eq!(store.get(&id(n)).unwrap().unwrap(), body(n));
    }
}

fn check_bodies(store: &Store, range: std::ops::Range<u64>) {
    check_held(store, range.clone());
    for n in range {
        assert_eq!(store.get_index(LogIndex(n)).unwrap().unwrap().1, body(n));
    }
}

/// All that needs no body: with or without the archive.
fn check_all_else(store: &Store, head: Head) {
    assert_eq!(store.head().unwrap(), head);
    assert!(store.open_report().remarks.is_empty(), "{}", store.open_report());
    let ids: Vec<AssertionId> = store.iter().map(|entry| entry.unwrap().id).collect();
    assert!(head.log_size == ids.len() as u64 && ids[1] == id(1));
    assert!(store.find(&id(1)).unwrap().is_some_and(|entry| entry.index == 1));
    assert!(store.append(&body(1)).unwrap().duplicate);
    store.prove(&id(1)).unwrap();
    store.stats().unwrap();
    let report = store.check(stemedb::Depth::Deep, &mut |_| {}).unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!(report.remote_segments, remote_segments(store));
}

fn only_in_archive(error: &stemedb::ReadError, url: &str) {
    let text = error.to_string();
    assert!(!error.is_damage() && text.contains("only in the archive at"), "{text}");
    assert!(text.contains(url), "{text}");
}

#[tokio::test]
async fn segments_that_are_archived_can_be_dropped_and_are_read_from_there() {
    let place = Place::new();
    let (archive, store) = dropped(&place).await;
    let dropped = remote_segments(&store);
    let files = |front: &str| {
        let names = fs::read_dir(place.join("one")).unwrap();
        let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(front)).count() as u64
    };
    assert_eq!((files("segment-"), files("remote-")), (2, dropped));
    check_bodies(&store, 0..1000);
    append(&store, 1000..1100);
    let head = store.head().unwrap();
    check_all_else(&store, head);
    push(&archive, &store).await;
    drop(store);

    // Without the archive.
    let store = Store::open(place.join("one"), options()).unwrap();
    check_all_else(&store, head);
    only_in_archive(&store.get(&id(1)).unwrap_err(), archive.url());
    check_bodies(&store, 1050..1100);
    drop(store);
    let report = stemedb::repair(place.join("one"), &options()).unwrap();
    assert!(report.remarks.is_empty(), "{:?}", report.remarks);

    // Without a restart checkpoint all is replayed, also without the archive.
    for name in fs::read_dir(place.join("one")).unwrap() {
        let path = name.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ckpt") {
            fs::remove_file(path).unwrap();
        }
    }
    let verify = options().verify_on_open(true);
    let store = Store::open(place.join("one"), verify).unwrap();
    assert_eq!(remote_segments(&store), dropped);
    check_all_else(&store, head);
    drop(store);

    let store = Arc::new(Store::open(place.join("one"), with(&archive)).unwrap());
    check_all_else(&store, head);
    check_bodies(&store, 0..1100);
    let again = PushOptions::default().seal(true).again(true);
    archive.push(&store, again, |_| {}).await.unwrap();
    assert_eq!(faults(&archive).await, []);
}

#[tokio::test]
async fn an_archive_that_is_gone_or_damaged_harms_nothing_but_reads() {
    let place = Place::new();
    let (archive, store) = dropped(&place).await;
    let head = store.head().unwrap();
    drop(store);
    // Gone: the store opens, and says what is the matter.
    fs::rename(place.join("archive"), place.join("elsewhere")).unwrap();
    let store = Store::open(place.join("one"), with(&archive)).unwrap();
    check_all_else(&store, head);
    only_in_archive(&store.get(&id(1)).unwrap_err(), archive.url());
    // And it is back, which needs no restart.
    fs::rename(place.join("elsewhere"), place.join("archive")).unwrap();
    assert_eq!(store.get(&id(1)).unwrap().unwrap(), body(1));
    drop(store);

    for path in place.objects() {
        let mut bytes = fs::read(&path).unwrap();
        for byte in &mut bytes {
            *byte ^= 1;
        }
        fs::write(&path, bytes).unwrap();
    }
    let store = Arc::new(Store::open(place.join("one"), with(&archive)).unwrap());
    check_all_else(&store, head);
    for n in 0..20 {
        let error = store.get(&id(n)).unwrap_err();
        only_in_archive(&error, archive.url());
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }
    let healed = store.heal(&id(1), &body(1)).unwrap_err();
    assert!(healed.to_string().contains("the segment is in the archive"), "{healed}");
    // What the archive no longer has is not dropped.
    let refused = archive.drop_archived(&store, 0).await;
    assert!(matches!(refused, Err(ArchiveError::Damaged(_))), "{refused:?}");
    check_all_else(&store, head);
}

#[tokio::test]
async fn a_backup_says_that_it_needs_the_archive() {
    let place = Place::new();
    let (archive, store) = dropped(&place).await;
    let report = store.backup(place.join("backup"), &mut |_| {}).unwrap();
    assert_eq!(report.segments_remote, remote_segments(&store));
    let reader = Store::open_read_only(place.join("one"), options()).unwrap();
    let outside = reader.backup(place.join("outside"), &mut |_| {}).unwrap();
    assert_eq!((outside.segments_remote, outside.head), (report.segments_remote, report.head));
    for (from, to, head) in [("backup", "two", report.head), ("outside", "three", outside.head)] {
        let root = head.set_root;
        stemedb::restore(place.join(from), place.join(to), &root, options(), &mut |_| {}).unwrap();
        let store = Store::open(place.join(to), options()).unwrap();
        assert_eq!(roots(store.head().unwrap()), roots(head));
        assert_eq!(remote_segments(&store), report.segments_remote);
        only_in_archive(&store.get(&id(1)).unwrap_err(), archive.url());
        drop(store);
        check_bodies(&Store::open(place.join(to), with(&archive)).unwrap(), 0..900);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_gets_bodies_that_are_only_in_the_archive() {
    let place = Place::new();
    let (archive, store) = dropped(&place).await;
    let head = store.head().unwrap();
    drop(store);
    for (name, with_archive) in [("without", false), ("with", true)] {
        let opened = if with_archive { with(&archive) } else { options() };
        let store = Arc::new(Store::open(place.join("one"), opened).unwrap());
        let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await;
        let server = server.unwrap();
        let peer = server.address().to_string().parse().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let source = Arc::clone(&store);
        let serving = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            source.serve(server, Limits::default(), stopped).await.unwrap();
        });
        let client = Client::connect(&peer, ClientOptions::default()).await.unwrap();
        let empty = place.store(name);
        let never = std::future::pending();
        let synced = empty.sync(&client, SyncOptions::default(), never, |_| {}).await;
        let report = synced.unwrap().report;
        assert_eq!(report.withheld == 0, with_archive, "{report:?}");
        if with_archive {
            assert_eq!(empty.head().unwrap().set_root, head.set_root);
            check_held(&empty, 0..1000);
        } else {
            // It has not got them, and is told so.
            assert!(empty.len() < head.count);
        }
        stop.send(()).unwrap();
        drop(client);
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_node_drops_by_its_policy() {
    use std::time::Duration;
    let place = Place::new();
    let archive = place.archive();
    let store = Arc::new(Store::open(place.join("one"), with(&archive)).unwrap());
    append(&store, 0..600);
    let policy = stemedb::node::options::ArchivePolicy::new(archive.url().into())
        .interval(Duration::from_millis(20))
        .keep_segments(Some(2));
    let (mut status, stop, running) = archiver(Arc::clone(&store), policy);
    assert_eq!(status.recv().await.unwrap().dropped_segments, 0, "opening would replay them");
    store.checkpoint().unwrap();
    let expected = store.stats().unwrap().segments - 3;
    while status.recv().await.unwrap().dropped_segments < expected {}
    assert_eq!(remote_segments(&store), expected);
    drop(stop);
    running.await.unwrap();
    check_bodies(&store, 0..600);
}

#[tokio::test]
async fn a_crash_at_any_call_while_segments_are_dropped() {
    world::reset();
    let place = Place::new();
    let archive = place.archive();
    let disk = FaultyDisk::new(1);
    let opened = |disk: FaultyDisk, source: bool| {
        let options = with(&archive).threads(false).map_files(false);
        let segment_source = options.segment_source.clone().filter(|_| source);
        Store::open_on(Arc::new(disk), ENVIRONMENT, options.segment_source(segment_source))
    };
    let store = Arc::new(opened(disk.clone(), true).unwrap());
    append(&store, 0..500);
    push(&archive, &store).await;
    store.checkpoint().unwrap();
    let head = store.head().unwrap();
    let moments = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&moments);
    disk.observe(move |moment| seen.lock().unwrap().push(moment.disk));
    let dropped = archive.drop_archived(&store, 1).await.unwrap().segments;
    disk.stop_observing();
    moments.lock().unwrap().push(disk.fork());
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(dropped >= 2 && moments.len() as u64 >= 7 * dropped, "{}", moments.len());
    let mut counts = HashSet::new();
    for (number, moment) in moments.iter().enumerate() {
        for survival in Survival::ALL {
            let store = opened(moment.power_cut(survival, number as u64), number % 2 == 0).unwrap();
            assert_eq!(store.head().unwrap(), head, "operation {number}, {survival:?}");
            counts.insert(remote_segments(&store));
            assert!(store.append(&body(1)).unwrap().duplicate);
            assert!(!store.append(b"new").unwrap().duplicate);
            assert_eq!(head.log_size + 1, store.iter().flatten().count() as u64);
            if number % 2 == 0 && number % 6 == 0 {
                check_bodies(&store, 0..500);
            }
        }
    }
    assert_eq!(counts.len() as u64, dropped + 1, "{counts:?}");
}

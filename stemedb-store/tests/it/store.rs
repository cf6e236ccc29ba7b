//! The store as a program uses it.

pub(crate) mod clock;
pub(crate) mod closed;
pub(crate) mod held;
pub(crate) mod watch;

use crate::reference::world;
use std::{path::Path, sync::Arc, time::Duration};

use stemedb_merkle::{MerkleTree, history::MemoryHistory, history::leaf_hash};
use stemedb_store::{
    AssertionId, LogIndex, LogSize, OpenError, Options, Presence, Proven, ResolveError, Secret,
    Store, TreeHead,
};

fn options() -> Options {
    Options::default().segment_len(64 << 10)
}

fn body(n: u64) -> Vec<u8> {
    format!("assertion {n} {}", "x".repeat((n % 200) as usize)).into_bytes()
}

/// Both roots, from nothing but the log's entries.
fn check_roots(store: &Store) {
    let mut tree = MerkleTree::new();
    let mut history = MemoryHistory::new();
    for entry in store {
        let entry = entry.unwrap();
        if !entry.hole {
            tree.insert(entry.id.0).unwrap();
        }
        history.append(leaf_hash(entry.time, &entry.id.0));
    }
    let head = store.head().unwrap();
    assert_eq!((head.count, head.set_root), (tree.len(), tree.root()));
    assert_eq!((head.log_size, head.log_root), (history.head().size, history.root()));
}

#[test]
fn what_is_appended_is_there_now_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut receipts = Vec::new();
    for round in 0..4_u64 {
        let store = Store::open(dir.path(), options()).unwrap();
        assert!(store.open_report().remarks.is_empty(), "{}", store.open_report());
        check_roots(&store);
        for (n, receipt) in receipts.iter().enumerate() {
            let body = body(n as u64);
            assert_eq!(
                store.append(&body).unwrap(),
                stemedb_store::Receipt { duplicate: true, ..*receipt }
            );
            assert_eq!(store.get(&receipt.id).unwrap(), Some(body));
        }
        let from = 500 * round;
        let batch = store.append_batch((from..from + 499).map(body)).unwrap();
        assert!(batch.iter().all(|receipt| !receipt.duplicate));
        receipts.extend(batch);
        receipts.push(store.append(&body(from + 499)).unwrap());
        check_roots(&store);
        if round == 1 {
            store.checkpoint().unwrap();
            check_roots(&store);
        }
        if round < 3 {
            store.close().unwrap();
        }
    }
}

#[test]
fn proofs_verify_and_absence_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let receipts = store.append_batch((0..1000).map(body)).unwrap();
    let middle = store.history_head().unwrap();
    store.append_batch((1000..1500).map(body)).unwrap();
    for store in [store, {
        let copy = tempfile::tempdir().unwrap();
        let store = Store::open(copy.path(), options()).unwrap();
        store.append_batch((0..1500).map(body)).unwrap();
        store.checkpoint().unwrap();
        std::mem::forget(copy);
        store
    }] {
        let root = store.root().unwrap();
        for receipt in receipts.iter().step_by(37) {
            let proof = store.prove(&receipt.id).unwrap().proof;
            assert_eq!(proof.verify(&root), Ok(Presence::Present));
            assert!(store.prove_absence(&receipt.id).unwrap().is_none());
            let size = 1234;
            let proof = store.prove_inclusion_at(receipt.index, LogSize(size)).unwrap();
            let root = store.history_root_at(LogSize(size)).unwrap();
            let head = TreeHead { size: LogSize(size), root };
            let entry = store.entry(receipt.index).unwrap().unwrap();
            let leaf = leaf_hash(entry.time, &entry.id.0);
            proof.verify(&leaf, receipt.index, &head).unwrap();
        }
        let absent = AssertionId([7; 32]);
        let proof = store.prove_absence(&absent).unwrap().unwrap().proof;
        assert_eq!(proof.verify(&root), Ok(Presence::Absent));
        assert!(store.history_root_at(LogSize(1501)).is_err());
    }
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(store.history_root_at(LogSize(1000)).unwrap(), middle.root);
    let proof = store.prove_consistency(LogSize(1000), LogSize(1500)).unwrap();
    proof.verify(&middle, &store.history_head().unwrap()).unwrap();
}

#[test]
fn threads_and_tasks_share_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), options()).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..50 {
                    // Each body by two threads.
                    store.append(&body(1000 * (thread / 2) + n)).unwrap();
                }
            });
        }
    });
    assert_eq!(store.len(), 100);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let tasks: Vec<_> =
        (0..64).map(|n| runtime.spawn(store.append_async(body(10_000 + n)))).collect();
    for task in tasks {
        assert!(!runtime.block_on(task).unwrap().unwrap().duplicate);
    }
    assert_eq!(store.len(), 164);
    check_roots(&store);
}

/// A batch that a task appends is as one that a thread appends, also where it is longer than what
/// is written at once, and than what may wait.
#[test]
fn a_task_appends_batches_of_any_length() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options().queue_records_max(4)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let none = store.append_batch_async(Vec::<Vec<u8>>::new());
    assert_eq!(runtime.block_on(none).unwrap(), []);
    let long = |n: u64| [n.to_le_bytes().to_vec(), vec![0; 700_000]].concat();
    let short = (0..1000).map(body).chain([body(3)]);
    let bodies: Vec<Vec<u8>> = short.chain((0..40).map(long)).collect();
    let batch = store.append_batch_async(&bodies);
    drop(store.append_batch_async([body(5000)]));
    let receipts = runtime.block_on(batch).unwrap();
    assert_eq!((store.len(), receipts.len()), (1040, 1041), "nothing is queued before a poll");
    assert!(receipts[1000].duplicate && receipts[1000].index == receipts[3].index);
    for (receipt, body) in receipts.iter().zip(&bodies) {
        assert_eq!(store.get(&receipt.id).unwrap().as_ref(), Some(body));
    }
    check_roots(&store);
    let tasks: Vec<_> = (0..8)
        .map(|n| store.append_batch_async((10_000 + 100 * n..10_100 + 100 * n).map(body)))
        .collect();
    for task in tasks.into_iter().rev() {
        assert_eq!(runtime.block_on(task).unwrap().len(), 100);
    }
    assert_eq!(store.len(), 1840);
}

#[test]
fn a_watch_gets_every_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append_batch((0..10).map(body)).unwrap();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            store.watch(LogIndex(3)).take(17).map(|entry| entry.unwrap().index).collect::<Vec<_>>()
        });
        for n in 10..20 {
            store.append(&body(n)).unwrap();
        }
        assert_eq!(watcher.join().unwrap(), (3..20).collect::<Vec<_>>());
    });
    let mut watch = store.watch(LogIndex(20));
    assert!(watch.next_within(Duration::from_millis(1)).is_none());
    store.append(&body(20)).unwrap();
    assert_eq!(watch.next_within(Duration::from_secs(5)).unwrap().unwrap().index, 20);
}

#[test]
fn ranges_by_index_time_and_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let receipts = store.append_batch((0..2000).map(body)).unwrap();
    let indexes = |entries: stemedb_store::Entries<'_>| -> Vec<u64> {
        entries.map(|entry| entry.unwrap().index.get()).collect()
    };
    assert_eq!(indexes(store.range(LogIndex(5)..LogIndex(9))), [5, 6, 7, 8]);
    assert_eq!(indexes(store.range(LogIndex(1998)..)), [1998, 1999]);
    let backward = store.range(..=LogIndex(3)).rev();
    let mut backward: Vec<u64> = backward.map(|entry| entry.unwrap().index.get()).collect();
    assert_eq!(backward, [3, 2, 1, 0]);
    backward.clear();
    let times = receipts[700].time..=receipts[703].time;
    assert_eq!(indexes(store.range_by_time(times).unwrap()), [700, 701, 702, 703]);
    let id = receipts[42].id;
    assert_eq!(store.resolve(&id.to_string()[..12]).unwrap(), id);
    assert_eq!(store.resolve(&id.to_string()[..12].to_uppercase()).unwrap(), id);
    assert!(matches!(store.resolve("012"), Err(ResolveError::Malformed { .. })));
    assert!(matches!(store.resolve("0000000000"), Err(ResolveError::NotFound { .. })));
    assert_eq!(store.ids().count(), 2000);
}

#[test]
fn one_store_one_opener() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let at_once = options().lock_wait(Duration::ZERO);
    assert!(matches!(Store::open(dir.path(), at_once), Err(OpenError::Locked { .. })));
    drop(store);
    Store::open(dir.path(), options()).unwrap();
    let none = options().create(false);
    let missing = Store::open(dir.path().join("nothing"), none);
    assert!(matches!(missing, Err(OpenError::Missing { .. })));
}

#[test]
fn a_secret_is_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let with = |secret: &[u8]| options().secret(Some(Secret::new(secret).unwrap()));
    let store = Store::open(dir.path(), with(&[1; 16])).unwrap();
    let id = store.append(b"guess me").unwrap().id;
    assert_ne!(id.0, *blake3::hash(b"guess me").as_bytes());
    drop(store);
    assert!(Store::open(dir.path(), with(&[2; 16])).is_err());
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.lacks_secret());
    assert!(store.append(b"more").is_err());
    assert!(store.get(&id).is_err());
    assert!(store.contains(&id).unwrap(), "ids are no secret");
    drop(store);
    let store = Store::open(dir.path(), with(&[1; 16])).unwrap();
    assert_eq!(store.get(&id).unwrap().unwrap(), b"guess me");
}

#[test]
fn a_copied_directory_is_another_node() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(dir.path(), options()).unwrap();
    store.append_batch((0..100).map(body)).unwrap();
    store.close().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let store = Store::open(copy.path(), options()).unwrap();
    assert_eq!(store.open_report().remarks.len(), 1, "{}", store.open_report());
    assert_eq!(store.stats().unwrap().epoch, 2);
    check_roots(&store);
    drop(store);
    let store = Store::open(copy.path(), options()).unwrap();
    assert!(store.open_report().remarks.is_empty());
}

/// A checkpoint of another moment, another log, or none at all: the log decides.
#[test]
fn a_checkpoint_is_only_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append_batch((0..3000).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((3000..3100).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((3100..3200).map(body)).unwrap();
    let head = store.head().unwrap();
    store.close().unwrap();
    let checkpoints = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let mut names: Vec<_> = names
            .filter(|path| path.extension().is_some_and(|extension| extension == "ckpt"))
            .filter(|path| {
                !stemedb_wal::disk::is_quarantined(&path.file_name().unwrap().to_string_lossy())
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(checkpoints().len(), 2);
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(store.open_report().replayed, 100);
    assert_eq!(store.head().unwrap(), head);
    check_roots(&store);
    store.close().unwrap();

    for last in [false, true] {
        let paths = checkpoints();
        let path = if last { paths.last() } else { paths.first() }.unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(path, bytes).unwrap();
        let store = Store::open(dir.path(), options()).unwrap();
        assert!(store.open_report().checkpoint_set_aside, "{}", path.display());
        assert_eq!(store.head().unwrap(), head);
        check_roots(&store);
        store.checkpoint().unwrap();
        assert_eq!(store.head().unwrap(), head);
        store.close().unwrap();
    }
    std::fs::remove_file(dir.path().join("history.tiles")).unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    assert!(store.open_report().checkpoint_set_aside);
    assert_eq!(store.head().unwrap(), head);
    check_roots(&store);
}

/// A copy of all files of a store that is open: what a kill leaves.
fn killed(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn assert_shortened(dir: &Path) {
    // Again and again: that it is refused does not make it forgotten.
    for _ in 0..2 {
        let error = Store::open(dir, Options::default()).map(drop).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }
}

/// Of the segment that is lost in part, nothing in it tells.
#[test]
fn a_log_that_ends_before_its_checkpoint_has_lost_its_end() {
    let options = || Options::default().threads(false);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let segment = "segment-0000-00000000000000000000.log";
    store.append_batch((0..100).map(body)).unwrap();
    let older = std::fs::read(dir.path().join(segment)).unwrap();
    store.append_batch((100..3000).map(body)).unwrap();
    let checkpoint = store.checkpoint().unwrap().path;
    store.append_batch((3000..3010).map(body)).unwrap();

    let whole = killed(dir.path());
    assert_eq!(Store::open(whole.path(), options()).unwrap().len(), 3010);
    let older_segment = killed(dir.path());
    std::fs::write(older_segment.path().join(segment), &older).unwrap();
    assert_shortened(older_segment.path());
    // The mark holds although the rest of the checkpoint is of no use.
    let copy = older_segment.path().join(checkpoint.file_name().unwrap());
    let bytes = std::fs::read(&copy).unwrap();
    std::fs::write(&copy, &bytes[..bytes.len() / 2]).unwrap();
    assert_shortened(older_segment.path());
    let no_segment = killed(dir.path());
    std::fs::remove_file(no_segment.path().join(segment)).unwrap();
    assert_shortened(no_segment.path());
}

/// What rested for a second is in `IDENTITY`: the last segment can't be exchanged for what it was.
#[test]
fn a_last_segment_of_an_earlier_time_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let path = |name: &str| dir.path().join(name);
    let segment = "segment-0000-00000000000000000000.log";
    store.append_batch((0..100).map(body)).unwrap();
    let older = std::fs::read(path(segment)).unwrap();
    store.append_batch((100..200).map(body)).unwrap();
    let identity = std::fs::read(path("IDENTITY")).unwrap();
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(50));
        if std::fs::read(path("IDENTITY")).unwrap() != identity {
            break;
        }
    }
    let whole = killed(dir.path());
    assert_eq!(Store::open(whole.path(), options()).unwrap().len(), 200);
    let exchanged = killed(dir.path());
    std::fs::write(exchanged.path().join(segment), &older).unwrap();
    assert_shortened(exchanged.path());
    // Without new entries it is not written again.
    let identity = std::fs::read(path("IDENTITY")).unwrap();
    let modified = || std::fs::metadata(path("IDENTITY")).unwrap().modified().unwrap();
    let before = modified();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((std::fs::read(path("IDENTITY")).unwrap(), modified()), (identity, before));
    assert_eq!(store.upkeep(), stemedb_store::Upkeep::default());
    store.append(b"goes on").unwrap();
}

/// Damage in a restart checkpoint that is met long after opening: the log has all that is in it.
#[test]
fn a_checkpoint_that_is_damaged_in_use_is_left_for_the_log() {
    let options = || options().threads(false);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append_batch((0..3000).map(body)).unwrap();
    let name = store.checkpoint().unwrap().path.file_name().unwrap().to_owned();
    let head = store.head().unwrap();
    store.close().unwrap();
    let (mut met, mut new) = (0, 3000);
    let len = std::fs::metadata(dir.path().join(&name)).unwrap().len();
    for at in (300..usize::try_from(len).unwrap()).step_by(7001) {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let path = copy.path().join(&name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let store = Store::open(copy.path(), options()).unwrap();
        assert_eq!(store.head().unwrap(), head);
        if store.open_report().checkpoint_set_aside {
            continue;
        }
        let receipts = store.append_batch((new..new + 400).map(body)).unwrap();
        assert!(receipts.iter().all(|receipt| !receipt.duplicate));
        assert!(store.append(&body(at as u64 % 3000)).unwrap().duplicate);
        new += 400;
        check_roots(&store);
        met += u64::from(store.snapshot().unwrap().tree().mapped_set().is_none());
        store.checkpoint().unwrap();
        check_roots(&store);
        let head = store.head().unwrap();
        store.close().unwrap();
        let store = Store::open(copy.path(), options()).unwrap();
        assert_eq!((store.open_report().replayed, store.head().unwrap()), (0, head), "byte {at}");
    }
    assert!(met > 3, "{met} met the damage after opening");
}

/// Roots and lookups while other threads append: all that is acknowledged counts at once.
#[test]
fn what_is_acknowledged_is_in_the_root_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let acknowledged = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (store, acknowledged) = (&store, &acknowledged);
            scope.spawn(move || {
                for round in 0..60 {
                    let from = 100_000 * thread + 100 * round;
                    let batch = store.append_batch((from..from + 97).map(body)).unwrap();
                    let ids = batch.iter().map(|receipt| receipt.id);
                    acknowledged.lock().unwrap().extend(ids);
                }
            });
        }
        for round in 0..200_usize {
            let before = acknowledged.lock().unwrap().clone();
            let snapshot = store.snapshot().unwrap();
            assert!(snapshot.len() >= before.len() as u64);
            for id in before.iter().skip(round % 7).step_by(101) {
                assert!(store.contains(id).unwrap());
                let proof = snapshot.prove(id).unwrap().proof;
                assert_eq!(proof.verify(&snapshot.root()).unwrap(), Presence::Present);
            }
            if round % 50 == 20 {
                store.checkpoint().unwrap();
            }
        }
    });
    assert_eq!(store.len(), 3 * 60 * 97);
    check_roots(&store);
}

/// While others append, a proof verifies against the head that came with it.
#[test]
fn a_proof_comes_with_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let first = store.append(b"first").unwrap();
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for n in 0..400 {
                store.append(&body(n)).unwrap();
            }
        });
        let mut heads = std::collections::BTreeSet::new();
        while !appending.is_finished() {
            let Proven { proof, head } = store.prove(&first.id).unwrap();
            assert_eq!(proof.verify(&head.set_root), Ok(Presence::Present));
            let absent = store.prove_absence(&AssertionId([7; 32])).unwrap().unwrap();
            assert_eq!(absent.proof.verify(&absent.head.set_root), Ok(Presence::Absent));
            let Proven { proof, head } = store.prove_inclusion(LogIndex(0)).unwrap();
            let leaf = leaf_hash(first.time, &first.id.0);
            let log = TreeHead { size: head.log_size, root: head.log_root };
            proof.verify(&leaf, LogIndex(0), &log).unwrap();
            heads.insert(head.log_size);
        }
        assert!(heads.len() > 1, "the log grew meanwhile");
    });
}

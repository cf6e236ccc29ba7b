//! Restart checkpoints that fail while the store is open: it goes on with the log, or says that it
//! can't.
#![expect(clippy::unwrap_used, reason = "a helper that is not a test itself uses it")]

use std::{path::Path, sync::Arc, thread, time::Duration};

use stemedb_store::clock::NTP64;
use stemedb_store::{
    AssertionId, Environment, Head, LogIndex, LogSize, Options, Presence, ReadError, Store, Upkeep,
    error::{CheckpointError, TreeFailure},
};

pub(crate) mod disk;

use disk::FailingDisk;

const ENVIRONMENT: Environment = Environment {
    clock: || NTP64(7 << 32),
    entropy: |bytes| {
        bytes.fill(3);
        Ok(())
    },
    sleep: |_| {},
};

fn without_threads() -> Options {
    Options::default().threads(false)
}

fn open(disk: &FailingDisk, options: Options) -> Store {
    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap()
}

fn body(n: u64) -> Vec<u8> {
    format!("assertion {n}").into_bytes()
}

/// 3,000 bodies are in a checkpoint, and 400 more are not in the trees yet. With it what the head
/// is to be.
fn filled(disk: &FailingDisk) -> (Store, Head) {
    let store = open(disk, without_threads());
    store.append_batch((0..3000).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((3000..3400).map(body)).unwrap();
    let other = open(&FailingDisk::new(), without_threads());
    other.append_batch((0..3400).map(body)).unwrap();
    (store, other.head().unwrap())
}

fn id_of(n: u64) -> AssertionId {
    AssertionId(*blake3::hash(&body(n)).as_bytes())
}

/// The checkpoint can't be read from any moment of a fold on: the log rebuilds the tree.
#[test]
fn a_fold_that_meets_damage_goes_on_with_the_log() {
    let (mut rebuilt, mut whole) = (0, 0);
    for reads in (0..4000).step_by(97) {
        let disk = FailingDisk::new();
        let (store, after) = filled(&disk);
        disk.fail_reads(".ckpt", reads);
        let head = store.head().unwrap();
        assert_eq!((head.count, head.set_root), (after.count, after.set_root), "{reads} reads");
        assert_eq!(head.log_size, after.log_size);
        let snapshot = store.snapshot().unwrap();
        match snapshot.tree().mapped_set() {
            None => rebuilt += 1,
            Some(_) => whole += 1,
        }
        disk.work();
        store.close().unwrap();
        let store = open(&disk, without_threads());
        let head = store.head().unwrap();
        assert_eq!((head.count, head.set_root), (after.count, after.set_root), "{reads} reads");
    }
    assert!(rebuilt > 5 && whole > 5, "{rebuilt} rebuilt, {whole} whole");
}

/// Neither the checkpoint nor the log can be read in the midst of a fold: nothing is answered from
/// a tree that has a part of it.
#[test]
fn nothing_is_answered_from_trees_that_have_a_part() {
    let mut failed = 0;
    for reads in (0..3000).step_by(211) {
        let disk = FailingDisk::new();
        let (store, after) = filled(&disk);
        let (known, absent) = (id_of(5), id_of(9_999));
        disk.fail_reads(".ckpt", reads);
        disk.fail_reads(".log", 0);
        // The segment that was open since it was made goes by its first name here.
        disk.fail_reads("spare.tmp", 0);
        let Err(error) = store.root() else {
            assert_eq!(store.head().map(|head| head.set_root).unwrap(), after.set_root);
            continue;
        };
        failed += 1;
        let behind = |error: &ReadError| {
            matches!(error, ReadError::Behind(TreeFailure::NotRebuilt { log: Some(_), .. }))
        };
        assert!(behind(&error) && error.is_damage(), "{error}");
        // Not even when all can be read again: a part of the fold is in the tree.
        disk.work();
        assert!(behind(&store.root().unwrap_err()));
        assert!(behind(&store.head().unwrap_err()));
        assert!(behind(&store.snapshot().unwrap_err()));
        assert!(behind(&store.prove(&known).unwrap_err()));
        assert!(behind(&store.prove(&absent).unwrap_err()));
        assert!(behind(&store.prove_absence(&absent).unwrap_err()));
        assert!(behind(&store.history_root().unwrap_err()));
        assert!(behind(&store.history_head().unwrap_err()));
        assert!(
            store.history_root_at(LogSize(10)).is_err()
                && store.prove_inclusion_at(LogIndex(1), LogSize(2)).is_err()
        );
        assert!(behind(&store.ids().next().unwrap().unwrap_err()));
        assert!(behind(&store.stats().unwrap_err()));
        assert!(behind(&store.comparison().unwrap_err()));
        assert!(store.append(b"whether this is new is not known").is_err());
        let checkpoint = store.checkpoint().unwrap_err();
        assert!(matches!(checkpoint, CheckpointError::Read(_)), "{checkpoint}");
        // What is held and can be read is still given out.
        assert_eq!(store.get(&known).unwrap(), Some(body(5)));
        drop(store);
        // Nothing was lost.
        let store = open(&disk, without_threads());
        let head = store.head().unwrap();
        assert_eq!((head.count, head.set_root), (after.count, after.set_root));
    }
    assert!(failed > 5, "{failed}");
}

/// A mapped checkpoint is cut to nothing: real SIGBUS. Every command that a program can give is
/// answered, from the log.
#[test]
fn a_mapped_checkpoint_that_is_cut_is_left_for_the_log() {
    type Command = fn(&Store);
    let commands: [Command; 7] = [
        |store| assert_eq!(store.get(&id_of(77)).unwrap(), Some(body(77))),
        |store| assert_eq!(store.get(&id_of(9_999)).unwrap(), None),
        |store| assert!(store.append(&body(78)).unwrap().duplicate),
        |store| {
            let proof = store.prove(&id_of(79)).unwrap().proof;
            assert_eq!(proof.verify(&store.root().unwrap()), Ok(Presence::Present));
        },
        |store| assert!(store.prove_absence(&id_of(9_999)).unwrap().is_some()),
        |store| drop(store.append_batch((4000..8000).map(body)).unwrap()),
        |store| {
            let id = id_of(80);
            assert_eq!(store.resolve(&id.to_string()[..20]).unwrap(), id);
        },
    ];
    for (number, command) in commands.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), without_threads()).unwrap();
        store.append_batch((0..3000).map(body)).unwrap();
        store.checkpoint().unwrap();
        store.close().unwrap();
        let store = Store::open(dir.path(), without_threads()).unwrap();
        let root = store.root().unwrap();
        cut_checkpoints(dir.path());
        command(&store);
        assert!(store.contains(&id_of(77)).unwrap(), "command {number}");
        if store.len() == 3000 {
            assert_eq!(store.root().unwrap(), root, "command {number}");
        }
        let head = store.head().unwrap();
        store.close().unwrap();
        let store = Store::open(dir.path(), without_threads()).unwrap();
        assert_eq!(store.head().unwrap(), head, "command {number}");
    }
}

fn cut_checkpoints(dir: &Path) {
    let mut cut = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ckpt") {
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(0).unwrap();
            cut += 1;
        }
    }
    assert_eq!(cut, 1);
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(holds(), "{what}");
}

/// A checkpoint that can't be written is told of, with the cause, and tried again after a while and
/// not at once.
#[test]
fn a_failing_checkpoint_is_reported_and_backs_off() {
    let disk = FailingDisk::new();
    let options = Options::default().checkpoint_every(100);
    let store = open(&disk, options);
    disk.fail_creations(".ckpt.tmp");
    store.append_batch((0..200).map(body)).unwrap();
    wait_until("it is told", || store.upkeep().checkpoint.is_some());
    let told = store.upkeep().checkpoint.unwrap();
    assert!(told.contains("restart checkpoint"), "{told}");
    assert!(told.contains(&std::io::Error::from(std::io::ErrorKind::StorageFull).to_string()));
    thread::sleep(Duration::from_millis(2500));
    assert!(disk.tried() <= 3, "{} tries in 3 s", disk.tried());
    disk.work();
    wait_until("it is written after all", || store.upkeep() == Upkeep::default());
    assert_eq!(store.stats().unwrap().checkpoint_log_size, 200);
}

/// A session begins, and the store tells what it is asked, while a checkpoint is being written.
#[test]
fn nobody_waits_for_a_checkpoint_that_is_being_written() {
    let disk = FailingDisk::new();
    let store = open(&disk, Options::default());
    store.append_batch((0..200).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((200..400).map(body)).unwrap();
    disk.hold(".ckpt");
    thread::scope(|scope| {
        let written = scope.spawn(|| store.checkpoint());
        wait_until("it is under way", || disk.waited() > 0);
        let asked = scope.spawn(|| {
            let comparison = store.comparison().unwrap();
            store.append(&body(400)).unwrap();
            (comparison.set.len(), store.stats().unwrap().checkpoint_log_size, store.len())
        });
        wait_until("it is answered", || asked.is_finished());
        assert_eq!(asked.join().unwrap(), (400, LogSize(200), 401));
        assert!(!written.is_finished());
        disk.work();
        assert_eq!(written.join().unwrap().unwrap().log_size, 400);
    });
    assert_eq!(store.stats().unwrap().checkpoint_log_size, 400);
}

/// Closing waits for the checkpoint that another thread writes, and nothing is written after it.
#[test]
fn closing_waits_for_a_checkpoint_under_way() {
    let disk = FailingDisk::new();
    let store = open(&disk, without_threads());
    store.append_batch((0..200).map(body)).unwrap();
    disk.hold("IDENTITY");
    disk.hold(".ckpt");
    thread::scope(|scope| {
        let closed = scope.spawn(|| store.close());
        wait_until("the writer has ended, and the mark is written", || disk.waited() == 1);
        let written = scope.spawn(|| store.checkpoint());
        wait_until("a checkpoint is under way", || disk.waited() == 2);
        disk.release("IDENTITY");
        // All that is left to wait for is the checkpoint, which the disk holds.
        thread::sleep(Duration::from_millis(300));
        let early = closed.is_finished() || store.tree_failure().is_some();
        disk.work();
        let written = written.join().unwrap();
        closed.join().unwrap().unwrap();
        assert!(!early, "closed while a checkpoint was written");
        assert_eq!(written.unwrap().log_size, 200);
    });
    let again = open(&disk, without_threads());
    assert_eq!(again.open_report().replayed, 0, "the checkpoint covers all");
}

/// A reader whose refresh fails shows what it showed before, and nothing of what is new.
#[test]
fn a_refresh_that_fails_changes_nothing() {
    // Less than a reader keeps without folding it, and more with as many behind it.
    const ENTRIES: u64 = 43_000;
    let disk = FailingDisk::new();
    let options = || without_threads().segment_len(1 << 20);
    let store = open(&disk, options());
    store.append_batch((0..3000).map(body)).unwrap();
    store.checkpoint().unwrap();
    let mut reader =
        Store::open_read_only_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    store.append_batch((3000..ENTRIES).map(body)).unwrap();
    reader.refresh().unwrap();
    let last = LogIndex(ENTRIES - 1);
    store.append_batch((ENTRIES..2 * ENTRIES).map(body)).unwrap();
    // Folding meets the checkpoint, and rebuilding and opening read the log from its beginning.
    disk.fail_reads(".ckpt", 0);
    disk.fail_reads("-00000000000000000000.log", 0);
    reader.refresh().unwrap_err();
    assert_eq!((reader.len(), reader.log_size()), (ENTRIES, LogSize(ENTRIES)));
    assert_eq!(reader.iter().next_back().unwrap().unwrap().index, last);
    assert_eq!(reader.get_index(last).unwrap().unwrap().1, body(ENTRIES - 1));
    assert_eq!(reader.get(&id_of(ENTRIES - 1)).unwrap(), Some(body(ENTRIES - 1)));
    assert!(reader.entry(last + 1).unwrap().is_none());
    assert!(reader.get(&id_of(ENTRIES)).ok().flatten().is_none());
    disk.work();
    reader.refresh().unwrap();
    assert_eq!(reader.head().unwrap(), store.head().unwrap());
}

/// Appends never stop while the tree changes over to a new checkpoint: that ends all the same.
#[test]
fn a_checkpoint_is_written_however_fast_appends_come() {
    let disk = FailingDisk::new();
    let store = open(&disk, Options::default());
    store.append_batch((0..2000).map(body)).unwrap();
    let written = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (store, written) = (&store, &written);
            scope.spawn(move || {
                let mut n = 1_000_000 * (thread + 1);
                while !written.load(std::sync::atomic::Ordering::Relaxed) {
                    store.append_batch((n..n + 500).map(body)).unwrap();
                    n += 500;
                }
            });
        }
        for _ in 0..2 {
            store.checkpoint().unwrap();
        }
        written.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let head = store.head().unwrap();
    assert!(store.snapshot().unwrap().tree().mapped_set().is_some());
    store.close().unwrap();
    assert_eq!(open(&disk, Options::default()).head().unwrap(), head);
}

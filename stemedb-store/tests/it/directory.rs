//! Stores whose directory, lock or files are moved, removed or replaced while they are open; and
//! stores that are only read.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use stemedb_store::{
    AppendError, BackupError, CheckpointError, Depth, HealError, LogIndex, LogSize, OpenError,
    Options, RepairError, RepairOptions, Store, StoreReader, Warning, repair, repair_with,
};
use stemedb_wal::{
    disk::{Displaced, FileDisk},
    error::AppendError as LogAppendError,
    identity::Identity,
};

fn options() -> Options {
    Options::default().segment_len(64 << 10).lock_wait(Duration::ZERO)
}

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, options())
}

fn read(dir: &Path) -> Result<StoreReader, OpenError> {
    Store::open_read_only(dir, Options::default())
}

/// How the store's place was lost, if an append was refused for that.
fn refused(error: &AppendError) -> Option<Displaced> {
    match error {
        AppendError::Log(LogAppendError::Poisoned(failure)) => failure.displaced(),
        _ => None,
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

/// A cleaner of "stale" locks: what was acknowledged, by whomever, is there at the end.
#[test]
fn without_its_lock_a_store_has_one_writer_still() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.append(b"first").unwrap();
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    let identity = fs::read(dir.path().join("IDENTITY")).unwrap();
    let second = open(dir.path()).unwrap_err();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert_eq!(identity, fs::read(dir.path().join("IDENTITY")).unwrap(), "nor is it a copy now");
    let error = store.append(b"second").unwrap_err();
    assert!(matches!(refused(&error), Some(Displaced::LockGone)), "{error}");
    assert!(store.get_index(LogIndex(0)).unwrap().is_some(), "reads go on");
    store.close().unwrap_err();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.append(b"first").unwrap().index, 0);
    assert_eq!(store.check(Depth::Deep, &mut |_| {}).unwrap().faults.len(), 0);
}

/// What lies beside the segment that is written to says nothing of whether it is.
#[test]
fn without_its_lock_a_store_among_other_segments_has_one_writer_still() {
    let dir = tempfile::tempdir().unwrap();
    // Without threads, which would write marks meanwhile.
    let store = Store::open(dir.path(), options().threads(false)).unwrap();
    for n in 0..4_u8 {
        store.append(&vec![n; 40 << 10]).unwrap();
    }
    for number in ["ffff-00000000000000000000", "0001-00000000000000000007"] {
        fs::write(dir.path().join(format!("segment-{number}.log")), "").unwrap();
    }
    fs::write(dir.path().join("remote-ffff-00000000000000000001.seg"), "no stub").unwrap();
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    let before = files(dir.path());
    let repaired = repair(dir.path(), &options());
    assert!(matches!(repaired, Err(RepairError::Open(OpenError::Locked { .. }))), "{repaired:?}");
    let opened = open(dir.path()).unwrap_err();
    assert!(matches!(opened, OpenError::Locked { .. }), "{opened}");
    assert_eq!(before, files(dir.path()), "nothing was changed, and no LOCK made");
    drop(store);
    fs::remove_file(dir.path().join("remote-ffff-00000000000000000001.seg")).unwrap();
    assert!(repair(dir.path(), &Options::default()).unwrap().is_complete());
}

/// Neither a dry run nor a repair that is refused leaves anything, be it only a lock.
#[test]
fn a_repair_that_does_nothing_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..4_u8 {
        store.append(&vec![n; 40 << 10]).unwrap();
    }
    store.close().unwrap();
    fs::remove_file(dir.path().join("LOCK")).unwrap();
    let repair = |dry_run, accept_loss| {
        repair_with(
            dir.path(),
            &Options::default(),
            RepairOptions::default().accept_loss(accept_loss).dry_run(dry_run),
        )
    };
    let before = files(dir.path());
    assert!(repair(true, false).unwrap().is_complete());
    assert_eq!(before, files(dir.path()));
    // Whole segments are lost.
    for (path, _) in &before {
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("segment-0000-00000000000000000001")
        {
            fs::remove_file(path).unwrap();
        }
    }
    let before = files(dir.path());
    for (dry_run, accept_loss) in [(true, false), (false, false), (true, true)] {
        let repaired = repair(dry_run, accept_loss);
        match repaired {
            Err(RepairError::EntriesLost { .. }) => assert!(!accept_loss),
            repaired => assert!(accept_loss && repaired.unwrap().new_log),
        }
        assert_eq!(before, files(dir.path()), "{dry_run} {accept_loss}");
    }
    let changed = repair(false, true).unwrap();
    assert!(changed.new_log && dir.path().join("LOCK").exists());
}

#[test]
fn an_idle_store_notices_that_its_directory_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let store = open(&dir).unwrap();
    store.append(b"first").unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let noticed = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(20));
        store.failure().is_some()
    });
    assert!(noticed, "within ten seconds");
    assert!(store.writer_failed());
    assert_eq!(store.failure().unwrap().displaced(), Some(Displaced::Gone));
    assert_eq!(refused(&store.append(b"second").unwrap_err()), Some(Displaced::Gone));
    drop(store);
    assert!(!dir.exists(), "it is not made again");
}

/// `mv` of an open store, and another one made at its path: neither touches the other.
#[test]
fn a_store_that_was_moved_leaves_the_one_in_its_place_alone() {
    let root = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (root.path().join("store"), root.path().join("elsewhere"));
    let old = open(&dir).unwrap();
    let held: Vec<_> = (0..100_u8).map(|n| old.append(&[n; 4000]).unwrap().id).collect();
    fs::rename(&dir, &elsewhere).unwrap();
    let new = open(&dir).unwrap();
    for n in 0..100_u8 {
        new.append(&[n; 3000]).unwrap();
    }
    let mut refusals = 0;
    for n in 0..100_u8 {
        refusals += u32::from(old.append(&[n; 2000]).is_err());
    }
    assert_eq!(refusals, 100);
    let backup = old.backup(root.path().join("backup"), &mut |_| {});
    assert!(matches!(backup, Err(BackupError::Open(OpenError::Disk(_)))), "it has no files there");
    let (store_id, other_id) = (new.store_id(), old.store_id());
    // In no order: each writes its own identity, checkpoint and mark.
    let _ = old.checkpoint();
    new.close().unwrap();
    drop(old);
    let (new, old) = (open(&dir).unwrap(), open(&elsewhere).unwrap());
    assert_eq!((new.store_id(), old.store_id()), (store_id, other_id));
    assert_eq!(new.len(), 100);
    assert!((100..=101).contains(&old.len()), "the first one that was refused may be there");
    for id in held {
        assert!(old.get(&id).unwrap().is_some());
    }
    for store in [new, old] {
        assert_eq!(store.check(Depth::Deep, &mut |_| {}).unwrap().faults.len(), 0);
    }
}

#[test]
fn a_store_that_is_only_read_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let ids: Vec<_> = (0..200_u8).map(|n| store.append(&[n; 2000]).unwrap().id).collect();
    let root = store.root().unwrap();
    assert_eq!(read(dir.path()).unwrap().root().unwrap(), root, "beside the writer");
    store.checkpoint().unwrap();
    store.close().unwrap();
    let before = files(dir.path());

    let (one, other) = (read(dir.path()).unwrap(), read(dir.path()).unwrap());
    for store in [&one, &other] {
        assert_eq!(store.root().unwrap(), root);
        assert_eq!(store.get(ids.first().unwrap()).unwrap().unwrap(), [0; 2000]);
        assert_eq!(store.check(Depth::Deep, &mut |_| {}).unwrap().faults.len(), 0);
    }
    // As a whole store, for what takes one.
    let whole = Store::from(one);
    assert!(whole.is_read_only());
    assert_eq!(whole.root().unwrap(), root);
    assert!(matches!(whole.append(b"x").unwrap_err(), AppendError::ReadOnly));
    assert!(matches!(whole.submit([b"x"]).wait().unwrap_err(), AppendError::ReadOnly));
    assert!(matches!(whole.checkpoint().unwrap_err(), CheckpointError::ReadOnly));
    let healed = whole.heal(ids.first().unwrap(), &[0; 2000]);
    assert!(matches!(healed.unwrap_err(), HealError::Append(AppendError::ReadOnly)));
    whole.close().unwrap();
    assert_eq!(before, files(dir.path()));
    let writer = open(dir.path()).expect("readers keep nobody out");
    writer.close().unwrap();
    assert_eq!(other.root().unwrap(), root);
    drop(other);
    let before = files(dir.path());
    assert_eq!(before, files(dir.path()));
    assert!(
        read(&dir.path().join("none"))
            .is_err_and(|error| matches!(error, OpenError::Missing { .. }))
    );
    assert_eq!(open(dir.path()).unwrap().root().unwrap(), root);
}

/// A copy is another node once it is written to, and not because somebody looked.
#[test]
fn a_copy_that_is_only_read_keeps_its_identity() {
    let root = tempfile::tempdir().unwrap();
    let (dir, copy) = (root.path().join("store"), root.path().join("copy"));
    let store = open(&dir).unwrap();
    store.append(b"first").unwrap();
    store.close().unwrap();
    fs::create_dir(&copy).unwrap();
    for (path, bytes) in files(&dir) {
        // Without its lock, as a backup has none.
        if !path.ends_with("LOCK") {
            fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
    let before = files(&copy);
    for _ in 0..2 {
        let store = read(&copy).unwrap();
        let remarks = &store.open_report().remarks;
        assert!(remarks.is_empty(), "{remarks:?}");
        assert_eq!(store.len(), 1);
        drop(store);
        assert_eq!(before, files(&copy));
    }
    let was = Identity::load(&FileDisk::open(&copy).unwrap()).unwrap();
    let store = open(&copy).unwrap();
    let remarks = &store.open_report().remarks;
    assert!(remarks.iter().any(|remark| matches!(remark, Warning::Copied(_))), "{remarks:?}");
    drop(store);
    let is = Identity::load(&FileDisk::open(&copy).unwrap()).unwrap();
    assert_eq!(is.epoch, was.epoch + 1);
}

#[test]
fn a_store_is_not_made_among_files_of_others() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tmp"), "years of work").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::OtherFiles { file, .. } if file == "thesis.tmp"));
    assert_eq!(files(dir.path()).len(), 1);
    let among = Options::default().create_among_files(true);
    Store::open(dir.path(), among).unwrap().append(b"first").unwrap();
    // What a crash left in the making goes, and nothing else.
    fs::write(dir.path().join("IDENTITY.tmp"), "half").unwrap();
    open(dir.path()).unwrap();
    assert!(!dir.path().join("IDENTITY.tmp").exists());
    assert_eq!(fs::read(dir.path().join("thesis.tmp")).unwrap(), b"years of work");

    // A creation that a crash ended is gone on with.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("LOCK"), "").unwrap();
    fs::write(dir.path().join("IDENTITY.tmp"), "half").unwrap();
    open(dir.path()).unwrap().append(b"first").unwrap();
}

#[test]
fn what_is_no_directory_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Store::exists(dir.path()).unwrap());
    assert!(!Store::exists(dir.path().join("none")).unwrap());
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(Store::exists(dir.path().join("file")), Err(OpenError::Disk(_))));
    assert!(matches!(open(&dir.path().join("file")), Err(OpenError::Disk(_))));
    assert!(matches!(read(&dir.path().join("file")), Err(OpenError::Disk(_))));
}

/// Appends go on in one thread, with rolls and restart checkpoints, and are read in others.
#[test]
fn appends_are_read_while_they_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options().checkpoint_every(300)).unwrap();
    let acknowledged = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let (reads, refreshes) = (AtomicU64::new(0), AtomicU64::new(0));
    let body = |n: u64| n.to_string().repeat(1 + usize::try_from(n % 300).unwrap());
    let check = |reader: &StoreReader, sure: u64| {
        assert!(reader.log_size() >= LogSize(sure), "{} of {sure}", reader.log_size());
        let last = reader.log_size().get() - 1;
        for n in [0, last / 2, last] {
            let (_, found) = reader.get_index(LogIndex(n)).unwrap().unwrap();
            assert_eq!(found, body(n).as_bytes());
        }
        let head = reader.head().unwrap();
        assert_eq!((head.count, head.log_size), (last + 1, LogSize(last + 1)));
    };
    store.append(body(0).as_bytes()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..3_000 {
                store.append(body(n).as_bytes()).unwrap();
                acknowledged.store(n + 1, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let sure = acknowledged.load(Ordering::Acquire);
                check(&read(dir.path()).unwrap(), sure);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            let mut reader = read(dir.path()).unwrap();
            while !done.load(Ordering::Acquire) {
                let sure = acknowledged.load(Ordering::Acquire);
                reader.refresh().unwrap();
                check(&reader, sure);
                refreshes.fetch_add(1, Ordering::Relaxed);
            }
            reader.refresh().unwrap();
            assert_eq!(reader.head().unwrap(), store.head().unwrap());
            assert_eq!(reader.check(Depth::Deep, &mut |_| {}).unwrap().faults.len(), 0);
        });
    });
    println!("{reads:?} openings, {refreshes:?} refreshes");
    assert!(refreshes.into_inner() > 10 && reads.into_inner() > 10);
}

/// A directory that is removed, and a store restored in its place: the path says what is read.
#[test]
fn a_reader_goes_on_with_the_store_at_its_path() {
    let root = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (root.path().join("store"), root.path().join("elsewhere"));
    for (dir, count) in [(&dir, 5_u8), (&elsewhere, 9)] {
        let store = open(dir).unwrap();
        for n in 0..count {
            store.append(&[n; 100]).unwrap();
        }
        store.close().unwrap();
    }
    let mut reader = read(&dir).unwrap();
    let root = reader.root().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let error = reader.refresh().unwrap_err();
    assert!(matches!(error, OpenError::Disk(_)), "{error}");
    assert_eq!((reader.len(), reader.root().unwrap()), (5, root), "it shows what it showed");
    fs::rename(&elsewhere, &dir).unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.len(), 9);
}

/// Who comes second waits, and is told who has it.
#[test]
fn writers_wait_for_one_another() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let me = std::process::id();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { holder: Some(holder), .. } if holder == me));
    assert!(error.to_string().contains(&format!("in use by process {me}")), "{error}");
    // As a version that says nothing leaves it.
    fs::write(dir.path().join("LOCK"), "").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { holder: None, .. }));
    assert!(error.to_string().contains("in use by another process"), "{error}");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let store = Store::open(dir.path(), options().lock_wait(Duration::from_secs(60)));
            store.unwrap().append(b"second").unwrap().index
        });
        store.append(b"first").unwrap();
        thread::sleep(Duration::from_millis(50));
        store.close().unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    });
    assert_eq!(fs::read(dir.path().join("LOCK")).unwrap(), b"", "nobody has it");
}

//! A log whose directory, lock or files are moved, removed or replaced while it is open.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use stemedb_merkle::{LogIndex, Timestamp};

use stemedb_wal::{
    disk::{Disk, Displaced, FileDisk, LOCK_NAME, NotAFile},
    error::{AppendError, OpenError},
    log::{Log, LogOptions, NewRecord, Origin, Spares},
};

const ORIGIN: Origin = Origin { store_id: [7; 16], generation: 0, salt_seed: [9; 16], clean: None };

fn options() -> LogOptions {
    LogOptions::default().segment_len(4096).spares(Spares::None)
}

fn open(dir: &Path) -> Result<Log, OpenError> {
    let disk = Arc::new(FileDisk::create(dir).unwrap());
    let lock = disk.lock().unwrap();
    let (log, _) = Log::open(disk, &ORIGIN, &options(), None, &mut |_| {})?;
    log.hold_lock(lock.into());
    Ok(log)
}

fn append(log: &mut Log, body: &[u8]) -> Result<(), AppendError> {
    let id = *blake3::hash(body).as_bytes();
    log.write(&[NewRecord { id, body, heals: None }], Timestamp::from_ntp64(1), &mut Vec::new())?;
    log.sync()?;
    log.publish();
    Ok(())
}

/// What a directory holds.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Changes something under an open log, and expects that it acknowledges nothing more, and why.
fn displaced_by(change: impl Fn(&Path, &Path), expected: Displaced) {
    for roll in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let (dir, elsewhere) = (root.path().join("store"), root.path().join("elsewhere"));
        let mut log = open(&dir).unwrap();
        append(&mut log, b"first").unwrap();
        let held = log.durable();
        change(&dir, &elsewhere);
        let before = dir.exists().then(|| files(&dir));
        let body = if roll { vec![1; 4096] } else { b"second".to_vec() };
        let Err(AppendError::Poisoned(failure)) = append(&mut log, &body) else {
            unreachable!("acknowledged: {expected}")
        };
        assert_eq!(failure.displaced(), Some(expected), "{failure}");
        assert!(failure.to_string().contains(&expected.to_string()), "{failure}");
        assert_eq!(log.durable(), held, "nothing more counts as durable");
        let again = append(&mut log, b"third").unwrap_err();
        assert!(matches!(again, AppendError::Poisoned(_)), "{again}");
        log.close().unwrap_err();
        if expected == Displaced::Replaced || expected == Displaced::Gone {
            assert_eq!(before, dir.exists().then(|| files(&dir)), "what is there now is others'");
        }
    }
}

#[test]
fn a_directory_that_was_removed_acknowledges_nothing() {
    displaced_by(|dir, _| fs::remove_dir_all(dir).unwrap(), Displaced::Gone);
}

#[test]
fn a_directory_that_was_renamed_acknowledges_nothing() {
    displaced_by(|dir, elsewhere| fs::rename(dir, elsewhere).unwrap(), Displaced::Gone);
}

#[test]
fn a_directory_that_was_replaced_is_not_touched() {
    let change = |dir: &Path, elsewhere: &Path| {
        fs::rename(dir, elsewhere).unwrap();
        let mut other = open(dir).unwrap();
        append(&mut other, b"of another store").unwrap();
        other.close().unwrap();
    };
    displaced_by(change, Displaced::Replaced);
}

#[test]
fn a_lock_that_was_removed_or_replaced_acknowledges_nothing() {
    displaced_by(|dir, _| fs::remove_file(dir.join(LOCK_NAME)).unwrap(), Displaced::LockGone);
    let replace = |dir: &Path, _: &Path| {
        fs::write(dir.join("new"), "").unwrap();
        fs::rename(dir.join("new"), dir.join(LOCK_NAME)).unwrap();
    };
    displaced_by(replace, Displaced::LockReplaced);
}

#[test]
fn a_segment_that_was_removed_acknowledges_nothing() {
    let remove = |dir: &Path, _: &Path| {
        for (path, _) in files(dir) {
            if path.extension().is_some_and(|extension| extension == "log") {
                fs::remove_file(path).unwrap();
            }
        }
    };
    displaced_by(remove, Displaced::FileGone);
}

#[test]
fn a_renamed_directory_keeps_its_log() {
    let root = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (root.path().join("store"), root.path().join("elsewhere"));
    let mut log = open(&dir).unwrap();
    for n in 0..20_u8 {
        append(&mut log, &[n; 1000]).unwrap();
    }
    fs::rename(&dir, &elsewhere).unwrap();
    // Sealed segments are opened by their names when they are needed.
    let reader = log.reader();
    assert!(reader.entries(LogIndex(0)..LogIndex(20)).all(|entry| entry.is_ok()));
    assert!(reader.check_place().is_err(), "an idle log notices as well");
    assert_eq!(log.failure().unwrap().displaced(), Some(Displaced::Gone));
    drop((log, reader));
    fs::rename(&elsewhere, &dir).unwrap();
    assert_eq!(open(&dir).unwrap().next_index(), 20);
}

/// Without its file LOCK, the segment that is written to still has one writer.
#[test]
fn two_writers_never_have_one_segment() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(root.path()).unwrap();
    for n in 0..10_u8 {
        append(&mut log, &[n; 1000]).unwrap();
        fs::remove_file(root.path().join(LOCK_NAME)).unwrap();
        let before = files(root.path());
        let error = open(root.path()).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        let mut after = files(root.path());
        after.retain(|(path, _)| path.file_name().unwrap() != LOCK_NAME);
        assert_eq!(before, after, "the second one changed nothing");
        // The first one would stop here; in a log that does not look it goes on.
        drop(log);
        log = open(root.path()).unwrap();
    }
    drop(log);
    assert_eq!(open(root.path()).unwrap().next_index(), 10);
}

#[test]
fn links_and_other_things_in_the_place_of_files_are_named() {
    let root = tempfile::tempdir().unwrap();
    let mut log = open(&root.path().join("store")).unwrap();
    append(&mut log, b"first").unwrap();
    log.close().unwrap();
    let (dir, target) = (root.path().join("store"), root.path().join("target"));
    let segment = dir.join("segment-0000-00000000000000000000.log");
    fs::rename(&segment, &target).unwrap();
    symlink(&target, &segment).unwrap();
    let before = fs::read(&target).unwrap();
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains(&NotAFile::SymbolicLink.to_string()), "{error}");
    assert!(error.contains("segment-0000"), "{error}");
    assert_eq!(fs::read(&target).unwrap(), before);

    let disk = FileDisk::open(&dir).unwrap();
    for name in ["link", "IDENTITY"] {
        symlink(&target, dir.join(name)).unwrap();
        let cause =
            |error: io::Error| *error.get_ref().unwrap().downcast_ref::<NotAFile>().unwrap();
        assert_eq!(cause(disk.open(name).unwrap_err()), NotAFile::SymbolicLink);
        assert_eq!(cause(disk.create(name).unwrap_err()), NotAFile::SymbolicLink);
        assert_eq!(cause(disk.map(name, true).unwrap_err()), NotAFile::SymbolicLink);
    }
    assert_eq!(fs::read(&target).unwrap(), before, "nothing is written through a link");
    // A store may lie behind a link itself.
    let link = root.path().join("link");
    symlink(&dir, &link).unwrap();
    fs::remove_file(&segment).unwrap();
    fs::rename(&target, &segment).unwrap();
    let mut log = open(&link).unwrap();
    append(&mut log, b"second").unwrap();
}

#[test]
fn a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    let root = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.path().join("pipe")).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo(1) here");
        return;
    }
    for disk in [FileDisk::open(root.path()), FileDisk::open_read_only(root.path())] {
        let error = disk.unwrap().open("pipe").unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}

#[test]
fn a_directory_that_is_only_read_is_not_changed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut log = open(&dir).unwrap();
    append(&mut log, b"first").unwrap();
    log.close().unwrap();
    let before = files(&dir);
    let disk = FileDisk::open_read_only(&dir).unwrap();
    let name = &disk.list().unwrap()[1];
    let file = disk.open(name).unwrap();
    assert!(file.len().unwrap() > 0);
    file.write_at(b"x", 0).unwrap_err();
    file.set_len(0).unwrap_err();
    for refused in [
        disk.create("a").map(drop),
        disk.create(name).map(drop),
        disk.remove(name),
        disk.rename(name, "a"),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
    // Readers share the lock, and exclude writers.
    let (one, other) = (disk.lock().unwrap(), disk.clone().lock().unwrap());
    let writer = FileDisk::open(&dir).unwrap();
    assert_eq!(writer.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop((one, other));
    let written = writer.lock().unwrap();
    assert_eq!(disk.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(written);
    fs::remove_file(dir.join(LOCK_NAME)).unwrap();
    let without = disk.lock().unwrap();
    without.check().unwrap();
    assert!(!dir.join(LOCK_NAME).exists(), "it is not made either");
    assert_eq!(before[1..], files(&dir));
}

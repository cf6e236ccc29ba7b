//! Backups of a store in use, and stores made from them.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that is not a test itself uses it"
)]

use std::{
    collections::BTreeMap,
    ops::Range,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use stemedb_store::{
    AssertionId, BackupError, BackupReport, Head, Options, Progress, RestoreError, Root, Secret,
    Store, StoreReader,
};

fn options() -> Options {
    Options::default().segment_len(128 << 10)
}

fn body(n: u32) -> Vec<u8> {
    format!("assertion {n} {}", "x".repeat(n as usize % 300)).into_bytes()
}

fn id(n: u32) -> AssertionId {
    AssertionId(blake3::hash(&body(n)).into())
}

fn fill(store: &Store, numbers: Range<u32>) {
    let bodies: Vec<_> = numbers.map(body).collect();
    bodies.chunks(200).for_each(|some| drop(store.append_batch(some).unwrap()));
}

fn backup(store: &StoreReader, to: &Path) -> BackupReport {
    store.backup(to, &mut |_| {}).unwrap()
}

fn restore(from: &Path, to: &Path, root: &Root) -> Result<Head, RestoreError> {
    stemedb_store::restore(from, to, root, options(), &mut |_| {})
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(files) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let files = files.map(|file| {
        let file = file.unwrap();
        (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
    });
    files.collect()
}

fn inode(dir: &Path, name: &str) -> u64 {
    std::fs::metadata(dir.join(name)).unwrap().ino()
}

const FIRST: &str = "segment-0000-00000000000000000000.log";

/// It shares the sealed segments of the store, which wrote them and goes on.
#[test]
fn a_linked_backup_is_not_in_use_with_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to] = ["store", "backup"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..3_000);
    let report = backup(&store, &to);
    assert!(report.files_linked > 3, "{report:?}");
    assert_eq!(Store::open_read_only(&to, options()).unwrap().head().unwrap(), report.head);
    assert_eq!(Store::open(&to, options()).unwrap().head().unwrap(), report.head);
    fill(&store, 3_000..3_100);
}

#[test]
fn a_backup_is_restored_with_its_root_and_with_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, back] = ["store", "backup", "restored"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..5_000);
    store.checkpoint().unwrap();
    fill(&store, 5_000..6_000);
    let head = store.head().unwrap();
    let mut told = Vec::new();
    let report = store.backup(&to, &mut |progress: Progress| told.push(progress)).unwrap();
    assert_eq!(report.head, head);
    assert!(report.files_linked > 5, "{report:?}");
    assert!(report.bytes_copied < 128 << 10, "only the last segment is copied: {report:?}");
    assert!(told.is_sorted_by_key(|progress| progress.done), "{told:?}");
    let last = told.last().unwrap();
    assert_eq!(last.done, last.total);
    assert_eq!(last.done, report.bytes_linked + report.bytes_copied);
    assert_eq!(inode(&at, FIRST), inode(&to, FIRST), "no room is taken");
    // What comes later is not in it, whatever becomes of the store.
    fill(&store, 6_000..9_000);
    let before = files(&to);
    store.close().unwrap();
    std::fs::remove_dir_all(&at).unwrap();
    assert_eq!(files(&to), before);

    let wrong = restore(&to, &back, &Root([7; 32]));
    assert!(matches!(wrong, Err(RestoreError::OtherRoot { .. })), "{wrong:?}");
    assert!(files(&back).is_empty());
    let restored = restore(&to, &back, &head.set_root).unwrap();
    assert_eq!(restored, head);
    let again = restore(&to, &back, &head.set_root);
    assert!(matches!(again, Err(RestoreError::NotEmpty { .. })), "{again:?}");
    let none = restore(&dir.path().join("nothing"), &dir.path().join("x"), &Root::default());
    assert!(matches!(none, Err(RestoreError::NoBackup { .. })), "{none:?}");

    // The new store goes on by itself; the backup stays what it was.
    let store = Store::open(&back, options()).unwrap();
    assert_eq!(store.head().unwrap(), head);
    assert!(store.open_report().remarks.is_empty(), "{}", store.open_report());
    for n in (0..6_000).step_by(97) {
        assert_eq!(store.get(&id(n)).unwrap(), Some(body(n)));
    }
    fill(&store, 20_000..23_000);
    store.close().unwrap();
    assert_eq!(files(&to), before);
}

/// A restored store is another node in another epoch: what peers remember of the former one does
/// not apply to it. So is the one after it.
#[test]
fn a_restored_store_is_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to] = ["store", "backup"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..100);
    let head = backup(&store, &to).head;
    let mut nodes = vec![node_of(&at)];
    for back in ["one", "two"].map(|name| dir.path().join(name)) {
        restore(&to, &back, &head.set_root).unwrap();
        let store = Store::open(&back, options()).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!(stats.epoch, 2);
        assert_eq!(stats.store_id, store_id_of(&at));
        nodes.push(node_of(&back));
    }
    nodes.sort_unstable();
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "each has a node id of its own");
}

fn identity(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("IDENTITY")).unwrap()
}

fn store_id_of(dir: &Path) -> [u8; 16] {
    identity(dir)[16..32].try_into().unwrap()
}

fn node_of(dir: &Path) -> [u8; 16] {
    identity(dir)[32..48].try_into().unwrap()
}

#[test]
fn nothing_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, other] = ["store", "backup", "other"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..2_000);
    let root = backup(&store, &to).head.set_root;
    let before = files(&to);
    let refused = |to: &Path| {
        let inside = store.backup(to, &mut |_| {}).unwrap_err();
        let reader = Store::open_read_only(&at, options()).unwrap();
        let outside = reader.backup(to, &mut |_| {}).unwrap_err();
        for error in [inside, outside] {
            assert!(matches!(error, BackupError::NotEmpty { unfinished: false, .. }), "{error}");
        }
    };
    refused(&to);
    refused(&at);
    assert_eq!(files(&to), before);
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes"), b"mine").unwrap();
    refused(&other);
    let error = restore(&to, &other, &root).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    let error = restore(&to, &at, &root).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { .. }), "{error}");
    assert_eq!(files(&other).len(), 1);
    assert_eq!(store.len(), 2_000);
}

#[test]
fn a_backup_under_constant_writes_holds_a_moment_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("store");
    let store = Arc::new(Store::open(&at, options()).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                store.append_batch((n..n + 50).map(body)).unwrap();
                n += 50;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        })
    };
    for round in 0..10 {
        let acknowledged = store.len();
        let [to, back] = ["backup", "restored"].map(|name| dir.path().join(name));
        // From within, and as another process sees it.
        let report = if round % 2 == 0 {
            backup(&store, &to)
        } else {
            backup(&Store::open_read_only(&at, options()).unwrap(), &to)
        };
        let count = report.head.count;
        assert!(count >= acknowledged, "{round}: {count} of {acknowledged}");
        let head = restore(&to, &back, &report.head.set_root).unwrap();
        assert_eq!(head, report.head);
        std::fs::remove_dir_all(to).unwrap();
        std::fs::remove_dir_all(back).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

/// Neither the store nor the backup is changed by looking.
#[test]
fn a_store_is_backed_up_whole_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, back] = ["store", "backup", "restored"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..3_000);
    let report = backup(&Store::open_read_only(&at, options()).unwrap(), &to);
    assert_eq!(report.head, store.head().unwrap());
    let names: Vec<_> = files(&to).into_keys().collect();
    assert!(names.iter().all(|name| name == "IDENTITY" || name.starts_with("segment-")));
    drop(store);
    let head = restore(&to, &back, &report.head.set_root).unwrap();
    assert_eq!(head, report.head);
}

/// What is left is no store to keep instead of the whole one.
#[test]
fn a_store_without_its_last_segment_is_not_backed_up_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to] = ["store", "backup"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..3_000);
    store.close().unwrap();
    let segments = files(&at).into_keys().filter(|name| name.starts_with("segment-"));
    std::fs::remove_file(at.join(segments.max().unwrap())).unwrap();
    for name in files(&at).into_keys().filter(|name| name.starts_with("checkpoint")) {
        std::fs::remove_file(at.join(name)).unwrap();
    }
    let refused = Store::open_read_only(&at, options()).map(|reader| {
        let _ = reader.backup(&to, &mut |_| {});
    });
    assert!(refused.is_err_and(|error| error.is_damage()) && !to.exists());
}

#[test]
fn damage_to_a_backup_is_found_and_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, back] = ["store", "backup", "restored"].map(|name| dir.path().join(name));
    let options = || options().secret(Secret::new(b"sixteen bytes ok").ok());
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..2_000);
    let root = backup(&store, &to).head.set_root;
    let restore = || stemedb_store::restore(&to, &back, &root, options(), &mut |_| {});
    store.close().unwrap();
    let whole = files(&to);
    assert!(whole.len() > 3);
    for (name, bytes) in &whole {
        let path = to.join(name);
        std::fs::remove_file(&path).unwrap();
        let len = bytes.len();
        for place in [0, 70, len / 2, len - 70, len - 1] {
            let mut bad = bytes.clone();
            bad[place] ^= 4;
            std::fs::write(&path, bad).unwrap();
            assert!(restore().is_err(), "{name} at {place}");
            assert!(files(&back).is_empty(), "{name} at {place}");
        }
        for cut in [0, len / 2, len - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(restore().is_err(), "{name} cut to {cut}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = restore().unwrap_err();
        let unfinished = matches!(error, RestoreError::Unfinished { .. });
        assert_eq!(unfinished, name == "IDENTITY", "without {name}: {error}");
        assert!(files(&back).is_empty(), "without {name}");
        std::fs::write(&path, bytes).unwrap();
    }
    // A body can't be checked without the secret, nor with another.
    for secret in [None, Secret::new(b"another sixteen b").ok()] {
        let options = options().secret(secret);
        assert!(stemedb_store::restore(&to, &back, &root, options, &mut |_| {}).is_err());
        assert!(!Store::exists(&back).unwrap());
    }
    assert_eq!(restore().unwrap().count, 2_000);
}

/// What begins a directory of its own, and what counts as being in the way of it.
#[test]
fn what_lies_in_any_directory_is_in_nobodys_way_and_all_else_is() {
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(name);
    let store = Store::open(dir("store"), options()).unwrap();
    fill(&store, 0..200);
    let head = backup(&store, &dir("backup")).head;
    let lay_out = |name: &str, inside: &str| {
        std::fs::create_dir_all(dir(name).join(inside)).unwrap();
        std::fs::write(dir(name).join(".hidden"), "others'").unwrap();
    };
    for (inside, accepted) in [("lost+found/x", true), ("thesis/x", false)] {
        for name in ["opened", "copied", "restored"] {
            let name = format!("{name} {accepted}");
            lay_out(&name, inside);
            let made = match name.split_once(' ').unwrap().0 {
                "opened" => Store::open(dir(&name), options()).is_ok(),
                "copied" => store.backup(dir(&name), &mut |_| {}).is_ok(),
                _ => restore(&dir("backup"), &dir(&name), &head.set_root).is_ok(),
            };
            assert_eq!(made, accepted, "{name}");
            assert!(dir(&name).join(inside).is_dir() && dir(&name).join(".hidden").is_file());
            assert_eq!(Store::exists(dir(&name)).unwrap(), accepted, "{name}");
        }
    }
}

/// Files that no restore makes are others', also where one was interrupted.
#[test]
fn an_interrupted_restore_removes_nothing_of_others() {
    let root = tempfile::tempdir().unwrap();
    let [at, to] = ["store", "backup"].map(|name| root.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..200);
    let root_hash = backup(&store, &to).head.set_root;
    let others = ["photos.ckpt", "aside-thesis", "RESTORING-notes", "NODEKEY", "IDENTITY-card.tmp"];
    for (number, other) in others.into_iter().enumerate() {
        let back = root.path().join(number.to_string());
        std::fs::create_dir(&back).unwrap();
        for name in ["RESTORING", "base-00000000000000000000.ckpt", other] {
            std::fs::write(back.join(name), name).unwrap();
        }
        let before = files(&back);
        let error = restore(&to, &back, &root_hash).unwrap_err();
        assert!(matches!(error, RestoreError::NotEmpty { .. }), "{other}: {error}");
        assert_eq!(files(&back), before, "{other}");
        std::fs::remove_file(back.join(other)).unwrap();
        restore(&to, &back, &root_hash).unwrap();
    }
}

/// Whatever a killed attempt left behind opens as no store, and the next attempt removes it.
#[test]
fn an_interrupted_restore_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to] = ["store", "backup"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..2_000);
    let head = backup(&store, &to).head;
    let mut left = files(&to);
    let staged = left.remove("IDENTITY").unwrap();
    let segments: Vec<_> = left.into_iter().collect();
    for count in 0..=segments.len() {
        let back = dir.path().join(format!("restored {count}"));
        std::fs::create_dir(&back).unwrap();
        std::fs::write(back.join("LOCK"), b"").unwrap();
        let name = if count == 0 { "RESTORING.tmp" } else { "RESTORING" };
        std::fs::write(back.join(name), &staged).unwrap();
        for (name, bytes) in &segments[..count] {
            std::fs::write(back.join(name), bytes).unwrap();
        }
        std::fs::write(back.join("segment-0000-00000000000000099999.log.tmp"), b"half").unwrap();
        let none = options().create(false);
        assert!(Store::open(&back, none).is_err(), "{count} files");
        assert!(stemedb_store::repair(&back, &options()).is_err(), "{count} files");
        assert_eq!(restore(&to, &back, &head.set_root).unwrap(), head);
        assert_eq!(Store::open(&back, options()).unwrap().head().unwrap(), head);
    }
    // An unfinished backup is none.
    let half = dir.path().join("half");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join(&segments[0].0), &segments[0].1).unwrap();
    let error = restore(&half, &dir.path().join("x"), &head.set_root).unwrap_err();
    assert!(matches!(error, RestoreError::Unfinished { .. }), "{error}");
    let error = store.backup(&half, &mut |_| {}).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { unfinished: true, .. }), "{error}");
}

/// What is healed in the store is another file afterwards: the backup keeps its own bytes, damaged
/// or not.
#[test]
fn a_heal_does_not_touch_what_a_backup_shares() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, later, back] =
        ["store", "backup", "later", "restored"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..3_000);
    let head = backup(&store, &to).head;
    assert_eq!(inode(&at, FIRST), inode(&to, FIRST));
    // The disk damages both, as they are one file.
    let mut bytes = std::fs::read(at.join(FIRST)).unwrap();
    let wanted = body(70);
    let place = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[place] ^= 1;
    std::fs::write(at.join(FIRST), &bytes).unwrap();
    assert!(store.get(&id(70)).unwrap_err().is_damage());
    store.heal(&id(70), &body(70)).unwrap();
    assert_eq!(store.get(&id(70)).unwrap(), Some(body(70)));
    assert_ne!(inode(&at, FIRST), inode(&to, FIRST));
    assert_eq!(std::fs::read(to.join(FIRST)).unwrap(), bytes, "the backup is as it was");
    let error = restore(&to, &back, &head.set_root).unwrap_err();
    assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
    // The next backup is whole.
    let head = backup(&store, &later).head;
    assert_eq!(restore(&later, &back, &head.set_root).unwrap(), head);
}

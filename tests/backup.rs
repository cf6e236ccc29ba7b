//! Backups of a store in use, and stores made from them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a helper that is not a test itself uses it")]

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use stemedb::{Options, RestoreError, Secret, Store, restore};

fn options() -> Options {
    Options { segment_len: 128 << 10, ..Options::default() }
}

fn body(n: u32) -> Vec<u8> {
    format!("assertion {n} {}", "x".repeat(n as usize % 300)).into_bytes()
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| {
        let file = file.unwrap();
        (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
    });
    files.collect()
}

#[test]
fn a_backup_is_restored_with_its_root_and_with_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, back] = ["store", "backup", "restored"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    store.append_batch((0..5_000).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((5_000..6_000).map(body)).unwrap();
    let head = store.head();
    let report = store.backup(&to).unwrap();
    assert_eq!(report.head, head);
    assert!(report.files_shared > 5, "{report:?}");
    assert!(report.bytes_copied < 128 << 10, "only the last segment is copied: {report:?}");
    // What comes later is not in it, whatever becomes of the store.
    store.append_batch((6_000..9_000).map(body)).unwrap();
    let before = files(&to);
    store.close().unwrap();
    std::fs::remove_dir_all(&at).unwrap();
    assert_eq!(files(&to), before);

    let wrong = restore(&to, &back, &[7; 32], options());
    assert!(matches!(wrong, Err(RestoreError::OtherRoot { .. })), "{wrong:?}");
    assert!(!Store::exists(&back));
    let restored = restore(&to, &back, &head.set_root, options()).unwrap();
    assert_eq!(restored, head);
    let again = restore(&to, &back, &head.set_root, options());
    assert!(matches!(again, Err(RestoreError::AlreadyThere { .. })));
    let none = restore(dir.path().join("nothing"), dir.path().join("x"), &[0; 32], options());
    assert!(matches!(none, Err(RestoreError::NoBackup { .. })));

    // The new store goes on by itself; the backup stays what it was.
    let store = Store::open(&back, options()).unwrap();
    assert_eq!(store.head(), head);
    for n in (0..6_000).step_by(97) {
        let id = blake3::hash(&body(n)).into();
        assert_eq!(store.get(&id).unwrap(), Some(body(n)));
    }
    store.append_batch((20_000..23_000).map(body)).unwrap();
    store.close().unwrap();
    assert_eq!(files(&to), before);
}

#[test]
fn a_backup_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to] = ["store", "backup"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    let mut roots = Vec::new();
    for round in 0..5 {
        store.append_batch((2_000 * round..2_000 * (round + 1)).map(body)).unwrap();
        if round % 2 == 1 {
            store.checkpoint().unwrap();
        }
        let report = store.backup(&to).unwrap();
        assert!(report.bytes_copied < 256 << 10, "{report:?}");
        roots.push(report.head.set_root);
        let back = dir.path().join(format!("restored {round}"));
        assert_eq!(restore(&to, &back, &roots[round as usize], options()).unwrap(), store.head());
    }
    // A segment that no longer changes is the same file in both.
    let first = |dir: &Path| {
        let name = "segment-0000-00000000000000000000.log";
        std::fs::metadata(dir.join(name)).unwrap().ino()
    };
    assert_eq!(first(&at), first(&to));

    // Neither another store nor one in use is written over.
    let other = Store::open(dir.path().join("other"), options()).unwrap();
    other.append(b"other").unwrap();
    assert!(other.backup(&to).is_err());
    assert!(store.backup(dir.path().join("other")).is_err());
    assert!(store.backup(&at).is_err());
}

#[test]
fn a_backup_under_constant_writes_holds_a_moment_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path().join("store"), options()).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                store.append_batch((n..n + 50).map(body)).unwrap();
                n += 50;
            }
        })
    };
    for round in 0..20 {
        let acknowledged = store.len();
        let to = dir.path().join(format!("backup {}", round % 3));
        let report = store.backup(&to).unwrap();
        assert!(report.head.count >= acknowledged, "what was acknowledged before is in it");
        let back = dir.path().join(format!("restored {round}"));
        let head = restore(&to, &back, &report.head.set_root, options()).unwrap();
        assert_eq!(head, report.head);
        std::fs::remove_dir_all(back).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn damage_to_a_backup_is_found_and_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let [at, to, back] = ["store", "backup", "restored"].map(|name| dir.path().join(name));
    let secret = || Secret::new(b"sixteen bytes ok").ok();
    let options = || Options { secret: secret(), ..options() };
    let store = Store::open(&at, options()).unwrap();
    store.append_batch((0..2_000).map(body)).unwrap();
    let root = store.backup(&to).unwrap().head.set_root;
    store.close().unwrap();
    let whole = files(&to);
    let names: Vec<_> = whole.keys().filter(|name| !name.contains("ckpt")).collect();
    assert!(names.len() > 3);
    for name in names {
        let path = to.join(name);
        let bytes = &whole[name];
        std::fs::remove_file(&path).unwrap();
        for place in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut bad = bytes.clone();
            bad[place] ^= 4;
            std::fs::write(&path, bad).unwrap();
            assert!(restore(&to, &back, &root, options()).is_err(), "{name} at {place}");
            assert!(!Store::exists(&back), "{name} at {place}");
        }
        for cut in [0, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert!(restore(&to, &back, &root, options()).is_err(), "{name} cut to {cut}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(restore(&to, &back, &root, options()).is_err(), "without {name}");
        std::fs::write(&path, bytes).unwrap();
    }
    // A body can't be checked without the secret.
    let without = Options { secret: None, ..options() };
    assert!(restore(&to, &back, &root, without).is_err());
    assert_eq!(restore(&to, &back, &root, options()).unwrap().count, 2_000);
}

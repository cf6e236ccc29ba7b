//! Following the log of a store that is closed, and opened again.

use std::{sync::mpsc, thread, time::Duration};

use stemedb_store::{LogIndex, Store, WatchError, backup_of, restore};

use super::{body, options};

/// A watch does not hold a store open, and ends when it is closed, whatever it waits in.
#[test]
fn a_watch_ends_when_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append(&body(0)).unwrap();
    let (seen, next) = mpsc::channel();
    let told = seen.clone();
    let mut blocking = store.watch(LogIndex(0));
    let blocking = thread::spawn(move || {
        blocking.by_ref().for_each(|entry| told.send(entry.unwrap().index).unwrap());
        blocking.next().is_none()
    });
    let mut waiting = store.watch(LogIndex(0));
    let waiting = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            while let Some(entry) = waiting.next_async().await {
                seen.send(entry.unwrap().index).unwrap();
            }
        });
    });
    let mut idle = store.watch(LogIndex(0));
    for index in [0, 0, 1, 1] {
        if index == 1 {
            store.append(&body(1)).unwrap();
        }
        assert!(next.recv_timeout(Duration::from_secs(20)).unwrap() <= LogIndex(1));
    }
    store.close().unwrap();
    assert!(blocking.join().unwrap());
    waiting.join().unwrap();
    assert!(idle.next().is_none());
    assert!(idle.next_within(Duration::from_secs(60)).is_none());
    // While they are there, the store opens again.
    Store::open(dir.path(), options()).unwrap().close().unwrap();
}

/// What a watch came to is of no use in another log: nothing is left out in silence.
#[test]
fn a_watch_goes_on_in_the_same_log_only() {
    let place = tempfile::tempdir().unwrap();
    let [at, backup, earlier] = ["store", "backup", "earlier"].map(|name| place.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    store.append_batch((0..10).map(body)).unwrap();
    let root = store.root().unwrap();
    store.close().unwrap();
    backup_of(&at, &backup, &options(), &mut |_| {}).unwrap();
    copy(&at, &earlier);

    let store = Store::open(&at, options()).unwrap();
    store.append_batch((10..15).map(body)).unwrap();
    let mut watch = store.watch(LogIndex(3));
    let untouched = watch.resume_point();
    assert_eq!((untouched.next, untouched.last), (LogIndex(3), None));
    for index in 3..15 {
        assert_eq!(watch.next().unwrap().unwrap().index, index);
    }
    let point = watch.resume_point();
    assert_eq!(point.next, 15);
    store.close().unwrap();

    let store = Store::open(&at, options()).unwrap();
    store.append(&body(15)).unwrap();
    let mut watch = store.resume_watch(&point).unwrap();
    assert_eq!(watch.next().unwrap().unwrap().index, 15);
    drop(store);

    let restored = place.path().join("restored");
    restore(&backup, &restored, &root, options(), &mut |_| {}).unwrap();
    // The files of an earlier time put back into the same directory: it keeps its name.
    for name in ["store", "restored"] {
        if name == "store" {
            for entry in std::fs::read_dir(&at).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap() != "LOCK" {
                    std::fs::remove_file(path).unwrap();
                }
            }
            copy(&earlier, &at);
        }
        let options = options().create(false);
        let store = Store::open(place.path().join(name), options).unwrap();
        store.append_batch((100..110).map(body)).unwrap();
        let error = store.resume_watch(&point).unwrap_err();
        assert!(matches!(error, WatchError::OtherLog), "{name}: {error}");
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "LOCK" || !to.join("LOCK").exists() {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

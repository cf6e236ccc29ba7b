//! Following the log of a store that is closed, and opened again.

use std::{fs, os::unix::fs::FileExt as _, sync::mpsc, thread, time::Duration};

use stemedb_store::{LogIndex, Store, WatchError, restore};

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

/// Bodies come with their entries; one that can't be read ends the watch, and another one goes on
/// with it.
#[test]
fn a_watch_gives_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    let long = vec![7; 5000];
    store.append(&body(0)).unwrap();
    let damaged = store.append(&body(1)).unwrap();
    store.append(&long).unwrap();
    let segment = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|end| end == "log"));
    let [segment] = &segment.collect::<Vec<_>>()[..] else { panic!("one segment") };
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.windows(body(1).len()).position(|window| window == body(1)).unwrap();
    bytes[at] ^= 1;
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.write_all_at(&bytes[at..=at], at as u64).unwrap();

    let mut watch = store.watch(LogIndex(0)).with_bodies(1000);
    let (entry, first) = watch.next().unwrap().unwrap();
    assert_eq!((entry.index, first.unwrap()), (LogIndex(0), body(0).into()));
    assert!(watch.next().unwrap().unwrap_err().is_damage());
    assert!(watch.next().is_none() && watch.next_within(Duration::ZERO).is_none());
    assert_eq!(watch.resume_point().next, damaged.index, "it was not given out");

    store.heal(&damaged.id, &body(1)).unwrap();
    let mut watch = store.resume_watch(&watch.resume_point()).unwrap().with_bodies(1000);
    let mut next = || watch.next_within(Duration::from_secs(20)).unwrap().unwrap();
    assert_eq!(next().1.unwrap(), body(1));
    let (entry, body_of_long) = next();
    assert_eq!((entry.len, body_of_long), (5000, None), "longer than asked for");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    store.append(&body(2)).unwrap();
    let (_, last) = runtime.block_on(watch.next_async()).unwrap().unwrap();
    assert_eq!(last.unwrap(), body(2));
    store.close().unwrap();
    assert!(watch.next().is_none());
}

/// What a watch came to is of no use in another log: nothing is left out in silence.
#[test]
fn a_watch_goes_on_in_the_same_log_only() {
    let place = tempfile::tempdir().unwrap();
    let [at, backup, earlier] = ["store", "backup", "earlier"].map(|name| place.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    store.append_batch((0..10).map(body)).unwrap();
    let root = store.root().unwrap();
    store.backup(&backup, &mut |_| {}).unwrap();
    store.close().unwrap();
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
            for entry in fs::read_dir(&at).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap() != "LOCK" {
                    fs::remove_file(path).unwrap();
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
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "LOCK" || !to.join("LOCK").exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

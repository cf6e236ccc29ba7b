//! Appends of bodies that are held already, and damaged on the disk.

use std::sync::Arc;

use stemedb_simdisk::FaultyDisk;
use stemedb_store::{AppendError, Depth, Options, Receipt, Store};
use stemedb_wal::{disk::Disk as _, error::AppendError as LogAppendError};

use super::world::ENVIRONMENT;

const BODIES: u64 = 60;

fn body(n: u64) -> Vec<u8> {
    format!("{n:4}").repeat(20 + usize::try_from(n).unwrap() % 9).into_bytes()
}

fn open(disk: &FaultyDisk, threads: bool) -> Store {
    let options = Options::default().segment_len(4096).threads(threads).map_files(false);
    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap()
}

/// Damages a body under a store that is open.
fn damage(disk: &FaultyDisk, n: u64) {
    let body = body(n);
    for name in disk.list().unwrap().iter().filter(|name| name.starts_with("segment-")) {
        let bytes = disk.contents(name).unwrap();
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            let at = at + body.len() / 2;
            disk.open(name).unwrap().write_at(&[bytes[at] ^ 1], at as u64).unwrap();
        }
    }
}

fn append_by_each_way(store: &Store, n: u64, way: u64) -> Receipt {
    match way % 4 {
        0 => store.append(&body(n)).unwrap(),
        1 => store.append_batch([body(n), body(0)]).unwrap()[0],
        2 => store.submit([body(0), body(n)]).wait().unwrap()[1],
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(store.append_async(body(n))).unwrap()
        }
    }
}

/// In segments that are sealed, and in the one that appends go to; by each way of appending.
#[test]
fn a_body_that_is_damaged_and_appended_again_heals() {
    for threads in [false, true] {
        let disk = FaultyDisk::new(1);
        let store = open(&disk, threads);
        let receipts = store.append_batch((0..BODIES).map(body)).unwrap();
        let head = store.head().unwrap();
        for (way, n) in [1, 7, 20, 33, 40, BODIES - 3, BODIES - 1].into_iter().enumerate() {
            let first = receipts[usize::try_from(n).unwrap()];
            damage(&disk, n);
            assert!(store.get(&first.id).unwrap_err().is_damage(), "{n}");
            let healed = append_by_each_way(&store, n, way as u64);
            assert_eq!(healed, first, "{n}: healed where it was, and no duplicate");
            assert_eq!(store.get(&first.id).unwrap(), Some(body(n)));
            let again = append_by_each_way(&store, n, way as u64);
            assert_eq!(again, Receipt { duplicate: true, ..first }, "{n}");
        }
        assert_eq!(store.head().unwrap(), head, "nothing was added");
        store.append(b"more").unwrap();
        let report = store.check(Depth::Deep, &mut |_| {}).unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        store.close().unwrap();
        let store = open(&disk, threads);
        assert_eq!(store.len(), BODIES + 1);
        assert!((0..BODIES).all(|n| store.append(&body(n)).unwrap().duplicate));
    }
}

/// Where it can't be put right it is not acknowledged, and all else goes on.
#[test]
fn a_damaged_body_is_not_acknowledged_without_being_there() {
    for threads in [false, true] {
        let disk = FaultyDisk::new(1);
        let store = open(&disk, threads);
        let receipts = store.append_batch((0..BODIES).map(body)).unwrap();
        damage(&disk, 5);
        let names = disk.list().unwrap();
        let held: usize = names.iter().map(|name| disk.contents(name).unwrap().len()).sum();
        disk.set_capacity(Some(held as u64));
        for way in 0..2 {
            let error = if way == 0 {
                store.append(&body(5)).unwrap_err()
            } else {
                store.submit([body(6), body(5)]).wait().unwrap_err()
            };
            let AppendError::Log(LogAppendError::Unhealed(_)) = error else { panic!("{error}") };
            assert!(store.get(&receipts[5].id).is_err());
            assert!(store.append(&body(6)).unwrap().duplicate);
        }
        disk.set_capacity(None);
        assert!(!store.append(&body(5)).unwrap().duplicate);
        assert!(store.append(&body(5)).unwrap().duplicate);
        store.append(b"more").unwrap();
    }
}

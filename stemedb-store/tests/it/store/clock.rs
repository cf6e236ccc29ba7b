//! Clocks that are wrong, and logs that were written under one.

use std::{cell::Cell, sync::Arc};

use stemedb_simdisk::FaultyDisk;
use stemedb_store::clock::NTP64;
use stemedb_store::{
    AppendError, ClockReport, Depth, Environment, Options, Store, Timestamp, Warning,
};
use stemedb_wal::{
    disk::Disk,
    error::AppendError as LogAppendError,
    identity::Identity,
    log::{Log, LogOptions, NewRecord, Origin, Watermark},
};

use super::body;

/// 2025-01-01.
const NOW: u64 = 1_735_689_600 << 32;
const SECOND: u64 = 1 << 32;

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(NOW) };
}

#[expect(clippy::unnecessary_wraps, reason = "as the world has it")]
fn entropy(bytes: &mut [u8]) -> std::io::Result<()> {
    bytes.fill(9);
    Ok(())
}

const ENVIRONMENT: Environment =
    Environment { clock: || NTP64(TIME.get()), entropy, sleep: |_| {} };

fn open(disk: &FaultyDisk) -> Store {
    let options = Options::default().threads(false).map_files(false);
    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap()
}

fn clock_remarks(store: &Store) -> Vec<ClockReport> {
    let remarks = store.open_report().remarks.iter();
    let clock = |remark: &Warning| match remark {
        Warning::Clock(report) => Some(*report),
        _ => None,
    };
    remarks.filter_map(clock).collect()
}

/// One bad reading does not end a store: neither while it is open nor when it is opened.
#[test]
fn a_clock_beyond_2106_does_not_end_a_store() {
    let disk = FaultyDisk::new(1);
    TIME.set(NOW);
    let store = open(&disk);
    let first = store.append(&body(0)).unwrap();
    assert_eq!(
        (first.time, store.clock_report()),
        (Timestamp::from_ntp64(NOW), ClockReport::InStep)
    );
    TIME.set(u64::MAX);
    assert_eq!(store.clock_report(), ClockReport::NotTaken);
    for n in 1..100 {
        assert_eq!(store.append(&body(n)).unwrap().time, Timestamp::from_ntp64(NOW + n));
    }
    drop(store);
    let store = open(&disk);
    assert_eq!(clock_remarks(&store), [ClockReport::NotTaken]);
    let batch = store.append_batch((100..200).map(body)).unwrap();
    assert_eq!(batch[99].time, Timestamp::from_ntp64(NOW + 199));
    TIME.set(NOW + SECOND);
    assert_eq!(store.append(&body(200)).unwrap().time, Timestamp::from_ntp64(NOW + SECOND));
    drop(store);
    assert_eq!(clock_remarks(&open(&disk)), []);

    // A new store under such a clock, too.
    let disk = FaultyDisk::new(2);
    TIME.set(u64::MAX);
    let store = open(&disk);
    assert_eq!(clock_remarks(&store), [ClockReport::NotTaken]);
    let first = store.append(&body(0)).unwrap();
    TIME.set(NOW);
    let second = store.append(&body(1)).unwrap();
    assert!(
        first.time < second.time && second.time == Timestamp::from_ntp64(NOW),
        "{first:?} {second:?}"
    );
}

/// A log that an earlier version wrote under such a clock: appends go on while times last.
#[test]
fn a_log_with_such_a_time_goes_on_while_times_last() {
    const LEFT: u64 = 40;
    let disk = FaultyDisk::new(3);
    TIME.set(NOW);
    drop(open(&disk));
    {
        let lock = disk.lock().unwrap();
        let opened = Identity::open(&disk, lock.fingerprint(), None, entropy).unwrap();
        let Identity { store_id, generation, salt_seed, clean, .. } = opened.identity;
        let clean =
            clean.map(|mark| Watermark { position: mark.position, next_index: mark.next_index });
        let origin = Origin { store_id, generation, salt_seed, clean };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut log, _) =
            Log::open(shared, &origin, &LogOptions::default(), None, &mut |_| {}).unwrap();
        let (id, body) = (blake3::hash(b"2150").into(), b"2150");
        let record = NewRecord { id, body, heals: None };
        log.write(&[record], Timestamp::from_ntp64(u64::MAX - LEFT), &mut Vec::new()).unwrap();
        log.sync().unwrap();
        log.close().unwrap();
    }
    let store = open(&disk);
    assert_eq!(clock_remarks(&store), [ClockReport::NearEnd(LEFT)]);
    assert!(store.open_report().to_string().contains("40 are left"));
    for n in 1..LEFT {
        assert_eq!(
            store.append(&body(n)).unwrap().time,
            Timestamp::from_ntp64(u64::MAX - LEFT + n)
        );
    }
    store.append_batch([body(98), body(99)]).unwrap_err();
    assert_eq!(
        store.append(&body(99)).unwrap().time,
        Timestamp::from_ntp64(u64::MAX),
        "the last one"
    );
    let error = store.append(&body(100)).unwrap_err();
    assert!(matches!(error, AppendError::Log(LogAppendError::Exhausted)), "{error}");
    assert!(store.append(&body(1)).unwrap().duplicate, "what is held is acknowledged");
    let report = store.check(Depth::Deep, &mut |_| {}).unwrap();
    assert_eq!((report.entries, report.faults.len()), (LEFT + 1, 0));
    store.close().unwrap();
    let store = open(&disk);
    assert_eq!(clock_remarks(&store), [ClockReport::NearEnd(0)]);
    assert_eq!(store.len(), LEFT + 1);
}

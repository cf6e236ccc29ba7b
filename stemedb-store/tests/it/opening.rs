//! What opening a store opens: with a restart checkpoint, not each segment.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use stemedb_simdisk::{FaultyDisk, Operation, Target};
use stemedb_store::{
    AssertionId, Depth, Environment, LogIndex, OpenError, Options, RepairError, RepairOptions,
    Store, store::repair_on,
};
use stemedb_wal::disk::Disk;

use crate::reference::{
    random::noise,
    world::{self, ENVIRONMENT},
};

const BODY_LEN: usize = 500;

fn open(disk: &FaultyDisk) -> Result<Store, OpenError> {
    let options = Options::default().segment_len(4096).threads(false);
    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options)
}

/// A store of so many bodies, with a checkpoint of all but the last ten; how many segments it has.
fn filled(bodies: u64) -> (FaultyDisk, usize) {
    world::reset();
    let disk = FaultyDisk::new(1);
    let store = open(&disk).unwrap();
    for n in 0..bodies {
        if n + 10 == bodies {
            store.checkpoint().unwrap();
        }
        store.append(&noise(n, BODY_LEN)).unwrap();
    }
    store.close().unwrap();
    let segments = segments(&disk).len();
    (disk, segments)
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.list().unwrap();
    names.into_iter().filter(|name| name.starts_with("segment-")).collect()
}

/// How many files the opening of a store opens; all bodies are there then.
fn opened(disk: &FaultyDisk, bodies: u64) -> u64 {
    let before = disk.operations(Target::Only(Operation::Open));
    let store = open(disk).unwrap();
    let opened = disk.operations(Target::Only(Operation::Open)) - before;
    for n in 0..bodies {
        assert_eq!(store.get_index(LogIndex(n)).unwrap().unwrap().1, noise(n, BODY_LEN));
    }
    assert!(store.check(Depth::Deep, &mut |_| {}).unwrap().faults.is_empty());
    store.close().unwrap();
    opened
}

#[test]
fn with_a_checkpoint_segments_are_not_opened() {
    let ((few, few_segments), (many, many_segments)) = (filled(40), filled(400));
    assert!(few_segments >= 5 && many_segments >= 50, "{few_segments} {many_segments}");
    // The last segments of both may differ by one that is behind the checkpoint.
    let (few_opened, many_opened) = (opened(&few.fork(), 40), opened(&many.fork(), 400));
    assert!(few_opened.abs_diff(many_opened) <= 2, "{few_opened} {many_opened}");
    assert!(many_opened < 15, "{many_opened}");

    // Without the checkpoint each of them is.
    let without = many.fork();
    for name in Disk::list(&without).unwrap() {
        if name.starts_with("base-") || name.starts_with("delta-") {
            Disk::remove(&without, &name).unwrap();
        }
    }
    assert!(opened(&without, 400) > many_segments as u64);
}

/// A checkpoint does not keep opening from noticing that a segment is gone, or shorter.
#[test]
fn what_the_checkpoint_does_not_fit_is_found_as_without_it() {
    let (disk, _) = filled(100);
    let second = segments(&disk)[1].clone();
    let gone = disk.fork();
    Disk::remove(&gone, &second).unwrap();
    let error = open(&gone).unwrap_err().to_string();
    assert!(error.contains(&second) && error.contains("missing"), "{error}");
    let cut = disk.fork();
    cut.truncate_file(&second, 2000).unwrap();
    let error = open(&cut).unwrap_err().to_string();
    assert!(error.contains(&second), "{error}");
}

/// Headers that are not read are not relied upon; a check reads them.
#[test]
fn a_damaged_header_is_found_by_the_check() {
    let (disk, _) = filled(100);
    disk.flip_bit(&segments(&disk)[1], 8 * 40).unwrap();
    let store = open(&disk).unwrap();
    for n in 0..100 {
        assert_eq!(store.get_index(LogIndex(n)).unwrap().unwrap().1, noise(n, BODY_LEN));
    }
    let check = store.check(Depth::Deep, &mut |_| {}).unwrap();
    assert_eq!(check.faults.len(), 1, "{:?}", check.faults);
    assert!(check.faults[0].to_string().contains("header"), "{}", check.faults[0]);
}

/// A segment of a copy of the store that went its own way has the same name, length and salt, so
/// that all of its records pass their checks: they are not given out.
#[test]
fn a_segment_of_another_copy_gives_no_bodies() {
    let (disk, _) = filled(30);
    let continued = |from: u64| {
        let disk = disk.fork();
        let store = open(&disk).unwrap();
        for n in from..from + 60 {
            if n == from + 50 {
                store.checkpoint().unwrap();
            }
            store.append(&noise(n, BODY_LEN)).unwrap();
        }
        store.close().unwrap();
        disk
    };
    let [one, other] = [1000, 2000].map(continued);
    let names = segments(&one);
    assert_eq!(names, segments(&other));
    let of = |disk: &FaultyDisk, name: &str| disk.contents(name).unwrap();
    let middle = names.len() / 2 + 1;
    let (name, next) = (&names[middle], &names[middle + 1]);
    assert_ne!(of(&one, name), of(&other, name));
    assert_eq!(of(&one, name).len(), of(&other, name).len());
    assert_ne!(of(&one, next), of(&other, next));
    one.put(name, &of(&other, name)).unwrap();
    let store = open(&one).unwrap();
    let mut refused = 0;
    for n in 1000..1060 {
        let body = noise(n, BODY_LEN);
        match store.get(&AssertionId(blake3::hash(&body).into())) {
            Ok(found) => assert_eq!(found, Some(body), "{n}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "{name} is read as if it were this store's");
    for index in 30..90 {
        if let Ok(entry) = store.entry(LogIndex(index)) {
            assert!(
                (1000..1060)
                    .any(|n| entry.unwrap().id.0 == *blake3::hash(&noise(n, BODY_LEN)).as_bytes())
            );
        }
    }
}

thread_local! {
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static LONGEST: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// A store that another one waits for, and after how much sleep it is closed.
    static OTHER: RefCell<Option<(Duration, Store)>> = const { RefCell::new(None) };
}

fn sleep(time: Duration) {
    SLEPT.set(SLEPT.get() + time);
    LONGEST.set(LONGEST.get().max(time));
    OTHER.with_borrow_mut(|other| drop(other.take_if(|(until, _)| *until <= SLEPT.get())));
}

/// As long as it is told to and no longer, in pauses that are short at first.
#[test]
fn an_opening_waits_for_another_process() {
    let waiting = Environment { sleep, ..ENVIRONMENT };
    let (disk, _) = filled(20);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let options = |wait| Options::default().threads(false).lock_wait(Duration::from_millis(wait));
    let open = |wait| Store::open_on(Arc::clone(&disk), waiting, options(wait));
    for (wait, closed_after, opens) in
        [(5000, 60_000, false), (0, 60_000, false), (1, 60_000, false), (5000, 1300, true)]
    {
        let other = open(0).unwrap();
        SLEPT.set(Duration::ZERO);
        LONGEST.set(Duration::ZERO);
        OTHER.set(Some((Duration::from_millis(closed_after), other)));
        let opened = open(wait);
        assert_eq!(opened.is_ok(), opens, "{wait}");
        assert!(LONGEST.get() <= Duration::from_millis(100));
        if let Err(error) = opened {
            assert!(matches!(error, OpenError::Locked { .. }), "{error}");
            assert_eq!(SLEPT.get(), Duration::from_millis(wait), "all of it, and no more");
            // So does a repair; who reads waits for nobody.
            SLEPT.set(Duration::ZERO);
            let repaired = repair_on(&disk, waiting, &options(wait), RepairOptions::default());
            let locked = matches!(&repaired, Err(RepairError::Open(OpenError::Locked { .. })));
            assert!(locked, "{repaired:?}");
            assert_eq!(SLEPT.get(), Duration::from_millis(wait));
            SLEPT.set(Duration::ZERO);
            let reader = Store::open_read_only_on(Arc::clone(&disk), waiting, options(wait));
            assert_eq!(reader.unwrap().len(), 20);
            assert_eq!(SLEPT.get(), Duration::ZERO);
        } else {
            assert!(SLEPT.get() < Duration::from_millis(1400), "{:?}", SLEPT.get());
        }
        OTHER.set(None);
    }
}

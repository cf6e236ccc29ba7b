//! Damaged records that are put back as they were, in a store that stays in use.

use crate::reference::random;
use crate::reference::world;
use std::{io, ops::Range, sync::Arc};

use random::noise;
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Survival, Target};
use stemedb_store::{
    AssertionId, Depth, HealError, Healed, LogIndex, Options, Position, RepairOptions, Store,
};
use stemedb_wal::disk::Disk as _;
use world::ENVIRONMENT;

const ENTRIES: u64 = 60;

fn options() -> Options {
    let threads = false;
    Options::default().segment_len(4096).threads(threads).map_files(false)
}

fn open(disk: &FaultyDisk) -> Store {
    let opened = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options());
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn body(n: u64) -> Vec<u8> {
    noise(n + 1, usize::try_from(40 + 7 * n % 200).unwrap())
}

fn id(n: u64) -> AssertionId {
    AssertionId(blake3::hash(&body(n)).into())
}

/// A disk with a store of several segments, its batches of three; and all names of segments.
fn filled() -> (FaultyDisk, Vec<String>) {
    world::reset();
    let disk = FaultyDisk::new(1);
    let store = open(&disk);
    let bodies: Vec<_> = (0..ENTRIES).map(body).collect();
    bodies.chunks(3).for_each(|some| drop(store.append_batch(some).unwrap()));
    store.checkpoint().unwrap();
    store.close().unwrap();
    let mut names = disk.list().unwrap();
    names.retain(|name| stemedb_wal::sealed::parse_segment_name(name).is_some());
    assert!(names.len() >= 3, "{names:?}");
    (disk, names)
}

/// Where a body lies: the segment, and the offset of its record in it.
fn place(disk: &FaultyDisk, names: &[String], n: u64) -> (String, usize) {
    let body = body(n);
    for name in names {
        let bytes = disk.contents(name).unwrap();
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            return (name.clone(), at - 60);
        }
    }
    panic!("entry {n} is nowhere");
}

fn flip(disk: &FaultyDisk, name: &str, at: Range<usize>) {
    let mut bytes = disk.contents(name).unwrap();
    bytes[at].iter_mut().for_each(|byte| *byte ^= 0x55);
    disk.put(name, &bytes).unwrap();
}

fn check(store: &Store, context: &str) {
    let report = store.check(Depth::Deep, &mut |_| {}).unwrap();
    let faults: Vec<_> = report.faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{context}: {faults:?}");
    for n in 0..ENTRIES {
        assert_eq!(store.get(&id(n)).unwrap(), Some(body(n)), "{context}: {n}");
        assert_eq!(store.entry(LogIndex(n)).unwrap().unwrap().id, id(n), "{context}: {n}");
    }
}

/// All of a store that is not about a directory's very identity.
fn segments(disk: &FaultyDisk, names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| disk.contents(name).unwrap()).collect()
}

/// Each byte of some records of sealed segments, one at a time: the first, the last, one between,
/// and the first of a segment. What is damaged is put back to the byte.
#[test]
fn every_byte_of_a_record_is_put_back() {
    let (disk, names) = filled();
    let whole = segments(&disk, &names);
    let sealed = &names[..names.len() - 1];
    let second_first: u64 = names[1][13..33].parse().unwrap();
    let mut healed = 0;
    for n in [0, 4, second_first - 1, second_first, second_first + 1] {
        let (name, at) = place(&disk, sealed, n);
        let len = 60 + body(n).len();
        let step = if n == 4 { 1 } else { 5 };
        for byte in (0..len).step_by(step) {
            let context = format!("entry {n}, byte {byte}");
            let hurt = disk.fork();
            flip(&hurt, &name, at + byte..at + byte + 1);
            let store = open(&hurt);
            let error = store.get(&id(n)).unwrap_err();
            assert!(error.is_damage(), "{context}: {error}");
            match store.heal(&id(n), &body(n)).unwrap_or_else(|error| panic!("{context}: {error}"))
            {
                Healed::Rewritten { path, offset, len, kept } => {
                    assert!(path.to_string_lossy().ends_with(&name), "{context}: {path:?}");
                    assert_eq!((offset, len), ((at + byte) as u64, 1), "{context}");
                    let kept = kept.to_string_lossy().into_owned();
                    assert!(kept.contains(".log.at-") && kept.ends_with(".0001.damaged"));
                }
                other => panic!("{context}: {other:?}"),
            }
            healed += 1;
            assert_eq!(store.get(&id(n)).unwrap(), Some(body(n)), "{context}");
            assert_eq!(store.heal(&id(n), &body(n)).unwrap(), Healed::Intact, "{context}");
            assert_eq!(store.stats().unwrap().quarantined_bytes, 1, "{context}");
            assert_eq!(segments(&hurt, &names), whole, "{context}: to the byte");
            if byte % 16 == 0 {
                check(&store, &context);
                drop(store);
                check(&open(&hurt), &context);
            }
        }
    }
    println!("{healed} single bytes were put back");
}

/// A head of which nothing is left: index by the offsets, time held against the history.
#[test]
fn a_head_that_is_gone_is_made_from_the_rest() {
    let (disk, names) = filled();
    let whole = segments(&disk, &names);
    let sealed = &names[..names.len() - 1];
    let last: u64 = names[names.len() - 1][13..33].parse().unwrap();
    for n in 0..last {
        let hurt = disk.fork();
        let (name, at) = place(&disk, sealed, n);
        let mut bytes = hurt.contents(&name).unwrap();
        bytes[at..at + 60 + body(n).len() / 2].fill(0);
        hurt.put(&name, &bytes).unwrap();
        let store = open(&hurt);
        assert!(matches!(store.heal(&id(n), &body(n)), Ok(Healed::Rewritten { .. })), "{n}");
        assert_eq!(segments(&hurt, &names), whole, "{n}");
    }
}

/// A run of bytes over several records and the frame of a batch: one record is healed after the
/// other, and the frame with the last.
#[test]
fn several_records_and_what_holds_them_are_put_back() {
    let (disk, names) = filled();
    let whole = segments(&disk, &names);
    let (name, from) = place(&disk, &names, 4);
    let (_, to) = place(&disk, &names, 7);
    let hurt = disk.fork();
    let mut bytes = hurt.contents(&name).unwrap();
    bytes[from + 61..to + 70].fill(0);
    hurt.put(&name, &bytes).unwrap();
    // And the list of offsets stays what tells where they are.
    let store = open(&hurt);
    for n in 4..=7 {
        assert!(store.get(&id(n)).is_err(), "{n}");
        assert!(matches!(store.heal(&id(n), &body(n)), Ok(Healed::Rewritten { .. })), "{n}");
        assert_eq!(store.get(&id(n)).unwrap(), Some(body(n)));
    }
    check(&store, "several");
    let records: Vec<_> = segments(&hurt, &names);
    // Only how far the log was durable before a batch is not told by anything else.
    let differing = whole.concat().iter().zip(records.concat()).filter(|(a, b)| **a != *b).count();
    assert!(differing <= 16, "{differing} bytes");
    drop(store);
    check(&open(&hurt), "several, reopened");
}

/// What follows from the records needs no body from elsewhere.
#[test]
fn headers_and_footers_are_mended() {
    let (disk, names) = filled();
    let whole = segments(&disk, &names);
    let name = &names[1];
    let len = disk.contents(name).unwrap().len();
    let mut mended = 0;
    for at in (0..96).chain(96 + 8..160).chain(len - 90..len) {
        // Opening reads headers and trailers, so that this comes after it.
        let hurt = disk.fork();
        let store = open(&hurt);
        let mut bytes = hurt.contents(name).unwrap();
        bytes[at] ^= 1;
        let file = hurt.open(name).unwrap();
        file.write_at(&bytes[at..=at], at as u64).unwrap();
        assert!(!store.check(Depth::Deep, &mut |_| {}).unwrap().faults.is_empty(), "{at}");
        let position =
            store.append(b"one more").unwrap().position.min(Position(whole[0].len() as u64 + 99));
        let done = store.rewrite_framing(position).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert!(matches!(done, Healed::Rewritten { .. }), "{at}: {done:?}");
        check(&store, &format!("byte {at}"));
        mended += 1;
    }
    println!("{mended} bytes were mended");
}

#[test]
fn a_heal_with_a_wrong_body_is_refused() {
    let (disk, names) = filled();
    let (name, at) = place(&disk, &names, 4);
    flip(&disk, &name, at + 70..at + 71);
    let before = segments(&disk, &names);
    let store = open(&disk);
    let error = store.heal(&id(4), &body(5)).unwrap_err();
    assert!(matches!(error, HealError::OtherBody { .. }), "{error}");
    let error = store.heal(&id(4), b"").unwrap_err();
    assert!(matches!(error, HealError::OtherBody { .. }), "{error}");
    let stranger = AssertionId(blake3::hash(b"stranger").into());
    let error = store.heal(&stranger, b"stranger").unwrap_err();
    assert!(matches!(error, HealError::NotHeld { .. }), "{error}");
    assert!(store.get(&id(4)).is_err());
    assert_eq!(segments(&disk, &names), before, "nothing was written");
    assert_eq!(store.stats().unwrap().quarantined_bytes, 0);
}

/// Damage in the segment that appends go to: the log goes on in another, and then it heals.
#[test]
fn the_open_segment_is_sealed_first() {
    let (disk, names) = filled();
    let last = ENTRIES - 2;
    let (name, at) = place(&disk, &names, last);
    assert_eq!(name, *names.last().unwrap());
    let store = open(&disk);
    let mut bytes = disk.contents(&name).unwrap();
    bytes[at + 65] ^= 4;
    let file = disk.open(&name).unwrap();
    file.write_at(&bytes[at + 65..at + 66], at as u64 + 65).unwrap();
    let error = store.get(&id(last)).unwrap_err();
    assert!(error.is_damage(), "{error}");
    let segments = store.stats().unwrap().segments;
    let healed = store.heal(&id(last), &body(last)).unwrap();
    assert!(matches!(healed, Healed::Rewritten { .. }), "{healed:?}");
    assert_eq!(store.stats().unwrap().segments, segments + 1);
    store.append(b"appends go on").unwrap();
    check(&store, "open");
    store.close().unwrap();
    check(&open(&disk), "open, reopened");
}

#[test]
fn what_repair_gave_up_comes_back() {
    let (disk, names) = filled();
    let (name, at) = place(&disk, &names, 4);
    flip(&disk, &name, at + 70..at + 71);
    let shared: Arc<dyn stemedb_wal::disk::Disk> = Arc::new(disk.clone());
    let report =
        stemedb_store::store::repair_on(&shared, ENVIRONMENT, &options(), RepairOptions::default())
            .unwrap();
    assert_eq!(report.holes, 1);
    let store = open(&disk);
    assert_eq!(store.get(&id(4)).unwrap(), None);
    let healed = store.heal(&id(4), &body(4)).unwrap();
    assert!(matches!(healed, Healed::HoleFilled(receipt) if receipt.index == 4), "{healed:?}");
    assert_eq!(store.stats().unwrap().holes, 0);
    check(&store, "a hole");
}

/// Each call to the disk fails, once and from then on; and the process dies, or the power fails,
/// before each. The store opens, is healed or as it was, and has lost nothing else.
#[test]
fn a_heal_can_fail_and_die_anywhere() {
    let (disk, names) = filled();
    let (name, at) = place(&disk, &names, 4);
    flip(&disk, &name, at + 70..at + 75);
    let after = |disk: FaultyDisk, context: &str| {
        let store = open(&disk);
        for n in (0..ENTRIES).filter(|n| *n != 4) {
            assert_eq!(store.get(&id(n)).unwrap(), Some(body(n)), "{context}: {n}");
        }
        let was_healed = store.get(&id(4)).is_ok();
        store.heal(&id(4), &body(4)).unwrap_or_else(|error| panic!("{context}: {error}"));
        store.append(b"more").unwrap();
        check(&store, context);
        drop(store);
        check(&open(&disk), context);
        was_healed
    };
    let mut runs = [0, 0];
    for operation in [
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::SyncDir,
        Operation::Create,
        Operation::Open,
        Operation::List,
        Operation::Len,
        Operation::Read,
    ] {
        for from_then_on in [false, true] {
            for n in 0.. {
                let hurt = disk.fork();
                let store = open(&hurt);
                let (kind, error) = (FaultKind::Failed, io::ErrorKind::Other);
                let target = Target::Only(operation);
                hurt.inject(Fault { target, after: n, from_then_on, error, kind });
                let healed = store.heal(&id(4), &body(4));
                let hit = hurt.faults_hit() > 0;
                hurt.clear_faults();
                let context = format!("{operation:?} {n}, from then on {from_then_on}");
                if let Err(error) = &healed {
                    assert!(hit && error.to_string().len() > 10, "{context}: {error}");
                }
                // Whatever was told, the store goes on.
                store.append(b"goes on").unwrap();
                for survival in [Survival::Nothing, Survival::Sectors, Survival::ZeroFilled] {
                    let was_healed = after(hurt.power_cut(survival, n), &context);
                    assert!(was_healed || healed.is_err(), "{context}: it was told that it was");
                    runs[usize::from(was_healed)] += 1;
                }
                after(hurt.fork(), &context);
                if !hit {
                    break;
                }
            }
        }
    }
    assert!(runs.iter().all(|count| *count > 10), "{runs:?}");

    let hurt = disk.fork();
    let store = open(&hurt);
    let moments = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&moments);
    hurt.observe(move |moment| seen.lock().unwrap().push(moment.disk));
    store.heal(&id(4), &body(4)).unwrap();
    hurt.stop_observing();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(moments.len() >= 8, "{}", moments.len());
    let mut healed = 0;
    for (n, moment) in moments.iter().enumerate() {
        for survival in [Survival::Nothing, Survival::Sectors, Survival::ZeroFilled] {
            let context = format!("the power fails at {n} ({survival:?})");
            healed += usize::from(after(moment.power_cut(survival, n as u64), &context));
        }
        healed += usize::from(after(moment.fork(), &format!("the process dies at {n}")));
    }
    println!("{} moments, {runs:?} faults, healed after {healed} deaths", moments.len());
    assert!(healed > 0);
}

/// There is no room for the new segment: nothing changes, and once there is, it heals.
#[test]
fn a_full_disk_leaves_it_as_it_was() {
    let (disk, names) = filled();
    let (name, at) = place(&disk, &names, 4);
    flip(&disk, &name, at + 70..at + 71);
    let before = segments(&disk, &names);
    let store = open(&disk);
    let held: u64 =
        disk.list().unwrap().iter().map(|name| disk.contents(name).unwrap().len() as u64).sum();
    for room in [0, 100, 1000, 3000] {
        disk.set_capacity(Some(held + room));
        let error = store.heal(&id(4), &body(4)).unwrap_err();
        let HealError::Log(stemedb_wal::error::HealError::Disk(error)) = &error else {
            panic!("{error}")
        };
        assert!(error.is_full(), "{error}");
        assert_eq!(segments(&disk, &names), before);
        assert_eq!(store.stats().unwrap().quarantined_bytes, 0, "nothing is left lying");
    }
    disk.set_capacity(None);
    store.heal(&id(4), &body(4)).unwrap();
    check(&store, "full");
}

/// What peers bring fills a hole too: to them it is just a body that is missing here.
#[test]
fn a_peers_body_fills_what_repair_gave_up() {
    let dir = tempfile::tempdir().unwrap();
    let peer = Store::open(dir.path(), Options::default()).unwrap();
    peer.append_batch((0..ENTRIES).map(body)).unwrap();

    let (disk, names) = filled();
    let (name, at) = place(&disk, &names, 4);
    flip(&disk, &name, at + 70..at + 71);
    let shared: Arc<dyn stemedb_wal::disk::Disk> = Arc::new(disk.clone());
    stemedb_store::store::repair_on(&shared, ENVIRONMENT, &options(), RepairOptions::default())
        .unwrap();
    let store = open(&disk);
    assert_eq!(store.stats().unwrap().holes, 1);
    let lacks: Vec<Vec<u8>> = peer
        .comparison()
        .unwrap()
        .set
        .iter()
        .map(|entry| AssertionId(entry.unwrap().id))
        .filter(|id| !store.contains(id).unwrap())
        .map(|id| peer.get(&id).unwrap().unwrap())
        .collect();
    assert_eq!(lacks, [body(4)]);
    let lacks = lacks.iter().map(|body| (id(4).0, body.as_slice()));
    assert_eq!(store.append_from_peer(lacks).unwrap(), [(id(4).0, true)]);
    assert_eq!(store.stats().unwrap().holes, 0);
    assert_eq!(store.find(&id(4)).unwrap().unwrap().index, 4, "it keeps its index");
    check(&store, "a hole, filled by a peer's body");
    assert_eq!(store.root().unwrap(), peer.root().unwrap());
}

//! A small store of every kind of file, with each of its bits flipped and each of its files cut to
//! each length, one at a time.
//!
//! Whatever is damaged, opening, reading everything and `check` never panic, and nothing comes back
//! that is not what was appended. Each flip is found (the open fails, its report says so, a read
//! fails, or the check says so), or it is harmless and why is known: the table that the test prints
//! counts them by kind of file, and the assertions say which kinds may have harmless bits.
//!
//! By default each 61st bit and each 41st length are tried, and all bits of the first and last 64
//! bytes of each file; `STEMEDB_EVERY_BIT=1 cargo test --release --test it -- every_bit::` tries
//! all.

use crate::reference::ledger;
use crate::reference::random;
use crate::reference::world;
use std::{collections::BTreeMap, sync::Arc};

use ledger::Ledger;
use random::noise;
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{Depth, Head, LogIndex, LogSize, Options, Root, Store};
use stemedb_wal::disk::Disk;
use world::ENVIRONMENT;

fn options() -> Options {
    Options::default().segment_len(4096).threads(false).map_files(false)
}

struct Sample {
    disk: FaultyDisk,
    ledger: Ledger,
    head: Head,
    /// Sizes that the log had, and the root over its history then.
    past: [(LogSize, Root); 4],
}

impl Sample {
    fn new(disk: FaultyDisk, ledger: Ledger) -> Self {
        let (head, history) = (ledger.head(), ledger.history());
        let past = [LogSize(1), LogSize(256), LogSize(260), head.log_size];
        let past = past.map(|size| (size, history.head_at(size).unwrap().root));
        Self { disk, ledger, head, past }
    }
}

/// Some segments, a base and a delta, tiles, a spare; closed or not.
fn sample(closed: bool) -> Sample {
    world::reset();
    let disk = FaultyDisk::new(1);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    let mut ledger = Ledger::default();
    let mut append = |store: &Store, lens: &[usize]| {
        let first = ledger.entries.len();
        let bodies: Vec<Arc<[u8]>> = lens
            .iter()
            .enumerate()
            .map(|(n, len)| noise((first + n) as u64, *len).into())
            .collect();
        let receipts = store.append_batch(&bodies).unwrap();
        ledger.acknowledge(&bodies, &receipts).unwrap();
    };
    append(&store, &[12; 270]);
    append(&store, &[3000]);
    store.checkpoint().unwrap();
    append(&store, &[30; 20]);
    store.checkpoint().unwrap();
    append(&store, &[100, 0, 700]);
    append(&store, &[50]);
    if closed {
        store.close().unwrap();
    } else {
        // As if the process had died: the mark of a clean close is missing.
        let fork = disk.fork();
        drop(store);
        fork.put("spare.tmp", &[0; 4096]).unwrap();
        return Sample::new(fork, ledger);
    }
    disk.put("spare.tmp", &[0; 4096]).unwrap();
    Sample::new(disk, ledger)
}

/// How damage showed, the first way that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Refused,
    Reported,
    CheckpointSetAside,
    ReadFails,
    CheckFails,
    Nothing,
}

impl Sample {
    /// Opens a damaged copy and reads everything in it. Panics if anything wrong comes back.
    fn look_at(&self, disk: &FaultyDisk, context: &str) -> Shown {
        let store = match Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()) {
            Ok(store) => store,
            Err(error) => {
                assert!(error.to_string().len() > 10, "{context}: {error}");
                return Shown::Refused;
            }
        };
        let report = store.open_report();
        let opened = match (report.checkpoint_set_aside, report.remarks.is_empty()) {
            (true, _) => Shown::CheckpointSetAside,
            (_, false) => Shown::Reported,
            _ => Shown::Nothing,
        };
        assert_eq!(store.head().unwrap(), self.head, "{context}: {report}");
        let mut failures = 0;
        for (expected, entry) in self.ledger.entries.iter().zip(0..) {
            let receipt = expected.receipt;
            match store.get_index(LogIndex(entry)) {
                Ok(found) => {
                    let (entry, body) = found.unwrap();
                    assert_eq!((entry.id, entry.time), (receipt.id, receipt.time), "{context}");
                    assert_eq!(body, *expected.body, "{context}");
                }
                Err(error) => {
                    assert!(error.is_damage(), "{context}: {error}");
                    failures += 1;
                }
            }
            match store.get(&receipt.id) {
                Ok(body) => assert_eq!(body.as_deref(), Some(&*expected.body), "{context}"),
                Err(error) => assert!(error.is_damage(), "{context}: {error}"),
            }
        }
        for (size, expected) in self.past {
            match store.history_root_at(size) {
                Ok(root) => assert_eq!(root, expected, "{context}"),
                Err(_) => failures += 1,
            }
        }
        let checked = store.check(Depth::Deep, &mut |_| {}).unwrap();
        match opened {
            Shown::Nothing if failures > 0 => {
                // What a read meets, a check must find.
                assert!(!checked.faults.is_empty(), "{context}: the check finds nothing");
                Shown::ReadFails
            }
            Shown::Nothing if !checked.faults.is_empty() => Shown::CheckFails,
            opened => opened,
        }
    }
}

/// Kinds of files, and what of a file at which offset.
fn region(name: &str, contents: &[u8], offset: usize) -> &'static str {
    let behind_end = contents[offset..].iter().all(|byte| *byte == 0);
    match name {
        "LOCK" => "LOCK",
        "IDENTITY" => "IDENTITY",
        "spare.tmp" => "spare",
        "history.tiles" => "tiles",
        _ if name.starts_with("base-") => "base",
        _ if name.starts_with("delta-") => "delta",
        _ if name.starts_with("segment-") && behind_end => "segment, zeros behind the end",
        _ if name.starts_with("segment-") => "segment",
        _ => panic!("a file of no known kind: {name}"),
    }
}

/// Where nothing may show damage, and why.
fn may_be_harmless(region: &str) -> bool {
    // What is in a spare is not read: it is made anew. LOCK has no contents.
    matches!(region, "LOCK" | "spare")
}

type Table = BTreeMap<(&'static str, Shown), u64>;

fn print(table: &Table, what: &str) {
    println!("{what}:");
    for ((region, shown), count) in table {
        println!("  {region:30} {shown:20?} {count:8}");
    }
}

fn all() -> bool {
    random::number_from_env("STEMEDB_EVERY_BIT").is_some_and(|value| value > 0)
}

fn flip_bits(closed: bool) {
    let sample = sample(closed);
    let mut table = Table::new();
    let names = sample.disk.list().unwrap();
    for kind in ["LOCK", "IDENTITY", "base-", "delta-", "history.tiles", "segment-", "spare.tmp"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind} is missing: {names:?}");
    }
    assert_eq!(sample.look_at(&sample.disk.fork(), "whole"), Shown::Nothing);
    for name in names {
        let contents = sample.disk.contents(&name).unwrap();
        let bits = contents.len() * 8;
        for bit in 0..bits {
            let near_an_end = bit < 512 || bit + 512 >= bits;
            let every = if name == "IDENTITY" || near_an_end { 1 } else { 61 };
            if !all() && bit % every != 0 {
                continue;
            }
            let disk = sample.disk.fork();
            disk.flip_bit(&name, bit as u64).unwrap();
            let region = region(&name, &contents, bit / 8);
            let shown = sample.look_at(&disk, &format!("{name}, bit {bit}, closed: {closed}"));
            assert!(
                shown != Shown::Nothing || may_be_harmless(region),
                "{name}, bit {bit} ({region}), closed: {closed}: not found"
            );
            *table.entry((region, shown)).or_default() += 1;
        }
    }
    print(&table, &format!("flipped bits, closed: {closed}"));
}

#[test]
fn every_bit_of_a_closed_store() {
    flip_bits(true);
}

#[test]
fn every_bit_of_a_store_whose_process_died() {
    flip_bits(false);
}

#[test]
fn every_length() {
    let sample = sample(true);
    let mut table = Table::new();
    for name in sample.disk.list().unwrap() {
        let contents = sample.disk.contents(&name).unwrap();
        for len in 0..contents.len() {
            let near_an_end = len < 64 || len + 64 >= contents.len();
            if !all() && !near_an_end && len % 41 != 0 {
                continue;
            }
            let disk = sample.disk.fork();
            disk.truncate_file(&name, len as u64).unwrap();
            let region = region(&name, &contents, len);
            let shown = sample.look_at(&disk, &format!("{name} cut to {len}"));
            assert!(
                shown != Shown::Nothing || may_be_harmless(region),
                "{name} cut to {len} ({region}): not found"
            );
            *table.entry((region, shown)).or_default() += 1;
        }
    }
    print(&table, "cut lengths");
}

/// A file that is gone.
#[test]
fn every_file() {
    let sample = sample(true);
    for name in sample.disk.list().unwrap() {
        let disk = sample.disk.fork();
        disk.remove(&name).unwrap();
        disk.sync_dir().unwrap();
        let shown = sample.look_at(&disk, &format!("{name} is gone"));
        println!("{name:50} {shown:?}");
        // A base takes its deltas with it; a lone delta that is gone leaves an older checkpoint.
        let harmless =
            name == "spare.tmp" || name.starts_with("base-") || name.starts_with("delta-");
        assert!(shown != Shown::Nothing || harmless, "{name} is gone: not found");
    }
}

/// A reader that believes what it reads fails the same checks.
#[test]
fn control_an_entry_that_is_not_what_was_appended_is_caught() {
    let mut sample = sample(true);
    Arc::make_mut(&mut sample.ledger.entries)[7].body = noise(1000, 12).into();
    let disk = sample.disk.fork();
    let caught = std::panic::catch_unwind(|| sample.look_at(&disk, "control"));
    assert!(caught.is_err());
}

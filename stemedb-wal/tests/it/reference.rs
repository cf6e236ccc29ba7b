//! The log against a slow reader of its format.

mod scanner;

use crate::history::{LogHarness, ORIGIN, body_of, id_of, open};
use scanner::{Reading, read_log};
use std::sync::{Arc, Mutex};

use stemedb_merkle::Timestamp;

use stemedb_simdisk::{FaultyDisk, Survival};
use stemedb_wal::{
    disk::Disk,
    error::OpenError,
    log::{Log, LogOptions, NewRecord, Spares, Warning},
    raw::parse_segment_name,
};

fn options() -> LogOptions {
    LogOptions::default().segment_len(1500).spares(Spares::None)
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.list().unwrap();
    names.into_iter().filter(|name| parse_segment_name(name).is_some()).collect()
}

/// Holds an opening against the reference. Says whether the log was refused, torn or whole.
fn compare(disk: &FaultyDisk, what: &str) -> &'static str {
    let names = segments(disk);
    let files: Vec<Vec<u8>> = names.iter().map(|name| disk.contents(name).unwrap()).collect();
    let expected = read_log(&files, 0);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (report, replayed) = match (open(&shared, &ORIGIN, &options(), None), &expected) {
        (Err(OpenError::Damaged(_) | OpenError::Missing { .. }), None) => return "refused",
        (Ok((_, report, replayed)), Some(_)) => (report, replayed),
        (opened, expected) => {
            panic!("{what}: {:?} for {expected:?}", opened.map(|opened| opened.1))
        }
    };
    let Reading { records, torn, footers } = expected.unwrap();
    assert_eq!(replayed.len(), records.len(), "{what}");
    for (found, record) in replayed.iter().zip(records) {
        let expected = (record.index, record.time, record.id, record.position, record.body);
        let body = found.body.clone();
        assert_eq!((found.index, found.time, found.id, found.position, body), expected, "{what}");
    }
    let cut = report.warnings.iter().find_map(|warning| match warning {
        Warning::TornTail { offset, .. } => Some(*offset),
        _ => None,
    });
    assert_eq!(cut, torn, "{what}: {:?}", report.warnings);
    let rebuilt = |warning: &&Warning| matches!(warning, Warning::FooterRebuilt { .. });
    assert_eq!(report.warnings.iter().filter(rebuilt).count(), footers.len(), "{what}");
    if torn.is_some() { "torn" } else { "whole" }
}

/// A log of a few segments. The last batches are not marked.
fn sample() -> FaultyDisk {
    let disk = FaultyDisk::new(11);
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options());
    for lens in [&[10, 40][..], &[300], &[0, 0], &[700], &[2000], &[5, 5, 5], &[90], &[20, 600]] {
        harness.append(lens, 50);
    }
    disk
}

#[test]
fn every_flipped_bit_every_cut_and_every_lost_sector() {
    let sample = sample();
    let mut outcomes = std::collections::BTreeMap::<&str, u64>::new();
    let mut count = |outcome| *outcomes.entry(outcome).or_default() += 1;
    assert_eq!(compare(&sample.fork(), "as it was"), "whole");
    for name in segments(&sample) {
        let bytes = sample.contents(&name).unwrap();
        for bit in (0..bytes.len() as u64 * 8).step_by(13) {
            let disk = sample.fork();
            disk.flip_bit(&name, bit).unwrap();
            count(compare(&disk, &format!("{name}, bit {bit}")));
        }
        for len in (0..bytes.len() as u64).step_by(7) {
            let disk = sample.fork();
            disk.truncate_file(&name, len).unwrap();
            count(compare(&disk, &format!("{name}, cut to {len}")));
        }
        for start in (0..bytes.len()).step_by(64) {
            for len in [64, 512, 1500] {
                let disk = sample.fork();
                let zeros = vec![0; len.min(bytes.len() - start)];
                disk.overwrite(&name, &zeros, start as u64).unwrap();
                count(compare(&disk, &format!("{name}, {len} zeros at {start}")));
            }
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes["refused"] > 1000 && outcomes["torn"] > 100 && outcomes["whole"] > 100);
}

#[test]
fn every_power_cut() {
    let disk = FaultyDisk::new(5);
    let moments = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&moments);
    disk.observe(move |moment| seen.lock().unwrap().push(moment.disk.fork()));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = open(&shared, &ORIGIN, &options(), None).unwrap().0;
    let write = |log: &mut Log, number: u64, len: usize| {
        let body = body_of(number, len);
        let record = NewRecord { id: id_of(&body), body: &body, heals: None };
        log.write(&[record], Timestamp::from_ntp64(50), &mut Vec::new()).unwrap();
    };
    for (number, len) in (0..).zip([10, 300, 0, 700, 600, 700, 30, 2000, 5, 900, 20]) {
        write(&mut log, number, len);
        if number % 3 != 1 {
            log.sync().unwrap();
        }
        if number == 6 {
            log.mark().unwrap();
        }
    }
    drop(log);
    disk.stop_observing();
    let moments = moments.lock().unwrap();
    let (mut cuts, mut torn) = (0, 0);
    for (number, moment) in moments.iter().enumerate() {
        for survival in Survival::ALL {
            for seed in 0..6 {
                let cut = moment.power_cut(survival, seed);
                if segments(&cut).is_empty() {
                    continue;
                }
                let what = format!("operation {number}, {survival:?}, seed {seed}");
                match compare(&cut, &what) {
                    "refused" => panic!("{what}: refused"),
                    outcome => torn += u64::from(outcome == "torn"),
                }
                cuts += 1;
            }
        }
    }
    println!("{cuts} cuts, {torn} torn");
    assert!(cuts > 3000 && torn > 25);
}

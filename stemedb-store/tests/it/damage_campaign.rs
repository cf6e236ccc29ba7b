//! One or two files of a store damaged at once, exchanged, or put back as they were earlier; then
//! everything is opened, checked, and repaired.
//!
//! Whatever happens, nothing comes back that was not appended, and no opening and no repair ends
//! with fewer entries without saying so. A repair either leaves a store that opens and that a deep
//! check finds whole, with all entries, and names each body that is lost; or it refuses, and has
//! changed nothing. Once the loss is accepted, the rest is there.
//!
//! `STEMEDB_DAMAGE=<trials>` tries more than the default, `STEMEDB_SEED=<number>` others.

use crate::reference::random;
use crate::reference::world;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use random::{Random, noise};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{
    AssertionId, Depth, LogIndex, Options, RepairError, RepairOptions, RepairReport, Store,
    Timestamp, store::repair_on,
};
use stemedb_wal::disk::{Disk, is_quarantined};
use world::ENVIRONMENT;

const TRIALS: u64 = 400;

fn options() -> Options {
    Options::default().segment_len(4096).threads(false).map_files(false)
}

struct Appended {
    id: AssertionId,
    time: Timestamp,
    body: Vec<u8>,
}

struct Sample {
    disk: FaultyDisk,
    entries: Vec<Appended>,
    /// The disk at earlier moments, with each of which the store would open.
    earlier: Vec<FaultyDisk>,
}

fn open(disk: &FaultyDisk) -> Result<Store, stemedb_store::OpenError> {
    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options())
}

fn repair(disk: &FaultyDisk, accept_loss: bool) -> Result<RepairReport, RepairError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let how = RepairOptions::default().accept_loss(accept_loss);
    repair_on(&shared, ENVIRONMENT, &options(), how)
}

/// Some segments, checkpoints, tiles, and a body that was lost and came back; closed.
fn sample() -> Sample {
    world::reset();
    let disk = FaultyDisk::new(1);
    let mut entries = Vec::new();
    let mut earlier = Vec::new();
    let mut append = |lens: &[usize]| {
        let store = open(&disk).unwrap();
        for len in lens {
            let body = noise(entries.len() as u64, *len);
            let receipt = store.append(&body).unwrap();
            entries.push(Appended { id: receipt.id, time: receipt.time, body });
        }
        store.checkpoint().unwrap();
        store.close().unwrap();
        earlier.push(disk.fork());
    };
    append(&[40; 60]);
    append(&[3000, 700, 0]);
    append(&[100; 30]);
    let lost = entries[7].body.clone();
    let name = disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-")).unwrap();
    let bytes = disk.contents(&name).unwrap();
    let at = bytes.windows(lost.len()).position(|window| window == lost).unwrap();
    disk.flip_bit(&name, at as u64 * 8 + 3).unwrap();
    assert_eq!(repair(&disk, false).unwrap().lost_bodies, [entries[7].id]);
    earlier.push(disk.fork());
    let store = open(&disk).unwrap();
    assert!(!store.append(&lost).unwrap().duplicate);
    store.checkpoint().unwrap();
    store.close().unwrap();
    earlier.push(disk.fork());
    let store = open(&disk).unwrap();
    for n in 0..20 {
        let body = noise(1000 + n, 90);
        let receipt = store.append(&body).unwrap();
        entries.push(Appended { id: receipt.id, time: receipt.time, body });
        if n == 10 {
            store.checkpoint().unwrap();
        }
    }
    store.close().unwrap();
    Sample { disk, entries, earlier }
}

/// All files and what is in them, but for the lock.
fn files(disk: &FaultyDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap().into_iter().filter(|name| name != "LOCK");
    names.map(|name| (name.clone(), disk.contents(&name).unwrap())).collect()
}

/// Damages one file, or exchanges two; says what it did, to which files.
fn damage(disk: &FaultyDisk, sample: &Sample, random: &mut Random) -> (String, Vec<String>) {
    let names: Vec<String> = files(disk).into_keys().collect();
    let log: Vec<&String> =
        names.iter().filter(|name| !is_quarantined(name) && *name != "SCRUB").collect();
    let name = log[random.index(log.len())].clone();
    let len = disk.contents(&name).unwrap().len() as u64;
    let at = random.below(len.max(1));
    let sector = at / 512 * 512;
    let what = match random.below(8) {
        0 | 1 if len > 0 => {
            disk.flip_bit(&name, at * 8 + random.below(8)).unwrap();
            format!("{name}: bit flipped in byte {at}")
        }
        2 if len > 0 => {
            let part = vec![0; usize::try_from((len - sector).min(512)).unwrap()];
            disk.overwrite(&name, &part, sector).unwrap();
            format!("{name}: zeros from {sector}")
        }
        3 if len > 0 => {
            disk.make_unreadable(&name, sector..sector + 512).unwrap();
            format!("{name}: unreadable from {sector}")
        }
        4 => {
            disk.truncate_file(&name, at).unwrap();
            format!("{name}: cut to {at}")
        }
        5 => {
            disk.remove(&name).unwrap();
            disk.sync_dir().unwrap();
            format!("{name}: removed")
        }
        6 => {
            let other = log[random.index(log.len())].clone();
            let (one, two) = (disk.contents(&name).unwrap(), disk.contents(&other).unwrap());
            disk.put(&name, &two).unwrap();
            disk.put(&other, &one).unwrap();
            return (format!("{name} and {other}: exchanged"), vec![name, other]);
        }
        _ => {
            let moment = random.index(sample.earlier.len());
            match sample.earlier[moment].contents(&name) {
                Ok(bytes) => disk.put(&name, &bytes).unwrap(),
                Err(_) => return damage(disk, sample, random),
            }
            format!("{name}: as it was at moment {moment}")
        }
    };
    (what, vec![name])
}

/// How many entries a store has; panics if one of them is not what was appended.
fn check_entries(
    store: &Store,
    sample: &Sample,
    all: bool,
    context: &str,
) -> BTreeSet<AssertionId> {
    let mut lost = BTreeSet::new();
    let mut expected = sample.entries.iter();
    for index in 0..store.log_size().get() {
        let found = store.get_index(LogIndex(index));
        let mut next = || {
            if all { expected.next() } else { None }
        };
        match found {
            Ok(found) => {
                let (entry, body) = found.unwrap();
                let was = match next() {
                    Some(was) => was,
                    None => expected.find(|was| was.id == entry.id).unwrap(),
                };
                assert_eq!((was.id, was.time), (entry.id, entry.time), "{context}: {index}");
                assert_eq!(was.body, body, "{context}: {index}");
                assert_eq!(store.get(&was.id).unwrap().as_ref(), Some(&was.body), "{context}");
            }
            Err(error) => {
                // What cannot be read is an error of its own before a repair has made a hole of it.
                let unreadable = error.to_string().contains("Input/output error");
                assert!(error.is_damage() || unreadable, "{context}: {index}: {error}");
                if let Some(was) = next() {
                    lost.insert(was.id);
                }
            }
        }
    }
    lost
}

fn check_whole(store: &Store, context: &str) {
    let checked = store.check(Depth::Deep, &mut |_| {}).unwrap();
    assert!(checked.faults.is_empty(), "{context}: {:?}", checked.faults);
}

#[derive(Debug, Default)]
struct Counts {
    opened: u64,
    complete: u64,
    holes: u64,
    refused: u64,
}

fn run_trial(sample: &Sample, seed: u64, counts: &mut Counts) {
    let mut random = Random::new(seed);
    let disk = sample.disk.fork();
    let (mut told, mut hurt) = (Vec::new(), Vec::new());
    for _ in 0..=random.below(2) {
        let (what, names) = damage(&disk, sample, &mut random);
        told.push(what);
        hurt.extend(names);
    }
    let context = format!("STEMEDB_SEED={seed}: {}", told.join("; "));
    let is_hurt = |of: &str| hurt.iter().any(|name| name.starts_with(of));
    let tail = files(&sample.disk)
        .into_keys()
        .rfind(|name| stemedb_wal::sealed::parse_segment_name(name).is_some())
        .unwrap();
    // Where both files that say where the log ends are old, lost or exchanged, nothing tells.
    let end_unknown = is_hurt("IDENTITY") && is_hurt(&tail);

    if let Ok(store) = open(&disk.fork()) {
        let size = store.log_size();
        assert!(size == sample.entries.len() as u64 || end_unknown, "{context}: opens with {size}");
        check_entries(&store, sample, !end_unknown, &context);
        counts.opened += 1;
    }
    let before = files(&disk);
    let report = match repair(&disk, false) {
        Ok(report) => report,
        Err(RepairError::EntriesLost { found, .. }) => {
            assert!(!found.is_empty(), "{context}: refused without a reason");
            assert_eq!(files(&disk), before, "{context}: refused, and changed");
            counts.refused += 1;
            let report = repair(&disk, true).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(report.lost_entries.is_some() && report.new_log, "{context}: {report:?}");
            let store = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            check_entries(&store, sample, false, &context);
            check_whole(&store, &context);
            return;
        }
        Err(error) => panic!("{context}: {error}"),
    };
    let store = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let remarks = report.remarks.join("\n");
    let untold = remarks.contains("does not tell any more") || end_unknown;
    let size = store.log_size();
    assert!(size == sample.entries.len() as u64 || untold, "{context}: {size}: {remarks}");
    let lost = check_entries(&store, sample, !untold, &context);
    if !untold {
        let named: BTreeSet<AssertionId> = report.lost_bodies.iter().copied().collect();
        assert_eq!(lost, named, "{context}: {remarks}");
        assert_eq!(report.is_complete(), lost.is_empty(), "{context}");
    }
    check_whole(&store, &context);
    if lost.is_empty() {
        counts.complete += 1;
    } else {
        counts.holes += 1;
    }
    store.close().unwrap();
    // Nothing is left to do, and all comes back.
    let again = repair(&disk, false).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(again.is_complete() && again.remarks.is_empty(), "{context}: {again:?}");
    let store = open(&disk).unwrap();
    for entry in &sample.entries {
        let receipt = store.append(&entry.body).unwrap();
        assert_eq!(store.get(&receipt.id).unwrap().as_ref(), Some(&entry.body), "{context}");
    }
    check_whole(&store, &context);
}

#[test]
fn whatever_is_damaged_nothing_is_lost_in_silence() {
    let sample = sample();
    let first = random::first_seed(1);
    let trials = random::number_from_env("STEMEDB_DAMAGE").unwrap_or(TRIALS);
    let mut counts = Counts::default();
    for seed in first..first + trials {
        run_trial(&sample, seed, &mut counts);
    }
    println!("{trials} trials: {counts:?}");
    if trials >= TRIALS {
        assert!(counts.complete > 0 && counts.holes > 0 && counts.refused > 0, "{counts:?}");
    }
}

/// A store that loses an entry in silence is caught.
#[test]
fn control_a_lost_entry_is_caught() {
    let mut sample = sample();
    sample.entries.push(Appended {
        id: sample.entries[0].id,
        time: Timestamp::from_ntp64(1),
        body: vec![1],
    });
    let caught = std::panic::catch_unwind(|| {
        (1..20).for_each(|seed| run_trial(&sample, seed, &mut Counts::default()));
    });
    assert!(caught.is_err());
}

/// Each bit of `IDENTITY` flipped is put right as it was; a file that is gone, or damaged beyond
/// that, is made again from the segments.
#[test]
fn identity_is_corrected_or_made_again() {
    let sample = sample();
    let original = sample.disk.contents("IDENTITY").unwrap();
    for bit in 0..original.len() as u64 * 8 {
        let disk = sample.disk.fork();
        disk.flip_bit("IDENTITY", bit).unwrap();
        assert!(open(&disk).is_err(), "bit {bit}");
        let report = repair(&disk, false).unwrap();
        assert!(report.is_complete(), "bit {bit}: {report:?}");
        assert_eq!(disk.contents("IDENTITY").unwrap(), original, "bit {bit}");
    }
    for (n, bytes) in [None, Some(vec![0; 144]), Some(original[..100].to_vec()), Some(vec![7; 9])]
        .iter()
        .enumerate()
    {
        let disk = sample.disk.fork();
        match bytes {
            Some(bytes) => disk.put("IDENTITY", bytes).unwrap(),
            None => disk.remove("IDENTITY").unwrap(),
        }
        disk.sync_dir().unwrap();
        assert!(open(&disk).is_err(), "{n}");
        let report = repair(&disk, false).unwrap();
        assert!(report.is_complete() && report.remarks[0].contains("IDENTITY"), "{n}: {report:?}");
        let store = open(&disk).unwrap();
        assert_eq!(store.log_size(), sample.entries.len() as u64, "{n}");
        check_entries(&store, &sample, true, "identity");
        check_whole(&store, "identity");
        store.append(b"appends go on").unwrap();
        store.close().unwrap();
        assert_ne!(disk.contents("IDENTITY").unwrap()[32..48], original[32..48], "a new node");
        // A header of before is still told by its own salt.
        let name =
            disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-")).unwrap();
        disk.flip_bit(&name, 20 * 8).unwrap();
        let report = repair(&disk, false).unwrap();
        assert!(report.is_complete() && !report.remarks.is_empty(), "{n}: {report:?}");
        check_whole(&open(&disk).unwrap(), "a header");
    }
}

/// The check of the secret is made again from the secret that is given, and no other is taken.
#[test]
fn a_lost_identity_takes_the_right_secret_only() {
    let secret = |byte: u8| Some(stemedb_store::Secret::new(&[byte; 32]).unwrap());
    let with = |byte: u8| options().secret(secret(byte));
    let repair = |disk: &FaultyDisk, options: &Options| {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        repair_on(&shared, ENVIRONMENT, options, RepairOptions::default())
    };
    world::reset();
    let disk = FaultyDisk::new(3);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, with(1)).unwrap();
    let id = store.append(b"keyed").unwrap().id;
    store.close().unwrap();
    disk.remove("IDENTITY").unwrap();
    for wrong in [options(), with(2)] {
        let error = repair(&disk, &wrong).unwrap_err();
        assert!(error.to_string().contains("secret"), "{error}");
        assert!(disk.contents("IDENTITY").is_err());
    }
    repair(&disk, &with(1)).unwrap();
    assert!(Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, with(2)).is_err());
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, with(1)).unwrap();
    assert_eq!(store.get(&id).unwrap().as_deref(), Some(&b"keyed"[..]));
    drop(store);

    let disk = sample().disk;
    disk.remove("IDENTITY").unwrap();
    let error = repair(&disk, &with(1)).unwrap_err();
    assert!(error.to_string().contains("without a secret"), "{error}");
    repair(&disk, &options()).unwrap();
}

/// What was never a store is not made one: a restore under way, a backup that was not finished.
#[test]
fn what_was_never_complete_is_not_made_a_store() {
    let sample = sample();
    let disk = sample.disk.fork();
    disk.remove("IDENTITY").unwrap();
    disk.put("RESTORING", &sample.disk.contents("IDENTITY").unwrap()).unwrap();
    assert!(matches!(repair(&disk, true), Err(RepairError::Restoring { .. })));

    let disk = sample.disk.fork();
    disk.remove("IDENTITY").unwrap();
    disk.remove("LOCK").unwrap();
    disk.sync_dir().unwrap();
    for _ in 0..2 {
        assert!(matches!(repair(&disk, false), Err(RepairError::Unfinished { .. })));
    }
    assert!(repair(&disk, true).unwrap().is_complete());
    check_entries(&open(&disk).unwrap(), &sample, true, "accepted");
}

/// An identity of before a repair that began a new generation does not cost the new one.
#[test]
fn an_older_identity_is_brought_up_to_its_segments() {
    let sample = sample();
    let disk = sample.disk.fork();
    let identity = disk.contents("IDENTITY").unwrap();
    let names = disk.list().unwrap();
    let second = names
        .iter()
        .filter(|name| stemedb_wal::sealed::parse_segment_name(name).is_some())
        .nth(1)
        .unwrap();
    disk.remove(second).unwrap();
    disk.sync_dir().unwrap();
    assert!(repair(&disk, true).unwrap().new_log);
    let size = open(&disk).unwrap().log_size();
    disk.put("IDENTITY", &identity).unwrap();
    assert!(open(&disk).is_err());
    for accept_loss in [false, true] {
        let disk = disk.fork();
        let report = repair(&disk, accept_loss).unwrap();
        assert!(report.is_complete() && !report.new_log, "{report:?}");
        let store = open(&disk).unwrap();
        assert_eq!(store.log_size(), size);
        check_whole(&store, "an older identity");
    }
}

/// `dry_run` tells the same and changes nothing.
#[test]
fn a_dry_run_changes_nothing_and_reports_the_same() {
    let sample = sample();
    for seed in 1..120 {
        let mut random = Random::new(seed);
        let disk = sample.disk.fork();
        let (what, _) = damage(&disk, &sample, &mut random);
        let before = files(&disk);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let how = RepairOptions::default().dry_run(true);
        let dry = repair_on(&shared, ENVIRONMENT, &options(), how);
        assert_eq!(files(&disk), before, "{what}");
        match (dry, repair(&disk, false)) {
            (Ok(dry), Ok(done)) => {
                assert_eq!(dry.lost_bodies, done.lost_bodies, "{what}");
                assert!(done.quarantined.is_empty() || !dry.remarks.is_empty(), "{what}");
            }
            (Err(dry), Err(done)) => assert_eq!(dry.to_string(), done.to_string(), "{what}"),
            (dry, done) => panic!("{what}: {dry:?}, then {done:?}"),
        }
    }
}

//! Repair of every kind of damage, and crashes while repairing.

mod losses;

use crate::history::{LogHarness, ModelEntry, ORIGIN, body_of, id_of, open, repair};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use stemedb_merkle::{LogIndex, Timestamp};

use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Step, Survival, Target};
use stemedb_wal::{
    Position,
    disk::{Disk, Fingerprint, is_quarantined},
    error::{DamageKind, OpenError, ReadError},
    identity::Identity,
    log::{HoleEntry, Kind, Log, LogOptions, NewRecord, Origin, Spares, Warning, Watermark},
    raw::{HEAD_LEN, parse_segment_name, segment, segment_name},
    repair::{
        GapRecord, HashBodies, RepairAction, RepairError, RepairOptions, RepairPlan, RepairReport,
    },
};

type HashFn = dyn HashBodies;

fn options() -> LogOptions {
    LogOptions::default().segment_len(1500).spares(Spares::None)
}

fn hash(body: &[u8]) -> [u8; 32] {
    id_of(body)
}

struct Sample {
    disk: FaultyDisk,
    model: Vec<ModelEntry>,
}

fn sample(closed: bool) -> Sample {
    let disk = FaultyDisk::new(11);
    let mut identity = Identity {
        store_id: ORIGIN.store_id,
        node_id: [7; 16],
        epoch: 1,
        generation: 0,
        salt_seed: ORIGIN.salt_seed,
        secret_check: None,
        fingerprint: Fingerprint::default(),
        clean: None,
    };
    identity.save(&disk).unwrap();
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options());
    for lens in [&[10, 40][..], &[300], &[0, 0], &[700], &[30], &[2000], &[5, 5, 5], &[90], &[20]] {
        harness.append(lens, 50);
    }
    harness.log_mut().mark().unwrap();
    if closed {
        harness.close();
        identity.save_clean(&disk, harness.origin.clean.unwrap()).unwrap();
    }
    Sample { disk, model: harness.model().to_vec() }
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let names = disk.list().unwrap();
    names.into_iter().filter(|name| parse_segment_name(name).is_some()).collect()
}

fn run_repair(disk: &FaultyDisk, hash: Option<&HashFn>) -> Result<RepairReport, String> {
    run_with(disk, &[], hash, true).map_err(|error| error.to_string())
}

fn run_with(
    disk: &FaultyDisk,
    marks: &[Watermark],
    hash: Option<&HashFn>,
    accept_loss: bool,
) -> Result<RepairReport, RepairError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut identity = Identity::load(&*shared)?;
    let log = options();
    let options = RepairOptions::new(&log).hash(hash).marks(marks).accept_loss(accept_loss);
    repair(&shared, &mut identity, &options)
}

/// As a repair does that may not lose entries.
fn run_cautiously(disk: &FaultyDisk) -> Result<RepairReport, RepairError> {
    run_with(disk, &[], Some(&hash), false)
}

/// A last segment that is cut below what a restart checkpoint covers has lost entries: it is not
/// the torn tail that it would be without.
#[test]
fn what_is_missing_below_a_mark_is_lost_and_not_torn() {
    let sample = sample(false);
    let last = segments(&sample.disk).pop().unwrap();
    let entry = sample.model.last().unwrap();
    let mark = Watermark { position: Position(entry.position), next_index: LogIndex(entry.index) };
    let (mut cuts, mut refused) = (0, 0);
    for len in (100..sample.disk.contents(&last).unwrap().len() as u64).step_by(7) {
        let cut = sample.disk.fork();
        cut.truncate_file(&last, len).unwrap();
        let Ok(reopened) = reopen(&cut.fork()) else { continue };
        if reopened.log.next_index() >= mark.next_index {
            continue;
        }
        cuts += 1;
        let shared: Arc<dyn Disk> = Arc::new(cut.fork());
        let origin = Origin::from(&reopened.identity).marked(Some(mark));
        assert!(open(&shared, &origin, &options(), None).is_err(), "cut to {len}");
        match run_with(&cut, &[mark], Some(&hash), false) {
            Err(RepairError::Loss { .. }) => {
                let report = run_with(&cut, &[mark], Some(&hash), true).unwrap();
                assert!(report.new_generation.is_some(), "cut to {len}: {report:?}");
                refused += 1;
            }
            // Only bodies were cut, or nothing but the end of the batch.
            report => {
                let holes = report.unwrap().lost_bodies;
                let found = reopen(&cut).unwrap().log;
                assert!(found.next_index() >= mark.next_index, "cut to {len}");
                let expected =
                    sample.model.iter().filter(|entry| entry.index < mark.next_index.get());
                for entry in expected {
                    match found.reader().read_index(LogIndex(entry.index)) {
                        Ok(record) => assert_eq!(record.body, entry.body, "cut to {len}"),
                        Err(_) => assert!(holes.contains(&entry.id), "cut to {len}: {entry:?}"),
                    }
                }
            }
        }
        // Of the batch that was cut, what can still be read is kept.
        let found = reopen(&cut).unwrap().log.next_index();
        assert!(found >= reopened.log.next_index(), "cut to {len}: {found}");
    }
    assert!(cuts > 10 && refused > 0, "{cuts}, {refused} refused");
}

/// All files and what is in them.
fn files(disk: &FaultyDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap();
    names.into_iter().map(|name| (name.clone(), disk.contents(&name).unwrap())).collect()
}

struct Reopened {
    log: Log,
    replayed: Vec<ModelEntry>,
    warnings: Vec<Warning>,
    identity: Identity,
}

fn reopen(disk: &FaultyDisk) -> Result<Reopened, OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let identity = Identity::load(&*shared).unwrap();
    let (log, report, replayed) = open(&shared, &Origin::from(&identity), &options(), None)?;
    Ok(Reopened { log, replayed, warnings: report.warnings, identity })
}

/// All entries are what they were; those in the result have lost their bodies.
fn holes_of(model: &[ModelEntry], reopened: &Reopened) -> Vec<u64> {
    let reader = reopened.log.reader();
    assert_eq!(reader.next_index(), model.len() as u64);
    let mut holes = Vec::new();
    for (entry, replayed) in model.iter().zip(&reopened.replayed) {
        let placed = reader.entry_at(LogIndex(entry.index)).unwrap();
        assert_eq!((placed.id, placed.time.as_ntp64()), (entry.id, entry.time));
        assert_eq!((replayed.id, replayed.time), (entry.id, entry.time));
        match reader.read_index(LogIndex(entry.index)) {
            Ok(record) => assert_eq!(record.body, entry.body),
            Err(ReadError::Hole { index, time, id }) => {
                assert_eq!((index.get(), time.as_ntp64(), id), (entry.index, entry.time, entry.id));
                assert_eq!(placed.kind, Kind::Hole);
                holes.push(index.get());
            }
            Err(error) => panic!("{error}"),
        }
    }
    holes
}

#[test]
fn every_flipped_bit_is_repaired_in_its_place() {
    for closed in [true, false] {
        let sample = sample(closed);
        let mut counts = BTreeMap::<String, u64>::new();
        for name in segments(&sample.disk) {
            let len = sample.disk.contents(&name).unwrap().len() as u64;
            for bit in 0..len * 8 {
                let disk = sample.disk.fork();
                disk.flip_bit(&name, bit).unwrap();
                let context = || format!("{name} bit {bit} (byte {})", bit / 8);
                let report = run_repair(&disk, Some(&hash))
                    .unwrap_or_else(|error| panic!("{}: {error}", context()));
                assert_eq!(report.new_generation, None, "{}: {report:?}", context());
                let reopened =
                    reopen(&disk).unwrap_or_else(|error| panic!("{}: {error}", context()));
                let holes = holes_of(&sample.model, &reopened);
                assert!(holes.len() <= 1, "{}: {holes:?}", context());
                let kinds: Vec<DamageKind> = report.found.iter().map(|found| found.what).collect();
                if holes.is_empty() {
                    assert!(!kinds.contains(&DamageKind::Body), "{}: {kinds:?}", context());
                } else {
                    assert_eq!(kinds, [DamageKind::Body], "{}", context());
                }
                let verified =
                    reopened.log.reader().check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap();
                assert_eq!(verified, [], "{}", context());
                *counts.entry(format!("{kinds:?}")).or_default() += 1;
            }
        }
        println!("closed {closed}: {counts:?}");
        assert_eq!(counts.contains_key("[]"), !closed, "only behind the end nothing is found");
    }
}

#[test]
fn without_a_way_to_compute_ids_nothing_wrong_is_made_up() {
    let sample = sample(true);
    let mut generations = 0;
    for name in segments(&sample.disk) {
        let len = sample.disk.contents(&name).unwrap().len() as u64;
        for bit in (0..len * 8).step_by(7) {
            let disk = sample.disk.fork();
            disk.flip_bit(&name, bit).unwrap();
            let report = run_repair(&disk, None).unwrap();
            let reopened = reopen(&disk).unwrap();
            if report.new_generation.is_none() {
                holes_of(&sample.model, &reopened);
                continue;
            }
            generations += 1;
            assert_subset(&sample.model, &reopened, 1);
        }
    }
    assert!(generations > 0, "an id that is lost is lost");
}

/// The log holds all but `missing` of the entries, in their order, with their times.
fn assert_subset(model: &[ModelEntry], reopened: &Reopened, missing: usize) {
    assert_eq!(reopened.replayed.len() + missing, model.len());
    let mut left = model.iter();
    for (n, entry) in reopened.replayed.iter().enumerate() {
        let was = left.find(|was| was.id == entry.id && was.time == entry.time).unwrap();
        assert_eq!(entry.index, n as u64);
        match reopened.log.reader().read_index(LogIndex(entry.index)) {
            Ok(record) => assert_eq!(record.body, was.body),
            Err(ReadError::Hole { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_missing_segment_begins_a_new_generation() {
    let sample = sample(true);
    let names = segments(&sample.disk);
    assert!(names.len() >= 4);
    for (n, name) in names.iter().enumerate() {
        let disk = sample.disk.fork();
        disk.remove(name).unwrap();
        disk.sync_dir().unwrap();
        assert!(reopen(&disk).is_err());
        let first = parse_segment_name(name).unwrap().1;
        let end = names
            .get(n + 1)
            .map_or(sample.model.len() as u64, |name| parse_segment_name(name).unwrap().1);
        let report = run_repair(&disk, Some(&hash)).unwrap();
        assert_eq!(report.new_generation, Some(1));
        let reopened = reopen(&disk).unwrap();
        assert_eq!((reopened.identity.generation, reopened.identity.epoch), (1, 2));
        assert_subset(&sample.model, &reopened, usize::try_from(end - first).unwrap());
        assert_eq!(reopened.warnings, []);
        // All that was replaced is there under another name.
        let kept = disk.list().unwrap().iter().filter(|name| is_quarantined(name)).count();
        assert_eq!(kept, names.len() - 1);
        // And a second repair finds nothing to do.
        drop(reopened);
        let again = run_repair(&disk, Some(&hash)).unwrap();
        assert_eq!((again.found, again.actions, again.new_generation), (vec![], vec![], None));
    }
}

#[test]
fn bad_sectors_lose_what_was_in_them_and_nothing_else() {
    let sample = sample(true);
    for name in segments(&sample.disk) {
        let len = sample.disk.contents(&name).unwrap().len();
        for start in (0..len).step_by(512) {
            for fill in [0, 0xa5] {
                let disk = sample.disk.fork();
                let end = (start + 512).min(len);
                disk.overwrite(&name, &vec![fill; end - start], start as u64).unwrap();
                run_repair(&disk, Some(&hash)).unwrap();
                let reopened = reopen(&disk).unwrap();
                let known: BTreeMap<[u8; 32], &ModelEntry> =
                    sample.model.iter().map(|entry| (entry.id, entry)).collect();
                // A sector holds at most nine records of this sample, or parts of them.
                assert!(reopened.replayed.len() + 9 >= sample.model.len());
                let reader = reopened.log.reader();
                for entry in &reopened.replayed {
                    let was = known[&entry.id];
                    match reader.read_index(LogIndex(entry.index)) {
                        Ok(record) => assert_eq!(record.body, was.body),
                        Err(ReadError::Hole { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_cut_file_loses_what_was_cut() {
    let sample = sample(true);
    let names = segments(&sample.disk);
    for name in &names {
        let len = sample.disk.contents(name).unwrap().len() as u64;
        for len in 0..len {
            let disk = sample.disk.fork();
            disk.truncate_file(name, len).unwrap();
            let context = || format!("{name} cut to {len}");
            let report = run_repair(&disk, Some(&hash))
                .unwrap_or_else(|error| panic!("{}: {error}", context()));
            let reopened = reopen(&disk).unwrap_or_else(|error| panic!("{}: {error}", context()));
            if report.new_generation.is_none() {
                // At most the body that the cut went through.
                let holes = holes_of(&sample.model, &reopened);
                assert!(holes.len() <= 1, "{}: {holes:?}", context());
            } else {
                let missing = sample.model.len() - reopened.replayed.len();
                assert!(missing > 0, "{}: a new generation for nothing", context());
                assert_subset(&sample.model, &reopened, missing);
            }
        }
    }
}

#[test]
fn segments_under_wrong_names_and_of_others_are_put_right() {
    let sample = sample(true);
    let names = segments(&sample.disk);
    let disk = sample.disk.fork();
    // One under a wrong name, and a copy of another one besides.
    disk.rename(&names[1], &segment_name(0, 999)).unwrap();
    disk.put(&segment_name(0, 777), &disk.contents(&names[2]).unwrap()).unwrap();
    assert!(reopen(&disk).is_err());
    let report = run_repair(&disk, Some(&hash)).unwrap();
    assert_eq!(report.new_generation, None, "{report:?}");
    assert!(holes_of(&sample.model, &reopen(&disk).unwrap()).is_empty());
    assert_eq!(segments(&disk), names);
}

#[test]
fn a_hole_heals_and_stays_healed() {
    let sample = sample(true);
    let disk = sample.disk.fork();
    let entry = &sample.model[2];
    let name = segments(&disk)
        .into_iter()
        .rfind(|name| parse_segment_name(name).unwrap().1 <= entry.index)
        .unwrap();
    let bytes = disk.contents(&name).unwrap();
    let header = segment::SegmentHeader::parse(&bytes).unwrap();
    let body_at = entry.position - header.first_position + HEAD_LEN as u64;
    disk.flip_bit(&name, body_at * 8 + 5).unwrap();
    let report = run_repair(&disk, Some(&hash)).unwrap();
    assert!(matches!(
        report.actions.as_slice(),
        [RepairAction::Rewritten { .. }, RepairAction::Hole { index: LogIndex(2), .. }]
    ));
    let mut reopened = reopen(&disk).unwrap();
    assert_eq!(holes_of(&sample.model, &reopened), [2]);
    let heals =
        Some(HoleEntry { index: LogIndex(entry.index), time: Timestamp::from_ntp64(entry.time) });
    let record = NewRecord { id: entry.id, body: &entry.body, heals };
    let mut placed = Vec::new();
    reopened.log.write(&[record], Timestamp::MIN, &mut placed).unwrap();
    reopened.log.sync().unwrap();
    reopened.log.publish();
    let position = placed[0].position;
    assert_eq!(reopened.log.reader().read(position).unwrap().body, entry.body);
    assert_eq!(reopened.log.next_index(), sample.model.len() as u64);
    drop(reopened);

    let again = reopen(&disk).unwrap();
    assert_eq!(again.replayed.len(), sample.model.len() + 1, "the heal is replayed");
    assert_eq!(again.log.reader().read(position).unwrap().body, entry.body);
    drop(again);

    // If entries are lost later, the healed body takes the hole's place in the new generation.
    let last = segments(&disk)[2].clone();
    disk.remove(&last).unwrap();
    disk.sync_dir().unwrap();
    let report = run_repair(&disk, Some(&hash)).unwrap();
    assert_eq!(report.new_generation, Some(1));
    let reopened = reopen(&disk).unwrap();
    let found = reopened.replayed.iter().find(|found| found.id == entry.id).unwrap();
    assert_eq!((found.time, &found.body), (entry.time, &entry.body));
}

/// Three damages: one that makes a hole, one that is written again, one that loses entries.
fn damages(sample: &Sample) -> Vec<(&'static str, FaultyDisk)> {
    let names = segments(&sample.disk);
    let hole = sample.disk.fork();
    hole.flip_bit(&names[0], (96 + 64 + 60 + 3) * 8).unwrap();
    hole.flip_bit(&names[1], (96 + 64 + 60 + 3) * 8).unwrap();
    let header = sample.disk.fork();
    header.flip_bit(&names[1], 20 * 8).unwrap();
    header.flip_bit(&names[2], (96 + 20) * 8).unwrap();
    let missing = sample.disk.fork();
    missing.remove(&names[1]).unwrap();
    missing.sync_dir().unwrap();
    let short = sample.disk.fork();
    let last = names.last().unwrap();
    short.truncate_file(last, short.contents(last).unwrap().len() as u64 - 3).unwrap();
    vec![("hole", hole), ("header", header), ("missing", missing), ("short", short)]
}

/// Whether the log opens as it should be after the repair; repairs it if it asks for that.
fn settled(what: &str, disk: &FaultyDisk, expected: &[ModelEntry]) -> Result<(), String> {
    if reopen(disk).is_err() {
        run_repair(disk, Some(&hash))?;
    }
    let reopened = reopen(disk).map_err(|error| format!("{what}: {error}"))?;
    if reopened.replayed.len() != expected.len() {
        return Err(format!("{what}: {} of {}", reopened.replayed.len(), expected.len()));
    }
    for (found, expected) in reopened.replayed.iter().zip(expected) {
        if (found.id, found.time) != (expected.id, expected.time) {
            return Err(format!("{what}: entry {} is another", found.index));
        }
        if found.body != expected.body {
            return Err(format!("{what}: body {} is another", found.index));
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_point_of_a_repair_is_survived() {
    let sample = sample(true);
    for (what, damaged) in damages(&sample) {
        let expected = {
            let disk = damaged.fork();
            run_repair(&disk, Some(&hash)).unwrap();
            reopen(&disk).unwrap().replayed
        };
        let disk = damaged.fork();
        let moments: Arc<Mutex<Vec<Step>>> = Arc::default();
        {
            let moments = Arc::clone(&moments);
            disk.observe(move |moment| moments.lock().unwrap().push(moment));
        }
        run_repair(&disk, Some(&hash)).unwrap();
        disk.stop_observing();
        let mut moments = std::mem::take(&mut *moments.lock().unwrap());
        // And after all of it.
        let last = moments.last().unwrap();
        moments.push(Step { disk: disk.fork(), number: last.number + 1, ..last.clone() });
        assert!(moments.len() > 6);
        for moment in moments {
            for survival in Survival::ALL {
                for seed in 0..4 {
                    let cut = moment.disk.power_cut(survival, seed);
                    settled(what, &cut, &expected).unwrap_or_else(|error| {
                        panic!("{:?} {survival:?} {seed}: {error}", moment.operation)
                    });
                }
            }
        }
    }
}

#[test]
fn any_operation_can_fail_during_a_repair() {
    let sample = sample(true);
    for (what, damaged) in damages(&sample) {
        let expected = {
            let disk = damaged.fork();
            run_repair(&disk, Some(&hash)).unwrap();
            reopen(&disk).unwrap().replayed
        };
        for from_then_on in [false, true] {
            for kind in [FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial] {
                for after in 0.. {
                    let disk = damaged.fork();
                    let error = io::ErrorKind::Other;
                    disk.inject(Fault { target: Target::Any, after, from_then_on, error, kind });
                    let result = run_repair(&disk, Some(&hash));
                    if disk.faults_hit() == 0 {
                        result.unwrap();
                        break;
                    }
                    disk.clear_faults();
                    settled(what, &disk, &expected)
                        .unwrap_or_else(|error| panic!("{kind:?} {after}: {error}"));
                }
            }
        }
    }
}

#[test]
fn a_log_without_damage_is_left_alone() {
    for closed in [true, false] {
        let sample = sample(closed);
        let before = sample.disk.list().unwrap();
        let operations = sample.disk.operations(Target::Mutating);
        let report = run_repair(&sample.disk, Some(&hash)).unwrap();
        assert_eq!(report, RepairReport::default());
        assert_eq!(sample.disk.operations(Target::Mutating), operations);
        assert_eq!(sample.disk.list().unwrap(), before);
    }
    // Nor is a torn tail damage.
    let sample = sample(false);
    let mut reopened = reopen(&sample.disk).unwrap();
    let body = body_of(1, 900);
    let record = NewRecord { id: id_of(&body), body: &body, heals: None };
    reopened.log.write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
    for seed in 0..50 {
        let cut = sample.disk.power_cut(Survival::Sectors, seed);
        let report = run_repair(&cut, Some(&hash)).unwrap();
        assert_eq!(report, RepairReport::default(), "{seed}");
        reopen(&cut).unwrap();
    }
}

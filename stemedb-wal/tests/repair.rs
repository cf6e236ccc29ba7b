//! Repair of every kind of damage, and crashes while repairing.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod history;

use history::{LogHarness, ModelEntry, ORIGIN, body_of, id_of, open};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};
use stemedb_wal::{
    disk::{Disk, Fault, FaultyDisk, Fingerprint, Flavour, Moment, Survival, Target},
    error::{DamageKind, OpenError, ReadError},
    identity::Identity,
    log::{HoleEntry, Log, LogOptions, NewRecord, Origin, Remark, Spares, Watermark},
    record::{HEAD_LEN, Kind},
    repair::{
        GapRecord, RepairAction, RepairError, RepairOptions, RepairPlan, RepairReport, Verify,
        repair,
    },
    segment::{self, parse_segment_name, segment_name},
};

type HashFn = dyn Fn(&[u8]) -> [u8; 32];

fn options() -> LogOptions {
    LogOptions { segment_len: 1500, spares: Spares::None, ..LogOptions::default() }
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
        identity.save_clean(&disk, harness.origin.clean.unwrap().into()).unwrap();
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
    let options = RepairOptions { log: &log, hash, marks, accept_loss };
    repair(&shared, &mut identity, &options, &mut |_| {})
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
    let mark = Watermark { position: entry.position, next_index: entry.index };
    let mut cuts = 0;
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
        let refused = run_with(&cut, &[mark], Some(&hash), false).unwrap_err();
        assert!(matches!(refused, RepairError::Loss { .. }), "cut to {len}: {refused}");
        let report = run_with(&cut, &[mark], Some(&hash), true).unwrap();
        assert!(report.new_generation.is_some(), "cut to {len}: {report:?}");
        // Of the batch that was cut, what can still be read is kept.
        let found = reopen(&cut).unwrap().log.next_index();
        assert!(found >= reopened.log.next_index(), "cut to {len}: {found}");
    }
    assert!(cuts > 10, "{cuts}");
}

/// All files and what is in them.
fn files(disk: &FaultyDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap();
    names.into_iter().map(|name| (name.clone(), disk.contents(&name).unwrap())).collect()
}

struct Reopened {
    log: Log,
    replayed: Vec<ModelEntry>,
    remarks: Vec<Remark>,
    identity: Identity,
}

fn reopen(disk: &FaultyDisk) -> Result<Reopened, OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let identity = Identity::load(&*shared).unwrap();
    let (log, report, replayed) = open(&shared, &Origin::from(&identity), &options(), None)?;
    Ok(Reopened { log, replayed, remarks: report.remarks, identity })
}

/// All entries are what they were; those in the result have lost their bodies.
fn holes_of(model: &[ModelEntry], reopened: &Reopened) -> Vec<u64> {
    let reader = reopened.log.reader();
    assert_eq!(reader.next_index(), model.len() as u64);
    let mut holes = Vec::new();
    for (entry, replayed) in model.iter().zip(&reopened.replayed) {
        let placed = reader.entry_at(entry.index).unwrap();
        assert_eq!((placed.id, placed.time), (entry.id, entry.time));
        assert_eq!((replayed.id, replayed.time), (entry.id, entry.time));
        match reader.read_index(entry.index) {
            Ok(record) => assert_eq!(record.body, entry.body),
            Err(ReadError::Hole { index, time, id }) => {
                assert_eq!((index, time, id), (entry.index, entry.time, entry.id));
                assert_eq!(placed.kind, Kind::Hole);
                holes.push(index);
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
                let verified = reopened
                    .log
                    .reader()
                    .verify(&Verify { deep: Some(&hash), from_index: 0 }, &mut |_| {})
                    .unwrap();
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
        match reopened.log.reader().read_index(entry.index) {
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
        assert_eq!(reopened.remarks, []);
        // All that was replaced is there under another name.
        let aside = disk.list().unwrap().iter().filter(|name| name.starts_with("aside-")).count();
        assert_eq!(aside, names.len() - 1);
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
                    match reader.read_index(entry.index) {
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
        [RepairAction::Mended { .. }, RepairAction::Hole { index: 2, .. }]
    ));
    let mut reopened = reopen(&disk).unwrap();
    assert_eq!(holes_of(&sample.model, &reopened), [2]);
    let heals = Some(HoleEntry { index: entry.index, time: entry.time });
    let record = NewRecord { id: entry.id, body: &entry.body, heals };
    let mut placed = Vec::new();
    reopened.log.write(&[record], 0, &mut placed).unwrap();
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
        let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
        {
            let moments = Arc::clone(&moments);
            disk.observe(move |moment| moments.lock().unwrap().push(moment));
        }
        run_repair(&disk, Some(&hash)).unwrap();
        disk.stop_observing();
        let mut moments = std::mem::take(&mut *moments.lock().unwrap());
        // And after all of it.
        let last = moments.last().unwrap();
        moments.push(Moment { disk: disk.fork(), number: last.number + 1, ..last.clone() });
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
            for flavour in [Flavour::Failed, Flavour::Persisted, Flavour::Partial] {
                for after in 0.. {
                    let disk = damaged.fork();
                    let error = io::ErrorKind::Other;
                    disk.inject(Fault { target: Target::Any, after, from_then_on, error, flavour });
                    let result = run_repair(&disk, Some(&hash));
                    if disk.faults_hit() == 0 {
                        result.unwrap();
                        break;
                    }
                    disk.clear_faults();
                    settled(what, &disk, &expected)
                        .unwrap_or_else(|error| panic!("{flavour:?} {after}: {error}"));
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
    reopened.log.write(&[record], 0, &mut Vec::new()).unwrap();
    for seed in 0..50 {
        let cut = sample.disk.power_cut(Survival::Sectors, seed);
        let report = run_repair(&cut, Some(&hash)).unwrap();
        assert_eq!(report, RepairReport::default(), "{seed}");
        reopen(&cut).unwrap();
    }
}

/// Appends the body of a hole again. Returns the position of the heal.
fn heal(disk: &FaultyDisk, entry: &ModelEntry) -> u64 {
    let mut reopened = reopen(disk).unwrap();
    let heals = Some(HoleEntry { index: entry.index, time: entry.time });
    let record = NewRecord { id: entry.id, body: &entry.body, heals };
    let mut placed = Vec::new();
    reopened.log.write(&[record], 0, &mut placed).unwrap();
    reopened.log.sync().unwrap();
    reopened.log.mark().unwrap();
    placed[0].position
}

/// The file that a position is in, and where in it.
fn place_of(disk: &FaultyDisk, position: u64) -> (String, u64) {
    let in_segment = |name: String| {
        let header = segment::SegmentHeader::parse(&disk.contents(&name).unwrap()).unwrap();
        Some((name, position.checked_sub(header.first_position)?))
    };
    segments(disk).into_iter().filter_map(in_segment).next_back().unwrap()
}

fn flip_body(disk: &FaultyDisk, position: u64) {
    let (name, offset) = place_of(disk, position);
    disk.flip_bit(&name, (offset + HEAD_LEN as u64) * 8 + 3).unwrap();
}

/// A body that came back and is lost again is a hole again, and says so; and it comes back again.
#[test]
fn a_healed_body_that_is_lost_again_is_a_hole_again() {
    for secret in [false, true] {
        let hash: Option<&HashFn> = if secret { None } else { Some(&hash) };
        let sample = sample(true);
        let disk = sample.disk.fork();
        let entry = &sample.model[2];
        flip_body(&disk, entry.position);
        assert_eq!(run_repair(&disk, hash).unwrap().lost_bodies, [entry.id]);
        for round in 0..3 {
            let position = heal(&disk, entry);
            flip_body(&disk, position);
            assert!(reopen(&disk).is_err(), "the last segment is read whole");
            let report = run_repair(&disk, hash).unwrap();
            assert_eq!((&report.lost_bodies[..], report.new_generation), (&[entry.id][..], None));
            let hole =
                |action: &RepairAction| matches!(action, RepairAction::Hole { index: 2, .. });
            assert!(report.actions.iter().any(hole), "{report:?}");
            let reopened = reopen(&disk).unwrap();
            let voids: Vec<&ModelEntry> =
                reopened.replayed.iter().filter(|found| found.id == [0; 32]).collect();
            assert_eq!(voids.len(), round + 1, "what is left of each heal is not the id's");
            assert!(
                !reopened
                    .replayed
                    .iter()
                    .any(|found| found.position == position && found.id == entry.id)
            );
            let reader = reopened.log.reader();
            assert!(matches!(reader.read(position), Err(ReadError::Hole { .. })));
            let verify = Verify { deep: Some(&self::hash), from_index: 0 };
            assert_eq!(reader.verify(&verify, &mut |_| {}).unwrap(), []);
            drop(reopened);
            // A second repair has nothing to do, and loses nothing.
            assert_eq!(run_repair(&disk, hash).unwrap(), RepairReport::default());
        }
        let position = heal(&disk, entry);
        assert_eq!(reopen(&disk).unwrap().log.reader().read(position).unwrap().body, entry.body);
        // Entries are lost later: the body that came back last is the one that counts.
        let second = segments(&disk)[1].clone();
        disk.remove(&second).unwrap();
        disk.sync_dir().unwrap();
        run_repair(&disk, hash).unwrap();
        let reopened = reopen(&disk).unwrap();
        let found = reopened.replayed.iter().find(|found| found.id == entry.id).unwrap();
        assert_eq!((found.time, &found.body), (entry.time, &entry.body));
    }
}

/// Where entries would be lost nothing is changed until that is accepted, and the original put back
/// is taken.
#[test]
fn lost_entries_are_refused_and_a_segment_put_back_is_taken() {
    let sample = sample(true);
    for name in segments(&sample.disk) {
        let disk = sample.disk.fork();
        let original = disk.contents(&name).unwrap();
        disk.remove(&name).unwrap();
        disk.sync_dir().unwrap();
        let before = files(&disk);
        let refused = run_cautiously(&disk).unwrap_err();
        let RepairError::Loss { at_least, found } = &refused else { panic!("{refused}") };
        assert!(*at_least > 0 && *at_least < 8, "{name}: {at_least}");
        assert!(!found.is_empty(), "{name}");
        assert!(refused.to_string().contains("--accept-loss"), "{refused}");
        assert_eq!(files(&disk), before, "{name}");
        disk.put(&name, &original).unwrap();
        assert_eq!(run_cautiously(&disk).unwrap(), RepairReport::default(), "{name}");
        assert!(holes_of(&sample.model, &reopen(&disk).unwrap()).is_empty());
    }
}

/// Any two files under each other's names, and all of them moved on by one.
#[test]
fn exchanged_names_are_put_right_and_lose_nothing() {
    for closed in [true, false] {
        let sample = sample(closed);
        let names = segments(&sample.disk);
        let mut orders = Vec::new();
        for a in 0..names.len() {
            for b in 0..a {
                let mut order: Vec<usize> = (0..names.len()).collect();
                order.swap(a, b);
                orders.push(order);
            }
        }
        orders.push((1..names.len()).chain([0]).collect());
        for order in orders {
            let disk = sample.disk.fork();
            for (name, from) in names.iter().zip(&order) {
                disk.put(name, &sample.disk.contents(&names[*from]).unwrap()).unwrap();
            }
            assert!(reopen(&disk).is_err(), "{order:?}");
            let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
            {
                let moments = Arc::clone(&moments);
                disk.observe(move |moment| moments.lock().unwrap().push(moment));
            }
            let report = run_cautiously(&disk).unwrap();
            disk.stop_observing();
            assert_eq!((report.new_generation, report.lost_entries), (None, None), "{order:?}");
            assert!(holes_of(&sample.model, &reopen(&disk).unwrap()).is_empty(), "{order:?}");
            assert_eq!(segments(&disk), names);
            // Interrupted anywhere, it never opens with less, and goes on.
            for moment in std::mem::take(&mut *moments.lock().unwrap()) {
                for (n, survival) in Survival::ALL.into_iter().enumerate() {
                    let cut = moment.disk.power_cut(survival, n as u64);
                    if reopen(&cut).is_err() {
                        run_cautiously(&cut).unwrap();
                    }
                    let reopened = reopen(&cut).unwrap();
                    assert!(holes_of(&sample.model, &reopened).is_empty(), "{order:?}");
                }
            }
        }
    }
}

/// A good copy of a damaged segment is taken under whatever name, and the damaged one set aside.
#[test]
fn a_good_copy_under_another_name_is_taken() {
    let sample = sample(true);
    for (n, name) in segments(&sample.disk).iter().enumerate() {
        for byte in [20, 96 + 20, 96 + 64 + HEAD_LEN as u64 + 1] {
            let disk = sample.disk.fork();
            let original = disk.contents(name).unwrap();
            disk.flip_bit(name, byte * 8).unwrap();
            // Also if repair has made a hole already.
            if byte > 150 && n + 1 < segments(&sample.disk).len() {
                run_cautiously(&disk).unwrap();
            }
            disk.put(&segment_name(0, 900_000), &original).unwrap();
            let report = run_cautiously(&disk).unwrap();
            assert_eq!(report.lost_bodies, [[0; 32]; 0], "{name}, byte {byte}: {report:?}");
            let holes = holes_of(&sample.model, &reopen(&disk).unwrap());
            assert!(holes.is_empty(), "{name}, byte {byte}: {holes:?}");
            assert_eq!(segments(&disk), segments(&sample.disk));
        }
    }
}

/// A segment of another store under a name of this one's is set aside before that name is used.
#[test]
fn a_strange_segment_in_the_way_is_set_aside() {
    let sample = sample(true);
    let names = segments(&sample.disk);
    let disk = sample.disk.fork();
    let mine = disk.contents(&names[1]).unwrap();
    let mut header = segment::SegmentHeader::parse(&mine).unwrap();
    header.store_id = [9; 16];
    let strange = [&header.encode()[..], &mine[96..]].concat();
    disk.put(&names[1], &strange).unwrap();
    disk.put(&segment_name(0, 555), &mine).unwrap();
    run_cautiously(&disk).unwrap();
    assert!(holes_of(&sample.model, &reopen(&disk).unwrap()).is_empty());
    let aside = files(&disk)
        .into_iter()
        .filter(|(name, bytes)| name.starts_with("aside-") && *bytes == strange);
    assert_eq!(aside.count(), 1);
}

/// One sector that the disk returns an error for, anywhere: what lies in it is lost, and nothing
/// else; and what is lost is told.
#[test]
fn an_unreadable_sector_loses_what_is_in_it() {
    for closed in [true, false] {
        let sample = sample(closed);
        let (mut mended, mut refused) = (0, 0);
        for name in segments(&sample.disk) {
            let len = sample.disk.contents(&name).unwrap().len() as u64;
            for start in (0..len).step_by(512) {
                let disk = sample.disk.fork();
                disk.make_unreadable(&name, start..start + 512).unwrap();
                let context = format!("{name}, from {start}, closed: {closed}");
                let before = files(&disk);
                let report = match run_cautiously(&disk) {
                    Err(RepairError::Loss { found, .. }) => {
                        assert!(found.iter().any(|found| found.offset == start), "{context}");
                        assert_eq!(files(&disk), before, "{context}");
                        refused += 1;
                        run_repair(&disk, Some(&hash)).unwrap();
                        let reopened = reopen(&disk).unwrap();
                        let missing = sample.model.len() - reopened.replayed.len();
                        assert!(missing <= 9, "{context}: {missing}");
                        assert_subset(&sample.model, &reopened, missing);
                        continue;
                    }
                    report => report.unwrap(),
                };
                mended += 1;
                let reopened = reopen(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
                let holes = holes_of(&sample.model, &reopened);
                let ids: Vec<[u8; 32]> =
                    holes.iter().map(|at| sample.model[usize::try_from(*at).unwrap()].id).collect();
                assert_eq!(report.lost_bodies, ids, "{context}");
                let told = |found: &stemedb_wal::error::Damage| {
                    matches!(found.what, DamageKind::Unreadable { len } if len <= 512)
                        && found.offset == start
                };
                // Only behind the end of the log is it nothing to repair.
                assert!(report.found.iter().any(told) || !closed, "{context}: {report:?}");
            }
        }
        assert!(mended >= 5 && refused > 0, "{mended} mended, {refused} refused");
    }
}

/// A disk that is full, again and again: no try leaves anything behind.
#[test]
fn a_full_disk_keeps_nothing_of_a_try() {
    let sample = sample(true);
    for (what, damaged) in damages(&sample) {
        let before = files(&damaged);
        let used: u64 = before.values().map(|bytes| bytes.len() as u64).sum();
        for room in [0, 100, 1000, 2500] {
            let disk = damaged.fork();
            disk.set_capacity(Some(used + room));
            let mut failures = 0;
            for _ in 0..5 {
                if run_repair(&disk, Some(&hash)).is_ok() {
                    break;
                }
                failures += 1;
                let now = files(&disk);
                let extra: Vec<&String> =
                    now.keys().filter(|name| !before.contains_key(*name)).collect();
                // One that was mended before the disk was full is done, with its copy.
                assert!(extra.len() <= 1, "{what}, room for {room}: {extra:?}");
                let unfinished = |name: &&String| name.strip_suffix(".tmp").is_some();
                assert!(!extra.iter().any(unfinished), "{what}: {extra:?}");
            }
            assert!(failures == 5 || failures == 0, "{what}, room for {room}: {failures}");
            assert!(room > 0 || failures == 5, "{what}: repaired without room");
            disk.set_capacity(None);
            run_repair(&disk, Some(&hash)).unwrap();
            reopen(&disk).unwrap();
        }
    }
}

/// Two segments that cannot both be right: what does not fit is counted as lost, and told.
#[test]
fn entries_out_of_order_are_told_and_not_dropped_in_silence() {
    let sample = sample(true);
    let names = segments(&sample.disk);
    let disk = sample.disk.fork();
    // The second segment says that it is the last but one, too.
    let bytes = disk.contents(&names[1]).unwrap();
    let other = segment::SegmentHeader::parse(&disk.contents(&names[2]).unwrap()).unwrap();
    let header = segment::SegmentHeader::parse(&bytes).unwrap();
    let header = segment::SegmentHeader { first_index: other.first_index, ..header };
    disk.put(&names[2], &[&header.encode()[..], &bytes[96..]].concat()).unwrap();
    let Err(RepairError::Loss { at_least, found }) = run_cautiously(&disk) else { panic!() };
    assert!(at_least > 0);
    assert!(found.iter().any(|found| found.what == DamageKind::Sequence), "{found:?}");
}

/// A position that the log has reached, as a restart checkpoint knows it, is a mark: a log that
/// ends before is damaged, whether it was closed or not.
#[test]
fn a_log_that_ends_before_a_mark_is_damaged() {
    let sample = sample(false);
    let last = segments(&sample.disk).pop().unwrap();
    let header = segment::SegmentHeader::parse(&sample.disk.contents(&last).unwrap()).unwrap();
    let entry = sample.model.last().unwrap();
    let mark = Watermark {
        position: entry.position + (HEAD_LEN + entry.body.len() + 4) as u64,
        next_index: entry.index + 1,
    };
    let offset = mark.position - header.first_position;
    let plan = |disk: &FaultyDisk, marks: &[Watermark]| {
        let identity = Identity::load(disk).unwrap();
        let log = options();
        let options = RepairOptions { log: &log, hash: Some(&hash), marks, accept_loss: false };
        RepairPlan::new(disk, &identity, &options, &mut |_| {}).unwrap()
    };
    for cut in 96..offset {
        let disk = sample.disk.fork();
        disk.truncate_file(&last, cut).unwrap();
        let found = plan(&disk, &[mark]);
        // A body that was cut is a hole; else entries are lost.
        let body_cut = cut >= entry.position + HEAD_LEN as u64 - header.first_position;
        assert_eq!(found.lost_entries().is_none(), body_cut, "{cut}");
        assert!(found.changes() && !found.found().is_empty(), "{cut}");
    }
    assert!(!plan(&sample.disk, &[mark]).changes());
    // The same with batches behind the clean mark of an earlier close: they are not cut.
    let disk = sample.disk.fork();
    let mut identity = Identity::load(&disk).unwrap();
    let before = sample.model[sample.model.len() - 2].clone();
    let position = before.position + (HEAD_LEN + before.body.len() + 4) as u64;
    if position > header.first_position {
        identity.save_clean(&disk, Watermark { position, next_index: entry.index }.into()).unwrap();
        let batch = position - header.first_position;
        disk.overwrite(&last, &[0xaa; 64 + 60], batch).unwrap();
        assert!(plan(&disk, &[]).lost_entries().is_some());
    }
}

/// What a repair finds is told with the holes and heals as they are going to be.
#[test]
fn gaps_are_those_of_the_repaired_log() {
    let sample = sample(true);
    let disk = sample.disk.fork();
    let entry = &sample.model[2];
    flip_body(&disk, entry.position);
    run_repair(&disk, Some(&hash)).unwrap();
    let position = heal(&disk, entry);
    let gaps = |disk: &FaultyDisk| {
        let identity = Identity::load(disk).unwrap();
        let log = options();
        let options =
            RepairOptions { log: &log, hash: Some(&hash), marks: &[], accept_loss: false };
        RepairPlan::new(disk, &identity, &options, &mut |_| {}).unwrap().gaps()
    };
    let hole = GapRecord { position: entry.position, kind: Kind::Hole, id: entry.id };
    assert_eq!(gaps(&disk), [hole, GapRecord { position, kind: Kind::Heal, id: entry.id }]);
    flip_body(&disk, position);
    assert_eq!(gaps(&disk), [hole]);
}

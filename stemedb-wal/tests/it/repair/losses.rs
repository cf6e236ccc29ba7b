//! What a repair loses, refuses to lose, and says of it.

use super::*;
use stemedb_merkle::{LogIndex, Timestamp};
use stemedb_wal::Position;

/// Appends the body of a hole again. Returns the position of the heal.
fn heal(disk: &FaultyDisk, entry: &ModelEntry) -> u64 {
    let mut reopened = reopen(disk).unwrap();
    let heals =
        Some(HoleEntry { index: LogIndex(entry.index), time: Timestamp::from_ntp64(entry.time) });
    let record = NewRecord { id: entry.id, body: &entry.body, heals };
    let mut placed = Vec::new();
    reopened.log.write(&[record], Timestamp::from_ntp64(0), &mut placed).unwrap();
    reopened.log.sync().unwrap();
    reopened.log.mark().unwrap();
    placed[0].position.get()
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
            let hole = |action: &RepairAction| {
                matches!(action, RepairAction::Hole { index: LogIndex(2), .. })
            };
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
            assert!(matches!(reader.read(Position(position)), Err(ReadError::Hole { .. })));
            assert_eq!(reader.check(Some(&super::hash), LogIndex(0), &mut |_| {}).unwrap(), []);
            drop(reopened);
            // A second repair has nothing to do, and loses nothing.
            assert_eq!(run_repair(&disk, hash).unwrap(), RepairReport::default());
        }
        let position = heal(&disk, entry);
        assert_eq!(
            reopen(&disk).unwrap().log.reader().read(Position(position)).unwrap().body,
            entry.body
        );
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
        assert!(refused.to_string().contains("accept the loss"), "{refused}");
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
            let moments: Arc<Mutex<Vec<Step>>> = Arc::default();
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

/// A good copy of a damaged segment is taken under whatever name, and the damaged one quarantined.
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

/// A segment of another store under a name of this one's is quarantined before that name is used.
#[test]
fn a_strange_segment_in_the_way_is_quarantined() {
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
    let kept =
        files(&disk).into_iter().filter(|(name, bytes)| is_quarantined(name) && *bytes == strange);
    assert_eq!(kept.count(), 1);
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
        position: Position(entry.position + (HEAD_LEN + entry.body.len() + 4) as u64),
        next_index: LogIndex(entry.index + 1),
    };
    let offset = mark.position - Position(header.first_position);
    for cut in 96..offset {
        let disk = sample.disk.fork();
        disk.truncate_file(&last, cut).unwrap();
        let found = plan(&disk, &[mark]);
        // A body that was cut is a hole; else entries are lost.
        let body_cut = cut >= entry.position + HEAD_LEN as u64 - header.first_position;
        assert_eq!(found.lost_entries.is_none(), body_cut, "{cut}");
        assert!(found.changes() && !found.found.is_empty(), "{cut}");
    }
    assert!(!plan(&sample.disk, &[mark]).changes());
    // The same with batches behind the clean mark of an earlier close: they are not cut.
    let disk = sample.disk.fork();
    let mut identity = Identity::load(&disk).unwrap();
    let before = sample.model[sample.model.len() - 2].clone();
    let position = before.position + (HEAD_LEN + before.body.len() + 4) as u64;
    if position > header.first_position {
        identity
            .save_clean(
                &disk,
                Watermark { position: Position(position), next_index: LogIndex(entry.index) },
            )
            .unwrap();
        let batch = position - header.first_position;
        disk.overwrite(&last, &[0xaa; 64 + 60], batch).unwrap();
        assert!(plan(&disk, &[]).lost_entries.is_some());
    }
}

fn plan(disk: &FaultyDisk, marks: &[Watermark]) -> RepairPlan {
    let identity = Identity::load(disk).unwrap();
    let log = options();
    let options = RepairOptions::new(&log).hash(Some(&hash)).marks(marks);
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    RepairPlan::new(&disk, &identity, &options, &mut |_| {}).unwrap()
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
    let gaps = |disk: &FaultyDisk| plan(disk, &[]).gaps;
    let hole = GapRecord { position: Position(entry.position), kind: Kind::Hole, id: entry.id };
    assert_eq!(
        gaps(&disk),
        [hole, GapRecord { position: Position(position), kind: Kind::Heal, id: entry.id }]
    );
    flip_body(&disk, position);
    assert_eq!(gaps(&disk), [hole]);
}

/// The segment of a hole is put back as it was before, with the body, after that has come back: the
/// log does not hold the id twice.
#[test]
fn a_body_put_back_makes_its_heal_a_void() {
    let sample = sample(true);
    let disk = sample.disk.fork();
    let entry = &sample.model[2];
    let (name, _) = place_of(&disk, entry.position);
    let original = disk.contents(&name).unwrap();
    flip_body(&disk, entry.position);
    run_cautiously(&disk).unwrap();
    heal(&disk, entry);
    disk.put(&name, &original).unwrap();
    let report = run_cautiously(&disk).unwrap();
    assert_eq!((report.lost_bodies.len(), report.lost_entries), (0, None), "{report:?}");
    assert!(!report.actions.is_empty());
    let reopened = reopen(&disk).unwrap();
    let held = reopened.replayed.iter().filter(|found| found.id == entry.id).count();
    assert_eq!(held, 1);
    assert!(holes_of(&sample.model, &reopened).is_empty());
    drop(reopened);
    assert_eq!(run_cautiously(&disk).unwrap(), RepairReport::default());
}

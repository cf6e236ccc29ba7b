//! Damage of every kind to a log that was durable: it is found, or it is harmless.

use crate::history::{LogHarness, ModelEntry, ORIGIN, id_of, open};
use std::{collections::BTreeMap, sync::Arc};

use stemedb_merkle::{LogIndex, Timestamp};

use stemedb_simdisk::FaultyDisk;
use stemedb_wal::{
    Position,
    disk::{Disk, MemoryDisk},
    error::{DamageKind, OpenError, ReadError},
    log::{LogOptions, NewRecord, Origin, Spares, Warning, Watermark},
    raw::{
        BatchHeader, SegmentHeader, TRAILER_LEN, Trailer, batch, parse_segment_name, segment,
        segment_name,
    },
};

fn options() -> LogOptions {
    LogOptions::default().segment_len(1500).spares(Spares::None)
}

/// A log of a few segments, marked or closed.
struct Sample {
    disk: FaultyDisk,
    origin: Origin,
    model: Vec<ModelEntry>,
}

fn sample(closed: bool) -> Sample {
    let disk = FaultyDisk::new(11);
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options());
    for lens in [&[10, 40][..], &[300], &[0, 0], &[700], &[30], &[2000], &[5, 5, 5], &[90]] {
        harness.append(lens, 50);
    }
    harness.log_mut().mark().unwrap();
    if closed {
        harness.close();
    }
    Sample { disk, origin: harness.origin, model: harness.model().to_vec() }
}

impl Sample {
    fn segments(&self) -> Vec<String> {
        let names = self.disk.list().unwrap();
        names.into_iter().filter(|name| parse_segment_name(name).is_some()).collect()
    }

    /// Opens a damaged copy. What opens holds everything; what it reads is right or an error.
    fn outcome(&self, disk: &FaultyDisk) -> Outcome {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        match open(&shared, &self.origin, &options(), None) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                Outcome::Refused(error)
            }
            Ok((log, report, replayed)) => {
                let whole = replayed.len() == self.model.len();
                assert_eq!(replayed, self.model[..replayed.len()], "{:?}", report.warnings);
                let reader = log.reader();
                for entry in &replayed {
                    assert_eq!(reader.read(Position(entry.position)).unwrap().body, entry.body);
                    match reader.read_index(LogIndex(entry.index)) {
                        Ok(record) => assert_eq!(record.body, entry.body),
                        Err(ReadError::Damaged(_)) => return Outcome::ReadFails,
                        Err(error) => panic!("{error}"),
                    }
                }
                if whole { Outcome::Whole(report.warnings) } else { Outcome::Short }
            }
        }
    }
}

#[derive(Debug)]
enum Outcome {
    Refused(OpenError),
    /// The log opens and replays, and reads by index find the damage.
    ReadFails,
    Whole(Vec<Warning>),
    /// Entries at the end are missing, and it was not noticed that they should be there.
    Short,
}

#[test]
fn every_flipped_bit_is_found_or_harmless() {
    for closed in [false, true] {
        let sample = sample(closed);
        let mut counts = BTreeMap::<&str, u64>::new();
        for name in sample.segments() {
            let len = sample.disk.contents(&name).unwrap().len() as u64;
            for bit in 0..len * 8 {
                let disk = sample.disk.fork();
                disk.flip_bit(&name, bit).unwrap();
                let kind = match sample.outcome(&disk) {
                    Outcome::Refused(OpenError::Damaged(damage)) => {
                        assert!(damage.offset <= bit / 8, "{damage}");
                        "refused"
                    }
                    Outcome::Refused(error) => panic!("{name} bit {bit}: {error}"),
                    Outcome::Short => panic!("{name} bit {bit}: entries lost in silence"),
                    Outcome::ReadFails => "an offset, found by the read",
                    Outcome::Whole(warnings) => match warnings.as_slice() {
                        [Warning::FooterRebuilt { .. }] => "a trailer, made again",
                        [Warning::TornTail { .. }] => "behind the end, cut",
                        _ => panic!("{name} bit {bit}: {warnings:?}"),
                    },
                };
                *counts.entry(kind).or_default() += 1;
            }
        }
        println!("closed {closed}: {counts:?}");
        // Behind the end there are zeros only in a log that was not closed.
        assert_eq!(counts.contains_key("behind the end, cut"), !closed);
        assert!(counts["refused"] > 30_000);
    }
}

/// The last batch was synced and no mark says so: its header is all that speaks for it, wherever in
/// a sector it lies.
#[test]
fn a_flipped_bit_in_the_header_of_an_unmarked_batch_is_no_torn_write() {
    let options = options().segment_len(1 << 16);
    let mut flips = 0;
    for pad in 0..512 {
        let disk = FaultyDisk::new(11);
        let mut harness = LogHarness::new(Arc::new(disk.clone()), options.clone());
        harness.append(&[pad], 50);
        harness.append(&[30], 50);
        let sample = Sample { disk, origin: harness.origin, model: harness.model().to_vec() };
        let name = sample.segments().pop().unwrap();
        let start = sample.model[1].position - batch::HEADER_LEN as u64;
        let crosses = start % 512 + batch::HEADER_LEN as u64 > 512;
        for bit in (8 * start..8 * sample.model[1].position).filter(|_| crosses) {
            let disk = sample.disk.fork();
            disk.flip_bit(&name, bit).unwrap();
            let outcome = sample.outcome(&disk);
            assert!(matches!(outcome, Outcome::Refused(_)), "pad {pad}, bit {bit}: {outcome:?}");
            flips += 1;
        }
    }
    assert!(flips > 30_000, "{flips}");
}

#[test]
fn every_cut_length_of_a_closed_log_is_found() {
    let sample = sample(true);
    for name in sample.segments() {
        let len = sample.disk.contents(&name).unwrap().len() as u64;
        for len in 0..len {
            let disk = sample.disk.fork();
            disk.truncate_file(&name, len).unwrap();
            let outcome = sample.outcome(&disk);
            assert!(matches!(outcome, Outcome::Refused(_)), "{name} cut to {len}: {outcome:?}");
        }
    }
}

/// Without the mark of a clean close, a last segment that was cut looks like one that was never
/// longer. All others are found.
#[test]
fn every_cut_length_of_an_open_log_is_found_but_of_the_last_segment() {
    let sample = sample(false);
    let names = sample.segments();
    for name in &names {
        let len = sample.disk.contents(name).unwrap().len() as u64;
        for len in 0..len {
            let disk = sample.disk.fork();
            disk.truncate_file(name, len).unwrap();
            let outcome = sample.outcome(&disk);
            let last = Some(name) == names.last() && len >= segment::HEADER_LEN as u64;
            assert!(
                last || matches!(outcome, Outcome::Refused(_)),
                "{name} cut to {len}: {outcome:?}"
            );
        }
    }
}

#[test]
fn every_zeroed_or_garbled_sector_is_found() {
    let sample = sample(false);
    let names = sample.segments();
    let mark_at = {
        let bytes = sample.disk.contents(names.last().unwrap()).unwrap();
        bytes.len() - bytes.iter().rev().position(|byte| *byte != 0).unwrap()
    };
    for name in &names {
        let bytes = sample.disk.contents(name).unwrap();
        for (fill, len) in [(0, 512), (0, 4096), (0xa5, 512), (0xa5, 4096)] {
            for start in (0..bytes.len()).step_by(512) {
                let end = (start + len).min(bytes.len());
                let disk = sample.disk.fork();
                disk.overwrite(name, &vec![fill; end - start], start as u64).unwrap();
                if disk.contents(name).unwrap() == bytes {
                    continue;
                }
                // Zeros over the last mark and all before it leave nothing that tells.
                let untold = Some(name) == names.last() && fill == 0 && end >= mark_at;
                match sample.outcome(&disk) {
                    Outcome::Refused(_) => {}
                    Outcome::Short => assert!(untold, "{name} at {start}"),
                    Outcome::Whole(warnings) => assert!(
                        matches!(
                            warnings.as_slice(),
                            [Warning::FooterRebuilt { .. } | Warning::TornTail { .. }]
                        ),
                        "{name} at {start}: {warnings:?}"
                    ),
                    Outcome::ReadFails => panic!("{name} at {start}"),
                }
            }
        }
    }
}

/// What an engine does that takes the first bad batch for the end: it loses in silence what was
/// acknowledged. The tests above would notice.
#[test]
fn control_a_recovery_that_trusts_the_first_bad_header_is_caught() {
    let sample = sample(false);
    let name = segment_name(0, 0);
    let disk = sample.disk.fork();
    disk.flip_bit(&name, (segment::HEADER_LEN as u64 + 20) * 8).unwrap();
    cut_at_first_bad_batch(&disk);
    assert!(matches!(sample.outcome(&disk), Outcome::Short));

    // And where nothing is wrong with the log, it is right.
    let disk = sample.disk.fork();
    cut_at_first_bad_batch(&disk);
    assert!(matches!(sample.outcome(&disk), Outcome::Whole(_)));
}

fn cut_at_first_bad_batch(disk: &FaultyDisk) {
    let mut found_bad = false;
    for name in disk.list().unwrap() {
        if parse_segment_name(&name).is_none() {
            continue;
        }
        if found_bad {
            disk.remove(&name).unwrap();
            continue;
        }
        let bytes = disk.contents(&name).unwrap();
        let header = SegmentHeader::parse(&bytes).unwrap();
        let mut at = segment::HEADER_LEN;
        while let Some(batch) =
            BatchHeader::parse(&bytes[at..], header.salt, header.first_position + at as u64)
        {
            at += usize::try_from(batch.batch_len()).unwrap();
        }
        let sealed = Trailer::parse(
            &bytes[bytes.len() - TRAILER_LEN..],
            header.salt,
            header.first_position + (bytes.len() - TRAILER_LEN) as u64,
        );
        if sealed.is_none_or(|trailer| trailer.batches_end != at as u64) {
            disk.truncate_file(&name, at as u64).unwrap();
            found_bad = true;
        }
    }
    disk.sync_dir().unwrap();
}

/// The numbers are those of the list of bad inputs that each storage engine should be held against.
#[test]
fn segments_that_are_not_what_they_should_be_are_named() {
    let sample = sample(false);
    let names = sample.segments();
    let refused = |change: &dyn Fn(&FaultyDisk)| {
        let disk = sample.disk.fork();
        change(&disk);
        match sample.outcome(&disk) {
            Outcome::Refused(error) => error,
            outcome => panic!("{outcome:?}"),
        }
    };
    let middle = &names[2];
    // Empty, zeros, and zeros of many lengths.
    for len in [0, 96, 4096, 1 << 20] {
        let error = refused(&|disk| disk.put(middle, &vec![0; len]).unwrap());
        assert!(
            matches!(&error, OpenError::Damaged(found) if found.what == DamageKind::SegmentHeader),
            "{error}"
        );
    }
    // Missing in the middle, at the front, at the end.
    for name in &names[..names.len() - 1] {
        let error = refused(&|disk| {
            disk.remove(name).unwrap();
            disk.sync_dir().unwrap();
        });
        let OpenError::Missing { path, first_index } = &error else { panic!("{error}") };
        assert_eq!(segment_name(0, first_index.get()), *name);
        assert!(path.ends_with(name) || path.to_string_lossy().ends_with(name.as_str()));
    }
    // Of another store.
    let bytes = sample.disk.contents(middle).unwrap();
    let mut header = SegmentHeader::parse(&bytes).unwrap();
    header.store_id = [9; 16];
    let foreign = [&header.encode()[..], &bytes[segment::HEADER_LEN..]].concat();
    let error = refused(&|disk| disk.put(middle, &foreign).unwrap());
    assert!(matches!(error, OpenError::OtherStore { .. }), "{error}");
    // Duplicated under another name.
    let error = refused(&|disk| disk.put(&segment_name(0, 4), &bytes).unwrap());
    assert!(matches!(error, OpenError::Misnamed { .. }), "{error}");
    // Two swapped.
    let other = sample.disk.contents(&names[1]).unwrap();
    let error = refused(&|disk| {
        disk.put(middle, &other).unwrap();
        disk.put(&names[1], &bytes).unwrap();
    });
    assert!(matches!(error, OpenError::Misnamed { .. }), "{error}");
    // Of a later format.
    let mut later = bytes.clone();
    later[8] = 2;
    let sum = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&later[..12]);
        hasher.update(&later[16..96]);
        hasher.finalize()
    };
    later[12..16].copy_from_slice(&sum.to_le_bytes());
    let error = refused(&|disk| disk.put(middle, &later).unwrap());
    assert!(matches!(error, OpenError::Version { version: 2, .. }), "{error}");
    // Longer than it was.
    let error = refused(&|disk| disk.put(middle, &[&bytes[..], &[0]].concat()).unwrap());
    assert!(
        matches!(&error, OpenError::Damaged(damage) if damage.what == DamageKind::Long),
        "{error}"
    );
    // Only of another generation.
    let error = refused(&|disk| {
        for name in &names {
            let (_, first_index) = parse_segment_name(name).unwrap();
            disk.rename(name, &segment_name(1, first_index)).unwrap();
        }
    });
    assert!(matches!(error, OpenError::Generation { found: 1, expected: 0, .. }), "{error}");
}

/// What is written where.
type Change = Vec<(usize, Vec<u8>)>;

#[test]
fn records_moved_copied_or_swapped_are_found() {
    let options = options().segment_len(1 << 20);
    let disk = FaultyDisk::new(2);
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options.clone());
    for _ in 0..6 {
        harness.append(&[100, 100], 0);
    }
    harness.log_mut().mark().unwrap();
    let name = segment_name(0, 0);
    let batch_len = u64::from(2 * 160_u32) + batch::FRAME_LEN;
    let at = |n: u64| usize::try_from(segment::HEADER_LEN as u64 + n * batch_len).unwrap();
    let bytes = disk.contents(&name).unwrap();
    let batch = |n| bytes[at(n)..at(n + 1)].to_vec();
    let record = |n, r: usize| {
        let from = at(n) + 64 + r * 160;
        bytes[from..from + 160].to_vec()
    };
    let changes: Vec<(&str, Change)> = vec![
        ("a batch of another place", vec![(at(2), batch(4))]),
        ("a batch twice", vec![(at(3), batch(2))]),
        ("two batches swapped", vec![(at(1), batch(2)), (at(2), batch(1))]),
        ("a record of another place", vec![(at(1) + 64, record(3, 0))]),
        ("two records swapped", vec![(at(1) + 64, record(1, 1)), (at(1) + 224, record(1, 0))]),
        ("a batch left out", vec![(at(2), bytes[at(3)..].to_vec())]),
        ("zeros for a batch", vec![(at(2), vec![0; batch(2).len()])]),
        ("zeros for a record", vec![(at(2) + 64, vec![0; 160])]),
        ("a length of zero and no checksum", vec![(at(2) + 64, vec![0; 12])]),
        ("a length of 2^32 - 1", vec![(at(2) + 12, vec![0xff; 4])]),
        ("a length one too long", vec![(at(5) + 12, 321_u32.to_le_bytes().to_vec())]),
    ];
    for (what, change) in changes {
        let damaged = disk.fork();
        for (offset, bytes) in change {
            damaged.overwrite(&name, &bytes, offset as u64).unwrap();
        }
        let shared: Arc<dyn Disk> = Arc::new(damaged);
        let error = open(&shared, &ORIGIN, &options, None).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{what}: {error}");
    }
    // A stale batch from before, behind the end: never accepted.
    let damaged = disk.fork();
    let end = harness.log().end();
    damaged.overwrite(&name, &batch(5), end.get()).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(damaged);
    let error = open(&shared, &ORIGIN, &options, None).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("repair the store"), "{error}");
}

#[test]
fn log_bytes_inside_a_body_never_pass_for_a_batch() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let faulty = FaultyDisk::new(3);
    let mut harness = LogHarness::new(Arc::new(faulty.clone()), options().segment_len(1 << 20));
    harness.append(&[50], 0);
    let body = faulty.contents(&segment_name(0, 0)).unwrap();
    let (mut log, _, _) = open(&disk, &ORIGIN, &options(), None).unwrap();
    let record = NewRecord { id: id_of(&body), body: &body[..2000], heals: None };
    log.write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
    log.sync().unwrap();
    drop(log);
    let (_, report, replayed) = open(&disk, &ORIGIN, &options(), None).unwrap();
    assert_eq!((replayed.len(), report.warnings.len()), (1, 0));
}

#[test]
fn a_watermark_that_does_not_fit_is_told_from_damage() {
    let sample = sample(false);
    let shared: Arc<dyn Disk> = Arc::new(sample.disk.fork());
    let end = open(&shared, &sample.origin, &options(), None).unwrap().0.durable();
    let count = sample.model.len() as u64;
    let inside = sample.model[3].position;
    // What a checkpoint covers was durable: a log that ends before it has lost its end.
    let beyond = Watermark { position: end.position + 1000, next_index: LogIndex(count + 2) };
    let opened = open(&shared, &sample.origin, &options(), Some(beyond));
    let error = opened.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Shortened { .. }), "{error}");
    for watermark in [
        Watermark { position: end.position, next_index: LogIndex(count - 1) },
        Watermark { position: Position(inside), next_index: LogIndex(3) },
        Watermark { position: Position(inside + 1), next_index: LogIndex(3) },
        Watermark { position: Position(sample.model[0].position), next_index: LogIndex(0) },
    ] {
        let shared: Arc<dyn Disk> = Arc::new(sample.disk.fork());
        let error =
            open(&shared, &sample.origin, &options(), Some(watermark)).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Watermark { .. }), "{watermark:?}: {error}");
    }
    // From each boundary on, exactly the rest is replayed.
    let mut opened = 0;
    for entry in &sample.model {
        let watermark = Watermark {
            position: Position(entry.position - 64),
            next_index: LogIndex(entry.index),
        };
        let shared: Arc<dyn Disk> = Arc::new(sample.disk.fork());
        let Ok((mut log, _, replayed)) = open(&shared, &sample.origin, &options(), Some(watermark))
        else {
            continue;
        };
        opened += 1;
        let from = usize::try_from(entry.index).unwrap();
        assert_eq!(replayed, sample.model[from..]);
        // What lies before is there as well, and the log goes on.
        let body = vec![7; 2000];
        let record = NewRecord { id: id_of(&body), body: &body, heals: None };
        for rolled in [false, true] {
            let reader = log.reader();
            for entry in &sample.model {
                assert_eq!(
                    reader.read_index(LogIndex(entry.index)).unwrap().body,
                    entry.body,
                    "{rolled}"
                );
            }
            log.write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
        }
    }
    assert_eq!(opened, 8, "as many batches");
}

#[test]
fn a_log_whose_end_is_gone_is_not_the_log_that_was_closed() {
    let sample = sample(true);
    let names = sample.segments();
    let disk = sample.disk.fork();
    disk.remove(names.last().unwrap()).unwrap();
    let Outcome::Refused(error) = sample.outcome(&disk) else { panic!() };
    assert!(matches!(error, OpenError::Shortened { .. }), "{error}");
    for name in &names {
        let _ = disk.remove(name);
    }
    let Outcome::Refused(error) = sample.outcome(&disk) else { panic!() };
    assert!(matches!(error, OpenError::Shortened { .. }), "{error}");
}

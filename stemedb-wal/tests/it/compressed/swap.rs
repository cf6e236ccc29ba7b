//! Compressing: what is read stays the same, whatever happens meanwhile.

use std::{
    io,
    sync::{Arc, Mutex},
};

use stemedb_merkle::LogIndex;
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Step, Survival, Target};
use stemedb_wal::{
    Position,
    disk::{Disk, FileDisk, is_temporary},
    log::{KnownSegment, Log, LogReader, OpenReport},
    remote::LogDir,
    sealed::{Compression, drop_segment},
};

use super::{SEGMENT, Sample, hash, options};
use crate::history::{LogHarness, open};

/// Compresses all sealed segments; how many bytes that frees.
pub(super) fn compress_all(sample: &mut Sample) -> u64 {
    compress(sample.harness.log())
}

fn compress(log: &Log) -> u64 {
    let reader = log.reader();
    let freed = reader.sealed_segments().into_iter().map(|segment| {
        let freed = reader.compress_sealed(&segment.name, Compression::ZSTD, &|| true).unwrap();
        assert_eq!(
            reader.compress_sealed(&segment.name, Compression::ZSTD, &|| true).unwrap(),
            None,
            "it is compressed by now, or never"
        );
        freed.unwrap_or_default()
    });
    freed.sum()
}

/// Blocks of many records, records of many blocks, empty bodies, batches of all sizes.
fn large() -> Sample {
    let many: Vec<usize> = (0..700).map(|n| n * 37 % 400).collect();
    let sample = Sample::new(
        400_000,
        &[&many, &[0; 300], &[65_476], &[65_477], &[1, 250_000, 2], &many, &[131_072, 3], &[4; 9]],
    );
    assert!(sample.segments().len() >= 3, "{:?}", sample.segments());
    sample
}

#[test]
fn a_compressed_log_is_read_as_it_was() {
    let mut sample = large();
    let before = {
        let reader = sample.harness.log().reader();
        reader
            .sealed_segments()
            .iter()
            .map(|of| reader.read_sealed(of).unwrap())
            .collect::<Vec<_>>()
    };
    let freed = compress_all(&mut sample);
    assert!(freed > 400_000, "{freed}");
    sample.harness.check_reads();
    let reader = sample.harness.log().reader();
    let sealed = reader.sealed_segments();
    for (segment, before) in sealed.iter().zip(&before) {
        let stored = sample.disk.contents(&segment.name).unwrap();
        assert!(stored.len() * 2 < before.len(), "{} of {}", stored.len(), before.len());
        assert!(reader.read_sealed(segment).unwrap() == *before, "{}", segment.name);
    }
    assert_eq!(reader.check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap(), []);
    // Any bytes that lie anywhere.
    let dir = LogDir::new(Arc::new(sample.disk.clone()), None);
    for (segment, before) in sealed.iter().zip(&before) {
        let opened = dir.open_segment(&segment.name).unwrap();
        for n in 0..2000_usize {
            let from = n * 7919 % (before.len() + 100);
            let len = n * 104_729 % 150_000;
            let mut bytes = vec![0; len];
            let read = opened.read_at(&mut bytes, from as u64).unwrap();
            let expected = before.get(from..(from + len).min(before.len())).unwrap_or_default();
            assert!(bytes[..read] == *expected, "{from} + {len}: {read}");
        }
    }
    sample.harness.append(&[10, 20], 60);
    for _ in 0..2 {
        sample.harness.reopen_after_kill();
        sample.harness.check_reads();
        sample.close();
        sample.harness.open();
        sample.harness.check_reads();
    }
}

/// A restart checkpoint knows lengths, which are those from before.
#[test]
fn segments_that_a_checkpoint_knows_may_be_compressed_since() {
    let mut sample = large();
    let watermark = sample.harness.log().durable();
    let known: Vec<KnownSegment> =
        sample.harness.log().reader().known_segments(watermark.position.get());
    compress_all(&mut sample);
    sample.close();
    let reads = sample.disk.reads_of(64..65);
    let known_options = sample.harness.options.clone();
    let origin = sample.harness.origin;
    let shared: Arc<dyn Disk> = Arc::new(sample.disk.clone());
    let (log, _) =
        Log::open_known(shared, &origin, &known_options, Some(watermark), &known, &mut |_| {})
            .unwrap();
    assert_eq!(sample.disk.reads_of(64..65), reads, "trailers of known segments were read");
    for entry in sample.harness.model() {
        let record = log.reader().read(Position(entry.position)).unwrap();
        assert_eq!(record.body, entry.body);
    }
}

/// Random bodies stay as they are.
#[test]
fn what_would_not_be_shorter_stays_plain() {
    let disk = FaultyDisk::new(1);
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options(3000));
    harness.append(&[500, 500, 700, 900, 900, 100], 50);
    harness.append(&[1500, 2000], 50);
    let before: Vec<_> =
        super::segments(&disk).iter().map(|name| disk.contents(name).unwrap()).collect();
    assert!(before.len() > 1);
    assert_eq!(compress(harness.log()), 0);
    let after: Vec<_> =
        super::segments(&disk).iter().map(|name| disk.contents(name).unwrap()).collect();
    assert!(before == after);
}

/// Readers that have the plain file open or mapped read on, and new ones read the other.
#[test]
fn readers_go_on_over_the_swap() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::create(dir.path()).unwrap());
    let mut harness = LogHarness::new(Arc::clone(&disk), options(40_000));
    for n in 0..40 {
        harness.append_bodies((0..20).map(|m| super::text(n * 20 + m, 100)).collect(), 50);
    }
    let (beside, reader) = (&open_beside(&disk, &harness).0, &harness.log().reader());
    let model = harness.model();
    let read_all = |log: &LogReader| {
        for entry in model {
            assert_eq!(log.read(Position(entry.position)).unwrap().body, entry.body);
        }
    };
    read_all(beside);
    // Each reads as long as the segments are compressed, and ends also where that fails.
    let compressing = Arc::new(());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let compressing = Arc::downgrade(&compressing);
            scope.spawn(move || {
                while compressing.strong_count() > 0 {
                    read_all(reader);
                    read_all(beside);
                }
            });
        }
        assert!(compress(harness.log()) > 20_000);
        drop(compressing);
    });
    harness.check_reads();
    read_all(beside);
    // The open segment is the one that it was.
    let last_id = model.last().map(|entry| entry.id);
    assert!(beside.read_on(&*disk, last_id, None, &mut |_| {}).unwrap().is_some());
    read_all(&open_beside(&disk, &harness).0);
}

/// A reader that is not the writer's.
fn open_beside(disk: &Arc<dyn Disk>, harness: &LogHarness) -> (LogReader, OpenReport) {
    let (origin, options) = (&harness.origin, &harness.options);
    LogReader::open(Arc::clone(disk), origin, options, None, &[], &mut |_| {}).unwrap()
}

/// Before and after each operation of the swap, and in each way in which a power cut leaves what
/// was not synced, the log is whole, and nothing is left in the way.
#[test]
fn a_power_cut_leaves_either_file() {
    let mut sample = Sample::small();
    let plain = sample.disk.contents(SEGMENT).unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    sample.disk.observe(move |step: Step| seen.lock().unwrap().push(step.disk));
    assert!(compress_all(&mut sample) > 0);
    sample.disk.stop_observing();
    let compressed = sample.disk.contents(SEGMENT).unwrap();
    let mut steps = std::mem::take(&mut *steps.lock().unwrap());
    assert!(steps.len() >= 5, "{}", steps.len());
    steps.push(sample.disk.fork());
    let (mut plain_left, mut compressed_left) = (0, 0);
    for (n, step) in steps.iter().enumerate() {
        for survival in Survival::ALL {
            for seed in 0..8 {
                let disk = step.power_cut(survival, seed);
                let found = disk.contents(SEGMENT).unwrap();
                assert!(found == plain || found == compressed, "{n} {survival:?} {seed}");
                plain_left += u64::from(found == plain);
                compressed_left += u64::from(found == compressed);
                let shared: Arc<dyn Disk> = Arc::new(disk.clone());
                let (log, _, replayed) =
                    open(&shared, &sample.harness.origin, &options(2000), None).unwrap();
                assert_eq!(replayed, sample.model());
                assert!(!disk.list().unwrap().iter().any(|name| is_temporary(name)));
                compress(&log);
                assert!(disk.contents(SEGMENT).unwrap() == compressed);
            }
        }
    }
    assert!(plain_left > 20 && compressed_left > 20, "{plain_left}, {compressed_left}");
}

/// A disk that fails or is full at any operation of the swap leaves the log in use, and as it was.
#[test]
fn a_failure_leaves_the_log_as_it_was() {
    let mut failures = 0;
    for kind in [FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial] {
        for error in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            for after in 0.. {
                let mut sample = Sample::small();
                let target = Target::Mutating;
                sample.disk.inject(Fault { target, after, from_then_on: false, error, kind });
                let reader = sample.harness.log().reader();
                let done = reader.compress_sealed(SEGMENT, Compression::ZSTD, &|| true);
                sample.disk.clear_faults();
                sample.harness.check_reads();
                sample.harness.append(&[30], 60);
                sample.harness.check_reads();
                if done.is_ok() {
                    assert!(after >= 4, "{after} operations");
                    break;
                }
                failures += 1;
                sample.harness.reopen_after_kill();
                sample.harness.check_reads();
                assert!(compress_all(&mut sample) > 0 || after >= 3);
                sample.harness.check_reads();
            }
        }
    }
    assert!(failures > 20, "{failures}");
}

/// The last room is left to appends.
#[test]
fn a_disk_that_is_nearly_full_is_left_alone() {
    let sample = large();
    let len = |name: &String| sample.disk.contents(name).unwrap().len() as u64;
    let used: u64 = sample.disk.list().unwrap().iter().map(len).sum();
    sample.disk.set_capacity(Some(used + 500_000));
    let writes = sample.disk.operations(Target::Mutating);
    let reader = sample.harness.log().reader();
    let refused = reader.compress_sealed(SEGMENT, Compression::ZSTD, &|| true).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert_eq!(sample.disk.operations(Target::Mutating), writes);
    sample.disk.set_capacity(None);
    assert!(reader.compress_sealed(SEGMENT, Compression::ZSTD, &|| true).unwrap().is_some());
}

/// What stops it leaves the segment as it was.
#[test]
fn it_stops_when_asked() {
    let sample = large();
    let reader = sample.harness.log().reader();
    let before = sample.disk.contents(SEGMENT).unwrap();
    let freed = reader.compress_sealed(SEGMENT, Compression::ZSTD, &|| false).unwrap();
    assert_eq!(freed, None);
    assert!(sample.disk.contents(SEGMENT).unwrap() == before);
    assert!(reader.compress_sealed("segment", Compression::ZSTD, &|| true).is_err());
}

/// What goes to an archive is the segment as it was, and its stub is that of the plain one.
#[test]
fn a_compressed_segment_is_dropped_as_a_plain_one() {
    let mut sample = Sample::small();
    let plain = sample.disk.contents(SEGMENT).unwrap();
    compress_all(&mut sample);
    let stored = sample.disk.contents(SEGMENT).unwrap().len() as u64;
    sample.close();
    let dir = LogDir::new(Arc::new(sample.disk.clone()), None);
    let freed = drop_segment(&dir, SEGMENT, "file:///archive", &[hash(&plain)], &|part| hash(part));
    assert_eq!(freed.unwrap(), stored);
    assert!(sample.disk.contents(SEGMENT).is_err());
    let again = drop_segment(&dir, SEGMENT, "file:///archive", &[hash(&plain)], &|part| hash(part));
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::NotFound);
    let mut kept = vec![0; plain.len()];
    dir.open_segment(SEGMENT).unwrap().read_local_at(&mut kept, 0).unwrap();
    assert_eq!(kept[..200], plain[..200]);
}

//! The log as its callers see it: what is written is read, in any way of reading.

use crate::history::{LogHarness, body_of, id_of};
use std::sync::Arc;

use stemedb_merkle::{LogIndex, Timestamp};

use stemedb_simdisk::FaultyDisk;
use stemedb_wal::{
    check::Scrubber,
    disk::{Disk, FileDisk, MemoryDisk},
    error::{AppendError, DamageKind, ReadError},
    log::{Log, LogOptions, NewRecord, Origin, Spares},
};

fn tiny() -> LogOptions {
    LogOptions::default().segment_len(2048).spares(Spares::None)
}

#[test]
fn what_is_written_is_read_by_position_index_and_time() {
    let mut harness = LogHarness::new(Arc::new(MemoryDisk::new()), tiny());
    for n in 0..200_u64 {
        let len = usize::try_from(n * 7 % 300).unwrap();
        harness.append(&[len, len / 2], n * 1000);
        harness.check_reads();
    }
    assert!(harness.log().reader().segments_len() > 20, "rolled");
    harness.close();
    harness.open();
    harness.check_reads();
}

#[test]
fn nothing_is_seen_before_it_is_published() {
    let mut harness = LogHarness::new(Arc::new(MemoryDisk::new()), tiny());
    let reader = harness.log().reader();
    let mut placed = Vec::new();
    let record = NewRecord { id: id_of(b"x"), body: b"x", heals: None };
    let log = harness.log_mut();
    log.write(&[record], Timestamp::from_ntp64(5), &mut placed).unwrap();
    let position = placed[0].position;
    assert!(matches!(reader.read(position), Err(ReadError::NotFound { .. })));
    log.publish();
    assert!(matches!(reader.read(position), Err(ReadError::NotFound { .. })), "not durable yet");
    log.sync().unwrap();
    assert!(matches!(reader.read(position), Err(ReadError::NotFound { .. })));
    assert_eq!(reader.next_index(), 0);
    log.publish();
    assert_eq!(reader.read(position).unwrap().body, b"x");
    assert_eq!(reader.next_index(), 1);
}

#[test]
fn a_body_over_the_limit_is_refused_and_the_log_goes_on() {
    let options = tiny().body_len_max(100);
    let mut harness = LogHarness::new(Arc::new(FaultyDisk::new(1)), options);
    harness.append(&[100], 0);
    let body = body_of(7, 101);
    let record = NewRecord { id: id_of(&body), body: &body, heals: None };
    let error = harness.log_mut().write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, AppendError::TooLong { len: 101, max: 100 }), "{error}");
    harness.append(&[100], 0);
    harness.check_reads();
}

#[test]
fn bodies_longer_than_a_segment_get_one_of_their_own() {
    let mut harness = LogHarness::new(Arc::new(FaultyDisk::new(1)), tiny());
    for len in [10, 5000, 10, 100_000, 0, 0, 2048, 1] {
        harness.append(&[len], 0);
    }
    harness.check_reads();
    harness.reopen_after_kill();
    harness.check_reads();
}

#[test]
fn times_strictly_increase_whatever_the_clock_says() {
    let mut harness = LogHarness::new(Arc::new(MemoryDisk::new()), tiny());
    for now in [100, 50, 0, 101, 1 << 60, 5] {
        harness.append(&[1, 2, 3], now);
    }
    let times: Vec<u64> = harness.model().iter().map(|entry| entry.time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    harness.check_reads();
    let record = NewRecord { id: id_of(b"x"), body: b"x", heals: None };
    let error = harness
        .log_mut()
        .write(&[record; 2], Timestamp::from_ntp64(u64::MAX), &mut Vec::new())
        .unwrap_err();
    assert!(matches!(error, AppendError::Exhausted), "{error}");
    harness.check_reads();
}

#[test]
fn batches_over_the_limit_are_split_and_keep_their_order() {
    let options = tiny().batch_len_max(1000);
    let mut harness = LogHarness::new(Arc::new(FaultyDisk::new(1)), options);
    harness.append(&[100; 77], 9);
    harness.check_reads();
    harness.reopen_after_kill();
    harness.check_reads();
}

#[test]
fn a_background_thread_prepares_spares() {
    let options = LogOptions::default().segment_len(1 << 20);
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::create(dir.path()).unwrap();
    let mut harness = LogHarness::new(Arc::new(disk), options);
    for _ in 0..300 {
        harness.append(&[1000; 20], 0);
    }
    assert!(harness.log().reader().segments_len() > 3);
    harness.check_reads();
    harness.close();
    harness.open();
    harness.check_reads();
    let _: &Log = harness.log();
}

/// What opening left unread of the last segment is read by the thread that prepares spares, and the
/// writer does not wait for it when it moves on: it does not see what became of the file since.
#[test]
fn a_background_thread_reads_what_a_footer_needs() {
    let disk = Arc::new(FaultyDisk::new(1));
    let options = LogOptions::default().segment_len(1 << 20);
    let mut harness = LogHarness::new(Arc::clone(&disk) as Arc<dyn Disk>, options);
    harness.append(&[100; 20], 0);
    let middle = harness.log().durable();
    harness.append(&[100; 20], 0);
    harness.close();
    harness.open_from(Some(middle));
    // A quarter of the segment.
    harness.append(&[1000; 300], 0);
    while !disk.list().unwrap().iter().any(|name| name.starts_with("spare")) {
        std::thread::yield_now();
    }
    // Of the header of the first batch, behind that of the segment.
    let (segment, bit) = ("segment-0000-00000000000000000000.log", 8 * (96 + 9));
    disk.flip_bit(segment, bit).unwrap();
    harness.log_mut().seal_open().unwrap();
    disk.flip_bit(segment, bit).unwrap();
    harness.check_reads();
}

/// A batch of several pieces, and of more parts than one call takes, is in the file what it is in
/// memory.
#[test]
fn a_batch_of_many_parts_is_written_as_it_is() {
    let len = |n: u64| if n.is_multiple_of(2) { n % 70 } else { 1000 + n % 70 };
    let bodies: Vec<Vec<u8>> =
        (0..6000).map(|n| body_of(n, usize::try_from(len(n)).unwrap())).collect();
    let records: Vec<NewRecord<'_>> =
        bodies.iter().map(|body| NewRecord { id: id_of(body), body, heals: None }).collect();
    let origin = Origin { store_id: [1; 16], generation: 0, salt_seed: [2; 16], clean: None };
    let options = LogOptions::default().spares(Spares::None);
    let written = |disk: Arc<dyn Disk>| {
        let (mut log, _) =
            Log::open(Arc::clone(&disk), &origin, &options, None, &mut |_| {}).unwrap();
        let mut placed = Vec::new();
        for records in [records.as_slice(), &records[..1], &[]] {
            log.write(records, Timestamp::from_ntp64(7), &mut placed).unwrap();
        }
        log.close().unwrap();
        let file = disk.open("segment-0000-00000000000000000000.log").unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        (bytes, placed)
    };
    let dir = tempfile::tempdir().unwrap();
    let on_disk: Arc<dyn Disk> = Arc::new(FileDisk::create(dir.path()).unwrap());
    assert_eq!(written(on_disk), written(Arc::new(MemoryDisk::new())));
}

/// Bodies are hashed many at once: each that has another id is told in its place.
#[test]
fn bodies_of_other_ids_are_told_each_in_its_place() {
    let options = LogOptions::default().spares(Spares::None);
    let mut harness = LogHarness::new(Arc::new(MemoryDisk::new()), options);
    let log = harness.log_mut();
    for n in 0..600_u64 {
        let body = body_of(n, 40);
        let id = if n % 100 == 7 { id_of(&n.to_le_bytes()) } else { id_of(&body) };
        let record = NewRecord { id, body: &body, heals: None };
        log.write(&[record], Timestamp::from_ntp64(7), &mut Vec::new()).unwrap();
    }
    log.sync().unwrap();
    log.publish();
    for sealed in [false, true] {
        if sealed {
            harness.log_mut().seal_open().unwrap();
        }
        let hash = |body: &[u8]| id_of(body);
        let found = harness.log().reader().check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap();
        let told: Vec<_> = found.iter().map(|damage| (damage.index.get(), damage.what)).collect();
        let expected: Vec<_> = (0..6).map(|n| (100 * n + 7, DamageKind::Id)).collect();
        assert_eq!(told, expected, "{sealed}");
    }
}

/// A damaged batch header hides its records from the pass over batches; salvage and the list of
/// offsets both find them, and both compare ids.
#[test]
fn scrub_compares_ids_in_a_batch_of_a_damaged_header() {
    let disk = Arc::new(FaultyDisk::new(1));
    let options = LogOptions::default().spares(Spares::None);
    let mut harness = LogHarness::new(Arc::clone(&disk) as Arc<dyn Disk>, options);
    let log = harness.log_mut();
    let mut placed = Vec::new();
    for first in [0, 3, 6_u64] {
        let bodies: Vec<_> = (first..first + 3).map(|n| body_of(n, 40)).collect();
        let record =
            |(n, body): (u64, &Vec<u8>)| id_of(if n == 4 { b"another" } else { body.as_slice() });
        let ids: Vec<_> = (first..).zip(&bodies).map(record).collect();
        let records =
            ids.iter().zip(&bodies).map(|(&id, body)| NewRecord { id, body, heals: None });
        let records: Vec<_> = records.collect();
        log.write(&records, Timestamp::from_ntp64(7), &mut placed).unwrap();
    }
    log.sync().unwrap();
    log.publish();
    log.seal_open().unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-")).unwrap();
    disk.flip_bit(&name, (placed[3].position.get() - 1) * 8).unwrap();
    let hash = |body: &[u8]| id_of(body);
    let reader = harness.log().reader();
    let step = Scrubber::default().step(&reader, u64::MAX, Some(&hash)).unwrap();
    let found = step.damage.iter().find(|found| found.position == placed[4].position);
    assert_eq!(found.map(|found| found.damage.what), Some(DamageKind::Id), "{:?}", step.damage);
}

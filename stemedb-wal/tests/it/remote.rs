//! Segments whose bodies are only in an archive.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{Arc, Mutex},
};

use stemedb_merkle::{Hash, LogIndex, Timestamp};

use crate::history::repair;
use stemedb_simdisk::{FaultyDisk, Survival};
use stemedb_wal::{
    Position,
    check::Scrubber,
    disk::{Disk, MemoryDisk},
    error::{Damage, DamageKind, HealError, OpenError, ReadError},
    identity::Identity,
    log::{Log, LogOptions, NewRecord, Origin, Replayed, Spares},
    raw::parse_segment_name,
    remote::{LogDir, PART_LEN, RemoteError, SegmentSource},
    repair::{Heal, RepairError, RepairOptions},
    sealed::drop_segment,
};

#[derive(Debug, Default)]
struct Parts(Mutex<(HashMap<Hash, Vec<u8>>, usize)>);

impl SegmentSource for Parts {
    fn read(&self, part: &Hash, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (parts, reads) = &mut *self.0.lock().unwrap();
        *reads += 1;
        let part = parts.get(part).ok_or(io::ErrorKind::NotFound)?;
        Ok(part[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].into())
    }
}

impl Parts {
    fn put(&self, bytes: &[u8]) -> Vec<Hash> {
        let parts = bytes.chunks(PART_LEN);
        let put = parts.map(|part| {
            self.0.lock().unwrap().0.insert(hash(part), part.to_vec());
            hash(part)
        });
        put.collect()
    }

    fn reads(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

/// A directory, and where the bodies of its dropped segments are read.
struct Site {
    disk: Arc<dyn Disk>,
    source: Option<Arc<dyn SegmentSource>>,
    dir: LogDir,
}

impl Site {
    fn new(disk: Arc<dyn Disk>, source: Option<Arc<dyn SegmentSource>>) -> Self {
        let dir = LogDir::new(Arc::clone(&disk), source.clone());
        Self { disk, source, dir }
    }
}

const ORIGIN: Origin = Origin { store_id: [1; 16], generation: 0, salt_seed: [2; 16], clean: None };
const FIRST: &str = "segment-0000-00000000000000000000.log";
const FIRST_STUB: &str = "remote-0000-00000000000000000000.seg";
const ENTRIES: u64 = 300;
const PLACE: &str = "file:///archive";

fn options() -> LogOptions {
    LogOptions::default().segment_len(4096).spares(Spares::None)
}

fn open(disk: &Site, replay: &mut dyn FnMut(Replayed<'_>)) -> Result<Log, OpenError> {
    let options = options().source(disk.source.clone());
    Log::open(Arc::clone(&disk.disk), &ORIGIN, &options, None, replay).map(|(log, _)| log)
}

fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

fn body(n: u64) -> Vec<u8> {
    // Empty bodies leave no gap.
    let text = format!("body {n} {}", "x".repeat(usize::try_from(n % 90).unwrap()));
    if n == 7 { Vec::new() } else { text.into_bytes() }
}

/// A log of some segments; its positions.
fn write(disk: &Site) -> Vec<u64> {
    let mut log = open(disk, &mut |_| {}).unwrap();
    let mut placed = Vec::new();
    for n in 0..ENTRIES {
        let body = body(n);
        log.write(
            &[NewRecord { id: hash(&body), body: &body, heals: None }],
            Timestamp::from_ntp64(n),
            &mut placed,
        )
        .unwrap();
    }
    log.close().unwrap();
    placed.iter().map(|placed| placed.position.get()).collect()
}

fn contents(disk: &LogDir, name: &str) -> Vec<u8> {
    let file = disk.open_segment(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn read(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn segments(disk: &Site) -> Vec<String> {
    let names = disk.dir.list_segments().unwrap();
    names.into_iter().filter(|name| parse_segment_name(name).is_some()).collect()
}

/// Drops all sealed segments.
fn drop_all(disk: &Site, parts: &Parts) -> Vec<String> {
    let segments = segments(disk);
    let (_, sealed) = segments.split_last().unwrap();
    for name in sealed {
        drop_segment(&disk.dir, name, PLACE, &parts.put(&contents(&disk.dir, name)), &hash)
            .unwrap();
    }
    sealed.to_vec()
}

fn dropped_log() -> (Arc<dyn Disk>, Arc<Parts>, Vec<u64>) {
    let inner: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let parts = Arc::new(Parts::default());
    let disk = Site::new(Arc::clone(&inner), None);
    let positions = write(&disk);
    drop_all(&disk, &parts);
    (inner, parts, positions)
}

#[test]
fn a_log_reads_as_before() {
    let inner: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let parts = Arc::new(Parts::default());
    let disk = Site::new(inner, Some(Arc::clone(&parts) as _));
    let positions = write(&disk);
    let before: Vec<_> = segments(&disk).iter().map(|name| contents(&disk.dir, name)).collect();
    let dropped = drop_all(&disk, &parts);
    assert!(dropped.len() > 5, "{dropped:?}");
    assert_eq!(disk.dir.dropped().unwrap(), dropped);
    let names = segments(&disk);
    for (name, bytes) in names.iter().zip(&before) {
        assert_eq!(contents(&disk.dir, name), *bytes);
        let file = disk.dir.open_segment(name).unwrap();
        // Every range, or so.
        for (from, len) in (0..bytes.len()).step_by(7).zip((0..600).cycle()) {
            let mut found = vec![0; len];
            let read = file.read_at(&mut found, from as u64).unwrap();
            assert_eq!(found[..read], bytes[from..(from + len).min(bytes.len())]);
        }
    }
    let reads = parts.reads();
    assert_eq!(reads, dropped.len(), "each segment is one block, which is fetched once");
    let mut replayed = 0;
    let log = open(&disk, &mut |records| replayed += records.placed.len() as u64).unwrap();
    assert_eq!(replayed, ENTRIES);
    let reader = log.reader();
    for (n, position) in (0..).zip(&positions) {
        assert_eq!(reader.read(Position(*position)).unwrap().body, body(n));
        assert_eq!(reader.read_index(LogIndex(n)).unwrap().body, body(n));
    }
    assert_eq!(reader.entries(LogIndex(0)..LogIndex(ENTRIES)).flatten().count() as u64, ENTRIES);
    log.close().unwrap();
}

#[test]
fn without_the_archive_all_but_bodies_is_there() {
    let (inner, parts, positions) = dropped_log();
    let without = Site::new(Arc::clone(&inner), None);
    let mut replayed = Vec::new();
    let mut log =
        open(&without, &mut |records| replayed.extend_from_slice(records.placed)).unwrap();
    assert!(replayed.iter().map(|placed| placed.position.get()).eq(positions.iter().copied()));
    let reader = log.reader();
    for (n, position) in (0..ENTRIES).zip(&positions) {
        let entry = reader.entry(Position(*position)).unwrap();
        assert_eq!((entry.index.get(), entry.id), (n, hash(&body(n))));
        assert_eq!(reader.entry_at(LogIndex(n)).unwrap(), entry);
    }
    assert_eq!(
        reader.entries(LogIndex(0)..LogIndex(ENTRIES)).rev().flatten().count() as u64,
        ENTRIES
    );
    let time = reader.entry_at(LogIndex(150)).unwrap().time;
    assert_eq!(reader.index_at_time(time).unwrap(), 150);
    let error = reader.read(Position(positions[0])).unwrap_err();
    assert!(matches!(error, ReadError::Remote(RemoteError::NoSource { .. })), "{error:?}");
    assert!(error.to_string().contains(PLACE), "{error}");
    assert_eq!(
        reader.read(Position(positions[7])).unwrap().body,
        b"",
        "nothing of it is elsewhere"
    );

    assert_eq!(reader.check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap(), []);
    let dropped = reader.dropped_segments().unwrap().len();
    assert_eq!(dropped, segments(&without).len() - 1);
    let step = Scrubber::new(Position(0)).step(&reader, u64::MAX, Some(&hash)).unwrap();
    assert!(step.ended && step.damage.is_empty() && step.remote == dropped as u64);
    let heal =
        Heal { position: Position(0), record: None, hash: &hash, is_entry: &|_, _, _| false };
    assert!(matches!(reader.heal(&heal), Err(HealError::Remote { .. })));

    let more = [NewRecord { id: hash(b"more"), body: b"more", heals: None }];
    log.write(&more, Timestamp::from_ntp64(ENTRIES), &mut Vec::new()).unwrap();
    log.close().unwrap();
    assert_eq!(parts.reads(), 0);
    // One that can't be reached, or has lost it.
    let lost = Site::new(inner, Some(Arc::new(Parts::default())));
    let log = open(&lost, &mut |_| {}).unwrap();
    let error = log.reader().read(Position(positions[0])).unwrap_err();
    assert!(matches!(error, ReadError::Remote(RemoteError::Unreachable { .. })), "{error:?}");
    assert_eq!(log.reader().read_index(LogIndex(ENTRIES)).unwrap().body, b"more");
}

/// The file of a dropped segment is opened again by the next read: a stub that is damaged by then
/// is damage, and one that is gone an error. Neither passes for a segment whose bodies are here.
#[test]
fn what_has_become_of_a_stub_is_told() {
    let parts = Arc::new(Parts::default());
    let disk = Site::new(Arc::new(MemoryDisk::new()), Some(Arc::clone(&parts) as _));
    let position = Position(write(&disk)[1]);
    let log = open(&disk, &mut |_| {}).unwrap();
    let reader = log.reader();
    assert!(!reader.is_remote_at(position).unwrap());
    let names = parts.put(&contents(&disk.dir, FIRST));
    reader.drop_sealed(FIRST, PLACE, &names, &hash).unwrap();

    let check = || reader.check(Some(&hash), LogIndex(0), &mut |_| {});
    let scrub = || Scrubber::default().step(&reader, u64::MAX, Some(&hash));
    disk.disk.open(FIRST_STUB).unwrap().write_at(b"?", 40).unwrap();
    assert!(reader.is_remote_at(position).unwrap());
    let found = check().unwrap();
    assert!(matches!(&found[..], [Damage { what: DamageKind::Stub, .. }]), "{found:?}");
    let step = scrub().unwrap();
    assert_eq!((step.remote, step.damage.len()), (1, 1));
    assert_eq!(step.damage[0].damage, found[0]);

    disk.disk.remove(FIRST_STUB).unwrap();
    assert!(matches!(reader.is_remote_at(position), Err(ReadError::Disk(_))));
    assert!(matches!(reader.read(position), Err(ReadError::Disk(_))));
    assert!(check().is_err() && scrub().is_err());
}

#[test]
fn other_bytes_than_were_archived_are_noticed_and_asked_for_again() {
    let (inner, parts, positions) = dropped_log();
    let disk = Site::new(inner, Some(Arc::clone(&parts) as _));
    let log = open(&disk, &mut |_| {}).unwrap();
    let flip = || {
        let parts = &mut parts.0.lock().unwrap().0;
        parts.values_mut().flatten().for_each(|byte| *byte ^= 1);
    };
    flip();
    for (n, position) in positions.iter().take(20).enumerate().filter(|(n, _)| *n != 7) {
        let error = log.reader().read(Position(*position)).unwrap_err();
        assert!(matches!(error, ReadError::Remote(RemoteError::Damaged { .. })), "{n}: {error:?}");
    }
    flip();
    assert_eq!(log.reader().read(Position(positions[1])).unwrap().body, body(1));
    parts.0.lock().unwrap().0.values_mut().for_each(|part| part.truncate(10));
    assert_eq!(log.reader().read(Position(positions[1])).unwrap().body, body(1), "kept in memory");
}

#[test]
fn what_is_not_whole_or_not_what_was_archived_is_not_dropped() {
    let inner: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let disk = Site::new(Arc::clone(&inner), None);
    write(&disk);
    for parts in [&[][..], &[[7; 32]], &[[7; 32], [8; 32]]] {
        let refused = drop_segment(&disk.dir, FIRST, PLACE, parts, &hash).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
    // Damaged, and archived as it is.
    let file = inner.open(FIRST).unwrap();
    file.write_at(b"x", 700).unwrap();
    let parts = Parts::default().put(&contents(&disk.dir, FIRST));
    let refused = drop_segment(&disk.dir, FIRST, PLACE, &parts, &hash).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    // The open one has no end yet.
    let last = segments(&disk).pop().unwrap();
    let parts = Parts::default().put(&contents(&disk.dir, &last));
    assert!(drop_segment(&disk.dir, &last, PLACE, &parts, &hash).is_err());
    assert!(drop_segment(&disk.dir, "IDENTITY", PLACE, &[], &hash).is_err());
    assert!(disk.dir.dropped().unwrap().is_empty());
}

#[test]
fn a_crash_leaves_the_segment_or_the_stub() {
    let faulty = FaultyDisk::new(1);
    let disk = Site::new(Arc::new(faulty.clone()), None);
    write(&disk);
    let bytes = faulty.contents(FIRST).unwrap();
    let parts = Arc::new(Parts::default());
    let names = parts.put(&bytes);
    let moments = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&moments);
    faulty.observe(move |moment| seen.lock().unwrap().push(moment.disk));
    drop_segment(&disk.dir, FIRST, PLACE, &names, &hash).unwrap();
    faulty.stop_observing();
    moments.lock().unwrap().push(faulty.fork());
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(moments.len() > 6, "{}", moments.len());
    let (mut dropped, mut both) = (0, 0);
    for (number, moment) in moments.iter().enumerate() {
        for seed in 0..8 {
            for survival in Survival::ALL {
                let cut: Arc<dyn Disk> = Arc::new(moment.power_cut(survival, seed));
                let after = Site::new(Arc::clone(&cut), Some(Arc::clone(&parts) as _));
                let again = contents(&after.dir, FIRST);
                assert_eq!(again, bytes, "operation {number}, {survival:?}, seed {seed}");
                dropped += after.dir.dropped().unwrap().len();
                let names = cut.list().unwrap();
                let has = |name: &str| names.iter().any(|found| found == name);
                let log = open(&after, &mut |_| {}).unwrap();
                assert_eq!(log.next_index(), ENTRIES);
                if has(FIRST) && has(FIRST_STUB) {
                    both += 1;
                    // What takes the segment away takes the stub with it.
                    after.dir.rename_segment(FIRST, "aside-x").unwrap();
                    assert!(after.dir.open_segment(FIRST).is_err());
                }
            }
        }
    }
    assert!(dropped > 0 && both > 0);
}

#[test]
fn every_bit_of_a_stub_counts() {
    let (inner, parts, positions) = dropped_log();
    let whole = read(&*inner, FIRST_STUB);
    let disk = Site::new(Arc::clone(&inner), Some(Arc::clone(&parts) as _));
    let file = inner.open(FIRST_STUB).unwrap();
    for bit in (0..whole.len() * 8).step_by(13) {
        let byte = whole[bit / 8] ^ (1 << (bit % 8));
        file.write_at(&[byte], (bit / 8) as u64).unwrap();
        let seen = match open(&disk, &mut |_| {}) {
            Err(OpenError::Damaged(damage)) => damage.what == DamageKind::Stub,
            Err(OpenError::Disk(_)) => true,
            Err(error) => panic!("bit {bit}: {error}"),
            Ok(log) => {
                // Not reached by the opening.
                let found = log.reader().check(None, LogIndex(0), &mut |_| {}).unwrap();
                found.iter().any(|damage| damage.what == DamageKind::Stub)
            }
        };
        assert!(seen, "bit {bit}");
        file.write_at(&whole[bit / 8..=bit / 8], (bit / 8) as u64).unwrap();
    }
    for cut in (0..whole.len()).step_by(11) {
        file.set_len(cut as u64).unwrap();
        assert!(open(&disk, &mut |_| {}).is_err(), "cut to {cut}");
        file.write_at(&whole[cut..], cut as u64).unwrap();
    }
    let log = open(&disk, &mut |_| {}).unwrap();
    assert_eq!(log.reader().read(Position(positions[0])).unwrap().body, body(0));
}

#[test]
fn repair_leaves_what_is_archived_alone() {
    let (inner, parts, _) = dropped_log();
    let world = |bytes: &mut [u8]| {
        bytes.fill(5);
        Ok(())
    };
    let lock = inner.lock().unwrap();
    Identity::create(&*inner, lock.fingerprint(), None, world).unwrap();
    let loaded = Identity::load(&*inner).unwrap();
    let Origin { store_id, generation, salt_seed, .. } = ORIGIN;
    let mut identity = Identity { store_id, generation, salt_seed, ..loaded };
    let before = inner.list().unwrap();
    let log = |source| options().source(source);
    let mut run = |log: &LogOptions| {
        let options = RepairOptions::new(log).hash(Some(&hash)).accept_loss(true);
        repair(&inner, &mut identity, &options)
    };
    let report = run(&log(None)).unwrap();
    assert!(report.found.is_empty() && report.actions.is_empty(), "{report:?}");
    assert_eq!((inner.list().unwrap(), parts.reads()), (before.clone(), 0));

    // An entry is lost, so that everything has to be copied: that needs the bodies.
    let last = before.iter().rfind(|name| parse_segment_name(name).is_some()).unwrap();
    let len = inner.open(last).unwrap().len().unwrap();
    inner.open(last).unwrap().write_at(&[0xff; 60], 160).unwrap();
    let failed = run(&log(None)).unwrap_err();
    assert!(matches!(failed, RepairError::Disk(_)), "{failed}");
    assert_eq!(inner.open(last).unwrap().len().unwrap(), len);
    assert!(before.iter().all(|name| inner.open(name).is_ok()));
    let repaired = run(&log(Some(Arc::clone(&parts) as _))).unwrap();
    assert!(repaired.new_generation.is_some(), "{repaired:?}");

    // A stub is damaged.
    let (inner, ..) = dropped_log();
    inner.open(FIRST_STUB).unwrap().write_at(b"x", 500).unwrap();
    let mut identity = Identity { generation: 0, ..identity };
    let without = log(None);
    let options = RepairOptions::new(&without).hash(Some(&hash)).accept_loss(true);
    let refused = repair(&inner, &mut identity, &options).unwrap_err();
    assert!(matches!(refused, RepairError::Stub(_)), "{refused}");
}

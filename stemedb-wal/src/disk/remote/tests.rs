use std::collections::HashMap;

use super::*;
use crate::{
    disk::{FaultyDisk, MemoryDisk, Survival},
    error::OpenError,
    log::{Log, LogOptions, NewRecord, Origin, Replayed, Spares},
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
        let parts = bytes.chunks(usize::try_from(PART_LEN).unwrap());
        let put = parts.map(|part| {
            let hash = *blake3::hash(part).as_bytes();
            self.0.lock().unwrap().0.insert(hash, part.to_vec());
            hash
        });
        put.collect()
    }
}

const ORIGIN: Origin = Origin { store_id: [1; 16], generation: 0, salt_seed: [2; 16], clean: None };

fn open(disk: &RemoteDisk, replay: &mut dyn FnMut(Replayed<'_>)) -> Result<Log, OpenError> {
    let options = LogOptions { segment_len: 4096, spares: Spares::None, ..LogOptions::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, &ORIGIN, &options, None, replay).map(|(log, _)| log)
}

fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

fn body(n: u64) -> Vec<u8> {
    format!("body {n} {}", "x".repeat(usize::try_from(n % 90).unwrap())).into_bytes()
}

/// A log of some segments; its positions.
fn write(disk: &RemoteDisk) -> Vec<u64> {
    let mut log = open(disk, &mut |_| {}).unwrap();
    let mut placed = Vec::new();
    for n in 0..300 {
        let body = body(n);
        let id = *blake3::hash(&body).as_bytes();
        log.write(&[NewRecord { id, body: &body, heals: None }], n, &mut placed).unwrap();
    }
    log.close().unwrap();
    placed.iter().map(|placed| placed.position).collect()
}

/// Drops all sealed segments but the last of them.
fn drop_all(disk: &RemoteDisk, parts: &Parts) -> Vec<String> {
    let names = disk.list().unwrap();
    let segments: Vec<String> =
        names.into_iter().filter(|name| parse_segment_name(name).is_some()).collect();
    let (_, sealed) = segments.split_last().unwrap();
    for name in sealed {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        disk.drop_segment(name, &parts.put(&bytes), hash).unwrap();
    }
    sealed.to_vec()
}

#[test]
fn a_log_reads_as_before_and_opens_without_the_archive() {
    let inner: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let parts = Arc::new(Parts::default());
    let disk = RemoteDisk::new(Arc::clone(&inner), Some(Arc::clone(&parts) as _));
    let positions = write(&disk);
    let before = disk.list().unwrap();
    let dropped = drop_all(&disk, &parts);
    assert!(dropped.len() > 5, "{dropped:?}");
    assert_eq!(disk.dropped().unwrap(), dropped);
    let segments = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| parse_segment_name(name).is_some()).collect()
    };
    assert_eq!(segments(disk.list().unwrap()), segments(before));

    let check = |log: &Log| {
        for (n, position) in (0..).zip(&positions) {
            assert_eq!(log.reader().read(*position).unwrap().body, body(n));
            assert_eq!(log.reader().read_index(n).unwrap().body, body(n));
        }
        assert_eq!(log.reader().entries(0..300).count(), 300);
    };
    let mut replayed = 0;
    let log = open(&disk, &mut |records| replayed += records.placed.len()).unwrap();
    assert_eq!(replayed, 300);
    check(&log);
    log.close().unwrap();
    // Each segment is one block, which is fetched once.
    assert!(parts.0.lock().unwrap().1 <= dropped.len(), "{:?}", parts.0.lock().unwrap().1);

    // Survey alone reads no body.
    let without = RemoteDisk::new(inner, None);
    let failed = open(&without, &mut |_| {}).unwrap_err();
    let text = format!("{:?}", std::error::Error::source(&failed));
    assert!(matches!(failed, OpenError::Disk(_)), "no damage: {failed}");
    assert!(text.contains("NotConnected"), "{text}");
}

#[test]
fn without_the_archive_reads_fail_and_nothing_is_damaged() {
    let inner: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let parts = Parts::default();
    let disk = RemoteDisk::new(inner, None);
    let positions = write(&disk);
    let log = open(&disk, &mut |_| {}).unwrap();
    let reader = log.reader();
    log.close().unwrap();
    drop_all(&disk, &parts);
    // Files that are open are read from on; all that is opened now is not there.
    assert!(reader.read(positions[0]).is_ok());
    let segment = "segment-0000-00000000000000000000.log";
    let file = disk.open(segment).unwrap();
    let mut bytes = [0; HEADER_LEN];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), HEADER_LEN);
    let trailer_at = file.len().unwrap() - TRAILER_LEN as u64;
    assert_eq!(file.read_at(&mut [0; TRAILER_LEN], trailer_at).unwrap(), TRAILER_LEN);
    assert_eq!(file.read_at(&mut bytes, file.len().unwrap()).unwrap(), 0);
    let error = file.read_at(&mut bytes, 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert!(error.to_string().contains("only in the archive"), "{error}");
    assert!(file.write_at(b"x", 0).is_err() && file.set_len(1).is_err());
}

#[test]
fn what_is_not_what_was_archived_is_not_dropped() {
    let inner: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let disk = RemoteDisk::new(inner, None);
    write(&disk);
    let segment = "segment-0000-00000000000000000000.log";
    for parts in [&[][..], &[[7; 32]], &[[7; 32], [8; 32]]] {
        let refused = disk.drop_segment(segment, parts, hash).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
    assert!(disk.drop_segment("IDENTITY", &[], hash).is_err());
    assert!(disk.dropped().unwrap().is_empty());
}

#[test]
fn a_crash_leaves_the_segment_or_the_stub() {
    let faulty = FaultyDisk::new(1);
    let disk = RemoteDisk::new(Arc::new(faulty.clone()), None);
    write(&disk);
    let segment = "segment-0000-00000000000000000000.log";
    let bytes = faulty.contents(segment).unwrap();
    let parts = Arc::new(Parts::default());
    let names = parts.put(&bytes);
    let moments = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&moments);
    faulty.observe(move |moment| seen.lock().unwrap().push(moment.disk));
    disk.drop_segment(segment, &names, hash).unwrap();
    faulty.stop_observing();
    moments.lock().unwrap().push(faulty.fork());
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert!(moments.len() > 6, "{}", moments.len());
    let mut dropped = 0;
    for (number, moment) in moments.iter().enumerate() {
        for seed in 0..8 {
            for survival in Survival::ALL {
                let cut = moment.power_cut(survival, seed);
                let after = RemoteDisk::new(Arc::new(cut), Some(Arc::clone(&parts) as _));
                let found = after.open(segment).unwrap();
                let mut again = vec![0; bytes.len()];
                assert_eq!(found.read_at(&mut again, 0).unwrap(), bytes.len());
                assert_eq!(again, bytes, "operation {number}, {survival:?}, seed {seed}");
                dropped += after.dropped().unwrap().len();
                let log = open(&after, &mut |_| {}).unwrap();
                assert_eq!(log.next_index(), 300);
            }
        }
    }
    assert!(dropped > 0);
}

#[test]
fn stubs_are_read_back_and_nothing_else_is_one() {
    let bytes: Vec<u8> = (0..=255).collect();
    let stub = Stub::of(&bytes, &[[3; 32]]).unwrap();
    let encoded = stub.encode();
    assert_eq!(Stub::decode(&encoded), Some(stub));
    for bit in 0..encoded.len() * 8 {
        let mut flipped = encoded.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Stub::decode(&flipped), None, "bit {bit}");
    }
    for cut in 0..encoded.len() {
        assert_eq!(Stub::decode(&encoded[..cut]), None, "cut to {cut}");
    }
    assert_eq!(
        segment_of("remote-001f-00000000000000012345.seg").as_deref(),
        Some("segment-001f-00000000000000012345.log")
    );
    for bad in ["remote-1f-1.seg", "remote-001f-00000000000000012345.seg.tmp", "x"] {
        assert_eq!(segment_of(bad), None, "{bad}");
    }
}

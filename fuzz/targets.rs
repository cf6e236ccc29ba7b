//! What the fuzz targets do with bytes: plain functions, so that a normal test runs them as well.
//!
//! None of them may panic, whatever the bytes are. Checksums stop nearly all random changes at the
//! door, so the targets put them right first: it is what lies behind them that is fuzzed, as if an
//! adversary had written the file.

use std::sync::Arc;

use stemedb_merkle::{MerkleTree, ProofFile};
use stemedb_wal::{
    batch::{self, BatchHeader},
    checkpoint,
    checksum::Salt,
    disk::{Disk, FaultyDisk},
    identity::{IDENTITY_NAME, Identity},
    log::{Log, LogOptions, Origin, Spares},
    record::{HEAD_LEN, Head},
    segment::{HEADER_LEN, SegmentHeader, Trailer, segment_name, segment_salt},
};

/// One of them.
pub(crate) type Target = fn(&[u8]);

/// All targets by name, which is also that of their corpus.
pub(crate) const ALL: [(&str, Target); 6] = [
    ("record", record),
    ("batch", batch),
    ("segment", segment),
    ("checkpoint", checkpoint),
    ("proof_file", proof_file),
    ("identity", identity),
];

pub(crate) const STORE_ID: [u8; 16] = [0xab; 16];
pub(crate) const SALT: Salt = Salt(0x0123_4567_89ab_cdef);
pub(crate) const POSITION: u64 = 4096;

/// The log whose first segment is fuzzed.
pub(crate) fn origin() -> Origin {
    Origin { store_id: STORE_ID, generation: 0, salt_seed: [0xcd; 16], clean: None }
}

pub(crate) fn log_options() -> LogOptions {
    LogOptions { segment_len: 4096, spares: Spares::None, ..LogOptions::default() }
}

/// Writes a checksum of `bytes[at + 4..end]`, which lie at `position`, where `at` is.
fn mend(bytes: &mut [u8], at: usize, end: usize, salt: Salt, position: u64) {
    let Some(sum) = bytes.get(at + 4..end).map(|covered| salt.checksum(position, covered)) else {
        return;
    };
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

/// A record's head and body.
pub(crate) fn record(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for mended in [false, true] {
        if mended {
            mend(&mut bytes, 0, HEAD_LEN, SALT, POSITION);
        }
        let Some(head) = Head::parse(&bytes, SALT, POSITION) else { continue };
        assert_eq!(head.encode(SALT, POSITION), bytes[..HEAD_LEN]);
        assert!(Head::parse(&bytes, SALT, POSITION + 1).is_none() || mended);
        head.covers(&bytes[HEAD_LEN..], SALT, POSITION);
    }
}

/// A batch's header; also as a segment's header and trailer.
pub(crate) fn batch(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for mended in [false, true] {
        if mended {
            mend(&mut bytes, 8, batch::HEADER_LEN, SALT, POSITION);
        }
        if let Some(header) = BatchHeader::parse(&bytes, SALT, POSITION) {
            assert_eq!(header.encode(SALT, POSITION), bytes[..batch::HEADER_LEN]);
            assert!(header.batch_len() >= u64::from(header.payload_len));
        }
        if let Some(trailer) = Trailer::parse(&bytes, SALT, POSITION) {
            assert!(trailer.sum > 0 || mended);
        }
        if let Ok(header) = SegmentHeader::parse(&bytes) {
            assert_eq!(header.encode(), bytes[..HEADER_LEN]);
        }
    }
}

/// Puts all checksums right that are found by going from batch to batch.
fn mend_segment(bytes: &mut [u8], salt: Salt) {
    let number = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        field.map(|field| u32::from_le_bytes(*field))
    };
    let mut at = HEADER_LEN;
    while bytes.get(at..).is_some_and(|rest| rest.starts_with(&batch::MAGIC)) {
        let position = at as u64;
        mend(bytes, at + 8, at + batch::HEADER_LEN, salt, position);
        let records = number(bytes, at + 16).unwrap_or(0);
        at += batch::HEADER_LEN;
        for _ in 0..records.min(64) {
            let Some(kind_len) = number(bytes, at + 8) else { return };
            let len = (kind_len & stemedb_wal::record::BODY_LEN_MAX) as usize;
            let position = at as u64;
            let Some(body) = bytes.get(at + HEAD_LEN..at + HEAD_LEN + len) else { return };
            let sum = salt.checksum(position, body);
            bytes[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
            mend(bytes, at, at + HEAD_LEN, salt, position);
            at += HEAD_LEN + len;
        }
        at += batch::END.len();
    }
}

/// The only segment of a log, behind its header: the log opens or says why not, and reads.
pub(crate) fn segment(bytes: &[u8]) {
    let origin = origin();
    let salt = segment_salt(&origin.salt_seed, 0, 0);
    let header = SegmentHeader {
        store_id: STORE_ID,
        generation: 0,
        previous_sum: 0,
        first_index: 0,
        first_position: 0,
        salt,
        time_before: 0,
    };
    let mut file = [&header.encode()[..], bytes].concat();
    for mended in [false, true] {
        if mended {
            mend_segment(&mut file, salt);
        }
        let disk = FaultyDisk::new(1);
        disk.put(&segment_name(0, 0), &file).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk);
        let mut replayed = 0;
        let mut count = |records: stemedb_wal::log::Replayed<'_>| {
            for n in 0..records.placed.len() {
                replayed += 1;
                assert_eq!(records.body(n).len(), records.placed[n].len as usize);
            }
        };
        match Log::open(Arc::clone(&shared), &origin, &log_options(), None, &mut count) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok((mut log, report)) => {
                assert_eq!(report.replayed, replayed);
                let reader = log.reader();
                for entry in reader.entries(0..u64::MAX) {
                    let entry = entry.unwrap();
                    let record = reader.read(entry.position).map(|record| record.entry.index);
                    assert!(record.is_err() || record.is_ok_and(|index| index == entry.index));
                }
                // It goes on, and what was served is served again.
                let next = log.next_index();
                let body = &b"more"[..];
                let new = stemedb_wal::log::NewRecord { id: [9; 32], body, heals: None };
                if log.write(&[new], 0, &mut Vec::new()).is_ok() {
                    log.sync().unwrap();
                    drop(log);
                    let (log, _) =
                        Log::open(shared, &origin, &log_options(), None, &mut |_| {}).unwrap();
                    assert_eq!(log.next_index(), next + 1);
                }
            }
        }
    }
}

/// Puts the checksums of a checkpoint file right, by the lengths that it says.
fn mend_checkpoint(bytes: &mut [u8]) {
    const HEADER_LEN: usize = 256;
    const BLOCK_LEN: usize = 64 << 10;
    let Some(len) = bytes.get(216..).and_then(|rest| rest.first_chunk::<8>()) else { return };
    let Ok(len) = usize::try_from(u64::from_le_bytes(*len)) else { return };
    let Some(payload) = bytes.get(HEADER_LEN..).and_then(|rest| rest.get(..len)) else { return };
    let sums = payload.chunks(BLOCK_LEN).flat_map(|block| crc32fast::hash(block).to_le_bytes());
    let table: Vec<u8> = sums.collect();
    let Some(place) = bytes.get_mut(HEADER_LEN + len..) else { return };
    if place.len() != table.len() {
        return;
    }
    place.copy_from_slice(&table);
    bytes[212..216].copy_from_slice(&crc32fast::hash(&table).to_le_bytes());
    let sum = crc32fast::hash(&bytes[..252]);
    bytes[252..256].copy_from_slice(&sum.to_le_bytes());
}

/// A base of a restart checkpoint: it is set aside, or read to the end.
pub(crate) fn checkpoint(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    for mended in [false, true] {
        if mended {
            mend_checkpoint(&mut file);
        }
        let disk = FaultyDisk::new(1);
        disk.put("base-00000000000000000000.ckpt", &file).unwrap();
        let loaded = checkpoint::load(&disk, STORE_ID, 0, false).unwrap();
        let Some(found) = loaded.checkpoint else {
            assert_eq!(loaded.set_aside.len(), 1);
            continue;
        };
        // What contradicts itself may be found late, but as an error.
        drop(found.check(&mut |_| true));
        drop(found.beside());
        let mut tree = MerkleTree::from_archive(found.archive(), found.covered().top_hash);
        let ids: Vec<_> = tree.iter().map_while(Result::ok).take(2000).collect();
        for entry in ids.iter().take(20) {
            drop(tree.snapshot().prove(&entry.id));
            drop(tree.view().position(&entry.id));
        }
        drop(tree.insert_batch(&[stemedb_merkle::Entry { id: [0x55; 32], position: 1 }]));
    }
}

/// A proof file: what parses is written the same way, and verifies or does not.
pub(crate) fn proof_file(bytes: &[u8]) {
    if let Ok(file) = ProofFile::parse(bytes) {
        assert_eq!(file.write().as_bytes(), bytes);
        let _ = file.proof.verify(&file.root);
    }
}

/// An identity, as it lies and with its checksum put right.
pub(crate) fn identity(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    for mended in [false, true] {
        if mended && let Some(end) = file.len().checked_sub(4) {
            let sum = crc32fast::hash(&file[..end]);
            file[end..].copy_from_slice(&sum.to_le_bytes());
        }
        let disk = FaultyDisk::new(1);
        disk.put(IDENTITY_NAME, &file).unwrap();
        if let Ok(identity) = Identity::load(&disk) {
            identity.save(&disk).unwrap();
            assert_eq!(Identity::load(&disk).unwrap(), identity);
        }
    }
}

//! Parsers of files: those of a store's directory, and those that people hand on.
//!
//! Checksums stop nearly all random changes at the door, so the targets put them right first: it is
//! what lies behind them that is fuzzed, as if an adversary had written the file.

use std::sync::{Arc, OnceLock};

use stemedb_merkle::symbols::{self, Sketch};
use stemedb_merkle::{
    Entry, Hash, LogIndex, LogSize, MerkleTree, ProofFile, Root, Timestamp,
    history::{Frontier, History, tile::TileId},
    serialize::{deserialize_tree, serialize_tree},
};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{
    checkpoint::{self, Checkpoint, CheckpointState, Covered},
    tiles::{SLOT_LEN, TILES_NAME, TileFile},
};
use stemedb_wal::{
    disk::Disk,
    identity::{IDENTITY_NAME, Identity},
    log::{Log, LogOptions, Origin, Spares},
    raw::{
        BatchHeader, HEAD_LEN, Head, Salt, SegmentHeader, Trailer, batch, segment::HEADER_LEN,
        segment_name, segment_salt,
    },
};

pub(crate) const STORE_ID: [u8; 16] = [0xab; 16];
pub(crate) const SALT: Salt = Salt(0x0123_4567_89ab_cdef);
pub(crate) const POSITION: u64 = 4096;

/// The log whose first segment is fuzzed.
pub(crate) fn origin() -> Origin {
    Origin { store_id: STORE_ID, generation: 0, salt_seed: [0xcd; 16], clean: None }
}

pub(crate) fn log_options() -> LogOptions {
    LogOptions::default().segment_len(4096).spares(Spares::None)
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
            let len = (kind_len & stemedb_wal::raw::record::BODY_LEN_MAX) as usize;
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
            for placed in records.placed {
                replayed += 1;
                assert_eq!(records.body(placed).len(), placed.len as usize);
            }
        };
        match Log::open(Arc::clone(&shared), &origin, &log_options(), None, &mut count) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok((mut log, report)) => {
                assert_eq!(report.replayed, replayed);
                let reader = log.reader();
                for entry in reader.entries(LogIndex(0)..LogIndex(u64::MAX)) {
                    let entry = entry.unwrap();
                    let record = reader.read(entry.position).map(|record| record.entry.index);
                    assert!(record.is_err() || record.is_ok_and(|index| index == entry.index));
                }
                // It goes on, and what was served is served again.
                let next = log.next_index();
                let body = &b"more"[..];
                let new = stemedb_wal::log::NewRecord { id: [9; 32], body, heals: None };
                if log.write(&[new], Timestamp::MIN, &mut Vec::new()).is_ok() {
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
pub(crate) fn mend_checkpoint(bytes: &mut [u8]) {
    const HEADER_LEN: usize = 256;
    const BLOCK_LEN: usize = 4 << 10;
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
        read_checkpoint(&found);
    }
}

/// What contradicts itself may be found late, but as an error.
fn read_checkpoint(found: &Checkpoint) {
    drop(found.check(&mut |_| true));
    drop(found.state());
    if let Ok(elements) = found.symbols() {
        drop(Sketch::from_elements([1; 16], &elements));
    }
    let mut tree = MerkleTree::from_mapped_set(found.mapped_set(), found.covered().top_hash);
    let ids: Vec<_> = tree.iter().map_while(Result::ok).take(2000).collect();
    for entry in ids.iter().take(20) {
        drop(tree.snapshot().prove(&entry.id));
        drop(tree.view().position(&entry.id));
    }
    drop(tree.insert_batch(&[Entry { id: [0x55; 32], position: 1 }]));
}

/// An entry of the checkpoints that are fuzzed.
pub(crate) fn entry(n: u64) -> Entry {
    Entry { id: *blake3::hash(&n.to_le_bytes()).as_bytes(), position: n }
}

pub(crate) fn covered(tree: &MerkleTree, position: u64) -> Covered {
    let snapshot = tree.snapshot();
    Covered {
        store_id: STORE_ID,
        generation: 0,
        position,
        next_index: snapshot.len(),
        count: snapshot.len(),
        set_root: snapshot.root(),
        top_hash: snapshot.top_hash(),
        history_root: Root([9; 32]),
        last_time: 5,
        last_id: [6; 32],
        last_position: 3,
    }
}

/// The base that all deltas stand on: 600 entries, up to position 10,000.
pub(crate) fn base(disk: &FaultyDisk) -> Checkpoint {
    let mut tree = MerkleTree::new();
    tree.insert_batch(&(0..600).map(entry).collect::<Vec<_>>()).unwrap();
    let covered = covered(&tree, 10_000);
    let (entries, state) = (tree.iter(), CheckpointState::default());
    checkpoint::write_base(disk, &covered, entries, &state, true, &mut |_| {}).unwrap()
}

/// A delta of a restart checkpoint, on a base that is sound.
pub(crate) fn delta(bytes: &[u8]) {
    static BASE: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    let (name, base) = BASE.get_or_init(|| {
        let disk = FaultyDisk::new(1);
        let (name, _) = base(&disk).file_sizes().swap_remove(0);
        let bytes = disk.contents(&name).unwrap();
        (name, bytes)
    });
    let mut file = bytes.to_vec();
    for mended in [false, true] {
        if mended && file.len() >= 256 {
            // It stands on that base.
            file[208..212].copy_from_slice(&base[252..256]);
            file[224..232].copy_from_slice(&10_000_u64.to_le_bytes());
            mend_checkpoint(&mut file);
        }
        let disk = FaultyDisk::new(1);
        disk.put(name, base).unwrap();
        disk.put("delta-00000000000000020000.ckpt", &file).unwrap();
        let loaded = checkpoint::load(&disk, STORE_ID, 0, false).unwrap();
        if let Some(found) = loaded.checkpoint {
            read_checkpoint(&found);
        }
    }
}

/// Coded symbols as they are kept in a checkpoint.
pub(crate) fn sketch(bytes: &[u8]) {
    let mut elements = bytes.as_chunks::<32>().0.to_vec();
    for mended in [false, true] {
        let len = 2 * elements.len().saturating_sub(1);
        if let (Some(header), true) = (elements.first_mut(), mended) {
            *header = Sketch::new([1; 16], len).to_elements()[0];
        }
        if let Ok(mut sketch) = Sketch::from_elements([1; 16], &elements) {
            assert_eq!(sketch.to_elements(), elements);
            sketch.insert(&[7; 32]);
            let (all, count) = (sketch.symbols(0, u32::MAX), sketch.count());
            let written = symbols::encode(&all, 0, count);
            assert_eq!(symbols::decode(&written, 0, count, all.len()), Ok(all));
        }
    }
}

/// Tiles of the history tree: each is read as it was written, or found damaged.
pub(crate) fn tiles(bytes: &[u8]) {
    const SUM_AT: usize = 8164;
    let mut bytes = bytes.to_vec();
    for mended in [false, true] {
        for (number, tile) in (0_u64..).zip(bytes.chunks_exact_mut(SLOT_LEN)) {
            if mended {
                tile[8160..SUM_AT].copy_from_slice(b"TILE");
                tile[8168..8176].copy_from_slice(&number.to_le_bytes());
                tile[8176..].copy_from_slice(&STORE_ID);
                let mut sum = crc32fast::Hasher::new();
                sum.update(&tile[..SUM_AT]);
                sum.update(&tile[8168..]);
                tile[SUM_AT..8168].copy_from_slice(&sum.finalize().to_le_bytes());
            }
        }
        let disk = FaultyDisk::new(1);
        disk.put(TILES_NAME, &bytes).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let count = bytes.len() / SLOT_LEN;
        let file = TileFile::open(&disk, STORE_ID, count as u64).unwrap().unwrap();
        for (number, tile) in (0_u64..).zip(bytes.chunks_exact(SLOT_LEN)) {
            let id = TileId::at(number).unwrap();
            let read = file.read(id);
            assert!(read.is_ok() || !mended);
            if let Ok(nodes) = read {
                assert_eq!(nodes.as_flattened(), &tile[..8160]);
            }
        }
        assert!(file.read(TileId::at(count as u64).unwrap()).is_err());
    }
}

/// What a checkpoint holds of the history tree: the size, then nodes.
pub(crate) fn history(bytes: &[u8]) {
    let Some((size, nodes)) = bytes.split_first_chunk() else { return };
    let size = LogSize(u64::from_le_bytes(*size));
    let nodes: Vec<Hash> = nodes.as_chunks::<32>().0.to_vec();
    if let Ok(mut frontier) = Frontier::from_peaks(size, nodes.clone()) {
        assert_eq!((frontier.head().size, frontier.peaks()), (size, &nodes[..]));
        if size.0 < u64::MAX - 1 {
            frontier.append([7; 32]);
            frontier.root();
        }
    }
    if let Ok(mut history) = History::from_pending(size, nodes.clone()) {
        assert_eq!((history.size(), history.pending()), (size, nodes));
        history.extend([[7; 32]; 300], drop);
        history.root();
    }
}

/// Lines of base64 in a proof file: each value has one text.
pub(crate) fn base64(bytes: &[u8]) {
    let head = |hex: &str| {
        format!("stemedb.dev/set-proof@v1\nid {hex}\nroot {hex}\ncount 5\n").into_bytes()
    };
    let head = head(&"07".repeat(32));
    let end = b"terminal empty\n";
    let written = [&head[..], bytes, b"\n", end].concat();
    if let Ok(file) = ProofFile::parse(&written) {
        assert_eq!(file.write().as_bytes(), written);
    }
    let mut text = head;
    for line in bytes.chunks(33) {
        // The first 32 bytes of each piece in the one way there is, then any other character.
        let Some(value) = line.first_chunk::<32>() else { break };
        let proof = stemedb_merkle::SetProof {
            id: [7; 32],
            count: 5,
            siblings: vec![*value],
            terminal: stemedb_merkle::Terminal::Empty,
        };
        let one = ProofFile { proof, root: Root([7; 32]) }.write();
        assert_eq!(ProofFile::parse(one.as_bytes()).unwrap().proof.siblings, [*value]);
        text.extend(one.lines().nth(4).unwrap().bytes());
        text.push(b'\n');
    }
    text.extend(end);
    if text.len() <= 1 << 16 {
        assert_eq!(ProofFile::parse(&text).unwrap().write().as_bytes(), text);
    }
}

/// A set tree as bytes.
pub(crate) fn tree(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for mended in [false, true] {
        if mended && bytes.len() >= 48 {
            let count = (bytes.len() - 48) / 40;
            bytes.truncate(48 + 40 * count);
            bytes[40..48].copy_from_slice(&(count as u64).to_le_bytes());
        }
        if let Ok(tree) = deserialize_tree(&bytes) {
            assert_eq!(serialize_tree(&tree).unwrap(), bytes);
        }
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

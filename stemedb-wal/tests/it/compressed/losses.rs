//! Damage to compressed segments: it is found, it costs what it must, and no bytes are trusted.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use stemedb_merkle::LogIndex;
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::{
    Position,
    check::Scrubber,
    disk::{Disk, is_quarantined},
    error::{DamageKind, OpenError, ReadError},
    identity::Identity,
    log::{Origin, Warning},
    raw::{BlockHead, CompressedHeader, compressed::Method, segment::HEADER_LEN},
    repair::{Heal, RepairError, RepairOptions, RepairReport},
};

use super::{SEGMENT, Sample, hash, options, swap::compress_all};
use crate::history::{ModelEntry, open, repair};

/// A block, and where it is in the file.
#[derive(Clone, Copy, Debug)]
struct Block {
    head: BlockHead,
    at: usize,
}

impl Block {
    fn frames(&self) -> Range<usize> {
        let start = self.at + 32;
        start..start + self.head.frames_len as usize
    }

    fn payload(&self) -> Range<usize> {
        let start = self.frames().end;
        start..start + self.head.payload_len as usize
    }

    /// The entries of which a part of the body is in it.
    fn entries<'a>(&self, model: &'a [ModelEntry]) -> impl Iterator<Item = &'a ModelEntry> {
        let (start, end) =
            (u64::from(self.head.offset), u64::from(self.head.offset + self.head.len));
        model.iter().filter(move |entry| {
            let body = entry.position + 60..entry.position + 60 + entry.body.len() as u64;
            body.start < end && start < body.end && !body.is_empty()
        })
    }
}

fn blocks(file: &[u8]) -> (CompressedHeader, Vec<Block>) {
    let header = CompressedHeader::parse(file).unwrap();
    let mut at = HEADER_LEN;
    let blocks = (0..header.blocks).map(|_| {
        let block = Block { head: BlockHead::parse(&file[at..], &header.segment).unwrap(), at };
        at = block.payload().end;
        block
    });
    (header, blocks.collect())
}

/// A log with one compressed segment of several blocks, that was closed.
fn blocky() -> (Sample, Vec<Block>) {
    let many: Vec<usize> = (0..900).map(|n| n * 37 % 300).collect();
    let mut sample = Sample::new(550_000, &[&many, &[150_000], &many, &[40; 300]]);
    assert_eq!(sample.segments().len(), 2);
    compress_all(&mut sample);
    sample.close();
    let (_, blocks) = blocks(&sample.disk.contents(SEGMENT).unwrap());
    assert!(blocks.len() > 6, "{}", blocks.len());
    (sample, blocks)
}

fn run_repair(disk: &FaultyDisk, accept_loss: bool) -> Result<RepairReport, RepairError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut identity = Identity::load(&*shared).unwrap();
    let log = options(2000);
    let options = RepairOptions::new(&log).hash(Some(&hash)).accept_loss(accept_loss);
    repair(&shared, &mut identity, &options)
}

/// Opens a log of which all entries are known, and which has no fault; the indexes of its holes.
fn holes(disk: &FaultyDisk, model: &[ModelEntry]) -> BTreeSet<u64> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let origin = Origin::from(&Identity::load(&*shared).unwrap());
    let (log, report, replayed) = open(&shared, &origin, &options(2000), None).unwrap();
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let reader = log.reader();
    assert_eq!(reader.check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap(), []);
    assert_eq!(replayed.len(), model.len());
    let mut holes = BTreeSet::new();
    for entry in model {
        let placed = reader.entry_at(LogIndex(entry.index)).unwrap();
        assert_eq!((placed.id, placed.time.as_ntp64()), (entry.id, entry.time));
        match reader.read_index(LogIndex(entry.index)) {
            Ok(record) => assert_eq!(record.body, entry.body),
            Err(ReadError::Hole { .. }) => drop(holes.insert(entry.index)),
            Err(error) => panic!("{error}"),
        }
    }
    holes
}

/// What is read of a damaged log is right, or an error; the indexes of what is not read.
fn unreadable(disk: &FaultyDisk, sample: &Sample) -> Result<BTreeSet<u64>, OpenError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    // As from a restart checkpoint that covers the damage.
    let end = sample.harness.origin.clean;
    let (log, _, _) = open(&shared, &sample.harness.origin, &options(2000), end)?;
    let reader = log.reader();
    let mut lost = BTreeSet::new();
    for entry in sample.model() {
        match reader.read(Position(entry.position)) {
            Ok(record) => {
                assert_eq!((record.body, record.entry.id), (entry.body.clone(), entry.id));
            }
            Err(ReadError::Damaged(_) | ReadError::Disk(_)) => drop(lost.insert(entry.index)),
            Err(error) => panic!("{error}"),
        }
        match reader.read_index(LogIndex(entry.index)) {
            Ok(record) => {
                assert_eq!((record.body, record.entry.id), (entry.body.clone(), entry.id));
            }
            Err(ReadError::Damaged(_) | ReadError::Disk(_)) => drop(lost.insert(entry.index)),
            Err(error) => panic!("{error}"),
        }
    }
    let found = reader.check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap();
    assert!(!found.is_empty(), "nothing was found");
    let mut scrubber = Scrubber::default();
    let step = scrubber.step(&reader, u64::MAX, Some(&hash)).unwrap();
    assert!(!step.damage.is_empty() && step.ended, "{step:?}");
    Ok(lost)
}

#[test]
fn every_flipped_bit_is_found_and_repaired_in_its_place() {
    let mut sample = Sample::small();
    compress_all(&mut sample);
    sample.close();
    let before = sample.disk.contents(SEGMENT).unwrap();
    let (header, blocks) = blocks(&before);
    let payloads: Vec<Range<usize>> = blocks.iter().map(Block::payload).collect();
    let mut counts = BTreeMap::<&str, u64>::new();
    for bit in 0..before.len() as u64 * 8 {
        let byte = usize::try_from(bit / 8).unwrap();
        let damaged = sample.disk.fork();
        damaged.flip_bit(SEGMENT, bit).unwrap();
        let in_payload = payloads.iter().any(|payload| payload.contains(&byte));
        let in_heads = byte < HEADER_LEN
            || blocks.iter().any(|block| (block.at..block.at + 32).contains(&byte))
            || byte >= usize::try_from(header.file_len).unwrap() - HEADER_LEN - 32 * blocks.len();
        let kind = match unreadable(&damaged.fork(), &sample) {
            Ok(lost) if in_payload => {
                assert!(!lost.is_empty(), "bit {bit}");
                "a payload: bodies"
            }
            Ok(lost) if in_heads => {
                assert!(lost.is_empty(), "bit {bit}: {lost:?}");
                "a head, which is there twice"
            }
            Ok(_) => "the plain bytes between",
            Err(OpenError::Damaged(_)) => "refused",
            Err(error) => panic!("bit {bit}: {error}"),
        };
        *counts.entry(kind).or_default() += 1;
        let report = run_repair(&damaged, false).unwrap_or_else(|error| panic!("{bit}: {error}"));
        assert_eq!(report.new_generation, None, "bit {bit}");
        assert!(!report.found.is_empty(), "bit {bit}");
        let holes = holes(&damaged, sample.model());
        assert_eq!(holes.is_empty(), !in_payload, "bit {bit}: {holes:?}");
        let kept = damaged.list().unwrap().into_iter().find(|name| is_quarantined(name)).unwrap();
        let mut flipped = before.clone();
        flipped[byte] ^= 1 << (bit % 8);
        assert!(damaged.contents(&kept).unwrap() == flipped, "bit {bit}: {kept}");
    }
    println!("{counts:?}");
    assert!(counts["a head, which is there twice"] > 1500, "{counts:?}");
    assert!(counts["a payload: bodies"] > 500, "{counts:?}");
}

/// Each block in turn: its bodies become holes, and those of no other one.
#[test]
fn a_damaged_payload_costs_the_bodies_of_its_block() {
    let (sample, blocks) = blocky();
    for block in blocks.iter().filter(|block| !block.payload().is_empty()) {
        let expected: BTreeSet<u64> =
            block.entries(sample.model()).map(|entry| entry.index).collect();
        let payload = block.payload();
        let garbage = vec![0x5a; payload.len()];
        let overwritten = sample.disk.fork();
        overwritten.overwrite(SEGMENT, &garbage, payload.start as u64).unwrap();
        let refused = sample.disk.fork();
        refused.make_unreadable(SEGMENT, payload.start as u64..payload.end as u64).unwrap();
        assert_eq!(unreadable(&overwritten.fork(), &sample).unwrap(), expected, "{block:?}");
        // Where the disk refuses, nothing of the block is read, also of empty bodies.
        let lost = unreadable(&refused, &sample).unwrap();
        assert!(lost.is_superset(&expected), "{block:?}: {lost:?}");
        for disk in [overwritten, refused] {
            let report = run_repair(&disk, false).unwrap();
            assert_eq!(report.lost_bodies.len(), expected.len(), "{report:?}");
            assert_eq!(holes(&disk, sample.model()), expected, "{block:?}");
        }
    }
}

/// Without the payload the frames tell where they lie; without both, entries are lost, which nobody
/// accepts unasked.
#[test]
fn a_damaged_frame_beside_a_damaged_payload_costs_entries() {
    let (sample, blocks) = blocky();
    let block = blocks[1];
    let disk = sample.disk.fork();
    let (frames, payload) = (block.frames(), block.payload());
    disk.overwrite(SEGMENT, &[0x5a; 30], frames.start as u64 + 70).unwrap();
    disk.overwrite(SEGMENT, &[0x5a; 30], payload.start as u64).unwrap();
    let lost = unreadable(&disk.fork(), &sample).unwrap();
    let expected: BTreeSet<u64> = block.entries(sample.model()).map(|entry| entry.index).collect();
    assert!(lost.is_superset(&expected), "{lost:?}");
    assert!(matches!(run_repair(&disk, false), Err(RepairError::Loss { .. })));
    let report = run_repair(&disk, true).unwrap();
    assert!(report.new_generation.is_some());
    // Frames alone cost no body.
    let disk = sample.disk.fork();
    disk.overwrite(SEGMENT, &[0x5a; 30], frames.start as u64 + 70).unwrap();
    run_repair(&disk, false).unwrap();
    assert_eq!(holes(&disk, sample.model()), BTreeSet::new());
}

/// Both heads of a block: nobody knows where it and those behind it are. Before it, all is there.
#[test]
fn where_both_heads_are_damaged_what_is_before_is_read() {
    let (sample, blocks) = blocky();
    let disk = sample.disk.fork();
    let file = disk.contents(SEGMENT).unwrap();
    let listed = file.len() - HEADER_LEN - 32 * blocks.len() + 32 * 3;
    for at in [blocks[3].at, listed] {
        disk.flip_bit(SEGMENT, at as u64 * 8 + 100).unwrap();
    }
    let lost = unreadable(&disk, &sample).unwrap();
    let first = blocks[3].entries(sample.model()).next().unwrap().index;
    let before: BTreeSet<u64> = (0..first).collect();
    assert!(lost.is_disjoint(&before) && lost.contains(&first), "{lost:?}");
}

/// A file that was cut or goes on.
#[test]
fn every_length_is_noticed() {
    let mut sample = Sample::small();
    compress_all(&mut sample);
    sample.close();
    let file = sample.disk.contents(SEGMENT).unwrap();
    for len in 0..file.len() {
        let disk = sample.disk.fork();
        disk.truncate_file(SEGMENT, len as u64).unwrap();
        if let Ok(lost) = unreadable(&disk.fork(), &sample) {
            assert!(len >= HEADER_LEN, "cut to {len}: {lost:?}");
        }
    }
    let disk = sample.disk.fork();
    disk.put(SEGMENT, &[file.as_slice(), b"more"].concat()).unwrap();
    assert_eq!(unreadable(&disk.fork(), &sample).unwrap(), BTreeSet::new());
    run_repair(&disk, false).unwrap();
    assert_eq!(holes(&disk, sample.model()), BTreeSet::new());
}

/// The bodies come back from elsewhere, one by one, to the byte.
#[test]
fn a_damaged_block_is_healed() {
    let mut sample = Sample::small();
    let plain = sample.disk.contents(SEGMENT).unwrap();
    compress_all(&mut sample);
    sample.close();
    let compressed = sample.disk.contents(SEGMENT).unwrap();
    let (_, blocks) = blocks(&compressed);
    let payload = blocks[0].payload();
    sample.disk.overwrite(SEGMENT, &[0x5a; 10], payload.start as u64).unwrap();
    let damaged = sample.disk.contents(SEGMENT).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(sample.disk.clone());
    let end = sample.harness.origin.clean;
    let (log, _, _) = open(&shared, &sample.harness.origin, &options(2000), end).unwrap();
    let reader = log.reader();
    for entry in blocks[0].entries(sample.model()) {
        let heal = Heal {
            position: Position(entry.position),
            record: Some((entry.id, &entry.body)),
            hash: &hash,
            is_entry: &|_, _, _| false,
        };
        assert!(reader.read(Position(entry.position)).is_err());
        assert!(reader.heal(&heal).unwrap().is_some());
        assert_eq!(reader.read(Position(entry.position)).unwrap().body, entry.body);
    }
    assert!(sample.disk.contents(SEGMENT).unwrap() == plain);
    let kept = sample.disk.list().unwrap().into_iter().find(|name| is_quarantined(name)).unwrap();
    assert!(sample.disk.contents(&kept).unwrap() == damaged, "{kept}");

    // A head of a block: what is there twice, and nothing of the plain bytes.
    sample.disk.put(SEGMENT, &compressed).unwrap();
    sample.disk.flip_bit(SEGMENT, 8 * 100).unwrap();
    drop(log);
    let (log, report, _) = open(&shared, &sample.harness.origin, &options(2000), end).unwrap();
    let reader = log.reader();
    assert_eq!(report.warnings, Vec::<Warning>::new());
    let found = reader.check(Some(&hash), LogIndex(0), &mut |_| {}).unwrap();
    assert!(matches!(found.as_slice(), [damage] if damage.what == DamageKind::Blocks), "{found:?}");
    let heal =
        Heal { position: Position(0), record: None, hash: &hash, is_entry: &|_, _, _| false };
    assert!(reader.heal(&heal).unwrap().is_some());
    assert!(sample.disk.contents(SEGMENT).unwrap() == plain);
    assert!(reader.heal(&heal).unwrap().is_none());
}

/// A file whose checksums hold, made by somebody who knows them: what it shows is taken for no
/// entry, and it takes no more memory than its blocks may.
#[test]
fn a_forged_block_is_damage() {
    let (sample, blocks) = blocky();
    let file = sample.disk.contents(SEGMENT).unwrap();
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let short = zstd::bulk::compress(b"few", 3).unwrap();
    let block = blocks[1];
    let expected: BTreeSet<u64> = block.entries(sample.model()).map(|entry| entry.index).collect();
    let rows_lie = {
        let unpacked = zstd::bulk::decompress(&file[block.payload()], 100_000).unwrap();
        let mut rows = unpacked.clone();
        rows[..4].fill(0xff);
        zstd::bulk::compress(&rows, 3).unwrap()
    };
    for payload in [bomb, short, rows_lie, vec![0; 40], Vec::new()] {
        let disk = sample.disk.fork();
        disk.put(SEGMENT, &forged(&file, 1, &payload)).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let end = sample.harness.origin.clean;
        let (log, _, _) = open(&shared, &sample.harness.origin, &options(2000), end).unwrap();
        for entry in sample.model() {
            match log.reader().read(Position(entry.position)) {
                Ok(record) => assert_eq!(record.body, entry.body),
                Err(error) => assert!(expected.contains(&entry.index), "{error}"),
            }
        }
        drop(log);
        run_repair(&disk, false).unwrap();
        assert_eq!(holes(&disk, sample.model()), expected);
    }
}

/// The file with another payload of a block, and all that follows from it.
fn forged(file: &[u8], number: usize, payload: &[u8]) -> Vec<u8> {
    let (header, blocks) = blocks(file);
    let mut out = vec![0; HEADER_LEN];
    let mut heads = Vec::new();
    for (n, block) in blocks.iter().enumerate() {
        let payload = if n == number { payload } else { &file[block.payload()] };
        let position = header.segment.first_position + u64::from(block.head.offset);
        let head = BlockHead {
            payload_sum: header.segment.salt.checksum(position, payload),
            payload_len: u32::try_from(payload.len()).unwrap(),
            method: Method::Zstd,
            ..block.head
        };
        let head = head.encode(&header.segment);
        out.extend_from_slice(&head);
        out.extend_from_slice(&file[block.frames()]);
        out.extend_from_slice(payload);
        heads.extend_from_slice(&head);
    }
    let footer_at = blocks.last().unwrap().payload().end;
    let footer_len = usize::try_from(header.plain_len - header.batches_end).unwrap();
    out.extend_from_slice(&file[footer_at..footer_at + footer_len]);
    out.extend_from_slice(&heads);
    let file_len = u32::try_from(out.len() + HEADER_LEN).unwrap();
    let heads_sum = crc32fast::hash(&heads);
    let header = CompressedHeader { file_len, heads_sum, ..header }.encode();
    out[..HEADER_LEN].copy_from_slice(&header);
    out.extend_from_slice(&header);
    out
}

/// Changes of all kinds, with checksums put right and without: what a file shows has the length
/// that it says, however it is read, and no read panics or makes room for more.
#[test]
fn any_bytes_are_read_or_refused() {
    let sample = {
        let mut sample = Sample::small();
        compress_all(&mut sample);
        sample.close();
        sample
    };
    let whole = sample.disk.contents(SEGMENT).unwrap();
    let (header, blocks) = blocks(&whole);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut shown = 0;
    for round in 0..30_000 {
        let mut bytes = whole.clone();
        for _ in 0..=below(3) {
            // What tells where things are, more often than the rest.
            let at = match below(4) {
                0 => below(bytes.len()),
                1 => 72 + below(24),
                2 => blocks[below(blocks.len())].at + below(32),
                _ => bytes.len() - 1 - below(128),
            };
            match below(3) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = u8::try_from(below(256)).unwrap(),
                _ => bytes[at] = [0, 1, 0x7f, 0xff][below(4)],
            }
        }
        if round % 3 != 0 {
            put_sums_right(&mut bytes, &header, &blocks);
        }
        let disk = FaultyDisk::new(1);
        disk.put(SEGMENT, &bytes).unwrap();
        let dir = stemedb_wal::remote::LogDir::new(Arc::new(disk), None);
        let opened = dir.open_segment(SEGMENT).unwrap();
        let len = usize::try_from(opened.len().unwrap()).unwrap();
        assert!(u32::try_from(len).is_ok());
        let (from, room) = (below(len + 10), 1 + below(3000));
        let (mut at_once, mut in_parts) = (vec![1; room], vec![2; room]);
        let read = opened.read_at(&mut at_once, from as u64).unwrap();
        assert!(read <= room && from + read <= len.max(from), "{read}");
        let (front, back) = in_parts.split_at_mut(room / 3);
        let first = opened.read_at(front, from as u64).unwrap();
        if first == front.len() {
            let second = opened.read_at(back, (from + first) as u64).unwrap();
            assert_eq!((first + second, &in_parts[..read]), (read, &at_once[..read]));
        }
        shown += usize::from(read > 0);
    }
    assert!(shown > 15_000, "{shown}");
}

/// Makes the checksums of header and heads hold, whatever is in them.
fn put_sums_right(bytes: &mut [u8], header: &CompressedHeader, blocks: &[Block]) {
    let listed = bytes.len() - HEADER_LEN - 32 * blocks.len();
    for (n, block) in blocks.iter().enumerate() {
        let offset = bytes[block.at + 8..block.at + 12].try_into().unwrap();
        let position = u64::from(u32::from_le_bytes(offset)) + header.segment.first_position;
        let sum = header.segment.salt.checksum(position, &bytes[block.at + 4..block.at + 32]);
        bytes[block.at..block.at + 4].copy_from_slice(&sum.to_le_bytes());
        let head = bytes[block.at..block.at + 32].to_vec();
        bytes[listed + 32 * n..listed + 32 * (n + 1)].copy_from_slice(&head);
    }
    let sum = crc32fast::hash(&bytes[listed..listed + 32 * blocks.len()]);
    bytes[88..92].copy_from_slice(&sum.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..HEADER_LEN]);
    let sum = hasher.finalize();
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
}

//! Checkpoints against the trees that they are of.

use stemedb_merkle::{
    LogIndex, MerkleTree, Root, Snapshot, Timestamp,
    set::{
        ChangedBlock,
        mapped::{BlockKey, DeltaArrays, block_bits},
    },
};

use super::{header::HEADER_LEN, *};
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::{
    Position,
    log::{HoleEntry, KnownSegment},
    raw::Salt,
    sealed::SegmentHeader,
};

const STORE: [u8; 16] = [1; 16];

pub(crate) fn entries(from: u64, to: u64) -> Vec<Entry> {
    let id = |n: u64| *blake3::hash(&n.to_le_bytes()).as_bytes();
    (from..to).map(|n| Entry { id: id(n), position: 100 * n }).collect()
}

fn covered(snapshot: &Snapshot, position: u64) -> Covered {
    Covered {
        store_id: STORE,
        generation: 0,
        position,
        next_index: position / 100,
        count: snapshot.len(),
        set_root: snapshot.root(),
        top_hash: snapshot.top_hash(),
        history_root: Root([9; 32]),
        last_time: 5,
        last_id: [6; 32],
        last_position: 0,
    }
}

fn state() -> CheckpointState {
    let holes = vec![([3; 32], HoleEntry { index: LogIndex(7), time: Timestamp::from_ntp64(8) })];
    let header = SegmentHeader {
        store_id: STORE,
        generation: 0,
        previous_sum: 3,
        first_index: 4,
        first_position: 5,
        salt: Salt(6),
        time_before: 7,
    };
    let segments = vec![KnownSegment { header, batches_end: 8 }; 2];
    CheckpointState { history: vec![[8; 32]; 3], holes, symbols: Vec::new(), segments }
}

fn base(disk: &FaultyDisk, tree: &MerkleTree, position: u64) -> Checkpoint {
    let snapshot = tree.snapshot();
    write_base(disk, &covered(&snapshot, position), snapshot.iter(), &state(), true, &mut |_| {})
        .unwrap()
}

fn reload(disk: &FaultyDisk) -> Loaded {
    let loaded = load(disk, STORE, 0, false).unwrap();
    loaded.tidy(disk).unwrap();
    loaded
}

fn tree_of(checkpoint: &Checkpoint) -> MerkleTree {
    MerkleTree::from_mapped_set(checkpoint.mapped_set(), checkpoint.covered().top_hash)
}

/// A base of 3,000 ids and two deltas on it.
pub(crate) fn chain(disk: &FaultyDisk) -> (Checkpoint, MerkleTree) {
    let mut tree = MerkleTree::new();
    tree.insert_batch(&entries(0, 3000)).unwrap();
    let mut checkpoint = base(disk, &tree, 300_000);
    tree = tree_of(&checkpoint);
    for (from, to) in [(3000, 3200), (3200, 3230)] {
        tree.insert_batch(&entries(from, to)).unwrap();
        let snapshot = tree.snapshot();
        let kept = checkpoint.deltas_to_keep(snapshot.len()).unwrap();
        let changes = snapshot.changes(checkpoint.position_of(kept), kept).unwrap();
        let covered = covered(&snapshot, 100 * to);
        checkpoint =
            write_delta(disk, &checkpoint, kept, &covered, &changes, &state(), true).unwrap();
    }
    assert_eq!(checkpoint.deltas.len(), 2);
    (checkpoint, tree)
}

#[test]
fn a_chain_comes_back_as_the_tree_that_it_is_of() {
    let disk = FaultyDisk::new(1);
    let (_, tree) = chain(&disk);
    let loaded = reload(&disk);
    assert!(loaded.set_aside.is_empty());
    let checkpoint = loaded.checkpoint.unwrap();
    checkpoint.check(&mut |_| true).unwrap();
    assert_eq!(checkpoint.state().unwrap(), state());
    assert_eq!(checkpoint.symbols().unwrap(), state().symbols);
    let again = tree_of(&checkpoint);
    assert_eq!(again.root(), tree.root());
    let all = |tree: &MerkleTree| tree.iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(all(&again), all(&tree));
}

/// Each file's filter knows its ids, and tells most others apart; another one is noticed.
#[test]
fn filters_know_the_ids_of_the_chain() {
    let disk = FaultyDisk::new(1);
    let (checkpoint, _) = chain(&disk);
    let ids = |from, to| entries(from, to).iter().map(|entry| entry.id).collect::<Vec<_>>();
    let may_have = |checkpoint: &Checkpoint, from, to| {
        let ids = ids(from, to);
        let mut maybe = vec![false; ids.len()];
        for part in 0..checkpoint.mapped_set().parts() {
            checkpoint.part_may_have(part, &ids, &mut maybe).unwrap();
        }
        maybe.iter().filter(|maybe| **maybe).count()
    };
    for checkpoint in [checkpoint, reload(&disk).checkpoint.unwrap()] {
        checkpoint.check_filters().unwrap();
        assert_eq!(may_have(&checkpoint, 0, 3230), 3230);
        assert!(may_have(&checkpoint, 3230, 13_230) < 500);
        let shorter = Checkpoint { deltas: Vec::new(), ..checkpoint };
        assert!(may_have(&shorter, 3000, 3230) < 50);
    }
    let Checkpoint { base, .. } = reload(&disk).checkpoint.unwrap();
    let mut base = Arc::into_inner(base).unwrap();
    base.filter.start += 64;
    let other = Checkpoint { base: Arc::new(base), deltas: Vec::new() };
    assert_eq!(other.check_filters(), Err(CheckpointFault::Payload));
}

#[test]
fn symbols_come_back_from_the_file_that_is_on_top() {
    let disk = FaultyDisk::new(1);
    let mut tree = MerkleTree::new();
    tree.insert_batch(&entries(0, 3000)).unwrap();
    let with = |symbols: Vec<[u8; 32]>| CheckpointState { symbols, ..state() };
    let snapshot = tree.snapshot();
    let (first, second) = (vec![[4; 32]; 5], vec![[5; 32]; 6]);
    let covered_by = covered(&snapshot, 300_000);
    let state = with(first.clone());
    let checkpoint =
        write_base(&disk, &covered_by, snapshot.iter(), &state, true, &mut |_| {}).unwrap();
    assert_eq!(reload(&disk).checkpoint.unwrap().symbols().unwrap(), first);
    tree = tree_of(&checkpoint);
    tree.insert_batch(&entries(3000, 3100)).unwrap();
    let snapshot = tree.snapshot();
    let changes = snapshot.changes(300_000, 0).unwrap();
    let (covered, state) = (covered(&snapshot, 310_000), with(second.clone()));
    write_delta(&disk, &checkpoint, 0, &covered, &changes, &state, true).unwrap();
    let loaded = reload(&disk).checkpoint.unwrap();
    assert_eq!(loaded.symbols().unwrap(), second);
    loaded.check(&mut |_| true).unwrap();
}

#[test]
fn small_deltas_are_taken_in_and_large_ones_fold() {
    let disk = FaultyDisk::new(1);
    let (checkpoint, _) = chain(&disk);
    assert_eq!(checkpoint.deltas_to_keep(3231), Some(2));
    assert_eq!(checkpoint.deltas_to_keep(3250), Some(1));
    assert_eq!(checkpoint.deltas_to_keep(3400), Some(0));
    assert_eq!(checkpoint.deltas_to_keep(3751), None);
    assert_eq!((checkpoint.position_of(0), checkpoint.position_of(1)), (300_000, 320_000));
}

/// Every byte of every file flipped in one bit, and every file cut at many lengths: the chain is
/// set aside when it is loaded or the damage is met when it is read, and nothing wrong comes back.
#[test]
fn no_damage_passes() {
    let disk = FaultyDisk::new(1);
    let (checkpoint, tree) = chain(&disk);
    let expected: Vec<Entry> = tree.iter().map(Result::unwrap).collect();
    let judge = |damaged: &FaultyDisk, what: &str| {
        let loaded = reload(damaged);
        match loaded.checkpoint {
            Some(checkpoint) if checkpoint.covered().position == 323_000 => {
                let found = checkpoint.check(&mut |_| true).is_err();
                assert!(found, "{what}");
                let read: Result<Vec<Entry>, _> = tree_of(&checkpoint).iter().collect();
                assert!(read.is_err() || read.unwrap() == expected, "{what}");
            }
            Some(shorter) => {
                assert!(!loaded.set_aside.is_empty(), "{what}");
                assert!(shorter.covered().position < 323_000);
                shorter.check(&mut |_| true).unwrap();
            }
            None => assert!(!loaded.set_aside.is_empty(), "{what}"),
        }
    };
    for (file, len) in checkpoint.file_sizes() {
        let step = if file.starts_with("base") { 37 } else { 11 };
        for byte in (0..len).step_by(step).chain(len - 300..len) {
            let damaged = disk.fork();
            damaged.flip_bit(&file, 8 * byte + byte % 8).unwrap();
            judge(&damaged, &format!("{file}, byte {byte}"));
        }
        for len in (0..len).step_by(997) {
            let damaged = disk.fork();
            damaged.truncate_file(&file, len).unwrap();
            judge(&damaged, &format!("{file}, cut to {len}"));
        }
        let damaged = disk.fork();
        damaged.remove(&file).unwrap();
        if file.starts_with("base") {
            assert!(reload(&damaged).checkpoint.is_none());
        }
    }
}

/// A delta takes in those below it, and the power fails before their removal is durable.
#[test]
fn a_delta_that_was_replaced_and_is_still_there_is_no_fault() {
    let disk = FaultyDisk::new(1);
    let (checkpoint, mut tree) = chain(&disk);
    tree.insert_batch(&entries(3230, 3400)).unwrap();
    let snapshot = tree.snapshot();
    let before = disk.fork();
    let changes = snapshot.changes(checkpoint.position_of(0), 0).unwrap();
    let covered = covered(&snapshot, 340_000);
    write_delta(&disk, &checkpoint, 0, &covered, &changes, &state(), true).unwrap();
    for (name, _) in &checkpoint.file_sizes()[1..] {
        disk.put(name, &before.contents(name).unwrap()).unwrap();
    }
    let loaded = reload(&disk);
    assert!(loaded.set_aside.is_empty(), "{:?}", loaded.set_aside);
    assert_eq!(loaded.checkpoint.unwrap().covered().position, 340_000);
    let names = disk.list().unwrap();
    assert_eq!(names.iter().filter(|name| name.starts_with("delta")).count(), 1);
}

#[test]
fn checkpoints_of_others_are_set_aside() {
    let disk = FaultyDisk::new(1);
    chain(&disk);
    let other = load(&disk.fork(), [2; 16], 0, true).unwrap();
    assert!(other.checkpoint.is_none());
    assert!(other.set_aside.iter().all(|aside| aside.fault == CheckpointFault::OtherStore));
    let other = load(&disk.fork(), STORE, 1, true).unwrap();
    assert!(other.set_aside.iter().all(|aside| aside.fault == CheckpointFault::OtherGeneration));
}

/// Up to where the log was durable is told by any header that is whole, and looking changes
/// nothing: until the log is open, these files are what tells that it has lost its end.
#[test]
fn the_mark_outlives_the_rest_of_the_file() {
    let disk = FaultyDisk::new(1);
    let (checkpoint, _) = chain(&disk);
    let mark = |position| {
        let next_index = LogIndex(position / 100);
        Some(Watermark { position: Position(position), next_index })
    };
    for (file, len) in checkpoint.file_sizes() {
        for cut in [HEADER_LEN as u64, 1000, len - 1] {
            let damaged = disk.fork();
            damaged.truncate_file(&file, cut).unwrap();
            let names = damaged.list().unwrap();
            let loaded = load(&damaged, STORE, 0, false).unwrap();
            assert_eq!(loaded.mark, mark(323_000), "{file}, cut to {cut}");
            assert!(!loaded.set_aside.is_empty(), "{file}, cut to {cut}");
            assert_eq!(damaged.list().unwrap(), names, "{file}, cut to {cut}");
            assert_eq!(load(&damaged, STORE, 0, false).unwrap().mark, mark(323_000));
        }
    }
    let other = load(&disk, [2; 16], 0, false).unwrap();
    assert_eq!(other.mark, None, "of another log");
}

/// Blocks are found by their prefixes, whether these are spread evenly, as those of hashes are, or
/// lie in heaps, as somebody may choose ids.
#[test]
fn blocks_of_a_delta_are_found_however_their_prefixes_lie() {
    const PAGE_BITS: usize = 19;
    let spread = |n: u64, bits: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits);
    let heaps = |n: u64, bits: usize| (1 << (bits - 1)) + n / 90 * 200 + n % 90;
    let few = |n: u64, bits: usize| ((1 << bits) - 1) * (n % 2);
    let all = |n: u64, _: usize| n;
    let prefixes: [&dyn Fn(u64, usize) -> u64; 4] = [&spread, &heaps, &few, &all];
    for (place, prefix) in prefixes.into_iter().enumerate() {
        let mut keys: Vec<BlockKey> = [12, 16]
            .into_iter()
            .flat_map(|depth| (0..900).map(move |n| BlockKey { depth, prefix: prefix(n, depth) }))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let blocks = keys.iter().map(|key| {
            let len = (2 << block_bits(key.depth, PAGE_BITS)) - 2;
            let hash = |at: usize| *blake3::hash(format!("{key:?} {at}").as_bytes()).as_bytes();
            let hashes = (0..len).map(hash).collect();
            ChangedBlock {
                key: *key,
                occupied: 3,
                many: u32::try_from(key.prefix).unwrap(),
                hashes,
            }
        });
        let changes = Changes { entries: Vec::new(), blocks: blocks.collect() };
        let disk = FaultyDisk::new(1);
        let covered = covered(&MerkleTree::new().snapshot(), 100);
        let write = |writer: &mut BlockWriter<'_>| delta::write(writer, &changes, &state());
        write_file(&disk, "delta", &covered, None, write).unwrap();
        let file = BlockFile::open(&disk, "delta", true).unwrap();
        let file = DeltaFile::open(file, PAGE_BITS).unwrap();
        for (number, block) in changes.blocks.iter().enumerate() {
            assert_eq!(file.block(block.key).unwrap(), Some(number), "{place}: {:?}", block.key);
            let mut hashes = vec![[0; 32]; block.hashes.len() - 1];
            file.block_hashes(block.key, number, 1, &mut hashes).unwrap();
            assert_eq!(hashes, block.hashes[1..]);
            let state = file.block_state(number).unwrap();
            assert_eq!((state.occupied, state.many), (block.occupied, block.many));
        }
        for key in &keys {
            for depth in [key.depth - 4, key.depth, key.depth + 4] {
                for prefix in [key.prefix.wrapping_sub(1), key.prefix + 1, key.prefix << 4] {
                    let other = BlockKey { depth, prefix };
                    let expected = keys.binary_search(&other).ok();
                    assert_eq!(file.block(other).unwrap(), expected, "{place}: {other:?}");
                }
            }
        }
    }
}

/// The formats on disk. If this fails they have changed: raise `FORMAT_VERSION`, and mind that a
/// checkpoint of another version is rebuilt from the log.
#[test]
fn golden_bytes() {
    let disk = FaultyDisk::new(1);
    let (checkpoint, _) = chain(&disk);
    let hashes: Vec<String> = checkpoint
        .file_sizes()
        .iter()
        .map(|(name, _)| format!("{name} {}", blake3::hash(&disk.contents(name).unwrap()).to_hex()))
        .collect();
    assert_eq!(
        hashes,
        [
            "base-00000000000000300000.ckpt \
             1053ee1ab9d16c0b9b6d82e0cf6aa01961b72d026c1f3157f7b1573deb034fcc",
            "delta-00000000000000320000.ckpt \
             c29688ad3dfdbac6d9b5ab742f75bcbc0a6b16dcf9d5397bf180e653994e9d5f",
            "delta-00000000000000323000.ckpt \
             b9e69b31b217ad4e07da9c758feb9b32a4f1d6e9093e19658bfd5b51b5c72bcd",
        ]
    );
}

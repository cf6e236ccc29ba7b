//! The fuzz targets on their corpora and on seeded changes of them, without a fuzzer.
//!
//! `cargo +nightly fuzz run TARGET` in this directory goes on from the same corpora, and
//! `STEMEDB_FUZZ=1000000 cargo test --release --test fuzz_smoke` runs more changes of each. With
//! `STEMEDB_WRITE_CORPUS=1`, `cargo test --test fuzz_smoke -- --ignored` writes the first corpora.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "reference/random.rs"]
mod random;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::{fs, panic, path::PathBuf, sync::Arc};

use random::{Random, first_seed, noise, number_from_env};
use stemedb::{ProofFile, SetProof, Terminal};
use stemedb_merkle::{Entry, MerkleTree};
use stemedb_wal::{
    batch,
    checkpoint::{self, Beside, Covered},
    disk::{FaultyDisk, Fingerprint},
    identity::{IDENTITY_NAME, Identity},
    log::{HoleEntry, Log, NewRecord},
    record::{Head, Kind},
    segment::{HEADER_LEN, segment_name},
};

fn corpus_dir(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus_dir(target)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One to four changes of the kinds that find bugs in parsers.
fn mutate(seed: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff_ffff, 0x7fff_ffff, u64::MAX, u64::MAX - 7];
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = random.index(bytes.len());
        match random.below(8) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            3 => {
                let number = NUMBERS[random.index(NUMBERS.len())].to_le_bytes();
                let len = [1, 2, 4, 8][random.index(4)].min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&number[..len]);
            }
            4 => bytes.truncate(at),
            5 => {
                let len = random.index(64);
                bytes.splice(at..at, vec![0; len]);
            }
            6 => {
                let end = at + random.index(bytes.len() - at + 1);
                bytes.drain(at..end);
            }
            _ => {
                let other = &others[random.index(others.len())];
                let from = random.index(other.len() + 1);
                let len = random.index(other.len() - from + 1);
                bytes.splice(at..at, other[from..from + len].to_vec());
                bytes.truncate(64 << 10);
            }
        }
    }
    bytes
}

fn smoke(name: &str) {
    let (_, target) = targets::ALL.into_iter().find(|(known, _)| *known == name).unwrap();
    let seeds = corpus(name);
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    let seed = first_seed(1);
    let mut random = Random::new(seed);
    let runs = number_from_env("STEMEDB_FUZZ").unwrap_or(50_000);
    for run in 0..runs {
        let bytes = mutate(&seeds[random.index(seeds.len())], &seeds, &mut random);
        if panic::catch_unwind(|| target(&bytes)).is_err() {
            let file = std::env::temp_dir().join(format!("crash-{name}-{seed}-{run}"));
            fs::write(&file, &bytes).unwrap();
            panic!(
                "STEMEDB_SEED={seed}, run {run}: {name} panics; the bytes are in {}",
                file.display()
            );
        }
    }
}

#[test]
fn records() {
    smoke("record");
}

#[test]
fn batches() {
    smoke("batch");
}

#[test]
fn segments() {
    smoke("segment");
}

#[test]
fn checkpoints() {
    smoke("checkpoint");
}

#[test]
fn proof_files() {
    smoke("proof_file");
}

#[test]
fn identities() {
    smoke("identity");
}

/// The seeds are what the parsers accept: changes of them get past the first check.
#[test]
fn the_first_seed_of_each_corpus_parses() {
    let first = |target: &str| corpus(target).swap_remove(0);
    let (salt, position) = (targets::SALT, targets::POSITION);
    assert!(Head::parse(&first("record"), salt, position).is_some());
    assert!(batch::BatchHeader::parse(&first("batch"), salt, position).is_some());
    assert_eq!(&first("segment")[..8], batch::MAGIC);
    ProofFile::parse(&first("proof_file")).unwrap();
    let disk = FaultyDisk::new(1);
    disk.put(IDENTITY_NAME, &first("identity")).unwrap();
    Identity::load(&disk).unwrap();
    disk.put("base-00000000000000000000.ckpt", &first("checkpoint")).unwrap();
    assert!(checkpoint::load(&disk, targets::STORE_ID, 0, false).unwrap().checkpoint.is_some());
}

#[test]
#[ignore = "writes the first corpora, if STEMEDB_WRITE_CORPUS is set"]
fn write_the_corpora() {
    if std::env::var("STEMEDB_WRITE_CORPUS").is_err() {
        return;
    }
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus_dir(target)).unwrap();
        fs::write(corpus_dir(target).join(name), bytes).unwrap();
    };
    let (salt, position) = (targets::SALT, targets::POSITION);
    for (n, kind) in [Kind::Entry, Kind::Hole, Kind::Heal].into_iter().enumerate() {
        let body = noise(n as u64, 20 * n);
        let len = u32::try_from(body.len()).unwrap();
        let body_sum = salt.checksum(position, &body);
        let head = Head { kind, len, index: 7, time: 1 << 60, id: [0xee; 32], body_sum };
        write("record", &format!("{n}"), &[&head.encode(salt, position)[..], &body].concat());
    }
    let header = batch::BatchHeader {
        payload_len: 142,
        records: 2,
        entries: 2,
        first_index: 5,
        durable_upto: 4000,
        first_time: 1 << 60,
        last_time: (1 << 60) + 1,
    };
    write("batch", "0", &[&header.encode(salt, position)[..], &[0; 142], &batch::END].concat());

    // The first segment of a log, open and sealed.
    let disk = FaultyDisk::new(1);
    let shared = Arc::new(disk.clone());
    let (mut log, _) =
        Log::open(shared, &targets::origin(), &targets::log_options(), None, &mut |_| {}).unwrap();
    let mut placed = Vec::new();
    let first = segment_name(0, 0);
    for n in 0..12 {
        let bodies: Vec<Vec<u8>> = (0..3).map(|k| noise(n * 3 + k, 100)).collect();
        let records: Vec<NewRecord<'_>> = bodies
            .iter()
            .map(|body| NewRecord { id: *blake3::hash(body).as_bytes(), body, heals: None })
            .collect();
        log.write(&records, 1 << 60, &mut placed).unwrap();
        log.sync().unwrap();
        if n == 1 {
            write("segment", "0", &disk.contents(&first).unwrap()[HEADER_LEN..1400]);
        }
    }
    write("segment", "1", &disk.contents(&first).unwrap()[HEADER_LEN..]);

    let mut tree = MerkleTree::new();
    let entry = |n: u64| Entry { id: *blake3::hash(&n.to_le_bytes()).as_bytes(), position: n };
    for (n, count) in [60, 0, 1].into_iter().enumerate() {
        tree = MerkleTree::new();
        tree.insert_batch(&(0..count).map(entry).collect::<Vec<_>>()).unwrap();
        let snapshot = tree.snapshot();
        let covered = Covered {
            store_id: targets::STORE_ID,
            generation: 0,
            position: 10_000,
            next_index: count,
            count,
            set_root: snapshot.root(),
            top_hash: snapshot.top_hash(),
            history_root: [9; 32],
            last_time: 5,
            last_id: [6; 32],
            last_position: 3,
        };
        let holes = vec![([3; 32], HoleEntry { index: 7, time: 8 })];
        let beside = Beside { history: vec![[8; 32]; 3], holes, symbols: vec![[4; 32]; 3] };
        let disk = FaultyDisk::new(1);
        let found =
            checkpoint::write_base(&disk, &covered, snapshot.iter(), &beside, true, &mut |_| {});
        let (name, _) = found.unwrap().file_sizes().remove(0);
        write("checkpoint", &format!("{n}"), &disk.contents(&name).unwrap());
    }

    tree.insert_batch(&(0..1000).map(entry).collect::<Vec<_>>()).unwrap();
    for (n, id) in [entry(5).id, [7; 32]].into_iter().enumerate() {
        let proof = tree.snapshot().prove(&id).unwrap();
        write(
            "proof_file",
            &format!("{n}"),
            ProofFile { proof, root: tree.root() }.write().as_bytes(),
        );
    }
    let proof = SetProof { id: [1; 32], count: 0, siblings: Vec::new(), terminal: Terminal::Empty };
    write("proof_file", "2", ProofFile { proof, root: [2; 32] }.write().as_bytes());

    let fingerprint = Fingerprint { inode: 5, birth_nanos: 6 };
    let entropy = |bytes: &mut [u8]| {
        bytes.fill(0x5a);
        Ok(())
    };
    for (n, secret) in [None, Some(&[7; 32][..])].into_iter().enumerate() {
        let disk = FaultyDisk::new(1);
        Identity::create(&disk, fingerprint, secret, entropy).unwrap();
        write("identity", &format!("{n}"), &disk.contents(IDENTITY_NAME).unwrap());
    }
}

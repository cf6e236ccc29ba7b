//! The fuzz targets on their corpora and on seeded changes of them, without a fuzzer.
//!
//! `cargo fuzz run -s none TARGET` goes on from the same corpora, guided by coverage, and
//! `STEMEDB_FUZZ=1000000 cargo test --release --test it -- fuzz_smoke::` runs more changes of each.
//! With `STEMEDB_WRITE_CORPUS=1`, `cargo test --test it -- --ignored fuzz_smoke::` writes the first
//! corpora.
//!
//! An input is bad if the target panics on it, or takes memory out of proportion.

pub(crate) mod corpora;
#[path = "../../stemedb-merkle/tests/reference/heap.rs"]
pub(crate) mod heap;
pub(crate) mod outside;

use crate::reference::random;
use crate::targets;
use std::{collections::BTreeSet, fs, panic, path::Path};

use corpora::corpus;
use random::{Random, first_seed, number_from_env};
use targets::Target;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// What a target may take: what its own set-up does, and a multiple of the input.
const HEAP_MAX: usize = 8 << 20;
const HEAP_PER_BYTE_MAX: usize = 256;

/// Why an input is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Panic,
    /// So many bytes of memory.
    Memory(usize),
}

/// An input that a target does not take as it should.
struct Found {
    run: u64,
    bytes: Vec<u8>,
    fault: Fault,
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

/// Feeds a target with an input.
fn feed(target: &Target, bytes: &[u8]) -> Result<(), Fault> {
    heap::begin();
    let fed = panic::catch_unwind(|| (target.feed)(bytes));
    let most = heap::most();
    match fed {
        Err(_) => Err(Fault::Panic),
        Ok(()) if most > HEAP_MAX + HEAP_PER_BYTE_MAX * bytes.len() => Err(Fault::Memory(most)),
        Ok(()) => Ok(()),
    }
}

/// The first bad input, if one is found: a seed as it is, which is run 0, or changes of seeds.
fn find(target: &Target, seeds: &[Vec<u8>], seed: u64, runs: u64) -> Option<Found> {
    assert!(!seeds.is_empty(), "{} has no corpus", target.name);
    for bytes in seeds {
        if let Err(fault) = feed(target, bytes) {
            return Some(Found { run: 0, bytes: bytes.clone(), fault });
        }
    }
    let mut random = Random::new(seed);
    (1..=runs).find_map(|run| {
        let bytes = mutate(&seeds[random.index(seeds.len())], seeds, &mut random);
        let fault = feed(target, &bytes).err()?;
        Some(Found { run, bytes, fault })
    })
}

fn smoke(name: &str) {
    let target = targets::ALL.into_iter().find(|target| target.name == name).unwrap();
    let seed = first_seed(1);
    let runs = number_from_env("STEMEDB_FUZZ").unwrap_or(target.runs);
    if let Some(Found { run, bytes, fault }) = find(&target, &corpus(name), seed, runs) {
        let file = std::env::temp_dir().join(format!("crash-{name}-{seed}-{run}"));
        fs::write(&file, &bytes).unwrap();
        let file = file.display();
        panic!("STEMEDB_SEED={seed}, run {run}: {name} has a {fault:?}; the bytes are in {file}");
    }
}

/// A test for each target, so that they run beside each other and fail apart.
macro_rules! smoke {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                smoke(stringify!($name));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for name in names {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

smoke! {
    record batch segment stub checkpoint delta sketch tiles history identity proof_file base64 tree
    peers scrub members node_key manifest
    varints prefixes subtrees ids bodies symbols peeler requests responses store_messages
    store_lists node_messages
    initiator responder
    gossip http
    doors config
    vkey key_file note checkpoint_note policy tlog_proof absence fork fence heads attestation
    tile_path tile entry_bundle witness_request witness_response sealed
}

/// Here the targets are built with the dependencies of the tests; the fuzzer has those of its own
/// manifest.
#[test]
fn the_manifest_of_the_targets_has_the_crates_that_they_use() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut used = BTreeSet::new();
    for file in fs::read_dir(fuzz.join("targets")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let imports = text.lines().filter_map(|line| line.strip_prefix("use stemedb_"));
        used.extend(imports.filter_map(|rest| Some(rest.split_once("::")?.0.to_owned())));
    }
    assert!(used.contains("merkle"), "{used:?}");
    for name in used {
        assert!(manifest.contains(&format!("\nstemedb-{name} = ")), "stemedb-{name}");
    }
}

/// The controls: decoders with a fault in them, which must be found from seeds that they take.
#[test]
fn decoders_that_trust_a_count_are_found() {
    /// Takes as many items of 32 bytes as the first byte says.
    fn takes(bytes: &[u8]) {
        let Some((count, items)) = bytes.split_first() else { return };
        let ids: Vec<&[u8]> = (0..usize::from(*count)).map(|n| &items[32 * n..][..32]).collect();
        assert_eq!(ids.len(), usize::from(*count));
    }

    /// Checks them, but makes room for them first.
    fn reserves(bytes: &[u8]) {
        let Some((count, items)) = bytes.split_first() else { return };
        let mut ids = Vec::<[u8; 1 << 20]>::with_capacity(usize::from(*count));
        let most = ids.capacity();
        ids.clear();
        assert!(items.as_chunks::<32>().0.len() <= most || most < 256);
    }

    /// As it should be.
    fn checks(bytes: &[u8]) {
        let Some((count, items)) = bytes.split_first() else { return };
        let items = items.as_chunks::<32>().0;
        if items.len() == usize::from(*count) {
            assert_eq!(items.to_vec().len(), usize::from(*count));
        }
    }

    let seeds = [[&[2][..], &[7; 64]].concat(), vec![0]];
    let fault = |feed: fn(&[u8])| {
        let target = Target { name: "control", feed, runs: 0 };
        find(&target, &seeds, first_seed(1), 10_000).map(|found| found.fault)
    };
    assert_eq!(fault(takes), Some(Fault::Panic));
    assert!(matches!(fault(reserves), Some(Fault::Memory(_))));
    assert_eq!(fault(checks), None);
}

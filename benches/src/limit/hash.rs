//! The hashes that any implementation of the trees must compute, one at a time and many at once.

use std::time::Instant;

use blake3::IncrementCounter;
use blake3::platform::Platform;
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::contest::Sample;

const ROUNDS: u64 = 400_000;

fn per_hash(started: Instant, hashes: u64) -> f64 {
    started.elapsed().as_secs_f64() * 1e9 / hashes as f64
}

/// Nanoseconds a parent: alone, in a chain where each waits for the last, and 64 at a time; a
/// SHA-256 node of 65 bytes by the crate's own call; one block of SHA-256.
pub(crate) fn parents() -> Result<Sample, Failure> {
    let key = blake3::derive_key("stemedb v1 set node", b"");
    let mut input = [0x5a_u8; 64];

    let started = Instant::now();
    for number in 0..ROUNDS {
        input[..8].copy_from_slice(&number.to_le_bytes());
        std::hint::black_box(blake3::keyed_hash(&key, &input));
    }
    let alone = per_hash(started, ROUNDS);

    let started = Instant::now();
    for _ in 0..ROUNDS {
        let hash = blake3::keyed_hash(&key, &input);
        input[..32].copy_from_slice(hash.as_bytes());
    }
    let chained = per_hash(started, ROUNDS);
    std::hint::black_box(input);

    let many = many(&key)?;

    let mut node = [1_u8; 65];
    let started = Instant::now();
    for number in 0..ROUNDS {
        node[1..9].copy_from_slice(&number.to_le_bytes());
        std::hint::black_box(Sha256::digest(node));
    }
    let sha = per_hash(started, ROUNDS);

    let mut state = [0; 8];
    let started = Instant::now();
    for _ in 0..ROUNDS {
        sha2::block_api::compress256(&mut state, std::slice::from_ref(&input));
    }
    std::hint::black_box(state);
    let block = per_hash(started, ROUNDS);

    Ok(vec![
        ("ns alone", alone),
        ("ns in a chain", chained),
        ("ns 64 at a time", many),
        ("ns SHA-256 node", sha),
        ("ns SHA-256 block", block),
    ])
}

/// The undocumented call that hashes many single blocks with SIMD.
fn many(key: &[u8; 32]) -> Result<f64, Failure> {
    const AT_ONCE: usize = 64;
    /// Flags of BLAKE3's specification, section 2.2: a keyed hash of one block is all of them.
    const KEYED_HASH: u8 = 1 << 4;
    const CHUNK_START: u8 = 1;
    const CHUNK_END: u8 = 1 << 1;
    const ROOT: u8 = 1 << 3;
    let platform = Platform::detect();
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(key.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into()?);
    }
    let mut blocks = [[0x5a_u8; 64]; AT_ONCE];
    for (block, number) in blocks.iter_mut().zip(0_u8..) {
        block[0] = number;
    }
    let inputs: Vec<&[u8; 64]> = blocks.iter().collect();
    let mut hashes = [0; 32 * AT_ONCE];
    let mut run = || {
        platform.hash_many(
            &inputs,
            &words,
            0,
            IncrementCounter::No,
            KEYED_HASH,
            CHUNK_START,
            CHUNK_END | ROOT,
            &mut hashes,
        );
        std::hint::black_box(&hashes);
    };
    let started = Instant::now();
    for _ in 0..ROUNDS / AT_ONCE as u64 {
        run();
    }
    let took = per_hash(started, ROUNDS);
    let expected = blake3::keyed_hash(key, &blocks[1]);
    if hashes[32..64] != *expected.as_bytes() {
        return Err("hash_many disagrees with keyed_hash".into());
    }
    Ok(took)
}

/// Mean depth of a trie of `ids` random ids: log2 N + 1.33 (Knuth, volume 3, section 6.3).
fn mean_depth(ids: u64) -> f64 {
    (ids as f64).log2() + 1.33
}

/// The least that one insert or one verification among `ids` costs: a path of parents, each of
/// which waits for the one below.
pub(crate) fn path(metric: &'static str, ids: u64) -> Result<Sample, Failure> {
    Ok(vec![(metric, mean_depth(ids) * parents()?[1].1)])
}

/// The least that a tree of `ids` costs: 1.44 parents and a leaf each, 64 at a time, one core.
pub(crate) fn all_nodes(ids: u64) -> Result<Sample, Failure> {
    Ok(vec![("ms", parents()?[2].1 * 2.44 * ids as f64 / 1e6)])
}

/// The least that one history entry costs: a leaf of one block and a node of two.
pub(crate) fn history_entry() -> Result<Sample, Failure> {
    Ok(vec![("ns append", 3.0 * parents()?[4].1)])
}

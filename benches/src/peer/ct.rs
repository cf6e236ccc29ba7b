//! ct-merkle: the history tree of RFC 6962, in memory.

use std::time::Instant;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use sha2::Sha256;

use crate::Failure;
use crate::body::ids;
use crate::contest::Sample;
use crate::latency;

/// An entry of ours: time and id.
type Tree = MemoryBackedTree<Sha256, [u8; 40]>;

/// Appends between two readings of the clock, which would weigh in a single one.
pub(crate) const APPENDS_A_READING: usize = 100;

fn entry(id: &[u8; 32], time: u64) -> [u8; 40] {
    let mut entry = [0; 40];
    entry[..8].copy_from_slice(&time.to_be_bytes());
    entry[8..].copy_from_slice(id);
    entry
}

fn tree(ids: &[[u8; 32]]) -> Tree {
    let mut tree = Tree::new();
    for (id, time) in ids.iter().zip(0..) {
        tree.push(entry(id, time));
    }
    tree
}

/// Pushes into a tree of `ids`, the root asked for each time; proves and verifies at that size.
pub(crate) fn history(of: &[[u8; 32]], picks: &[u64]) -> Result<Sample, Failure> {
    let mut tree = tree(of);
    let mut appends = latency::each(ids(1 << 60, 100_000).chunks_exact(APPENDS_A_READING), |ids| {
        for id in ids {
            tree.push(entry(id, 7));
            std::hint::black_box(tree.root());
        }
    });
    let started = Instant::now();
    let mut proofs = Vec::with_capacity(picks.len());
    for &pick in picks {
        proofs.push(tree.prove_inclusion(pick as usize));
    }
    let prove = started.elapsed().as_secs_f64() * 1e9 / picks.len() as f64;
    let root = tree.root();
    let started = Instant::now();
    for (proof, &pick) in proofs.iter().zip(picks) {
        root.verify_inclusion(&entry(&of[pick as usize], pick), pick, proof)
            .map_err(|_| "a proof of ct-merkle does not verify")?;
    }
    let verify = started.elapsed().as_secs_f64() * 1e9 / picks.len() as f64;
    let [append] = appends.quantiles([0.5]);
    Ok(vec![
        ("ns append with root", append / APPENDS_A_READING as f64),
        ("ns inclusion proof", prove),
        ("ns verify", verify),
    ])
}

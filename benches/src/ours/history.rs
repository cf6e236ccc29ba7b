//! The history tree alone, in memory.

use std::time::Instant;

use stemedb_merkle::history::{History, InclusionProof, MemoryHistory, leaf_hash};
use stemedb_merkle::{Hash, LogIndex, LogSize, Timestamp};

use crate::Failure;
use crate::body::ids;
use crate::contest::Sample;
use crate::latency;
use crate::peer::ct::APPENDS_A_READING;

const TIME: Timestamp = Timestamp::from_ntp64(7);

/// Appends to a history of `of`, as the store does it; proves and verifies with all in memory.
pub(crate) fn run(of: &[Hash], picks: &[u64]) -> Result<Sample, Failure> {
    let mut history = History::default();
    let leaves = || of.iter().zip(0..).map(|(id, time)| leaf_hash(Timestamp::from_ntp64(time), id));
    history.extend(leaves(), |_| {});
    let more = ids(1 << 60, 100_000);
    let mut appends = latency::each(more.chunks_exact(APPENDS_A_READING), |ids| {
        for id in ids {
            history.append(leaf_hash(TIME, id), |tile| {
                std::hint::black_box(tile);
            });
        }
    });
    let mut with_root = latency::each(more.chunks_exact(APPENDS_A_READING), |ids| {
        for id in ids {
            history.append(leaf_hash(TIME, id), |tile| {
                std::hint::black_box(tile);
            });
            std::hint::black_box(history.root());
        }
    });

    let memory: MemoryHistory = leaves().collect();
    let size = LogSize(of.len() as u64);
    let started = Instant::now();
    let mut proofs = Vec::with_capacity(picks.len());
    for &pick in picks {
        proofs.push(InclusionProof::prove(&memory, LogIndex(pick), size)?);
    }
    let prove = started.elapsed().as_secs_f64() * 1e9 / picks.len() as f64;
    let head = memory.head();
    let started = Instant::now();
    for (proof, &pick) in proofs.iter().zip(picks) {
        let leaf = leaf_hash(Timestamp::from_ntp64(pick), &of[pick as usize]);
        proof.verify(&leaf, LogIndex(pick), &head)?;
    }
    let verify = started.elapsed().as_secs_f64() * 1e9 / picks.len() as f64;

    let each = 1.0 / APPENDS_A_READING as f64;
    let [append] = appends.quantiles([0.5]);
    let [with_root] = with_root.quantiles([0.5]);
    Ok(vec![
        ("ns append", append * each),
        ("ns append with root", with_root * each),
        ("ns inclusion proof", prove),
        ("ns verify", verify),
    ])
}

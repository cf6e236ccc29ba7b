//! The set tree alone.

use std::rc::Rc;
use std::time::Instant;

use stemedb_merkle::proof::Presence;
use stemedb_merkle::{Entry, Hash, MerkleTree};

use crate::Failure;
use crate::contest::Sample;
use crate::peer::search_tree::latency_sample;
use crate::{body, heap, latency};

fn entries(ids: &[Hash], first: u64) -> Vec<Entry> {
    ids.iter().zip(first..).map(|(&id, position)| Entry { id, position }).collect()
}

fn tree(ids: &[Hash]) -> Result<MerkleTree, Failure> {
    let mut tree = MerkleTree::new();
    tree.insert_batch(&entries(ids, 0))?;
    Ok(tree)
}

/// A tree that came to its size one insert at a time, as in a running process.
fn grown(ids: &[Hash]) -> Result<MerkleTree, Failure> {
    let mut tree = MerkleTree::new();
    for id in ids {
        tree.insert(*id)?;
    }
    Ok(tree)
}

/// Inserts `more` into a tree of `ids`, the root asked for after each `batch`: nanoseconds an id.
pub(crate) fn inserts(ids: &[Hash], more: &[Hash], batch: usize) -> Result<Sample, Failure> {
    let mut tree = grown(ids)?;
    let mut failed = None;
    let mut latencies = if batch == 1 {
        latency::each(more.iter(), |id| {
            failed = tree.insert(*id).err();
            std::hint::black_box(tree.root());
        })
    } else {
        let more = entries(more, tree.len());
        latency::each(more.chunks(batch), |batch| {
            failed = tree.insert_batch(batch).err();
            std::hint::black_box(tree.root());
        })
    };
    if let Some(failure) = failed {
        return Err(failure.into());
    }
    if tree.len() != (ids.len() + more.len()) as u64 {
        return Err("the set tree lost an id".into());
    }
    Ok(latency_sample(&mut latencies, batch))
}

/// Builds the tree of `ids` and its root.
pub(crate) fn build(ids: &[Hash]) -> Result<Sample, Failure> {
    let entries = entries(ids, 0);
    let started = Instant::now();
    let mut tree = MerkleTree::new();
    tree.insert_batch(&entries)?;
    std::hint::black_box(tree.root());
    Ok(vec![("ms", started.elapsed().as_secs_f64() * 1e3)])
}

/// Heap bytes an id, of a tree that grew one by one.
pub(crate) fn memory(ids: &[Hash]) -> Result<f64, Failure> {
    let (tree, bytes) = heap::grown_by(|| grown(ids));
    drop(tree?);
    Ok(bytes as f64 / ids.len() as f64)
}

/// A tree that is asked for proofs.
pub(crate) struct Proving {
    tree: MerkleTree,
    count: u64,
}

impl Proving {
    pub(crate) fn new(count: u64) -> Result<Self, Failure> {
        Ok(Self { tree: tree(&body::ids(0, count))?, count })
    }

    /// Proves 50,000 ids that are there, and as many that are not; verifies all proofs.
    pub(crate) fn run(&self) -> Result<Sample, Failure> {
        const PROOFS: usize = 50_000;
        let ids: Vec<Hash> = body::picks(3, PROOFS, self.count)
            .into_iter()
            .flat_map(|pick| {
                let absent = pick + (1 << 50);
                [pick, absent].map(|number| {
                    let mut id = [0; 32];
                    body::fill(number, &mut id);
                    id
                })
            })
            .collect();
        let view = self.tree.view();
        // Proofs that are kept would make every fifth one wait for a fresh page of memory.
        let mut proving = latency::each(ids.iter(), |id| {
            std::hint::black_box(view.prove(id).is_ok());
        });
        let proofs = ids.iter().map(|id| view.prove(id)).collect::<Result<Vec<_>, _>>()?;
        let root = view.root();
        let mut verdicts = Vec::with_capacity(proofs.len());
        let mut verifying = latency::each(proofs.iter(), |proof| {
            verdicts.push(proof.verify(&root));
        });
        for pair in verdicts.chunks_exact(2) {
            if pair != [Ok(Presence::Present), Ok(Presence::Absent)] {
                return Err("a proof does not say what it should".into());
            }
        }
        let siblings: usize = proofs.iter().map(|proof| proof.siblings.len()).sum();
        let [prove, prove_p99] = proving.quantiles([0.5, 0.99]);
        let [verify, verify_p99] = verifying.quantiles([0.5, 0.99]);
        Ok(vec![
            ("ns prove", prove),
            ("ns prove p99", prove_p99),
            ("ns verify", verify),
            ("ns verify p99", verify_p99),
            ("B of hashes", 32.0 * siblings as f64 / proofs.len() as f64),
        ])
    }
}

/// How snapshots are taken while inserts go on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Snapshots {
    None,
    /// One at the start, kept to the end.
    Held,
    /// One every so many inserts, each kept until the next.
    Every(usize),
}

/// Inserts `more` into a tree of `ids`, the root current after each.
pub(crate) fn inserts_while(
    ids: &Rc<Vec<Hash>>,
    more: &[Hash],
    snapshots: Snapshots,
) -> Result<Sample, Failure> {
    const TAKEN: u32 = 100_000;
    let mut tree = grown(ids)?;
    let started = Instant::now();
    for _ in 0..TAKEN {
        std::hint::black_box(tree.snapshot());
    }
    let snapshot = started.elapsed().as_secs_f64() * 1e9 / f64::from(TAKEN);
    let every = match snapshots {
        Snapshots::None => usize::MAX,
        Snapshots::Held => more.len(),
        Snapshots::Every(inserts) => inserts,
    };
    let mut held = None;
    let started = Instant::now();
    for (at, id) in more.iter().enumerate() {
        if every != usize::MAX && at % every == 0 {
            held = Some(tree.snapshot());
        }
        tree.insert(*id)?;
    }
    let rate = more.len() as f64 / started.elapsed().as_secs_f64();
    drop(held);
    Ok(vec![("inserts/s", rate), ("ns a snapshot", snapshot)])
}

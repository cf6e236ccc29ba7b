//! merkle-search-tree: the nearest published set tree; 128-bit `SipHash` in place of BLAKE3.

use merkle_search_tree::MerkleSearchTree;

use crate::Failure;
use crate::contest::Sample;
use crate::{heap, latency};

pub(super) type Tree = MerkleSearchTree<[u8; 32], u64>;

pub(super) fn tree(ids: &[[u8; 32]]) -> Tree {
    let mut tree = Tree::default();
    for (id, position) in ids.iter().zip(0_u64..) {
        tree.upsert(*id, &position);
    }
    tree.root_hash();
    tree
}

/// Inserts `more` into a tree of `ids`, the root asked for after each `batch`: nanoseconds an id.
pub(crate) fn inserts(
    ids: &[[u8; 32]],
    more: &[[u8; 32]],
    batch: usize,
) -> Result<Sample, Failure> {
    let mut tree = tree(ids);
    let mut latencies = latency::each(more.chunks(batch), |batch| {
        for id in batch {
            tree.upsert(*id, &7);
        }
        std::hint::black_box(tree.root_hash());
    });
    Ok(latency_sample(&mut latencies, batch))
}

/// Median, p99 and largest, in nanoseconds an id.
pub(crate) fn latency_sample(latencies: &mut latency::Latencies, batch: usize) -> Sample {
    let [median, p99, max] = latencies.quantiles([0.5, 0.99, 1.0]).map(|ns| ns / batch as f64);
    vec![("ns median", median), ("ns p99", p99), ("ns max", max)]
}

/// Builds the tree of `ids` and its root.
pub(crate) fn build(ids: &[[u8; 32]]) -> Result<Sample, Failure> {
    let started = std::time::Instant::now();
    std::hint::black_box(tree(ids));
    Ok(vec![("ms", started.elapsed().as_secs_f64() * 1e3)])
}

/// Heap bytes an id.
pub(crate) fn memory(ids: &[[u8; 32]]) -> f64 {
    let (tree, bytes) = heap::grown_by(|| tree(ids));
    drop(tree);
    bytes as f64 / ids.len() as f64
}

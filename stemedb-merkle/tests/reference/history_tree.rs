//! The history tree as RFC 9162 defines it, written to be read.

use sha2::{Digest, Sha256};
use stemedb_merkle::Hash;

/// Section 2.1.1: the root over leaf hashes.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(largest_power_below(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// Section 2.1.3.1: `PATH(index, leaves)`.
pub(crate) fn inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let half = largest_power_below(leaves.len());
    let (left, right) = leaves.split_at(half);
    if index < half {
        [inclusion(index, left), vec![root(right)]].concat()
    } else {
        [inclusion(index - half, right), vec![root(left)]].concat()
    }
}

/// Section 2.1.4.1: `PROOF(old, leaves)`; empty where the RFC has none, for 0.
pub(crate) fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    if old == 0 { Vec::new() } else { subproof(old, leaves, true) }
}

fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let half = largest_power_below(leaves.len());
    let (left, right) = leaves.split_at(half);
    if old <= half {
        [subproof(old, left, whole), vec![root(right)]].concat()
    } else {
        [subproof(old - half, right, false), vec![root(left)]].concat()
    }
}

fn largest_power_below(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

//! The set tree by its definition, written to be read: slow, and without any state to get wrong.

use std::{collections::BTreeSet, sync::LazyLock};

use stemedb_merkle::{
    Hash, Root,
    proof::{SetProof, Terminal},
};

/// The three hashes that the definition is made of.
#[derive(Clone, Copy)]
pub(crate) struct Hashes {
    pub(crate) leaf: fn(&Hash) -> Hash,
    pub(crate) node: fn(&Hash, &Hash) -> Hash,
    pub(crate) root: fn(u64, &Hash) -> Hash,
}

/// The hashes that stemedb commits to.
pub(crate) const HASHES: Hashes = Hashes {
    leaf: |id| {
        static KEY: LazyLock<Hash> = LazyLock::new(|| key("stemedb v1 set leaf"));
        blake3::keyed_hash(&KEY, id).into()
    },
    node: |left, right| {
        static KEY: LazyLock<Hash> = LazyLock::new(|| key("stemedb v1 set node"));
        blake3::keyed_hash(&KEY, &[*left, *right].concat()).into()
    },
    root: |count, node| {
        static KEY: LazyLock<Hash> = LazyLock::new(|| key("stemedb v1 set root"));
        blake3::keyed_hash(&KEY, &[&count.to_be_bytes(), node.as_slice()].concat()).into()
    },
};

fn key(context: &str) -> Hash {
    blake3::derive_key(context, b"")
}

/// A set of ids and its tree.
pub(crate) struct SetTree {
    pub(crate) ids: Vec<Hash>,
    hashes: Hashes,
}

impl SetTree {
    pub(crate) fn new(ids: impl IntoIterator<Item = Hash>, hashes: Hashes) -> Self {
        let sorted: BTreeSet<Hash> = ids.into_iter().collect();
        Self { ids: sorted.into_iter().collect(), hashes }
    }

    pub(crate) fn root(&self) -> Root {
        Root((self.hashes.root)(self.ids.len() as u64, &self.node(&self.ids, 0)))
    }

    pub(crate) fn prove(&self, id: &Hash) -> SetProof {
        let mut siblings = Vec::new();
        let mut here = self.ids.as_slice();
        while here.len() > 1 {
            let depth = siblings.len();
            let (zeros, ones) = split(here, depth);
            let (on, beside) = if bit(id, depth) { (ones, zeros) } else { (zeros, ones) };
            siblings.push(self.node(beside, depth + 1));
            here = on;
        }
        let terminal = here.first().map_or(Terminal::Empty, |found| Terminal::Id(*found));
        SetProof { id: *id, count: self.ids.len() as u64, siblings, terminal }
    }

    /// `H(p)` for the ids that begin with some `p` of `depth` bits.
    pub(crate) fn node(&self, ids: &[Hash], depth: usize) -> Hash {
        match ids {
            [] => [0; 32],
            [id] => (self.hashes.leaf)(id),
            _ => {
                let (zeros, ones) = split(ids, depth);
                (self.hashes.node)(&self.node(zeros, depth + 1), &self.node(ones, depth + 1))
            }
        }
    }
}

pub(crate) fn bit(id: &Hash, depth: usize) -> bool {
    id[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// The ids with a zero at a depth, and those with a one, of sorted ids that agree before it.
pub(crate) fn split(ids: &[Hash], depth: usize) -> (&[Hash], &[Hash]) {
    ids.split_at(ids.partition_point(|id| !bit(id, depth)))
}

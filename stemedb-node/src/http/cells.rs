//! Where two stores differ: their set trees cut into the subtrees of all prefixes of one length.

use stemedb_merkle::{
    Hash, MappedSetError,
    set::{self, Subtree},
};

/// The picture in 256 cells, and in 4,096.
pub(super) const DEPTHS: [u8; 2] = [8, 12];

/// The hashes of the subtrees of all prefixes of `depth` bits, in order: 2^`depth` of them, all
/// zeros where there are no ids. O(2^`depth`), and a hash for each id where there are few.
///
/// They are compared with those of another store.
///
/// # Errors
///
/// If a part of a restart checkpoint is damaged.
pub(crate) fn cells(tree: &set::Snapshot, depth: u8) -> Result<Vec<Hash>, MappedSetError> {
    let mut level = vec![tree.subtree(&[0; 32], 0)?];
    for _ in 0..depth.min(16) {
        let mut next = Vec::with_capacity(level.len() * 2);
        for subtree in &level {
            next.extend(subtree.halves()?);
        }
        level = next;
    }
    Ok(level.iter().map(|subtree: &Subtree| subtree.summary().hash()).collect())
}

/// The number of ids that begin with the `depth` bits of cell `cell`, counted up to `most`. O(ids).
///
/// # Errors
///
/// If a part of a restart checkpoint is damaged.
pub(super) fn count(
    tree: &set::Snapshot,
    depth: u8,
    cell: u16,
    most: usize,
) -> Result<usize, MappedSetError> {
    let depth = u32::from(depth.min(16));
    let shift = 16 - depth;
    let first_bits = u32::from(cell) << shift;
    let last_bits = first_bits | ((1 << shift) - 1);
    let edge = |bits: u32, fill: u8| {
        let mut id = [fill; 32];
        let [_, _, high, low] = bits.to_be_bytes();
        [id[0], id[1]] = [high, low];
        id
    };
    let mut ids = 0;
    for entry in tree.range(edge(first_bits, 0)..=edge(last_bits, 0xff)).take(most) {
        entry?;
        ids += 1;
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use stemedb_merkle::{MerkleTree, set::Summary};

    use super::*;

    fn id(n: u64) -> Hash {
        stemedb_merkle::hash::derive("cells", &n.to_le_bytes())
    }

    #[test]
    fn cells_are_the_subtrees_of_their_prefixes() {
        for count in [0, 1, 2, 40, 3000] {
            let mut ids: Vec<Hash> = (0..count).map(id).collect();
            ids.sort_unstable();
            let mut tree = MerkleTree::new();
            for id in &ids {
                tree.insert(*id).unwrap();
            }
            for depth in DEPTHS {
                let found = cells(tree.view(), depth).unwrap();
                assert_eq!(found.len(), 1 << depth);
                let cell_of = |id: &Hash| u16::from_be_bytes([id[0], id[1]]) >> (16 - depth);
                for (cell, hash) in (0_u16..).zip(&found) {
                    let there: Vec<Hash> =
                        ids.iter().copied().filter(|id| cell_of(id) == cell).collect();
                    assert_eq!(*hash, Summary::of(&there, depth.into()).hash());
                    let counted = super::count(tree.view(), depth, cell, 1000).unwrap();
                    assert_eq!(counted, there.len());
                }
                assert_eq!(super::count(tree.view(), 0, 0, 10).unwrap(), ids.len().min(10));
            }
        }
    }
}

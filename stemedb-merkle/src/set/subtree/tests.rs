use super::*;
use crate::{MerkleTree, set::Entry};

fn ids(count: u64) -> Vec<Hash> {
    let mut ids: Vec<Hash> =
        (0..count).map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
    // A few that part late: the paths to them are long.
    for n in 0..count.min(5) {
        let mut id = [9; 32];
        id[31] = u8::try_from(n).unwrap();
        ids.push(id);
    }
    ids.sort_unstable();
    ids
}

fn begins_with(id: &Hash, prefix: &Hash, depth: usize) -> bool {
    (0..depth).all(|at| bit(id, at) == bit(prefix, at))
}

#[test]
fn a_subtree_holds_what_begins_with_its_prefix() {
    for count in [0, 1, 2, 3, 16, 17, 200, 3000] {
        let ids = ids(count);
        let mut tree = MerkleTree::new();
        let entries: Vec<Entry> = ids.iter().map(|id| Entry { id: *id, position: 0 }).collect();
        tree.insert_batch(&entries).unwrap();
        let top = tree.view().subtree(&[0; 32], 0).unwrap();
        assert_eq!(top.summary().hash(), tree.view().top_hash());
        for prefix in ids.iter().take(20).chain(&[[9; 32], [0xff; 32]]) {
            for depth in [0, 1, 3, 4, 7, 8, 9, 13, 20, 64, 247, 255, 256] {
                let below: Vec<Hash> =
                    ids.iter().filter(|id| begins_with(id, prefix, depth)).copied().collect();
                let subtree = tree.view().subtree(prefix, depth).unwrap();
                assert_eq!(subtree.is_empty(), below.is_empty());
                assert_eq!(subtree.summary(), Summary::of(&below, depth), "{count} {depth}");
                assert_eq!(subtree.ids(below.len()).unwrap().as_ref(), Some(&below));
                if let Some(fewer) = below.len().checked_sub(1) {
                    assert_eq!(subtree.ids(fewer).unwrap(), None, "{count} {depth}");
                }
                if depth < 256 {
                    let [zeros, ones] = subtree.halves().unwrap();
                    assert_eq!(Summary::join(zeros.summary(), ones.summary()), subtree.summary());
                }
            }
        }
    }
}

#[test]
fn ids_that_repeat_have_an_end() {
    assert_eq!(Summary::of(&[[1; 32]; 2], 256), Summary::Many(EMPTY));
    assert_ne!(Summary::of(&[[1; 32]; 2], 0), Summary::of(&[[1; 32]], 0));
}

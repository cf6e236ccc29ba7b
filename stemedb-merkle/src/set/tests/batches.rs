//! Every way of inserting: pages of all shapes, batches into all small trees, and large ones.

use super::{Random, arrays::base_of, model, reference_hash, reference_root};
use crate::{
    id::Hash,
    set::{Entry, MerkleTree, bits::set_bits, mapped::MappedSet, plan::Plan, sorted},
};

fn entry(id: Hash) -> Entry {
    Entry { id, position: u64::from(id[31]) }
}

/// All sets of eight ids that differ from bit `at` on, hashed as one page from each depth near it.
#[test]
fn pages_of_all_shapes_have_their_hashes() {
    // Eight ids that part in many depths: in one bucket, in neighbouring ones, and far below.
    let shapes: [[usize; 8]; 3] = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 8, 16, 17, 127, 128, 255],
        [3, 7, 11, 15, 64, 80, 81, 96],
    ];
    for at in [0, 3, 56, 60, 61, 124, 244, 248] {
        for shape in shapes {
            for set in 1..1_u32 << 8 {
                let mut ids: Vec<Hash> = (0..8)
                    .filter(|place| set >> place & 1 == 1)
                    .map(|place| {
                        let mut id = [0x6b; 32];
                        set_bits(&mut id, at, 8, shape[place]);
                        id
                    })
                    .collect();
                ids.sort_unstable();
                let entries: Vec<Entry> = ids.iter().map(|id| entry(*id)).collect();
                for depth in [0, at.saturating_sub(5), at] {
                    let mut plan = Plan::default();
                    plan.clear();
                    let part = plan.page(&entries, depth);
                    plan.run();
                    let expected = reference_hash(&ids, depth);
                    assert_eq!(plan.hash(part), expected, "bit {at}, depth {depth}, {ids:x?}");
                }
            }
        }
    }
}

/// Ids of which some are in one crowded place and some alone: 24 and eight others.
fn few_and_many() -> (Vec<Hash>, Vec<Hash>) {
    let mut random = Random(5);
    let mut crowd: Vec<Hash> = (0..24).map(|_| random.id(0)).collect();
    for id in &mut crowd {
        set_bits(id, 0, 3, 5);
    }
    let others = [0x00, 0x08, 0x0f, 0x40, 0x41, 0xa8, 0xbf, 0xff].map(|front| {
        let mut id = random.id(0);
        id[0] = front;
        id
    });
    (crowd, others.to_vec())
}

/// Every set of eight ids inserted into every tree of the others, as a batch and one by one, with
/// and without a crowd that makes the tree one of nodes, in memory and over a mapped set.
#[test]
fn all_small_batches_into_all_small_trees() {
    let (crowd, others) = few_and_many();
    for crowded in [false, true] {
        let crowd = if crowded { &crowd[..] } else { &[] };
        for old in 0..1_u32 << others.len() {
            let pick = |mask: u32| -> Vec<Entry> {
                let picked = (0..others.len()).filter(|place| mask >> place & 1 == 1);
                picked.map(|place| entry(others[place])).collect()
            };
            let mut held = pick(old);
            held.extend(crowd.iter().map(|id| entry(*id)));
            let mut before = MerkleTree::new();
            before.insert_batch(&held).unwrap();
            let mapped = MappedSet::new(base_of(before.view()), vec![]);
            let over = MerkleTree::from_mapped_set(mapped, before.view().top_hash());
            // All sets where that is quick, else some.
            for new in (0..1_u32 << others.len()).step_by(if old % 16 == 5 { 1 } else { 29 }) {
                let batch = pick(new);
                let all: Vec<Entry> = held.iter().chain(&batch).copied().collect();
                let ids: Vec<Hash> = model(&all).into_keys().collect();
                let root = reference_root(&ids);
                let inserted = (new & !old).count_ones() as usize;
                for start in [&before, &over] {
                    let copy = || {
                        let mut copy = MerkleTree::new();
                        copy.now = start.snapshot();
                        copy
                    };
                    let mut together = copy();
                    assert_eq!(together.insert_batch(&batch).unwrap(), inserted);
                    assert_eq!(together.root(), root, "{crowded}, {new:b} into {old:b}");
                    let mut alone = copy();
                    let added = batch.iter().rev().filter(|one| alone.insert(one.id).unwrap());
                    assert_eq!(added.count(), inserted);
                    assert_eq!(alone.root(), root, "{crowded}, {new:b} into {old:b}, one by one");
                    // Hashes between are right as well, not only the root.
                    assert_eq!(all_hashes(&together), all_hashes(&alone));
                }
            }
        }
    }
}

/// The hashes beside some paths, which a proof is verified with before it is given out.
fn all_hashes(tree: &MerkleTree) -> Vec<Vec<Hash>> {
    let fronts = [0x00, 0x09, 0x43, 0xa0, 0xbf, 0xf0];
    let proof = |front: u8| {
        let mut id = [front; 32];
        id[1] = !front;
        tree.view().prove(&id).unwrap().siblings
    };
    fronts.map(proof).into()
}

/// Batches that are hashed in many groups, into nothing, into one another, and over a mapped set;
/// ids in order and in any.
#[test]
fn large_batches_are_the_sets_they_should_be() {
    for (seed, kind) in [(1, 0), (2, 0), (3, 4), (4, 1)] {
        println!("seed {seed}");
        let mut random = Random(seed);
        let mut all: Vec<Entry> = Vec::new();
        let mut tree = MerkleTree::new();
        for (round, len) in [20_000, 1, 9_000, 30_000, 200].into_iter().enumerate() {
            let mut batch: Vec<Entry> = (0..len)
                .map(|at| Entry { id: random.id(kind), position: (round as u64) << 20 | at })
                .collect();
            if round == 2 {
                batch.sort_unstable_by_key(|entry| entry.id);
            }
            if round == 3 && seed != 2 {
                let mapped = MappedSet::new(base_of(tree.view()), vec![]);
                tree = MerkleTree::from_mapped_set(mapped, tree.view().top_hash());
            }
            all.extend(&batch);
            let held = model(&all);
            let before = tree.len();
            let inserted = tree.insert_batch(&batch).unwrap();
            assert_eq!(before + inserted as u64, held.len() as u64);
            assert_eq!(tree.root(), reference_root(&held.keys().copied().collect::<Vec<_>>()));
            let entries = tree.iter().map(Result::unwrap).map(|entry| (entry.id, entry.position));
            assert!(entries.eq(held.iter().map(|(id, position)| (*id, *position))));
            all_hashes(&tree);
        }
    }
}

#[test]
fn sorting_is_sorting() {
    for seed in 0..200 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = random.below(5);
        let len = [0, 1, 2, 9, 100, 5000][random.below(6)];
        let mut entries: Vec<Entry> =
            (0..len).map(|position| Entry { id: random.id(kind), position }).collect();
        for _ in 0..entries.len() / 10 {
            let (from, to) = (random.below(entries.len()), random.below(entries.len()));
            entries[to].id = entries[from].id;
        }
        let mut expected = entries.clone();
        expected.sort_by_key(|entry| entry.id);
        assert_eq!(sorted(&entries), expected);
    }
}

//! The tree against the definition, and against a plain map.

use std::{collections::BTreeMap, sync::Arc};

use super::{Entry, MerkleTree, mapped::MappedSet};
use crate::{
    bits::bit,
    diff::{Diff, DiffResult, Difference},
    hash,
    id::{Hash, Root},
    proof::Presence,
};

mod arrays;
mod batches;
mod damage;
mod overlay;

use arrays::{base_of, delta_of};

/// SPEC section 2, word for word.
fn reference_hash(ids: &[Hash], depth: usize) -> Hash {
    match ids {
        [] => [0; 32],
        [id] => hash::leaf(id),
        _ => {
            let (zeros, ones) = ids.split_at(ids.partition_point(|id| !bit(id, depth)));
            hash::node(&reference_hash(zeros, depth + 1), &reference_hash(ones, depth + 1))
        }
    }
}

fn reference_root(ids: &[Hash]) -> Root {
    hash::root(ids.len() as u64, &reference_hash(ids, 0))
}

/// `SplitMix64`: any seed gives a sequence, and a failure prints the seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// An id, of one of the kinds that an adversary would choose or a hash would give.
    fn id(&mut self, kind: usize) -> Hash {
        let mut id: Hash = core::array::from_fn(|_| self.byte());
        match kind {
            // They share a prefix of 30 bits.
            1 => {
                id[..3].fill(0xAB);
                id[3] = id[3] & 3 | 0x54;
            }
            // They part in the last bytes only.
            2 => id = core::array::from_fn(|at| if at < 28 { 0x55 } else { id[at] & 7 }),
            // Neighbours.
            3 => {
                id = [0; 32];
                id[31] = self.byte();
            }
            // Mixed with random ones: one of sixteen prefixes.
            4 => id[0] &= 0x0f,
            _ => {}
        }
        id
    }
}

fn model(entries: &[Entry]) -> BTreeMap<Hash, u64> {
    let mut model = BTreeMap::new();
    for entry in entries {
        model.entry(entry.id).or_insert(entry.position);
    }
    model
}

fn check(tree: &MerkleTree, model: &BTreeMap<Hash, u64>, random: &mut Random, kind: usize) {
    let ids: Vec<Hash> = model.keys().copied().collect();
    assert_eq!(tree.len(), ids.len() as u64);
    assert_eq!(tree.root(), reference_root(&ids));
    let held: Vec<(Hash, u64)> =
        tree.iter().map(Result::unwrap).map(|entry| (entry.id, entry.position)).collect();
    assert_eq!(held, model.iter().map(|(id, at)| (*id, *at)).collect::<Vec<_>>());
    let mut counts = [0; 256];
    for id in &ids {
        counts[usize::from(id[0])] += 1;
    }
    assert_eq!(tree.view().counts_by_first_byte().unwrap(), counts);
    for _ in 0..8 {
        let any = random.id(kind);
        let known = if ids.is_empty() { any } else { ids[random.below(ids.len())] };
        for id in [any, known] {
            assert_eq!(tree.view().position(&id).unwrap(), model.get(&id).copied());
            let proof = tree.view().prove(&id).unwrap();
            let expected =
                if model.contains_key(&id) { Presence::Present } else { Presence::Absent };
            assert_eq!(proof.verify(&tree.root()), Ok(expected));
        }
        let (low, high) = if any < known { (any, known) } else { (known, any) };
        let range: Vec<Hash> = tree.range(low..high).map(|entry| entry.unwrap().id).collect();
        assert_eq!(range, model.range(low..high).map(|(id, _)| *id).collect::<Vec<_>>());
        let range: Vec<Hash> = tree
            .range((std::ops::Bound::Excluded(low), std::ops::Bound::Included(high)))
            .map(|entry| entry.unwrap().id)
            .collect();
        let expected = model.range(low..=high).map(|(id, _)| *id).filter(|id| *id != low);
        assert_eq!(range, expected.collect::<Vec<_>>());
    }
    let mut asked: Vec<Hash> = (0..150).map(|_| random.id(kind)).collect();
    if !ids.is_empty() {
        asked.extend((0..150).map(|_| ids[random.below(ids.len())]));
    }
    let expected: Vec<Option<u64>> = asked.iter().map(|id| model.get(id).copied()).collect();
    assert_eq!(tree.view().positions(&asked).unwrap(), expected);
}

#[test]
fn the_tree_is_what_the_definition_says_for_all_kinds_of_ids() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = random.below(5);
        let mut tree = MerkleTree::new();
        let mut all = Vec::new();
        for _ in 0..=random.below(12) {
            let count = [1, 2, 17, 100, 700][random.below(5)];
            let batch: Vec<Entry> = (0..count)
                .map(|_| Entry { id: random.id(kind), position: random.next() >> 20 })
                .collect();
            let before = model(&all).len();
            let snapshot = tree.snapshot();
            let inserted = tree.insert_batch(&batch).unwrap();
            all.extend(batch);
            let model = model(&all);
            assert_eq!(inserted, model.len() - before);
            check(&tree, &model, &mut random, kind);
            assert_eq!(snapshot.len(), before as u64, "snapshots stay as they are");
            assert_eq!(snapshot.iter().count(), before);
        }
    }
}

#[test]
fn every_insertion_order_gives_one_root() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let kind = random.below(5);
        let mut ids: Vec<Hash> = (0..40).map(|_| random.id(kind)).collect();
        let mut tree = MerkleTree::new();
        for id in &ids {
            tree.insert(*id).unwrap();
        }
        for at in (1..ids.len()).rev() {
            ids.swap(at, random.below(at + 1));
        }
        let mut other = MerkleTree::new();
        for id in &ids {
            other.insert(*id).unwrap();
            assert!(!other.insert(*id).unwrap(), "twice is once");
        }
        assert_eq!(tree.root(), other.root(), "seed {seed}");
    }
}

/// All sets of ids that differ in their last four bits only.
#[test]
fn all_small_sets_have_their_roots() {
    for set in 0..1_u32 << 12 {
        let ids: Vec<Hash> = (0..12)
            .filter(|bit| set >> bit & 1 == 1)
            .map(|bit| {
                let mut id = [0x33; 32];
                id[31] = bit;
                id
            })
            .collect();
        if set % 16 != 0 {
            continue;
        }
        let mut tree = MerkleTree::new();
        for id in ids.iter().rev() {
            tree.insert(*id).unwrap();
        }
        assert_eq!(tree.root(), reference_root(&ids));
    }
}

/// Many ids of one prefix, and lone ones beside empty places on either side of every pair: a lone
/// id's leaf hash stands for all subtrees that hold nothing else.
#[test]
fn lone_ids_beside_crowded_ones_keep_their_leaf_hashes() {
    for crowded in 0..16_u8 {
        for lone in 0..16_u8 {
            let mut random = Random(u64::from(crowded) << 8 | u64::from(lone));
            let mut tree = MerkleTree::new();
            let mut all = Vec::new();
            for position in 0..200 {
                let mut id = random.id(0);
                id[0] = crowded << 4 | id[0] & 15;
                all.push(Entry { id, position });
            }
            tree.insert_batch(&all).unwrap();
            let mut id = random.id(0);
            id[0] = lone << 4 | id[0] & 15;
            all.push(Entry { id, position: 200 });
            tree.insert_batch(&all[200..]).unwrap();
            let ids: Vec<Hash> = model(&all).into_keys().collect();
            assert_eq!(tree.root(), reference_root(&ids), "{lone:x} beside {crowded:x}");
            base_of(tree.view());
        }
    }
}

/// Trees that lie in mapped sets partly, in all mixtures, are the same trees.
#[test]
fn archived_trees_are_the_same_trees() {
    for seed in 0..80 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = [0, 0, 0, 1, 2, 4][random.below(6)];
        let mut tree = MerkleTree::new();
        let mut all: Vec<Entry> = Vec::new();
        let (mut base, mut deltas) = (None, Vec::new());
        // What each part of the mapped set reaches to.
        let mut covered = Vec::new();
        for round in 0..10_u64 {
            let count = [1, 5, 60, 400, 2000][random.below(5)];
            let batch: Vec<Entry> = (0..count)
                .map(|at| Entry { id: random.id(kind), position: round << 20 | at })
                .collect();
            tree.insert_batch(&batch).unwrap();
            all.extend(batch);
            let model = model(&all);
            check(&tree, &model, &mut random, kind);
            let snapshot = tree.snapshot();
            let here = (round + 1) << 20;
            match random.below(4) {
                0 => {}
                1 => {
                    base = Some(base_of(&snapshot));
                    (deltas, covered) = (Vec::new(), vec![here]);
                }
                _ if base.is_some() => {
                    let kept = random.below(deltas.len() + 1);
                    let since = covered[kept];
                    deltas.truncate(kept);
                    covered.truncate(kept + 1);
                    deltas.push(delta_of(&snapshot.changes(since, kept).unwrap()));
                    covered.push(here);
                }
                _ => continue,
            }
            if let Some(base) = &base
                && covered.last() == Some(&here)
            {
                let mapped = MappedSet::new(Arc::clone(base), deltas.clone());
                mapped.check_top(&snapshot.top_hash()).unwrap();
                assert!(mapped.check_top(&[1; 32]).is_err());
                let lying = MerkleTree::from_mapped_set(mapped, snapshot.top_hash());
                check(&lying, &model, &mut random, kind);
                let diff = DiffResult::of(&snapshot, lying.view()).unwrap();
                assert!(diff.is_empty());
                tree = lying;
            }
        }
    }
}

#[test]
fn differences_are_those_of_the_sets() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = random.below(5);
        let (mut left, mut right) = (MerkleTree::new(), MerkleTree::new());
        let (mut left_model, mut right_model) = (BTreeMap::new(), BTreeMap::new());
        for position in 0..random.below(3000) as u64 {
            let entry = Entry { id: random.id(kind), position };
            let side = random.below(20);
            if side != 0 {
                left.insert_batch(&[entry]).unwrap();
                left_model.entry(entry.id).or_insert(position);
            }
            if side != 1 {
                right.insert_batch(&[entry]).unwrap();
                right_model.entry(entry.id).or_insert(position);
            }
        }
        if random.below(2) == 0 {
            let mapped = MappedSet::new(base_of(right.view()), vec![]);
            right = MerkleTree::from_mapped_set(mapped, right.view().top_hash());
        }
        let mut expected: Vec<(Hash, bool)> = Vec::new();
        expected.extend(
            left_model.keys().filter(|id| !right_model.contains_key(*id)).map(|id| (*id, true)),
        );
        expected.extend(
            right_model.keys().filter(|id| !left_model.contains_key(*id)).map(|id| (*id, false)),
        );
        expected.sort_unstable();
        let found: Vec<(Hash, bool)> = Diff::new(left.view(), right.view())
            .map(|difference| match difference.unwrap() {
                Difference::OnlyLeft(entry) => (entry.id, true),
                Difference::OnlyRight(entry) => (entry.id, false),
            })
            .collect();
        assert_eq!(found, expected);
        // As a session computes it: each side's root from the other's set.
        let of = |wanted| {
            expected.iter().filter(move |(_, left)| *left == wanted).map(|(id, _)| *id).collect()
        };
        let (only_left, only_right): (Vec<Hash>, Vec<Hash>) = (of(true), of(false));
        let before = left.root();
        assert_eq!(left.view().hypothetical_root(&only_right, &only_left).unwrap(), right.root());
        assert_eq!(right.view().hypothetical_root(&only_left, &only_right).unwrap(), left.root());
        assert_eq!(left.root(), before);
    }
}

/// Ids to add that are there, ids to remove that are not, both of one id, and any of them twice.
#[test]
fn hypothetical_sets_have_the_roots_of_real_ones() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = random.below(5);
        let mut tree = MerkleTree::new();
        let mut model = BTreeMap::new();
        for _ in 0..random.below(4) {
            let most = [3, 300, 3000][random.below(3)];
            let entries: Vec<Entry> =
                (0..most).map(|position| Entry { id: random.id(kind), position }).collect();
            tree.insert_batch(&entries).unwrap();
            for entry in &entries {
                model.entry(entry.id).or_insert(entry.position);
            }
            if random.below(3) == 0 {
                let mapped = MappedSet::new(base_of(tree.view()), vec![]);
                tree = MerkleTree::from_mapped_set(mapped, tree.view().top_hash());
            }
        }
        let held: Vec<Hash> = model.keys().copied().collect();
        let most = [2, 40, 4000][random.below(3)];
        let some = |random: &mut Random| -> Vec<Hash> {
            (0..random.below(most))
                .map(|_| match held.get(random.below(2 * held.len() + 1)) {
                    Some(id) => *id,
                    None => random.id(kind),
                })
                .collect()
        };
        let (mut added, removed) = (some(&mut random), some(&mut random));
        added.extend(removed.iter().take(random.below(3)));
        let kept = held.iter().filter(|id| !removed.contains(id)).chain(&added);
        let expected: Vec<Hash> =
            kept.copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let before = tree.root();
        let root = tree.view().hypothetical_root(&added, &removed).unwrap();
        assert_eq!(root, reference_root(&expected));
        assert_eq!(tree.root(), before);
    }
}

#[test]
fn ids_are_found_by_their_first_halves() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = random.below(5);
        let mut tree = MerkleTree::new();
        let mut ids = Vec::new();
        for _ in 0..=random.below(2) {
            let most = [3, 300, 3000][random.below(3)];
            let entries: Vec<Entry> =
                (0..most).map(|position| Entry { id: random.id(kind), position }).collect();
            tree.insert_batch(&entries).unwrap();
            ids.extend(entries.iter().map(|entry| entry.id));
            if random.below(3) == 0 {
                let mapped = MappedSet::new(base_of(tree.view()), vec![]);
                tree = MerkleTree::from_mapped_set(mapped, tree.view().top_hash());
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let front = |id: &Hash| *id.first_chunk::<16>().unwrap();
        let mut asked: Vec<[u8; 16]> = ids.iter().map(front).collect();
        asked.extend((0..100).map(|_| front(&random.id(kind))));
        if random.below(2) == 0 {
            asked.sort_unstable();
        }
        for each_max in [1, 3] {
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            for prefix in &asked {
                let fitting = ids.iter().filter(|id| front(id) == *prefix);
                let fitting: Vec<Hash> = fitting.copied().collect();
                let fits = (1..=each_max).contains(&fitting.len());
                let here = tree.view().find_by_prefix(&[*prefix], each_max).unwrap();
                assert_eq!(here, fits.then(|| fitting.clone()), "seed {seed}");
                if fits {
                    found.push(*prefix);
                    expected.extend(fitting);
                }
            }
            let whole = found.len() == asked.len();
            let all = tree.view().find_by_prefix(&asked, each_max).unwrap();
            assert_eq!(all.is_some(), whole, "seed {seed}");
            let found = tree.view().find_by_prefix(&found, each_max).unwrap();
            assert_eq!(found, Some(expected), "seed {seed}");
        }
    }
}

#[test]
fn one_difference_among_many_is_found_in_logarithmic_time() {
    let mut random = Random(1);
    let entries: Vec<Entry> =
        (0..100_000).map(|position| Entry { id: random.id(0), position }).collect();
    let mut left = MerkleTree::new();
    left.insert_batch(&entries).unwrap();
    let mut right = MerkleTree::new();
    right.insert_batch(&entries[1..]).unwrap();
    let diff = DiffResult::diff(&left, &right).unwrap();
    assert_eq!(diff.surplus_hashes, [entries[0].id]);
    assert!(diff.visited <= 2 * 20, "{} pairs for one of 100,000", diff.visited);
}

/// Thousands of ids of one prefix of 30 bits, neighbours, and a full page of near twins: no deep
/// recursion, and time in proportion to their number.
#[test]
fn crafted_ids_cost_no_more_than_their_depth() {
    for kind in [1, 2, 3] {
        let mut random = Random(9);
        let entries: Vec<Entry> =
            (0..5000).map(|position| Entry { id: random.id(kind), position }).collect();
        let tree = std::thread::Builder::new()
            .stack_size(512 << 10)
            .spawn(move || {
                let mut tree = MerkleTree::new();
                for batch in entries.chunks(3) {
                    tree.insert_batch(batch).unwrap();
                }
                let ids: Vec<Hash> = model(&entries).into_keys().collect();
                assert_eq!(tree.root(), reference_root(&ids));
                tree
            })
            .unwrap();
        assert!(tree.join().unwrap().len() > 100);
    }
}

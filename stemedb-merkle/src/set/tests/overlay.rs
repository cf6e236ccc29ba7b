//! Ids over mapped sets, against the definition.

use super::{
    super::{
        bits::prefix,
        node::Child,
        overlay::{self, slots},
        subtree::Summary,
    },
    *,
};

/// Checks each hash that is kept beside new ids, and that no node has more than one block's.
fn check_overlay(tree: &MerkleTree) -> [usize; 2] {
    fn check(
        mapped: &MappedSet,
        child: &Child,
        depth: usize,
        prefix_here: u64,
        kinds: &mut [usize; 2],
    ) {
        let page_bits = mapped.page_bits();
        if depth > page_bits {
            return;
        }
        if let Child::Over(slots) = child {
            assert!((1..=16).contains(&slots.len()));
            kinds[0] += 1;
            let mut page = None;
            for slot in slots.iter() {
                let here = prefix(&slot.id, page_bits);
                assert_eq!(prefix(&slot.id, depth), prefix_here);
                assert_eq!(slot.hash().is_some(), page != Some(here), "one hash a page");
                page = Some(here);
                let Some((level, many, hash)) = slot.hash() else { continue };
                let top = prefix(&slot.id, level);
                let mut entries = Vec::new();
                mapped.entries(level, top, &mut entries).unwrap();
                let mut ids: Vec<Hash> = entries.iter().map(|entry| entry.id).collect();
                let over = slots.iter().filter(|slot| prefix(&slot.id, level) == top);
                ids.extend(over.map(|slot| slot.id));
                ids.sort_unstable();
                let expected = if many { Summary::Many(*hash) } else { Summary::One(*hash) };
                assert_eq!(Summary::of(&ids, level), expected);
            }
        } else if depth < page_bits
            && let Some(node) = child.node()
        {
            kinds[1] += 1;
            assert!(depth % 4 + node.bits() <= 4, "a node spans one block at most");
            for index in 0..1 << node.bits() {
                let below = prefix_here << node.bits() | index as u64;
                check(mapped, node.child(index), depth + node.bits(), below, kinds);
            }
        } else if depth < page_bits {
            assert!(matches!(child, Child::Empty | Child::Mapped), "nothing is loaded");
        }
    }
    let mut kinds = [0; 2];
    let now = tree.view();
    check(now.mapped.as_deref().unwrap(), &now.top, 0, 0, &mut kinds);
    kinds
}

fn over_base(ids: &[Hash]) -> MerkleTree {
    let mut tree = MerkleTree::new();
    let entries: Vec<Entry> =
        ids.iter().zip(0..).map(|(id, position)| Entry { id: *id, position }).collect();
    tree.insert_batch(&entries).unwrap();
    MerkleTree::from_mapped_set(
        MappedSet::new(base_of(tree.view()), vec![]),
        tree.view().top_hash(),
    )
}

/// All ways to give six ids to two batches, or to none, over mapped sets of all shapes of few
/// pages: the ids part above the pages, at them and below.
#[test]
fn all_small_overlays_have_their_roots() {
    for base_len in [1_u8, 2, 12, 44, 90, 180] {
        let mut random = Random(u64::from(base_len));
        let mut base: Vec<Hash> = (0..base_len).map(|_| random.id(0)).collect();
        if base_len == 90 {
            // Empty pages beside full ones.
            for id in &mut base {
                id[0] |= 0xC0;
            }
        }
        let mut first = base[0];
        first[31] ^= 1;
        let mut second = base[0];
        second[0] ^= 1;
        let new = [first, second, [0; 32], [0xff; 32], random.id(0), base[base.len() - 1]];
        for way in 0..3_usize.pow(6) {
            let group = |wanted: usize| -> Vec<Entry> {
                let here = (0..6).filter(|at| way / 3_usize.pow(*at) % 3 == wanted);
                let places = here.map(|at| usize::try_from(at).unwrap());
                places.map(|at| Entry { id: new[at], position: at as u64 }).collect()
            };
            let mut tree = over_base(&base);
            let mut ids: std::collections::BTreeSet<Hash> = base.iter().copied().collect();
            for batch in [group(1), group(2)] {
                let before = ids.len();
                ids.extend(batch.iter().map(|entry| entry.id));
                assert_eq!(tree.insert_batch(&batch).unwrap(), ids.len() - before);
                let sorted: Vec<Hash> = ids.iter().copied().collect();
                assert_eq!(tree.root(), reference_root(&sorted), "{base_len}, {way}");
                check_overlay(&tree);
            }
        }
    }
}

/// From one new id to several times as many as the mapped set has, in batches of all lengths, with
/// and without deltas: every hash that is kept is right, and all that is read sees both.
#[test]
fn overlays_of_all_densities_are_the_same_trees() {
    let mut kinds = [0; 2];
    for seed in 0..40 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = [0, 0, 0, 0, 1, 4][random.below(6)];
        let len = [30, 300, 3000, 20_000][random.below(4)];
        let mut all: Vec<Entry> =
            (0..len).map(|position| Entry { id: random.id(kind), position }).collect();
        let mut plain = MerkleTree::new();
        plain.insert_batch(&all).unwrap();
        let base = base_of(plain.view());
        let mut tree = MerkleTree::from_mapped_set(
            MappedSet::new(Arc::clone(&base), vec![]),
            plain.view().top_hash(),
        );
        if random.below(2) == 0 {
            let more: Vec<Entry> = (0..len / 10)
                .map(|at| Entry { id: random.id(kind), position: 1 << 20 | at })
                .collect();
            plain.insert_batch(&more).unwrap();
            tree.insert_batch(&more).unwrap();
            all.extend(more);
            let delta = delta_of(&tree.view().changes(1 << 20, 0).unwrap());
            let mapped = MappedSet::new(base, vec![delta]);
            mapped.check_top(&plain.view().top_hash()).unwrap();
            tree = MerkleTree::from_mapped_set(mapped, plain.view().top_hash());
        }
        let mut position = 1 << 30;
        let mut snapshots = Vec::new();
        while all.len() < 40_000 && position - (1 << 30) < 60_000 {
            let count = [1, 1, 3, 40, 65, 300, 3000][random.below(7)];
            let batch: Vec<Entry> = (0..count)
                .map(|at| {
                    let known = random.below(8) == 0;
                    let id = if known { all[random.below(all.len())].id } else { random.id(kind) };
                    Entry { id, position: position + at }
                })
                .collect();
            position += count;
            assert_eq!(tree.insert_batch(&batch).unwrap(), plain.insert_batch(&batch).unwrap());
            all.extend(&batch);
            assert_eq!(tree.root(), plain.root());
            if random.below(10) == 0 {
                let [over, nodes] = check_overlay(&tree);
                kinds = [kinds[0] + over, kinds[1] + nodes];
                snapshots.push((tree.snapshot(), tree.root()));
            }
        }
        assert!(tree.iter().map(Result::unwrap).eq(plain.iter().map(Result::unwrap)));
        check(&tree, &model(&all), &mut random, kind);
        assert!(DiffResult::of(tree.view(), plain.view()).unwrap().is_empty());
        for (snapshot, root) in snapshots.iter().rev().take(2) {
            assert_eq!(snapshot.root(), *root);
            let ids: Vec<Hash> = snapshot.iter().map(|entry| entry.unwrap().id).collect();
            assert_eq!(reference_root(&ids), *root, "snapshots stay as they are");
        }
    }
    println!("{} overlay pages, {} nodes", kinds[0], kinds[1]);
    assert!(kinds[0] > 10_000 && kinds[1] > 1000, "all of it happens");
}

/// A kept hash that is wrong shows in the root: the check above can fail.
#[test]
fn a_wrong_hash_beside_a_new_id_shows() {
    let mut random = Random(5);
    let ids: Vec<Hash> = (0..3000).map(|_| random.id(0)).collect();
    let mut tree = over_base(&ids);
    let new: Vec<Entry> = (0..8).map(|position| Entry { id: random.id(0), position }).collect();
    tree.insert_batch(&new[..6]).unwrap();
    let Child::Over(slots) = &mut tree.now.top else { panic!("an overlay page") };
    for slot in Arc::get_mut(slots).unwrap() {
        let hash = slot.hash().map(|(depth, many, hash)| (depth, many, *hash));
        let (depth, many, hash) = hash.unwrap();
        slot.plan(depth, many);
        slot.fetch(&hash.map(|byte| byte ^ 1));
    }
    assert!(
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check_overlay(&tree))).is_err()
    );
    tree.insert_batch(&new[6..]).unwrap();
    let mut all = ids;
    all.extend(new.iter().map(|entry| entry.id));
    all.sort_unstable();
    assert_ne!(tree.root(), reference_root(&all));
}

/// A part of an overlay page has its own new ids and no others.
#[test]
fn overlay_pages_are_split_by_their_next_bits() {
    let mut random = Random(6);
    let ids: Vec<Hash> = (0..3000).map(|_| random.id(0)).collect();
    let mut tree = over_base(&ids);
    let new: Vec<Entry> = (0..16).map(|position| Entry { id: random.id(0), position }).collect();
    tree.insert_batch(&new).unwrap();
    let parts: Vec<Child> =
        (0..16).map(|index| overlay::part(&tree.now.top, 0, 4, index)).collect();
    for (index, part) in parts.iter().enumerate() {
        assert!(slots(part).iter().all(|slot| usize::from(slot.id[0] >> 4) == index));
        assert_eq!(slots(part).is_empty(), matches!(part, Child::Mapped));
    }
    assert_eq!(parts.iter().map(|part| slots(part).len()).sum::<usize>(), 16);
}

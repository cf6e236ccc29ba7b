//! Inserting into mapped sets that are damaged here and there.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    super::mapped::{
        BaseArrays, BlockKey, BlockState, DeltaArrays, IdArrays, MappedSetError, PackedPosition,
    },
    *,
};

/// Parts that cannot be read as long as the damage lasts.
#[derive(Clone, Debug)]
struct Damage {
    lasts: Arc<AtomicBool>,
    ids: Range<usize>,
    positions: Range<usize>,
    hashes: Range<usize>,
    prefixes: Range<u64>,
}

impl Damage {
    fn check(
        &self,
        damaged: &Range<usize>,
        first: usize,
        len: usize,
    ) -> Result<(), MappedSetError> {
        let wanted = first..first + len;
        let touched = wanted.start < damaged.end && damaged.start < wanted.end;
        self.refuse(touched)
    }

    fn refuse(&self, touched: bool) -> Result<(), MappedSetError> {
        if touched && self.lasts.load(Ordering::Relaxed) {
            return Err(MappedSetError::Damaged { file: "memory".into(), offset: 0 });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct DamagedBase(Arc<dyn BaseArrays>, Damage);

impl IdArrays for DamagedBase {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        self.1.check(&self.1.ids, first, into.len())?;
        self.0.ids(first, into)
    }
    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError> {
        self.1.check(&self.1.positions, first, into.len())?;
        self.0.positions(first, into)
    }
}

impl BaseArrays for DamagedBase {
    fn page_starts(&self, page: usize) -> Result<[usize; 2], MappedSetError> {
        self.0.page_starts(page)
    }
    fn hashes(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        self.1.check(&self.1.hashes, first, into.len())?;
        self.0.hashes(first, into)
    }
    fn inconsistent(&self) -> MappedSetError {
        self.0.inconsistent()
    }
}

#[derive(Debug)]
struct DamagedDelta(Arc<dyn DeltaArrays>, Damage);

impl IdArrays for DamagedDelta {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        self.1.check(&self.1.ids, first, into.len())?;
        self.0.ids(first, into)
    }
    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError> {
        self.1.check(&self.1.positions, first, into.len())?;
        self.0.positions(first, into)
    }
}

impl DeltaArrays for DamagedDelta {
    fn block(&self, key: BlockKey) -> Result<Option<usize>, MappedSetError> {
        self.1.refuse(key.depth > 0 && self.1.prefixes.contains(&key.prefix))?;
        self.0.block(key)
    }
    fn block_hashes(
        &self,
        key: BlockKey,
        number: usize,
        first: usize,
        into: &mut [Hash],
    ) -> Result<(), MappedSetError> {
        self.1.check(&self.1.hashes, first, into.len())?;
        self.0.block_hashes(key, number, first, into)
    }
    fn block_state(&self, number: usize) -> Result<BlockState, MappedSetError> {
        self.0.block_state(number)
    }
}

/// About a hundredth of an array, or nothing of it.
fn damage(random: &mut Random, len: usize, lasts: &Arc<AtomicBool>) -> Damage {
    let mut range = |len: usize| {
        if len == 0 || random.below(4) != 0 {
            return 0..0;
        }
        let start = random.below(len);
        start..start + 1 + random.below(len.div_ceil(100))
    };
    Damage {
        lasts: Arc::clone(lasts),
        ids: range(len),
        positions: range(len),
        hashes: range(len / 6),
        prefixes: range(16).start as u64..0,
    }
}

/// New ids, ids that memory, the base or a delta has, and ids twice.
fn batch(random: &mut Random, kind: usize, known: &[Entry], position: u64) -> Vec<Entry> {
    let count = [1, 2, 7, 60, 700][random.below(5)];
    let mut batch = Vec::new();
    while batch.len() < count {
        let id = match random.below(6) {
            0 if !known.is_empty() => known[random.below(known.len())].id,
            1 if !batch.is_empty() => {
                let again: &Entry = &batch[random.below(batch.len())];
                again.id
            }
            _ => random.id(kind),
        };
        batch.push(Entry { id, position: position + batch.len() as u64 });
    }
    if random.below(2) == 0 {
        batch.sort_by_key(|entry| entry.id);
        batch.dedup_by_key(|entry| entry.id);
    }
    batch
}

/// A tree over a base and up to three deltas with ids in memory on top, all of it damaged in
/// places: a batch is taken in whole, or the tree is as it was.
#[test]
fn a_batch_that_meets_damage_changes_nothing() {
    let (mut refused, mut taken, mut elsewhere) = (0, 0, 0);
    for seed in 0..150 {
        println!("seed {seed}");
        let mut random = Random(seed);
        let kind = [0, 0, 0, 1, 2, 4][random.below(6)];
        let lasts = Arc::new(AtomicBool::new(false));
        let mut tree = MerkleTree::new();
        let count = [40, 700, 4000][random.below(3)];
        let mut all: Vec<Entry> =
            (0..count).map(|position| Entry { id: random.id(kind), position }).collect();
        tree.insert_batch(&all).unwrap();
        let base = base_of(tree.view());
        let wanted = damage(&mut random, base.len(), &lasts);
        let base: Arc<dyn BaseArrays> = Arc::new(DamagedBase(base, wanted));
        let mut deltas: Vec<Arc<dyn DeltaArrays>> = Vec::new();
        for part in 1..=random.below(4) as u64 {
            let mapped = MappedSet::new(Arc::clone(&base), deltas.clone());
            tree = MerkleTree::from_mapped_set(mapped, tree.view().top_hash());
            let more = batch(&mut random, kind, &all, part << 20);
            tree.insert_batch(&more).unwrap();
            all.extend(more);
            let changes = tree.view().changes(part << 20, deltas.len()).unwrap();
            let delta = delta_of(&changes);
            let mut wanted = damage(&mut random, delta.len(), &lasts);
            wanted.prefixes.end = wanted.prefixes.start + 1;
            deltas.push(Arc::new(DamagedDelta(delta, wanted)));
        }
        tree = MerkleTree::from_mapped_set(MappedSet::new(base, deltas), tree.view().top_hash());
        for round in 8..14_u64 {
            let before = model(&all);
            let root = tree.root();
            let snapshot = tree.snapshot();
            let more = batch(&mut random, kind, &all, round << 20);
            lasts.store(true, Ordering::Relaxed);
            let inserted = tree.insert_batch(&more);
            if let Ok(inserted) = inserted {
                all.extend(more);
                assert_eq!(inserted, model(&all).len() - before.len());
                taken += 1;
            } else {
                assert_eq!((tree.root(), tree.len()), (root, before.len() as u64));
                refused += 1;
                // Entries of other parts can still be inserted.
                for entry in more.iter().take(5) {
                    if let Ok(inserted) = tree.insert_batch(&[*entry]) {
                        assert_eq!(inserted, usize::from(!before.contains_key(&entry.id)));
                        all.push(*entry);
                        elsewhere += inserted;
                        break;
                    }
                }
            }
            lasts.store(false, Ordering::Relaxed);
            check(&tree, &model(&all), &mut random, kind);
            assert_eq!((snapshot.root(), snapshot.len()), (root, before.len() as u64));
            assert!(snapshot.iter().map(Result::unwrap).eq(entries(&before)));
        }
    }
    println!("{refused} refused, {taken} taken, {elsewhere} elsewhere");
    assert!(refused > 100 && taken > 100 && elsewhere > 20, "all of it happens");
}

fn entries(model: &BTreeMap<Hash, u64>) -> impl Iterator<Item = Entry> {
    model.iter().map(|(id, position)| Entry { id: *id, position: *position })
}

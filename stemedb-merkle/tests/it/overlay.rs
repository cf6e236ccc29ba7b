//! Heap that ids take over a mapped set.

use std::sync::Arc;

use stemedb_merkle::{
    Entry, Hash, MappedSetError, MerkleTree,
    set::{
        build::BaseBuilder,
        mapped::{BaseArrays, IdArrays, MappedSet, PackedPosition, pack_position},
    },
};

use crate::heap;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Most heap bytes of an id since the last checkpoint.
const BYTES_AN_ID_MAX: usize = 100;

/// What a tree may take besides: buffers that are kept.
const BUFFERS_LEN_MAX: usize = 1 << 19;

#[derive(Debug)]
struct Base {
    ids: Vec<Hash>,
    starts: Vec<u32>,
    hashes: Vec<Hash>,
}

impl IdArrays for Base {
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        into.copy_from_slice(&self.ids[first..first + into.len()]);
        Ok(())
    }
    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError> {
        for (position, place) in into.iter_mut().zip(first as u64..) {
            *position = pack_position(place).unwrap();
        }
        Ok(())
    }
}

impl BaseArrays for Base {
    fn page_starts(&self, page: usize) -> Result<[usize; 2], MappedSetError> {
        Ok([self.starts[page] as usize, self.starts[page + 1] as usize])
    }
    fn hashes(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        into.copy_from_slice(&self.hashes[first..first + into.len()]);
        Ok(())
    }
    fn inconsistent(&self) -> MappedSetError {
        MappedSetError::Inconsistent { file: "memory".into() }
    }
}

fn id(n: u64) -> Hash {
    *blake3::hash(&n.to_le_bytes()).as_bytes()
}

/// A mapped set of the first ids, and its uppermost hash.
fn mapped_set(len: u64) -> (MappedSet, Hash) {
    let mut ids: Vec<Hash> = (0..len).map(id).collect();
    ids.sort_unstable();
    let mut builder = BaseBuilder::new(len).unwrap();
    for (id, position) in ids.iter().zip(0..) {
        builder.push(&Entry { id: *id, position }).unwrap();
    }
    let built = builder.finish(len).unwrap();
    let hashes = built.blocks().flatten().copied().collect();
    let base = Base { ids, starts: built.starts, hashes };
    (MappedSet::new(Arc::new(base), vec![]), built.top_hash)
}

/// From few ids, each far from the next, to a third of what the mapped set has, several in each of
/// its pages.
#[test]
fn ids_over_a_million_take_a_hundred_bytes_each() {
    const BASE_LEN: u64 = 1 << 20;
    let (mapped, top_hash) = mapped_set(BASE_LEN);
    for (batch, most) in [(1, 20_000), (1000, 20_000), (50_000, 350_000)] {
        let mut tree = MerkleTree::from_mapped_set(mapped.clone(), top_hash);
        let mut inserted = 0;
        heap::begin();
        while inserted < most {
            let from = BASE_LEN + inserted as u64;
            let entries = (from..).take(batch).map(|n| Entry { id: id(n), position: n });
            inserted += tree.insert_batch(&entries.collect::<Vec<_>>()).unwrap();
            let held = heap::held();
            assert!(
                held <= BYTES_AN_ID_MAX * inserted + BUFFERS_LEN_MAX,
                "{held} bytes for {inserted} ids in batches of {batch}"
            );
        }
        let held = heap::held();
        println!("batches of {batch}: {} bytes an id", held / inserted);
        assert!(held >= 40 * inserted, "the allocator counts");
        let ids = BASE_LEN + inserted as u64;
        assert_eq!(tree.len(), ids);
        if batch == 50_000 {
            let mut whole = MerkleTree::new();
            let all = (0..ids).map(|n| Entry { id: id(n), position: n });
            whole.insert_batch(&all.collect::<Vec<_>>()).unwrap();
            assert_eq!(tree.root(), whole.root());
        }
    }
}

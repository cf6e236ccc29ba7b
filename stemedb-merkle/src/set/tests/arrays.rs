//! Mapped sets in memory.

use std::sync::Arc;

use crate::{
    Hash,
    set::{
        Changes, Snapshot,
        build::BaseBuilder,
        mapped::{
            BaseArrays, BlockKey, BlockState, DeltaArrays, IdArrays, MappedSetError,
            PackedPosition, hashes_len, pack_position,
        },
    },
};

#[derive(Debug)]
struct VecBase {
    ids: Vec<Hash>,
    positions: Vec<PackedPosition>,
    starts: Vec<u32>,
    hashes: Vec<Hash>,
}

/// Copies elements from a place on.
#[expect(clippy::unnecessary_wraps, reason = "what reads from a disk can fail")]
fn copy<T: Copy>(from: &[T], first: usize, into: &mut [T]) -> Result<(), MappedSetError> {
    into.copy_from_slice(&from[first..first + into.len()]);
    Ok(())
}

impl IdArrays for VecBase {
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        copy(&self.ids, first, into)
    }
    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError> {
        copy(&self.positions, first, into)
    }
}

impl BaseArrays for VecBase {
    fn page_starts(&self, page: usize) -> Result<[usize; 2], MappedSetError> {
        Ok([self.starts[page] as usize, self.starts[page + 1] as usize])
    }
    fn hashes(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        copy(&self.hashes, first, into)
    }
    fn inconsistent(&self) -> MappedSetError {
        MappedSetError::Inconsistent { file: "memory".into() }
    }
}

pub(super) fn base_of(snapshot: &Snapshot) -> Arc<dyn BaseArrays> {
    let mut builder = BaseBuilder::new(snapshot.len()).unwrap();
    let (mut ids, mut positions) = (Vec::new(), Vec::new());
    for entry in snapshot {
        let entry = entry.unwrap();
        builder.push(&entry).unwrap();
        ids.push(entry.id);
        positions.push(pack_position(entry.position).unwrap());
    }
    let built = builder.finish(snapshot.len()).unwrap();
    assert_eq!(built.top_hash, snapshot.top_hash());
    let hashes: Vec<Hash> = built.blocks().flatten().copied().collect();
    assert_eq!(hashes.len(), hashes_len(built.page_bits));
    Arc::new(VecBase { ids, positions, starts: built.starts, hashes })
}

#[derive(Debug)]
struct VecDelta {
    ids: Vec<Hash>,
    positions: Vec<PackedPosition>,
    blocks: Vec<(BlockKey, u32, u32, Vec<Hash>)>,
}

impl IdArrays for VecDelta {
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        copy(&self.ids, first, into)
    }
    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError> {
        copy(&self.positions, first, into)
    }
}

impl DeltaArrays for VecDelta {
    fn block(&self, key: BlockKey) -> Result<Option<usize>, MappedSetError> {
        Ok(self.blocks.binary_search_by_key(&key, |block| block.0).ok())
    }
    fn block_hashes(
        &self,
        key: BlockKey,
        number: usize,
        first: usize,
        into: &mut [Hash],
    ) -> Result<(), MappedSetError> {
        let (name, _, _, hashes) = &self.blocks[number];
        assert_eq!(*name, key);
        copy(hashes, first, into)
    }
    fn block_state(&self, number: usize) -> Result<BlockState, MappedSetError> {
        let (_, occupied, many, _) = self.blocks[number];
        Ok(BlockState { occupied, many })
    }
}

pub(super) fn delta_of(changes: &Changes) -> Arc<dyn DeltaArrays> {
    Arc::new(VecDelta {
        ids: changes.entries.iter().map(|entry| entry.id).collect(),
        positions: changes
            .entries
            .iter()
            .map(|entry| pack_position(entry.position).unwrap())
            .collect(),
        blocks: changes
            .blocks
            .iter()
            .map(|block| (block.key, block.occupied, block.many, block.hashes.clone()))
            .collect(),
    })
}

//! Archives in memory.

use std::{ops::Range, sync::Arc};

use crate::{
    Hash,
    set::{
        Changes, Snapshot,
        archive::{
            ArchiveError, BaseArrays, BlockKey, DeltaArrays, DeltaBlock, PackedPosition,
            hashes_len, pack_position,
        },
        build::BaseBuilder,
    },
};

#[derive(Debug)]
struct VecBase {
    ids: Vec<Hash>,
    positions: Vec<PackedPosition>,
    starts: Vec<u32>,
    hashes: Vec<Hash>,
}

impl BaseArrays for VecBase {
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn ids(&self, places: Range<usize>) -> Result<&[Hash], ArchiveError> {
        Ok(&self.ids[places])
    }
    fn positions(&self, places: Range<usize>) -> Result<&[PackedPosition], ArchiveError> {
        Ok(&self.positions[places])
    }
    fn page_start(&self, page: usize) -> Result<usize, ArchiveError> {
        Ok(self.starts[page] as usize)
    }
    fn hashes(&self, places: Range<usize>) -> Result<&[Hash], ArchiveError> {
        Ok(&self.hashes[places])
    }
    fn inconsistent(&self) -> ArchiveError {
        ArchiveError::Inconsistent { file: "memory".into() }
    }
}

pub(super) fn base_of(snapshot: &Snapshot) -> Arc<dyn BaseArrays> {
    let mut builder = BaseBuilder::new(snapshot.len());
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

impl DeltaArrays for VecDelta {
    fn len(&self) -> usize {
        self.ids.len()
    }
    fn ids(&self, places: Range<usize>) -> Result<&[Hash], ArchiveError> {
        Ok(&self.ids[places])
    }
    fn positions(&self, places: Range<usize>) -> Result<&[PackedPosition], ArchiveError> {
        Ok(&self.positions[places])
    }
    fn block(&self, key: BlockKey) -> Result<Option<DeltaBlock<'_>>, ArchiveError> {
        let found = self.blocks.binary_search_by_key(&key, |block| block.0).ok();
        Ok(found.map(|at| DeltaBlock {
            occupied: self.blocks[at].1,
            many: self.blocks[at].2,
            hashes: &self.blocks[at].3,
        }))
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

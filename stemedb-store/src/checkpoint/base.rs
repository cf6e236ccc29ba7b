//! The base of a checkpoint: a whole set tree.

use core::ops::Range;

use rkyv::rend::u32_le;
use stemedb_merkle::{
    Entry, Hash, MappedSetError,
    set::{
        build::BaseBuilder,
        mapped::{BaseArrays, IdArrays, PackedPosition, hashes_len, pack_position, page_bits},
    },
};

use super::{
    CheckpointFault, WriteError,
    blocks::{BlockFile, BlockWriter},
    id_filter::{IdFilter, filter_len},
    payload::{self, Array, BasePayload, elements},
    state::{CheckpointState, StateArrays, StateRanges},
};

/// An open base.
#[derive(Debug)]
pub(super) struct BaseFile {
    pub(super) file: BlockFile,
    len: usize,
    ids: Range<usize>,
    positions: Range<usize>,
    starts: Range<usize>,
    hashes: Range<usize>,
    pub(super) filter: Range<usize>,
    /// What the tree does not say.
    pub(super) state: StateRanges,
}

impl BaseFile {
    pub(super) fn open(file: BlockFile) -> Result<Self, CheckpointFault> {
        let [ids, positions, starts, hashes, history, holes, symbols, segments, filter] =
            payload::arrays(&file, [32, 6, 4, 32, 32, 48, 32, 40, 64])?;
        let len = ids.len() / 32;
        let bits = page_bits(len as u64);
        let whole = positions.len() == 6 * len
            && starts.len() == 4 * ((1 << bits) + 1)
            && hashes.len() == 32 * hashes_len(bits)
            && filter.len() == filter_len(len)
            && u32::try_from(len).is_ok()
            && file.header.covered.count == len as u64;
        if !whole {
            return Err(CheckpointFault::Payload);
        }
        let state = StateRanges { history, holes, symbols, segments };
        Ok(Self { file, len, ids, positions, starts, hashes, filter, state })
    }
}

/// Asks for the memory of some elements of an array, each of `len` bytes.
pub(super) fn prefetch(
    file: &BlockFile,
    array: &Range<usize>,
    len: usize,
    places: &Range<usize>,
) -> u64 {
    let start = array.start.saturating_add(places.start.saturating_mul(len)).min(array.end);
    let end = array.start.saturating_add(places.end.saturating_mul(len)).min(array.end);
    file.touch(start, end.saturating_sub(start))
}

impl IdArrays for BaseFile {
    fn len(&self) -> usize {
        self.len
    }

    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        elements(&self.file, &self.ids, first, into)
    }

    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError> {
        elements(&self.file, &self.positions, first, into)
    }

    fn prefetch_ids(&self, places: Range<usize>) -> u64 {
        prefetch(&self.file, &self.ids, 32, &places)
    }

    fn prefetch_positions(&self, places: Range<usize>) -> u64 {
        prefetch(&self.file, &self.positions, 6, &places)
    }
}

impl BaseArrays for BaseFile {
    fn page_starts(&self, page: usize) -> Result<[usize; 2], MappedSetError> {
        let mut starts = [[0; 4]; 2];
        elements(&self.file, &self.starts, page, &mut starts)?;
        let starts = starts.map(|start| u32::from_le_bytes(start) as usize);
        if starts.iter().all(|start| *start <= self.len) {
            Ok(starts)
        } else {
            Err(self.file.inconsistent())
        }
    }

    fn hashes(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError> {
        elements(&self.file, &self.hashes, first, into)
    }

    fn inconsistent(&self) -> MappedSetError {
        self.file.inconsistent()
    }
}

/// Writes the payload of a base; returns the hash of the uppermost subtree.
pub(super) fn write(
    writer: &mut BlockWriter<'_>,
    count: u64,
    entries: impl Iterator<Item = Result<Entry, MappedSetError>>,
    state: &CheckpointState,
    progress: &mut dyn FnMut(u64),
) -> Result<Hash, WriteError> {
    let mut builder = BaseBuilder::new(count)?;
    let mut filter = IdFilter::new(count);
    let mut positions: Vec<PackedPosition> = Vec::new();
    let ids_start = writer.len();
    for entry in entries {
        let entry = entry?;
        builder.push(&entry)?;
        writer.write(&entry.id)?;
        filter.insert(&entry.id);
        positions.push(
            pack_position(entry.position)
                .ok_or(WriteError::PositionTooLarge { position: entry.position })?,
        );
        if positions.len().is_multiple_of(65_536) {
            progress(positions.len() as u64);
        }
    }
    let built = builder.finish(count)?;
    let len = positions.len();
    let positions_start = writer.len();
    writer.write(positions.as_flattened())?;
    let starts = write_numbers(writer, built.starts.iter().copied())?;
    let hashes_start = writer.len();
    for hashes in built.blocks() {
        writer.write(hashes.as_flattened())?;
    }
    let hashes_len = (writer.len() - hashes_start) / 32;
    let StateArrays { history, holes, symbols, segments } = state.write(writer)?;
    let root = BasePayload {
        ids: Array::new(ids_start, len),
        positions: Array::new(positions_start, len),
        starts,
        hashes: Array::new(hashes_start, hashes_len),
        history,
        holes,
        symbols,
        segments,
        filter: filter.write(writer)?,
    };
    writer.align(16)?;
    let root = payload::root(&root, writer.len()).map_err(|_| WriteError::Payload)?;
    writer.write(&root)?;
    Ok(built.top_hash)
}

pub(super) fn write_numbers(
    writer: &mut BlockWriter<'_>,
    numbers: impl Iterator<Item = u32>,
) -> Result<Array<u32_le>, WriteError> {
    writer.align(16)?;
    let start = writer.len();
    for number in numbers {
        writer.write(&number.to_le_bytes())?;
    }
    Ok(Array::new(start, (writer.len() - start) / 4))
}

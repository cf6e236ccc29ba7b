//! A delta of a checkpoint: what came since what it stands on.

use core::ops::Range;

use stemedb_merkle::{
    ArchiveError, Hash,
    set::{
        Changes,
        archive::{BlockKey, DeltaArrays, DeltaBlock, PackedPosition, block_bits, pack_position},
    },
};

use super::{
    CheckpointFault, WriteError,
    base::{elements, write_numbers},
    beside::{Beside, BesideArrays},
    blocks::{BlockFile, BlockWriter},
    payload::{self, ArchivedDeltaPayload, Array, DELTA_ROOT_LEN, DeltaPayload},
};

/// Depths at which blocks of hashes can begin: 0, 4, up to 28.
const LEVELS: usize = 8;

/// An open delta.
#[derive(Debug)]
pub(super) struct DeltaFile {
    pub(super) file: BlockFile,
    len: usize,
    page_bits: usize,
    ids: Range<usize>,
    positions: Range<usize>,
    /// Where the blocks of each depth begin, and their number.
    levels: Vec<usize>,
    prefixes: Range<usize>,
    occupied: Range<usize>,
    many: Range<usize>,
    hashes: Range<usize>,
    history: Range<usize>,
    holes: Range<usize>,
    symbols: Range<usize>,
}

/// How many hashes a block at `depth` has.
fn block_len(depth: usize, page_bits: usize) -> usize {
    (2 << block_bits(depth, page_bits)) - 2
}

impl DeltaFile {
    /// Opens a delta over a base whose pages have `page_bits`.
    pub(super) fn open(file: BlockFile, page_bits: usize) -> Result<Self, CheckpointFault> {
        let root_start = file.len().saturating_sub(DELTA_ROOT_LEN);
        file.slice(root_start..file.len()).map_err(CheckpointFault::Archive)?;
        let payload = file.payload();
        let root: &ArchivedDeltaPayload = payload::read(payload).ok_or(CheckpointFault::Payload)?;
        let len = root.ids.len();
        let levels_place = payload::place(payload, &root.levels);
        let levels: Vec<usize> =
            elements::<4>(&file, &levels_place, 0..root.levels.len().min(LEVELS + 1))
                .map_err(CheckpointFault::Archive)?
                .iter()
                .map(|start| u32::from_le_bytes(*start) as usize)
                .collect();
        let blocks = levels.last().copied().unwrap_or(0);
        let hashes: usize = levels
            .windows(2)
            .enumerate()
            .map(|(level, pair)| match pair {
                [from, to] => to.saturating_sub(*from) * block_len(4 * level, page_bits),
                _ => 0,
            })
            .sum();
        let whole = root.positions.len() == len
            && levels.len() == LEVELS + 1
            && levels.is_sorted()
            && root.prefixes.len() == blocks
            && root.occupied.len() == blocks
            && root.many.len() == blocks
            && root.hashes.len() == hashes;
        if !whole {
            return Err(CheckpointFault::Payload);
        }
        Ok(Self {
            len,
            page_bits,
            ids: payload::place(payload, &root.ids),
            positions: payload::place(payload, &root.positions),
            levels,
            prefixes: payload::place(payload, &root.prefixes),
            occupied: payload::place(payload, &root.occupied),
            many: payload::place(payload, &root.many),
            hashes: payload::place(payload, &root.hashes),
            history: payload::place(payload, &root.history),
            holes: payload::place(payload, &root.holes),
            symbols: payload::place(payload, &root.symbols),
            file,
        })
    }

    /// What the tree does not say.
    pub(super) fn beside(&self) -> Result<Beside, ArchiveError> {
        Beside::read(&self.file, &self.history, &self.holes)
    }

    /// The coded symbols of the set.
    pub(super) fn symbols(&self) -> Result<&[[u8; 32]], ArchiveError> {
        Ok(self.file.slice(self.symbols.clone())?.as_chunks().0)
    }

    fn number(&self, array: &Range<usize>, place: usize) -> Result<u32, ArchiveError> {
        let number = elements::<4>(&self.file, array, place..place + 1)?.first();
        Ok(number.map_or(0, |number| u32::from_le_bytes(*number)))
    }
}

impl DeltaArrays for DeltaFile {
    fn len(&self) -> usize {
        self.len
    }

    fn ids(&self, places: Range<usize>) -> Result<&[Hash], ArchiveError> {
        elements(&self.file, &self.ids, places)
    }

    fn positions(&self, places: Range<usize>) -> Result<&[PackedPosition], ArchiveError> {
        elements(&self.file, &self.positions, places)
    }

    fn block(&self, key: BlockKey) -> Result<Option<DeltaBlock<'_>>, ArchiveError> {
        let level = key.depth / 4;
        let (Some(from), Some(to)) = (self.levels.get(level), self.levels.get(level + 1)) else {
            return Ok(None);
        };
        let (mut low, mut high) = (*from, *to);
        while low < high {
            let middle = low + (high - low) / 2;
            if u64::from(self.number(&self.prefixes, middle)?) < key.prefix {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == *to || u64::from(self.number(&self.prefixes, low)?) != key.prefix {
            return Ok(None);
        }
        let above: usize = self
            .levels
            .windows(2)
            .take(level)
            .enumerate()
            .map(|(level, pair)| match pair {
                [from, to] => (to - from) * block_len(4 * level, self.page_bits),
                _ => 0,
            })
            .sum();
        let width = block_len(key.depth, self.page_bits);
        let start = above + (low - from) * width;
        Ok(Some(DeltaBlock {
            occupied: self.number(&self.occupied, low)?,
            many: self.number(&self.many, low)?,
            hashes: elements(&self.file, &self.hashes, start..start + width)?,
        }))
    }
}

/// Writes the payload of a delta.
pub(super) fn write(
    writer: &mut BlockWriter<'_>,
    changes: &Changes,
    beside: &Beside,
) -> Result<(), WriteError> {
    let Changes { entries, blocks } = changes;
    let ids_start = writer.len();
    for entry in entries {
        writer.write(&entry.id)?;
    }
    let positions_start = writer.len();
    for entry in entries {
        let position = pack_position(entry.position)
            .ok_or(WriteError::PositionTooLarge { position: entry.position })?;
        writer.write(&position)?;
    }
    let levels = (0..=LEVELS).map(|level| {
        let before = blocks.partition_point(|block| block.key.depth < 4 * level);
        u32::try_from(before).unwrap_or(u32::MAX)
    });
    let levels = write_numbers(writer, levels)?;
    let prefix = |prefix| u32::try_from(prefix).unwrap_or(u32::MAX);
    let prefixes = write_numbers(writer, blocks.iter().map(|block| prefix(block.key.prefix)))?;
    let occupied = write_numbers(writer, blocks.iter().map(|block| block.occupied))?;
    let many = write_numbers(writer, blocks.iter().map(|block| block.many))?;
    let hashes_start = writer.len();
    for block in blocks {
        writer.write(block.hashes.as_flattened())?;
    }
    let hashes_len = (writer.len() - hashes_start) / 32;
    let BesideArrays { history, holes, symbols } = beside.write(writer)?;
    let root = DeltaPayload {
        ids: Array::new(ids_start, entries.len()),
        positions: Array::new(positions_start, entries.len()),
        levels,
        prefixes,
        occupied,
        many,
        hashes: Array::new(hashes_start, hashes_len),
        history,
        holes,
        symbols,
    };
    writer.align(16)?;
    let root = payload::root(&root, writer.len()).map_err(|_| WriteError::Payload)?;
    writer.write(&root)?;
    Ok(())
}

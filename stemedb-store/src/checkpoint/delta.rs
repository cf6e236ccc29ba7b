//! A delta of a checkpoint: what came since what it stands on.

use core::ops::Range;

use stemedb_merkle::{
    Hash, MappedSetError,
    set::{
        Changes,
        mapped::{
            BlockKey, BlockState, DeltaArrays, IdArrays, PackedPosition, block_bits, pack_position,
        },
    },
};

use super::{
    CheckpointFault, WriteError,
    base::{prefetch, write_numbers},
    blocks::{BlockFile, BlockWriter},
    id_filter::{IdFilter, filter_len},
    payload::{self, Array, DeltaPayload, elements},
    state::{CheckpointState, StateArrays, StateRanges},
};

/// Depths at which blocks of hashes can begin: 0, 4, up to 28.
const LEVELS: usize = 8;

/// How many prefixes of blocks are read together.
const PREFIXES_AT_ONCE: usize = 16;

/// An open delta.
#[derive(Debug)]
pub(super) struct DeltaFile {
    pub(super) file: BlockFile,
    len: usize,
    page_bits: usize,
    ids: Range<usize>,
    positions: Range<usize>,
    /// Where the blocks of each depth begin, and their number.
    levels: [usize; LEVELS + 1],
    prefixes: Range<usize>,
    occupied: Range<usize>,
    many: Range<usize>,
    hashes: Range<usize>,
    pub(super) filter: Range<usize>,
    /// What the tree does not say.
    pub(super) state: StateRanges,
}

/// How many hashes a block at `depth` has.
fn block_len(depth: usize, page_bits: usize) -> usize {
    (2 << block_bits(depth, page_bits)) - 2
}

impl DeltaFile {
    /// Opens a delta over a base whose pages have `page_bits`.
    pub(super) fn open(file: BlockFile, page_bits: usize) -> Result<Self, CheckpointFault> {
        let [
            ids,
            positions,
            level_starts,
            prefixes,
            occupied,
            many,
            hashes,
            history,
            holes,
            symbols,
            segments,
            filter,
        ] = payload::arrays(&file, [32, 6, 4, 4, 4, 4, 32, 32, 48, 32, 40, 64])?;
        if level_starts.len() != 4 * (LEVELS + 1) {
            return Err(CheckpointFault::Payload);
        }
        let mut levels = [[0; 4]; LEVELS + 1];
        elements(&file, &level_starts, 0, &mut levels).map_err(CheckpointFault::MappedSet)?;
        let levels = levels.map(|start| u32::from_le_bytes(start) as usize);
        let [.., blocks] = levels;
        let len = ids.len() / 32;
        let expected: usize = levels
            .windows(2)
            .enumerate()
            .map(|(level, pair)| match pair {
                // Whether they are in order is checked below.
                [from, to] => to.saturating_sub(*from) * block_len(4 * level, page_bits),
                _ => 0,
            })
            .sum();
        let whole = positions.len() == 6 * len
            && levels.is_sorted()
            && prefixes.len() == 4 * blocks
            && occupied.len() == 4 * blocks
            && many.len() == 4 * blocks
            && hashes.len() == 32 * expected
            && filter.len() == filter_len(len);
        if !whole {
            return Err(CheckpointFault::Payload);
        }
        Ok(Self {
            file,
            len,
            page_bits,
            ids,
            positions,
            levels,
            prefixes,
            occupied,
            many,
            hashes,
            filter,
            state: StateRanges { history, holes, symbols, segments },
        })
    }

    fn number(&self, array: &Range<usize>, place: usize) -> Result<u32, MappedSetError> {
        let mut number = [[0; 4]];
        elements(&self.file, array, place, &mut number)?;
        let [number] = number;
        Ok(u32::from_le_bytes(number))
    }

    /// The number of the block with this prefix among those of its depth, which are in order.
    ///
    /// Prefixes are those of hashes, spread evenly: it is looked for where it is expected, with so
    /// many beside it as a cache line has. O(log log n) for these, O(log n) for any others.
    fn find_prefix(
        &self,
        among: Range<usize>,
        key: BlockKey,
    ) -> Result<Option<usize>, MappedSetError> {
        let Range { start: mut low, end: mut high } = among;
        let wanted = key.prefix;
        // What prefixes can be between them.
        let (mut least, mut behind) = (0, 1 << key.depth);
        let mut halve = false;
        while low < high && (least..behind).contains(&wanted) {
            let len = high - low;
            let expected = if halve {
                len / 2
            } else {
                let share = u128::from(wanted - least) * len as u128 / u128::from(behind - least);
                usize::try_from(share).map_err(|_| self.file.inconsistent())?
            };
            let last_first = high.saturating_sub(PREFIXES_AT_ONCE).max(low);
            let first = (low + expected).saturating_sub(PREFIXES_AT_ONCE / 2);
            let first = first.clamp(low, last_first);
            let mut found = [[0; 4]; PREFIXES_AT_ONCE];
            let (found, _) = found.split_at_mut(PREFIXES_AT_ONCE.min(high - first));
            elements(&self.file, &self.prefixes, first, found)?;
            let prefixes = || found.iter().map(|prefix| u64::from(u32::from_le_bytes(*prefix)));
            if let Some(place) = prefixes().position(|prefix| prefix == wanted) {
                return Ok(Some(first + place));
            }
            match (prefixes().next(), prefixes().next_back()) {
                (Some(lowest), _) if wanted < lowest => (high, behind) = (first, lowest),
                (_, Some(highest)) if highest < wanted => {
                    (low, least) = (first + found.len(), highest + 1);
                }
                _ => return Ok(None),
            }
            halve = high - low > len / 2;
        }
        Ok(None)
    }
}

impl IdArrays for DeltaFile {
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
}

impl DeltaArrays for DeltaFile {
    fn block(&self, key: BlockKey) -> Result<Option<usize>, MappedSetError> {
        let level = key.depth / 4;
        let (Some(from), Some(to)) = (self.levels.get(level), self.levels.get(level + 1)) else {
            return Ok(None);
        };
        self.find_prefix(*from..*to, key)
    }

    fn block_hashes(
        &self,
        key: BlockKey,
        number: usize,
        first: usize,
        into: &mut [Hash],
    ) -> Result<(), MappedSetError> {
        let level = key.depth / 4;
        let first_of_level = self.levels.get(level).ok_or_else(|| self.file.inconsistent())?;
        let within = number.checked_sub(*first_of_level);
        let within = within.ok_or_else(|| self.file.inconsistent())?;
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
        let start = above + within * block_len(key.depth, self.page_bits);
        elements(&self.file, &self.hashes, start + first, into)
    }

    fn block_state(&self, number: usize) -> Result<BlockState, MappedSetError> {
        Ok(BlockState {
            occupied: self.number(&self.occupied, number)?,
            many: self.number(&self.many, number)?,
        })
    }
}

/// Writes the payload of a delta.
pub(super) fn write(
    writer: &mut BlockWriter<'_>,
    changes: &Changes,
    state: &CheckpointState,
) -> Result<(), WriteError> {
    let Changes { entries, blocks } = changes;
    let mut filter = IdFilter::new(entries.len() as u64);
    let ids_start = writer.len();
    for entry in entries {
        filter.insert(&entry.id);
        writer.write(&entry.id)?;
    }
    let positions_start = writer.len();
    for entry in entries {
        let position = pack_position(entry.position)
            .ok_or(WriteError::PositionTooLarge { position: entry.position })?;
        writer.write(&position)?;
    }
    // A block has a prefix of 28 bits at most, and each comes once at each of eight depths.
    let number = |number: u64| u32::try_from(number).map_err(|_| WriteError::Payload);
    let mut levels = [0; LEVELS + 1];
    for (level, start) in levels.iter_mut().enumerate() {
        let before = blocks.partition_point(|block| block.key.depth < 4 * level);
        *start = number(before as u64)?;
    }
    let levels = write_numbers(writer, levels.into_iter())?;
    let prefixes = blocks.iter().map(|block| number(block.key.prefix));
    let prefixes = write_numbers(writer, prefixes.collect::<Result<Vec<_>, _>>()?.into_iter())?;
    let occupied = write_numbers(writer, blocks.iter().map(|block| block.occupied))?;
    let many = write_numbers(writer, blocks.iter().map(|block| block.many))?;
    let hashes_start = writer.len();
    for block in blocks {
        writer.write(block.hashes.as_flattened())?;
    }
    let hashes_len = (writer.len() - hashes_start) / 32;
    let StateArrays { history, holes, symbols, segments } = state.write(writer)?;
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
        segments,
        filter: filter.write(writer)?,
    };
    writer.align(16)?;
    let root = payload::root(&root, writer.len()).map_err(|_| WriteError::Payload)?;
    writer.write(&root)?;
    Ok(())
}

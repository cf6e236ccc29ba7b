//! The arrays of a mapped set, on whatever medium they lie.

use std::{fmt, ops::Range};

use super::{
    error::MappedSetError,
    layout::BlockKey,
    position::{PackedPosition, unpack_position},
};
use crate::{id::Hash, set::entry::Entry};

/// Number of entries that are copied at a time.
const ENTRIES_AT_ONCE: usize = 32;

/// Sorted ids and the positions beside them.
#[expect(clippy::len_without_is_empty, reason = "a mapped set is asked, not its arrays")]
pub trait IdArrays: fmt::Debug + Send + Sync {
    /// Number of ids.
    fn len(&self) -> usize;

    /// Copies the ids from the place `first` on, as many as there is room for.
    ///
    /// # Errors
    ///
    /// If they are damaged, or there are fewer.
    fn ids(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError>;

    /// Copies the positions beside them.
    ///
    /// # Errors
    ///
    /// If they are damaged, or there are fewer.
    fn positions(&self, first: usize, into: &mut [PackedPosition]) -> Result<(), MappedSetError>;

    /// Prefetches the ids of these places, without waiting for them. The result has no meaning.
    fn prefetch_ids(&self, places: Range<usize>) -> u64 {
        let _ = places;
        0
    }

    /// As [`prefetch_ids`](Self::prefetch_ids), the positions beside them.
    fn prefetch_positions(&self, places: Range<usize>) -> u64 {
        let _ = places;
        0
    }

    /// The id of a place.
    ///
    /// # Errors
    ///
    /// If it is damaged, or there is none.
    fn id(&self, place: usize) -> Result<Hash, MappedSetError> {
        let mut id = [[0; 32]];
        self.ids(place, &mut id)?;
        let [id] = id;
        Ok(id)
    }

    /// The position of a place.
    ///
    /// # Errors
    ///
    /// If it is damaged, or there is none.
    fn position(&self, place: usize) -> Result<PackedPosition, MappedSetError> {
        let mut position = [[0; 6]];
        self.positions(place, &mut position)?;
        let [position] = position;
        Ok(position)
    }

    /// Appends the entries of these places.
    ///
    /// # Errors
    ///
    /// If they are damaged, or there are fewer.
    fn entries(&self, places: Range<usize>, into: &mut Vec<Entry>) -> Result<(), MappedSetError> {
        let mut ids = [[0; 32]; ENTRIES_AT_ONCE];
        let mut positions = [[0; 6]; ENTRIES_AT_ONCE];
        for first in places.clone().step_by(ENTRIES_AT_ONCE) {
            let count = ENTRIES_AT_ONCE.min(places.end - first);
            let (ids, _) = ids.split_at_mut(count);
            let (positions, _) = positions.split_at_mut(count);
            self.ids(first, ids)?;
            self.positions(first, positions)?;
            let entries = ids.iter().zip(&*positions);
            into.extend(
                entries
                    .map(|(id, position)| Entry { id: *id, position: unpack_position(*position) }),
            );
        }
        Ok(())
    }
}

/// The arrays of a base, of fewer than 2^32 ids.
pub trait BaseArrays: IdArrays {
    /// Start and end of a page: the places of the first ids of this page and the next one, or
    /// of later pages where they are empty; [`len`](IdArrays::len) behind the last.
    ///
    /// # Errors
    ///
    /// If they are damaged, or there are fewer pages.
    fn page_starts(&self, page: usize) -> Result<[usize; 2], MappedSetError>;

    /// Copies the hashes from the place `first` on, as many as there is room for: blocks of up to
    /// four levels, by depth and then by prefix, each with two halves, four quarters, and so on.
    ///
    /// # Errors
    ///
    /// If they are damaged, or there are fewer.
    fn hashes(&self, first: usize, into: &mut [Hash]) -> Result<(), MappedSetError>;

    /// The error of parts that contradict each other.
    fn inconsistent(&self) -> MappedSetError;
}

/// The arrays of a delta.
pub trait DeltaArrays: IdArrays {
    /// The number of the changed block of this depth and prefix, if there is one.
    ///
    /// # Errors
    ///
    /// If what tells is damaged.
    fn block(&self, key: BlockKey) -> Result<Option<usize>, MappedSetError>;

    /// Copies hashes of the block of this name and number from the place `first` in it on, as many
    /// as there is room for: two halves, four quarters, and so on.
    ///
    /// # Errors
    ///
    /// If they are damaged, or there are fewer.
    fn block_hashes(
        &self,
        key: BlockKey,
        number: usize,
        first: usize,
        into: &mut [Hash],
    ) -> Result<(), MappedSetError>;

    /// The states of the subtrees of the block of this number.
    ///
    /// # Errors
    ///
    /// If they are damaged.
    fn block_state(&self, number: usize) -> Result<BlockState, MappedSetError>;
}

/// States of the subtrees of a changed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockState {
    /// Mask of the subtrees that hold an id, bit `i` for the hash `i`.
    pub occupied: u32,
    /// Mask of those that hold two ids or more.
    pub many: u32,
}

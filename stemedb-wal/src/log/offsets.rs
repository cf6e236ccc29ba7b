//! The offsets of the entries of a segment that has no footer on disk.

use std::sync::{OnceLock, PoisonError, RwLock};

use crate::{
    error::{DamageKind, ReadError},
    internal::in_memory,
    scan::{Gap, Scanner, file::SegmentFile, offsets_of},
    segment::SegmentHeader,
};

/// Offsets in memory. Locked for moments only, never while the disk works.
///
/// Those of entries before the place where opening began to read are found when they are first
/// asked for, so that opening need not read the segment from the front.
#[derive(Debug, Default)]
pub(crate) struct MemoryOffsets {
    /// How many entries there are before that place, and where it is in the file.
    earlier_entries: u64,
    earlier_end: u64,
    earlier: OnceLock<Vec<u32>>,
    later: RwLock<Vec<u32>>,
}

impl From<Vec<u32>> for MemoryOffsets {
    fn from(offsets: Vec<u32>) -> Self {
        Self { later: RwLock::new(offsets), ..Self::default() }
    }
}

impl MemoryOffsets {
    /// Those from `end` on; the `entries` before it are yet to be read.
    pub(crate) fn from_middle(entries: u64, end: u64, offsets: Vec<u32>) -> Self {
        Self { earlier_entries: entries, earlier_end: end, ..Self::from(offsets) }
    }

    /// The same ones, for a file that has the same records at the same places.
    pub(crate) fn copy(&self) -> Self {
        let later = self.later.read().unwrap_or_else(PoisonError::into_inner).clone();
        let earlier = self.earlier.clone();
        Self { earlier, ..Self::from_middle(self.earlier_entries, self.earlier_end, later) }
    }

    pub(crate) fn extend(&self, offsets: impl Iterator<Item = u32>) {
        self.later.write().unwrap_or_else(PoisonError::into_inner).extend(offsets);
    }

    /// Copies the offsets of the entries from `from` on into `out`, as many as lie together.
    pub(crate) fn copy_to(
        &self,
        file: SegmentFile<'_>,
        header: &SegmentHeader,
        from: u64,
        out: &mut [u32],
    ) -> Result<usize, ReadError> {
        let copy = |offsets: &[u32], from: u64, out: &mut [u32]| {
            let found = offsets.iter().skip(in_memory(from));
            out.iter_mut().zip(found).map(|(to, offset)| *to = *offset).count()
        };
        match from.checked_sub(self.earlier_entries) {
            Some(from) => {
                let later = self.later.read().unwrap_or_else(PoisonError::into_inner);
                Ok(copy(&later, from, out))
            }
            None => Ok(copy(self.earlier(file, header)?, from, out)),
        }
    }

    /// All offsets.
    pub(crate) fn all(
        &self,
        file: SegmentFile<'_>,
        header: &SegmentHeader,
    ) -> Result<Vec<u32>, ReadError> {
        let mut all = self.earlier(file, header)?.to_vec();
        all.extend_from_slice(&self.later.read().unwrap_or_else(PoisonError::into_inner));
        Ok(all)
    }

    /// Those that opening has not read. O(1), but for the first time, which reads the file as far
    /// as they go.
    pub(super) fn earlier(
        &self,
        file: SegmentFile<'_>,
        header: &SegmentHeader,
    ) -> Result<&[u32], ReadError> {
        if self.earlier_entries == 0 {
            return Ok(&[]);
        }
        if let Some(earlier) = self.earlier.get() {
            return Ok(earlier);
        }
        let bytes = file.read_all(self.earlier_end)?;
        let mut scanned = Scanner::new(header).check_bodies_from(u64::MAX).all(&bytes);
        let reached = scanned.reached;
        let entries = reached.next_index - header.first_index;
        if (reached.offset, entries) != (self.earlier_end, self.earlier_entries) {
            if scanned.gap.what == DamageKind::Short {
                let (offset, index) = (reached.offset, reached.next_index);
                scanned.gap = Gap { offset, index, what: DamageKind::Sequence };
            }
            return Err(ReadError::Damaged(scanned.damage(file)));
        }
        Ok(self.earlier.get_or_init(|| offsets_of(header, &scanned.placed).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that are yet to be read are not taken for none.
    #[test]
    fn a_copy_has_the_earlier_ones_as_well() {
        let copy = MemoryOffsets::from_middle(3, 100, vec![120, 130]).copy();
        assert_eq!((copy.earlier_entries, copy.earlier_end), (3, 100));
        assert!(copy.earlier.get().is_none());
        assert_eq!(*copy.later.read().unwrap(), [120, 130]);
        let read = MemoryOffsets::from_middle(1, 100, vec![120]);
        read.earlier.set(vec![40]).unwrap();
        assert_eq!(read.copy().earlier.get(), Some(&vec![40]));
    }
}

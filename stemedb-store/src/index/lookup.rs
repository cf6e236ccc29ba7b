//! Filter in front of the set tree.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use stemedb_merkle::{Hash, MappedSetError, set::mapped::MappedSet};

use super::filter::Filter;
use crate::{checkpoint::Checkpoint, error::TreeFailure};

/// Filter that answers for most ids which are not in the set tree, without it: a fold may hold
/// that.
#[derive(Debug)]
pub(super) struct LookupFilter {
    /// Of the ids that came after the mapped set.
    pub(super) filter: Filter,
    pub(super) mapped: Option<Arc<MappedLookup>>,
    /// Why the set tree does not have everything.
    pub(super) failure: Option<TreeFailure>,
}

impl LookupFilter {
    pub(super) fn new(filter: Filter, checkpoint: Option<&Checkpoint>) -> Self {
        Self { filter, mapped: checkpoint.map(MappedLookup::new).map(Arc::new), failure: None }
    }
}

/// A mapped set, that an id was looked up in and not found; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Absent(u64);

/// An id that is to be written if nothing holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) id: Hash,
    /// What need not be asked again.
    pub(crate) absent_from: Absent,
}

/// The mapped set, behind the filters that were saved with it.
#[derive(Debug)]
pub(super) struct MappedLookup {
    checkpoint: Checkpoint,
    set: MappedSet,
    /// Told from all others of this process.
    absent: Absent,
}

impl MappedLookup {
    fn new(checkpoint: &Checkpoint) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let absent = Absent(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        Self { checkpoint: checkpoint.clone(), set: checkpoint.mapped_set(), absent }
    }

    /// What an id is absent from that this lacks.
    pub(super) fn absent(&self) -> Absent {
        self.absent
    }

    /// The position of an id, if it is there. Only deltas whose filters know it are searched, the
    /// newest first. The base is searched without its filter: who asks for one id mostly has it
    /// from this store, and waits for one access to memory less.
    pub(super) fn position(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        for part in (1..self.set.parts()).rev() {
            let mut maybe = [false];
            self.checkpoint.part_may_have(part, core::slice::from_ref(id), &mut maybe)?;
            if maybe == [true]
                && let Some(position) = self.set.position_in(part, id)?
            {
                return Ok(Some(position));
            }
        }
        self.set.position_in(0, id)
    }

    /// The positions of ids, in their order. Of those that the filters do not know nothing else is
    /// read.
    pub(super) fn positions(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, MappedSetError> {
        let mut positions = vec![None; ids.len()];
        for part in (0..self.set.parts()).rev() {
            // Of what was found already nothing more is asked.
            let mut maybe: Vec<bool> = positions.iter().map(Option::is_some).collect();
            self.checkpoint.part_may_have(part, ids, &mut maybe)?;
            let is_asked =
                |(maybe, position): &(&bool, &Option<u64>)| **maybe && position.is_none();
            let asked: Vec<Hash> = ids
                .iter()
                .zip(maybe.iter().zip(&positions))
                .filter(|(_, known)| is_asked(known))
                .map(|(id, _)| *id)
                .collect();
            if asked.is_empty() {
                continue;
            }
            let mut found = self.set.positions_in(part, &asked)?.into_iter();
            for (maybe, position) in maybe.iter().zip(&mut positions) {
                if *maybe && position.is_none() {
                    *position = found.next().flatten();
                }
            }
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::tests::{chain, entries};
    use stemedb_simdisk::FaultyDisk;

    /// Part by part, by the filters, each id is found where the whole set has it.
    #[test]
    fn filters_hide_nothing() {
        let disk = FaultyDisk::new(1);
        let (checkpoint, _) = chain(&disk);
        let lookup = MappedLookup::new(&checkpoint);
        assert!(lookup.set.parts() > 2);
        let mut ids: Vec<Hash> = entries(0, 5000).iter().map(|entry| entry.id).collect();
        ids.reverse();
        let expected: Vec<_> = ids.iter().map(|id| lookup.set.position(id).unwrap()).collect();
        assert_eq!(expected.iter().flatten().count() as u64, lookup.set.len());
        assert_eq!(lookup.positions(&ids).unwrap(), expected);
        for (id, expected) in ids.iter().zip(&expected) {
            assert_eq!(lookup.position(id).unwrap(), *expected);
            assert_eq!(lookup.positions(&[*id]).unwrap(), [*expected]);
        }
    }
}

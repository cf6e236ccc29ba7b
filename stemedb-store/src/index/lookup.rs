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

    /// The position of an id, if it is there.
    pub(super) fn position(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        let mut maybe = [false];
        self.checkpoint.may_have(core::slice::from_ref(id), &mut maybe)?;
        if maybe == [true] { self.set.position(id) } else { Ok(None) }
    }

    /// The positions of ids, in their order. Of those that the filters do not know nothing else is
    /// read.
    pub(super) fn positions(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, MappedSetError> {
        let mut maybe = vec![false; ids.len()];
        self.checkpoint.may_have(ids, &mut maybe)?;
        let asked = ids.iter().zip(&maybe).filter(|(_, maybe)| **maybe).map(|(id, _)| *id);
        let asked: Vec<Hash> = asked.collect();
        let mut found = self.set.positions(&asked)?.into_iter();
        Ok(maybe
            .into_iter()
            .map(|maybe| if maybe { found.next().flatten() } else { None })
            .collect())
    }
}

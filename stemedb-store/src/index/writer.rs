//! The index as the writer sees it: it asks where ids are, and tells what it wrote.

use std::{collections::HashMap, io, sync::Arc};

use stemedb_merkle::Hash;
use stemedb_wal::{
    error::ReadError,
    log::{HoleEntry, Placed, Watermark},
};

use super::{Asked, Claim, Index, folder::Folder, note_holes, pace::CheckpointPace};

/// Writing half of the index.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    index: Arc<Index>,
    /// Bodies that are lost and not back yet, those written meanwhile left out.
    holes: HashMap<Hash, HoleEntry>,
    folder: Option<Folder>,
    pace: Arc<CheckpointPace>,
}

/// Records are folded when they are one for so many ids in the set tree: then several share each
/// node that they change, which makes them three times as cheap as one by one.
const FOLD_SHARE: u64 = 8;

/// Fewer are not worth it, whatever the tree.
const FOLD_LEN_MIN: usize = 1024;

/// More are not left waiting: a caller that asks for the root waits for them, some 50 ms.
const FOLD_LEN_MAX: usize = 1 << 16;

/// With so many records that are not in the trees the writer waits until they are.
const RECENT_LEN_MAX: usize = 1 << 18;

impl IndexWriter {
    /// Over these trees, with all holes there are. With `threads`, one of its own folds beside the
    /// writer's.
    pub(crate) fn new(
        index: Arc<Index>,
        holes: HashMap<Hash, HoleEntry>,
        threads: bool,
        pace: Arc<CheckpointPace>,
    ) -> io::Result<Self> {
        let folder = threads.then(|| Folder::start(Arc::clone(&index))).transpose()?;
        Ok(Self { index, holes, folder, pace })
    }

    /// The index that is written.
    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Waits while restart checkpoints are too far behind.
    pub(crate) fn keep_pace(&self) {
        let (assertions, reached) = self.index.sizes();
        self.pace.wait(reached.next_index.get(), assertions);
    }

    /// What is to become of bodies with these ids: held, or written next. [`apply`](Self::apply)
    /// follows with what is [new](super::Claim::New), or [`abandon`](Self::abandon).
    ///
    /// # Errors
    ///
    /// If any one of them cannot be looked up; nothing is claimed then. The appends fail, and only
    /// those.
    pub(crate) fn claim(&self, asked: &[Asked], claims: &mut Vec<Claim>) -> Result<(), ReadError> {
        self.index.claim(asked, claims).map_err(|error| ReadError::Index(Box::new(error)))
    }

    /// Nothing came of what was claimed.
    pub(crate) fn abandon(&self) {
        self.index.abandon();
    }

    /// Entry of a body that was lost, if this is one.
    pub(crate) fn hole_of(&self, id: &Hash) -> Option<HoleEntry> {
        if self.holes.is_empty() { None } else { self.holes.get(id).copied() }
    }

    /// Takes in what was written. Not durable yet, and not shown to anyone.
    pub(crate) fn apply(&mut self, placed: &[Placed]) {
        if !self.holes.is_empty() {
            note_holes(&mut self.holes, placed);
        }
        let (unfolded, count) = self.index.note(placed);
        let worth_while = usize::try_from(count / FOLD_SHARE).unwrap_or(usize::MAX);
        if unfolded >= RECENT_LEN_MAX {
            drop(self.index.folded());
        } else if unfolded >= worth_while.clamp(FOLD_LEN_MIN, FOLD_LEN_MAX) {
            match &self.folder {
                // What is written now is synced next: the folder has the time for what was before.
                Some(folder) => folder.wake(),
                None => drop(self.index.folded()),
            }
        }
    }

    /// All that was taken in is durable, and log readers see it.
    pub(crate) fn publish(&mut self, durable: Watermark) {
        self.index.publish(durable);
    }

    /// Nothing has come for a while.
    pub(crate) fn idle(&mut self) {
        if let Some(folder) = &self.folder {
            folder.wake();
        }
    }
}

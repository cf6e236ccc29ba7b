//! The trees over the log, behind its writer.
//!
//! ```text
//!   writer --- apply ---> [ recent: by id ] --- fold, in another thread ---> set tree, history
//! ```
//!
//! A commit only notes what it wrote: nobody waits for a tree. Lookups ask the recent ids first and
//! then the set tree. Folding takes recent records into both trees, sorted and many at a time;
//! whoever asks for a root, a proof or a snapshot folds what is left first, so that both trees hold
//! all that was acknowledged.

mod filter;
mod fold;
mod folder;
mod recent;
mod trees;

use std::{collections::HashMap, io, sync::Arc};

use stemedb_merkle::Hash;
use stemedb_wal::{
    error::ReadError,
    log::{HoleEntry, Placed, Watermark},
};

use self::folder::Folder;
pub(crate) use self::{
    filter::Filter,
    fold::{Folded, note_holes, set_entry},
    recent::Recent,
    trees::{Trees, View},
};

/// What the writer asks and tells.
#[derive(Debug)]
pub(crate) struct Index {
    trees: Arc<Trees>,
    /// Bodies that are lost and not back yet, those written meanwhile left out.
    holes: HashMap<Hash, HoleEntry>,
    folder: Option<Folder>,
}

/// Records are folded when they are one for so many ids in the set tree: then several share each
/// node that they change, which makes them three times as cheap as one by one.
const FOLD_SHARE: u64 = 8;

/// Fewer are not worth it, whatever the tree.
const FOLD_LEN_MIN: usize = 1024;

/// More are not left waiting: whoever asks for the root waits for them, some 50 ms.
const FOLD_LEN_MAX: usize = 1 << 16;

/// With so many records that are not in the trees the writer waits until they are.
const RECENT_LEN_MAX: usize = 1 << 18;

impl Index {
    /// Over these trees, with all holes there are. With `threads`, one of its own folds beside the
    /// writer's.
    pub(crate) fn new(
        trees: Arc<Trees>,
        holes: HashMap<Hash, HoleEntry>,
        threads: bool,
    ) -> io::Result<Self> {
        let folder = threads.then(|| Folder::start(Arc::clone(&trees))).transpose()?;
        Ok(Self { trees, holes, folder })
    }

    /// Position of a body that is held, published or not.
    ///
    /// # Errors
    ///
    /// If it cannot be read. The append then fails, and only that.
    pub(crate) fn position_of(&self, id: &Hash) -> Result<Option<u64>, ReadError> {
        let positions = self.positions_of(std::slice::from_ref(id))?;
        Ok(positions.into_iter().next().flatten())
    }

    /// Positions of bodies, as [`position_of`](Self::position_of) has them: many at once cost less
    /// each.
    ///
    /// # Errors
    ///
    /// If any one of them cannot be read.
    pub(crate) fn positions_of(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, ReadError> {
        self.trees.written_positions(ids).map_err(|error| ReadError::Index(Box::new(error)))
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
        let (unfolded, count) = self.trees.note(placed);
        let worth_while = usize::try_from(count / FOLD_SHARE).unwrap_or(usize::MAX);
        if unfolded >= RECENT_LEN_MAX {
            drop(self.trees.folded());
        } else if unfolded >= worth_while.clamp(FOLD_LEN_MIN, FOLD_LEN_MAX) {
            match &self.folder {
                // What is written now is synced next: the folder has the time for what was before.
                Some(folder) => folder.wake(),
                None => drop(self.trees.folded()),
            }
        }
    }

    /// All that was taken in is durable, and log readers see it.
    pub(crate) fn publish(&mut self, durable: Watermark) {
        self.trees.publish(durable);
    }

    /// Nothing has come for a while.
    pub(crate) fn idle(&mut self) {
        if let Some(folder) = &self.folder {
            folder.wake();
        }
    }
}

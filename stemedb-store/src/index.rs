//! The trees over the log, behind its writer.
//!
//! ```text
//!   writer --- apply ---> [ recent: by id ] --- fold, in another thread ---> set tree, history
//! ```
//!
//! A commit only notes what it wrote: nobody waits for a tree. Lookups ask the recent ids first and
//! then the set tree. Folding takes recent records into both trees, sorted and many at a time;
//! a caller that asks for a root, a proof or a snapshot folds what is left first, so that both
//! trees hold all that was acknowledged.

mod filter;
mod folder;
mod id_table;
mod lookup;
mod pace;
mod recent;
mod state;
mod view;
mod writer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use stemedb_merkle::{
    Entry, Hash, LogIndex, LogSize, MappedSetError, MerkleTree, Root, Snapshot, history::History,
    set::sorted,
};
use stemedb_wal::{
    Position,
    log::{Kind, LogReader, Placed, Watermark},
};
use tokio::sync::watch;
use tracing::{error, trace, warn};

pub(crate) use self::{
    filter::Filter,
    lookup::{Absent, Asked},
    pace::CheckpointPace,
    recent::{Claim, Recent},
    state::{IndexState, note_holes, set_entry},
    view::View,
    writer::IndexWriter,
};
use self::{
    lookup::{LookupFilter, MappedLookup},
    recent::Run,
};
use crate::{checkpoint::Checkpoint, error::TreeFailure, head::Head};

/// Both trees and the recent records, for the writer and any number of readers.
///
/// Locks are taken in the order of the fields, none is held for longer than it takes to look
/// something up, or to take in [`SLICE_LEN`] ids; only `folded` is held for a whole fold.
///
/// A fold is all or nothing. Where the restart checkpoint turns out to be damaged in its midst, the
/// set tree is rebuilt from the log; where that fails as well, or a thread panics with a lock in
/// its hands, there is a [failure](Self::failure) from then on, and nothing is answered from trees
/// that have a part.
#[derive(Debug)]
pub(crate) struct Index {
    folded: Mutex<IndexState>,
    recent: RwLock<Recent>,
    known: RwLock<LookupFilter>,
    set: RwLock<MerkleTree>,
    /// How many wait to look something up in the set tree.
    waiting: AtomicUsize,
    /// Whether a thread panicked while it had one of the locks.
    panicked: AtomicBool,
    /// Whether the store was closed.
    closed: AtomicBool,
    /// What was wrong with the restart checkpoint that the set tree has left.
    damage: Mutex<Option<MappedSetError>>,
    /// How many entries the log has, for those who watch it; none once the store is closed.
    entries: RwLock<Option<watch::Sender<LogSize>>>,
    log: LogReader,
}

/// So many ids are taken into the set tree at a time: lookups wait no longer than that takes. They
/// are neighbours in the tree, so that many more together would hardly cost less each.
const SLICE_LEN: usize = 128;

/// With so many records that others wrote and that are not in the trees they are taken in at once:
/// a reader has no thread that does it beside.
const UNFOLDED_LEN_MAX: usize = 1 << 16;

impl Index {
    /// The trees of a log that has these records beyond them. The filter knows all ids of the tree
    /// that are not in its mapped set, which is that of the checkpoint.
    pub(crate) fn new(
        tree: MerkleTree,
        filter: Filter,
        checkpoint: Option<&Checkpoint>,
        mut folded: IndexState,
        recent: Recent,
        log: LogReader,
    ) -> Self {
        if recent.is_folded() {
            folded.reached = recent.reached;
        }
        Self {
            folded: folded.into(),
            known: LookupFilter::new(filter, checkpoint).into(),
            set: tree.into(),
            waiting: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            damage: Mutex::default(),
            entries: Some(watch::Sender::new(recent.reached.next_index.entries_before())).into(),
            recent: recent.into(),
            log,
        }
    }

    /// Says of each id what is to become of it; see [`IndexWriter::claim`].
    pub(super) fn claim(
        &self,
        asked: &[Asked],
        claims: &mut Vec<Claim>,
    ) -> Result<(), TreeFailure> {
        self.check()?;
        loop {
            let folds = self.recent().folds;
            let positions = self.ask(|| self.folded_positions(asked))?;
            let mut recent = self.recent_mut();
            // What was in neither of them may have got from here to the trees meanwhile.
            if recent.folds == folds {
                let positions = positions.into_iter().chain(std::iter::repeat(None));
                recent.claim(asked.iter().map(|asked| &asked.id).zip(positions), claims);
                return Ok(());
            }
        }
    }

    /// Forgets what was claimed.
    pub(super) fn abandon(&self) {
        self.recent_mut().abandon();
    }

    /// The positions of bodies that the restart checkpoint has, `None` of all others, and from
    /// what those are absent. Empty where there is no checkpoint, or it cannot be read: the writer
    /// looks them up again, and meets what is wrong.
    pub(crate) fn mapped_positions(&self, ids: &[Hash]) -> (Vec<Option<u64>>, Absent) {
        let mapped = self.known().mapped.clone();
        match mapped.map(|mapped| (mapped.positions(ids), mapped.absent())) {
            Some((Ok(positions), absent)) => (positions, absent),
            Some((Err(_), _)) | None => (Vec::new(), Absent::default()),
        }
    }

    /// The position of a body that is published.
    pub(crate) fn position(&self, id: &Hash) -> Result<Option<Position>, TreeFailure> {
        Ok(self.ask(|| self.position_by_mapped_set(id))?.map(Position))
    }

    /// The positions of bodies that are published, in the order of the ids.
    pub(crate) fn positions(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, TreeFailure> {
        self.ask(|| {
            // In this order: a record is forgotten only after it is in the tree.
            let mut positions: Vec<Option<u64>> = {
                let recent = self.recent();
                ids.iter().map(|id| recent.position(id)).collect()
            };
            let missing = || positions.iter().zip(ids).filter(|(position, _)| position.is_none());
            let absent_from = Absent::default();
            let asked: Vec<_> = missing().map(|(_, &id)| Asked { id, absent_from }).collect();
            let mut folded = self.folded_positions(&asked)?.into_iter();
            for position in positions.iter_mut().filter(|position| position.is_none()) {
                *position = folded.next().flatten();
            }
            Ok(positions)
        })
    }

    /// As [`position`](Self::position), from the restart checkpoint as it is.
    fn position_by_mapped_set(&self, id: &Hash) -> Result<Option<u64>, MappedSetError> {
        // In this order: a record is forgotten only after it is in the tree.
        if let Some(position) = self.recent().position(id) {
            return Ok(Some(position));
        }
        let mapped = {
            let known = self.known();
            if known.filter.may_have(id) { None } else { Some(known.mapped.clone()) }
        };
        match mapped {
            None => self.set().view().position(id),
            // A disk may be read: not under a lock.
            Some(Some(mapped)) => mapped.position(id),
            Some(None) => Ok(None),
        }
    }

    /// What `find` finds in the trees of this moment; once more where the restart checkpoint that
    /// the set tree lies in turns out to be damaged, and the tree was rebuilt from the log.
    pub(crate) fn find<T>(
        &self,
        find: impl Fn(&View) -> Result<T, MappedSetError>,
    ) -> Result<T, TreeFailure> {
        loop {
            match find(&self.view()?) {
                Ok(found) => return Ok(found),
                Err(damage) => self.leave_mapped_set(&damage)?,
            }
        }
    }

    /// Asks, and asks again once the set tree was rebuilt from the log, if the restart checkpoint
    /// that it lies in turns out to be damaged.
    fn ask<T>(&self, ask: impl Fn() -> Result<T, MappedSetError>) -> Result<T, TreeFailure> {
        if self.closed.load(Ordering::Acquire) {
            return Err(TreeFailure::Closed);
        }
        loop {
            match ask() {
                Ok(_) if self.panicked.load(Ordering::Acquire) => {
                    return Err(TreeFailure::Panicked);
                }
                Ok(found) => return Ok(found),
                // After that there is no mapped set to be damaged.
                Err(damage) => self.leave_mapped_set(&damage)?,
            }
        }
    }

    /// The positions of bodies that the set tree has, in their order; of those at the end, or of
    /// all, none where it has none.
    fn folded_positions(&self, asked: &[Asked]) -> Result<Vec<Option<u64>>, MappedSetError> {
        let (mut in_tree, mut in_mapped_set) = (Vec::new(), Vec::new());
        let mapped = {
            let known = self.known();
            let absent = known.mapped.as_deref().map(MappedLookup::absent);
            for (number, Asked { id, absent_from }) in asked.iter().enumerate() {
                if known.filter.may_have(id) {
                    in_tree.push((number, *id));
                } else if absent.is_some_and(|absent| absent != *absent_from) {
                    in_mapped_set.push((number, *id));
                }
            }
            known.mapped.clone()
        };
        if in_tree.is_empty() && in_mapped_set.is_empty() {
            return Ok(Vec::new());
        }
        let mut positions = vec![None; asked.len()];
        let mut settle = |asked: &[(usize, Hash)], found: Vec<Option<u64>>| {
            for ((number, _), found) in asked.iter().zip(found) {
                if let Some(position) = positions.get_mut(*number) {
                    *position = found;
                }
            }
        };
        let ids_of = |asked: &[(usize, Hash)]| asked.iter().map(|(_, id)| *id).collect::<Vec<_>>();
        for asked in in_tree.chunks(SLICE_LEN) {
            settle(asked, self.set().view().positions(&ids_of(asked))?);
        }
        if let Some(mapped) = mapped.filter(|_| !in_mapped_set.is_empty()) {
            settle(&in_mapped_set, mapped.positions(&ids_of(&in_mapped_set))?);
        }
        Ok(positions)
    }

    /// Takes note of what was written; says how many published records wait to be folded, and how
    /// many assertions there are.
    pub(super) fn note(&self, placed: &[Placed]) -> (usize, u64) {
        let mut recent = self.recent_mut();
        (recent.note(placed), recent.count)
    }

    /// Makes room for so many records of another process, by folding those that wait.
    ///
    /// # Errors
    ///
    /// As [`folded`](Self::folded).
    pub(crate) fn make_room(&self, len: usize) -> Result<(), TreeFailure> {
        let waiting = self.recent().waiting();
        if waiting == 0 || waiting + len < UNFOLDED_LEN_MAX {
            return Ok(());
        }
        self.folded().map(drop)
    }

    /// Takes in records behind those that it has, which another process has written.
    pub(crate) fn extend(&self, placed: &[Placed], reached: Watermark) {
        self.recent_mut().extend(placed);
        self.publish(reached);
    }

    /// All that was noted is durable.
    pub(super) fn publish(&self, durable: Watermark) {
        self.recent_mut().publish(durable);
        if let Some(entries) = &*self.entries.read().unwrap_or_else(PoisonError::into_inner) {
            entries.send_replace(durable.next_index.entries_before());
        }
    }

    /// Notifies of new entries, until the store is closed.
    pub(crate) fn watch(&self) -> watch::Receiver<LogSize> {
        match &*self.entries.read().unwrap_or_else(PoisonError::into_inner) {
            Some(entries) => entries.subscribe(),
            None => watch::channel(self.reached().next_index.entries_before()).1,
        }
    }

    /// How many assertions are published.
    pub(crate) fn count(&self) -> u64 {
        self.recent().count
    }

    /// How many assertions are published, and how far the log is, of one moment.
    pub(crate) fn sizes(&self) -> (u64, Watermark) {
        let recent = self.recent();
        (recent.count, recent.reached)
    }

    /// How far the log is published.
    pub(crate) fn reached(&self) -> Watermark {
        self.recent().reached
    }

    /// Folds all that is published. While the result is held, the trees stay as they are.
    ///
    /// # Errors
    ///
    /// If the trees do not have everything, and can't.
    pub(crate) fn folded(&self) -> Result<MutexGuard<'_, IndexState>, TreeFailure> {
        let mut folded = self.lock_folded();
        self.check()?;
        if !self.recent().is_folded() {
            self.fold(&mut folded)?;
        }
        self.check()?;
        Ok(folded)
    }

    fn lock_folded(&self) -> MutexGuard<'_, IndexState> {
        self.folded.lock().unwrap_or_else(|poisoned| self.after_panic(poisoned))
    }

    fn fold(&self, folded: &mut IndexState) -> Result<(), TreeFailure> {
        let (run, reached) = self.recent_mut().take();
        let placed = run.records.as_slice();
        let entries: Vec<Entry> = placed.iter().filter_map(set_entry).collect();
        let entries = sorted(&entries);
        let inserted = entries.chunks(SLICE_LEN).try_for_each(|slice| {
            {
                self.known_mut().filter.extend(slice);
            }
            self.set_mut().insert_batch(slice)?;
            self.give_way();
            Ok(())
        });
        if let Err(damage) = inserted {
            // The tree has a part of them. If it can't be rebuilt, nothing of the fold counts, and
            // the records stay where lookups find them.
            self.rebuild(folded, reached.next_index.entries_before(), &damage)?;
        }
        folded.note(&entries);
        folded.apply(placed);
        folded.reached = reached;
        trace!(records = placed.len(), "folded into the trees");
        let forgotten = self.recent_mut().forget();
        drop(run);
        if let Some(room) = Arc::into_inner(forgotten).and_then(Run::into_room) {
            self.recent_mut().keep(room);
        }
        Ok(())
    }

    /// Lets the set tree leave the restart checkpoint that it lies in, which is damaged.
    pub(crate) fn leave_mapped_set(&self, damage: &MappedSetError) -> Result<(), TreeFailure> {
        let mut folded = self.lock_folded();
        self.check()?;
        // Somebody else may have done it while this one waited.
        if self.known().mapped.is_none() {
            return Ok(());
        }
        let size = folded.history.size();
        self.rebuild(&mut folded, size, damage)
    }

    /// Rebuilds the set tree from the first `size` entries of the log: the restart checkpoint that
    /// it lies in is damaged. O(N log N); the log has everything.
    fn rebuild(
        &self,
        folded: &mut IndexState,
        size: LogSize,
        damage: &MappedSetError,
    ) -> Result<(), TreeFailure> {
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = Some(damage.clone());
        warn!(%damage, "the restart checkpoint is damaged: the set tree is rebuilt from the log");
        let failed = |log| {
            let failure = TreeFailure::NotRebuilt { checkpoint: damage.clone(), log };
            error!(%failure, "nothing is answered from the trees");
            self.known_mut().failure = Some(failure.clone());
            failure
        };
        let mut entries = Vec::new();
        for entry in self.log.entries(LogIndex(0)..size.next_index()) {
            let entry = entry.map_err(|error| failed(Some(Arc::new(error))))?;
            let position = match entry.kind {
                // A body that came back lies elsewhere, which only the tree tells.
                Kind::Hole => self.position_by_mapped_set(&entry.id).map_err(|_| failed(None))?,
                _ => Some(entry.position.get()),
            };
            entries.extend(position.map(|position| Entry { id: entry.id, position }));
        }
        let mut tree = MerkleTree::new();
        tree.insert_batch(&entries).map_err(|_| failed(None))?;
        let mut filter = Filter::default();
        filter.extend(&entries);
        drop(self.replace_tree(folded, tree, filter, None));
        Ok(())
    }

    /// What was wrong with a restart checkpoint that the set tree has left, or would have to leave.
    pub(crate) fn take_damage(&self) -> Option<MappedSetError> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Lets those go first who wait for the set tree: a lock that is taken again at once would keep
    /// them waiting for a whole fold.
    fn give_way(&self) {
        const LOOKS_MAX: usize = 200;
        let mut looks = 0;
        // Also when nobody does: the writer may be waiting for the processor.
        thread::yield_now();
        while self.waiting.load(Ordering::Relaxed) > 0 && looks < LOOKS_MAX {
            thread::yield_now();
            looks += 1;
        }
    }

    /// The root over all assertions that are published.
    pub(crate) fn root(&self) -> Result<Root, TreeFailure> {
        let _folded = self.folded()?;
        Ok(self.set().root())
    }

    /// All counts and roots, of one moment.
    pub(crate) fn head(&self) -> Result<Head, TreeFailure> {
        let folded = self.folded()?;
        let (count, set_root) = {
            let set = self.set();
            (set.len(), set.root())
        };
        let log = folded.history.head();
        Ok(Head {
            count,
            set_root,
            log_size: LogSize(log.size.0),
            log_root: log.root,
            last_time: folded.last_time,
        })
    }

    /// Both trees at this moment.
    pub(crate) fn view(&self) -> Result<View, TreeFailure> {
        let folded = self.folded()?;
        Ok(self.view_of(&folded))
    }

    /// Both trees at the moment of the fold.
    pub(crate) fn view_of(&self, folded: &IndexState) -> View {
        View {
            tree: self.set().snapshot(),
            history: folded.history.clone(),
            last_time: folded.last_time,
        }
    }

    /// The history tree at this moment.
    pub(crate) fn history(&self) -> Result<History, TreeFailure> {
        Ok(self.folded()?.history.clone())
    }

    /// The set tree at this moment.
    pub(crate) fn set_snapshot(&self) -> Result<Snapshot, TreeFailure> {
        let _folded = self.folded()?;
        Ok(self.set().snapshot())
    }

    /// Answers nothing from the trees any more, and wakes all watches.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // A fold under way writes tiles, and none begins from now on.
        drop(self.lock_folded());
        let entries = self.entries.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(entries);
    }

    /// Why the trees do not have everything, if so.
    pub(crate) fn failure(&self) -> Option<TreeFailure> {
        if self.closed.load(Ordering::Acquire) {
            return Some(TreeFailure::Closed);
        }
        let failure = self.known().failure.clone();
        let panicked = self.panicked.load(Ordering::Acquire);
        failure.or_else(|| panicked.then_some(TreeFailure::Panicked))
    }

    fn check(&self) -> Result<(), TreeFailure> {
        self.failure().map_or(Ok(()), Err)
    }

    /// A fault of the program, in the midst of a change of the set tree.
    #[expect(clippy::panic, reason = "it is what is asked for")]
    pub(crate) fn panic_in_a_change(&self) {
        let _set = self.set_mut();
        panic!("on purpose");
    }

    /// What a lock guards that a panic has left as it was in the midst of a change: it is not used
    /// for answers any more.
    fn after_panic<T>(&self, poisoned: PoisonError<T>) -> T {
        self.panicked.store(true, Ordering::Release);
        poisoned.into_inner()
    }

    /// Puts a tree of the same ids in the place of the set tree, which is returned. The filter
    /// knows all ids of the tree that are not in its mapped set, which is that of the checkpoint.
    pub(crate) fn replace_tree(
        &self,
        _folded: &IndexState,
        tree: MerkleTree,
        filter: Filter,
        checkpoint: Option<&Checkpoint>,
    ) -> MerkleTree {
        let known = LookupFilter::new(filter, checkpoint);
        let former = std::mem::replace(&mut *self.set_mut(), tree);
        // After the tree: until then the old ones are as right.
        *self.known_mut() = known;
        former
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(|poisoned| self.after_panic(poisoned))
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(|poisoned| self.after_panic(poisoned))
    }

    fn known(&self) -> RwLockReadGuard<'_, LookupFilter> {
        self.known.read().unwrap_or_else(|poisoned| self.after_panic(poisoned))
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, LookupFilter> {
        self.known.write().unwrap_or_else(|poisoned| self.after_panic(poisoned))
    }

    /// The set tree, between two slices of a fold that may be under way.
    fn set(&self) -> RwLockReadGuard<'_, MerkleTree> {
        if let Ok(set) = self.set.try_read() {
            return set;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let set = self.set.read().unwrap_or_else(|poisoned| self.after_panic(poisoned));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        set
    }

    fn set_mut(&self) -> RwLockWriteGuard<'_, MerkleTree> {
        self.set.write().unwrap_or_else(|poisoned| self.after_panic(poisoned))
    }
}

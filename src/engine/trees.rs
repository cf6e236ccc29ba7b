//! The trees, and what is on the way to them.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use stemedb_merkle::{
    ArchiveError, Entry, Hash, MerkleTree, Snapshot,
    history::{History, TreeHead},
    set::archive::Archive,
};
use stemedb_wal::{
    log::{LogReader, Placed, Watermark},
    record::Kind,
};
use tokio::sync::watch;

use super::{filter::Filter, fold::Folded, recent::Recent};
use crate::store::Head;

/// The trees at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) tree: Snapshot,
    pub(crate) history: History,
    pub(crate) last_time: u64,
}

impl View {
    pub(crate) fn log_head(&self) -> TreeHead {
        self.history.head()
    }
}

/// Both trees and the recent records, for the writer and any number of readers.
///
/// Locks are taken in the order of the fields, none is held for longer than it takes to look
/// something up, or to take in [`SLICE_LEN`] ids; only `folded` is held for a whole fold.
#[derive(Debug)]
pub(crate) struct Trees {
    folded: Mutex<Folded>,
    recent: RwLock<Recent>,
    known: RwLock<Known>,
    set: RwLock<MerkleTree>,
    /// How many wait to look something up in the set tree.
    waiting: AtomicUsize,
    /// How many entries the log has, for those who watch it.
    entries: watch::Sender<u64>,
    log: LogReader,
}

/// What tells most ids that are not in the set tree without it: a fold may hold that.
#[derive(Debug)]
struct Known {
    /// Of the ids that came after the archive.
    filter: Filter,
    archive: Option<Archive>,
    /// Why the set tree does not have everything.
    failure: Option<ArchiveError>,
}

impl Known {
    fn new(filter: Filter, tree: &MerkleTree) -> Self {
        Self { filter, archive: tree.view().archive().cloned(), failure: None }
    }
}

/// So many ids are taken into the set tree at a time: lookups wait no longer than that takes. They
/// are neighbours in the tree, so that many more together would hardly cost less each.
const SLICE_LEN: usize = 128;

impl Trees {
    /// The trees of a log that has these records beyond them. The filter knows all ids of the tree
    /// that are not in its archive.
    pub(crate) fn new(
        tree: MerkleTree,
        filter: Filter,
        mut folded: Folded,
        recent: Recent,
        log: LogReader,
    ) -> Self {
        if recent.is_folded() {
            folded.reached = recent.reached;
        }
        Self {
            folded: folded.into(),
            known: Known::new(filter, &tree).into(),
            set: tree.into(),
            waiting: AtomicUsize::new(0),
            entries: watch::Sender::new(recent.reached.next_index),
            recent: recent.into(),
            log,
        }
    }

    /// The positions of bodies, published or not.
    pub(super) fn written_positions(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, ArchiveError> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let mut positions: Vec<Option<u64>> = {
            let recent = self.recent();
            ids.iter().map(|id| recent.written_position(id)).collect()
        };
        match self.folded_positions(ids, &mut positions) {
            Ok(()) => Ok(positions),
            Err(damage) => {
                // After that there is no archive to be damaged.
                self.rebuild_after(damage)?;
                self.written_positions(ids)
            }
        }
    }

    /// The position of a body that is published.
    pub(crate) fn position(&self, id: &Hash) -> Result<Option<u64>, ArchiveError> {
        // In this order: a record is forgotten only after it is in the tree.
        let mut position = [self.recent().position(id)];
        self.folded_positions(std::slice::from_ref(id), &mut position)?;
        let [position] = position;
        Ok(position)
    }

    /// Looks up in the tree what is not known yet.
    fn folded_positions(
        &self,
        ids: &[Hash],
        positions: &mut [Option<u64>],
    ) -> Result<(), ArchiveError> {
        let (mut in_tree, mut in_archive) = (Vec::new(), Vec::new());
        let archive = {
            let known = self.known();
            for (number, (id, _)) in
                ids.iter().zip(&*positions).enumerate().filter(|(_, (_, known))| known.is_none())
            {
                if known.filter.may_have(id) {
                    in_tree.push((number, *id));
                } else if known.archive.is_some() {
                    in_archive.push((number, *id));
                }
            }
            known.archive.clone()
        };
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
        if let Some(archive) = archive.filter(|_| !in_archive.is_empty()) {
            settle(&in_archive, archive.positions(&ids_of(&in_archive))?);
        }
        Ok(())
    }

    /// Takes note of what was written; says how many published records wait to be folded, and how
    /// many assertions there are.
    pub(super) fn note(&self, placed: &[Placed]) -> (usize, u64) {
        let mut recent = self.recent_mut();
        (recent.note(placed), recent.count)
    }

    /// All that was noted is durable.
    pub(super) fn publish(&self, durable: Watermark) {
        self.recent_mut().publish(durable);
        self.entries.send_replace(durable.next_index);
    }

    /// Tells of new entries.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.entries.subscribe()
    }

    /// How many assertions are published.
    pub(crate) fn count(&self) -> u64 {
        self.recent().count
    }

    /// How many assertions are published, and how far the log is, of one moment.
    #[cfg(feature = "node")]
    pub(crate) fn sizes(&self) -> (u64, Watermark) {
        let recent = self.recent();
        (recent.count, recent.reached)
    }

    /// How far the log is published.
    pub(crate) fn reached(&self) -> Watermark {
        self.recent().reached
    }

    /// Folds all that is published. While the result is held, the trees stay as they are.
    pub(crate) fn folded(&self) -> MutexGuard<'_, Folded> {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.recent().is_folded() && self.failure().is_none() {
            self.fold(&mut folded);
        }
        folded
    }

    fn fold(&self, folded: &mut Folded) {
        let (placed, reached) = self.recent_mut().take();
        let mut entries: Vec<Entry> = placed.iter().filter_map(super::set_entry).collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        folded.note(&entries);
        let inserted = entries.chunks(SLICE_LEN).try_for_each(|slice| {
            {
                self.known_mut().filter.extend(slice);
            }
            self.set_mut().insert_batch(slice)?;
            self.give_way();
            Ok(())
        });
        folded.apply(&placed);
        folded.reached = reached;
        match inserted {
            Ok(()) => {
                let forgotten = self.recent_mut().forget();
                drop(forgotten);
            }
            Err(damage) => {
                // If that fails they stay where lookups find them.
                if self.rebuild(folded, damage).is_ok() {
                    drop(self.recent_mut().forget());
                }
            }
        }
    }

    fn rebuild_after(&self, damage: ArchiveError) -> Result<(), ArchiveError> {
        let mut folded = self.folded();
        // Somebody else may have done it while this one waited.
        if self.known().archive.is_some() { self.rebuild(&mut folded, damage) } else { Ok(()) }
    }

    /// Builds the set tree anew from the log: the restart checkpoint that it lies in is damaged.
    /// O(N log N); the log has everything.
    fn rebuild(&self, folded: &mut Folded, damage: ArchiveError) -> Result<(), ArchiveError> {
        let mut entries = Vec::new();
        let rebuilt = self.log.entries(0..folded.history.size().0).try_for_each(|entry| {
            // Of an entry that can't be read, the tree can't be told either.
            let entry = entry.map_err(|_| damage.clone())?;
            let position = match entry.kind {
                Kind::Hole => self.position(&entry.id)?,
                _ => Some(entry.position),
            };
            entries.extend(position.map(|position| Entry { id: entry.id, position }));
            Ok(())
        });
        let mut tree = MerkleTree::new();
        if let Err(failure) = rebuilt.and_then(|()| tree.insert_batch(&entries).map(drop)) {
            self.known_mut().failure = Some(failure.clone());
            return Err(failure);
        }
        let mut filter = Filter::default();
        filter.extend(&entries);
        drop(self.replace_tree(folded, tree, filter));
        folded.damage = Some(damage);
        Ok(())
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
    pub(crate) fn root(&self) -> Hash {
        let _folded = self.folded();
        self.set().root()
    }

    /// All counts and roots, of one moment.
    pub(crate) fn head(&self) -> Head {
        let folded = self.folded();
        let (count, set_root) = {
            let set = self.set();
            (set.len(), set.root())
        };
        let log = folded.history.head();
        Head {
            count,
            set_root,
            log_size: log.size.0,
            log_root: log.root,
            last_time: folded.last_time,
        }
    }

    /// Both trees at this moment.
    pub(crate) fn view(&self) -> View {
        let folded = self.folded();
        self.view_of(&folded)
    }

    /// Both trees at the moment of the fold.
    pub(crate) fn view_of(&self, folded: &Folded) -> View {
        View {
            tree: self.set().snapshot(),
            history: folded.history.clone(),
            last_time: folded.last_time,
        }
    }

    /// The history tree at this moment.
    pub(crate) fn history(&self) -> History {
        self.folded().history.clone()
    }

    /// The set tree at this moment.
    pub(crate) fn set_snapshot(&self) -> Snapshot {
        let _folded = self.folded();
        self.set().snapshot()
    }

    /// Why the set tree does not have everything, if so.
    pub(crate) fn failure(&self) -> Option<ArchiveError> {
        self.known().failure.clone()
    }

    /// Puts a tree of the same ids in the place of the set tree, which is returned. The filter
    /// knows all ids of the tree that are not in its archive.
    pub(crate) fn replace_tree(
        &self,
        _folded: &Folded,
        tree: MerkleTree,
        filter: Filter,
    ) -> MerkleTree {
        let known = Known::new(filter, &tree);
        let former = std::mem::replace(&mut *self.set_mut(), tree);
        // After the tree: until then the old ones are as right.
        *self.known_mut() = known;
        former
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set tree, between two slices of a fold that may be under way.
    fn set(&self) -> RwLockReadGuard<'_, MerkleTree> {
        if let Ok(set) = self.set.try_read() {
            return set;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        set
    }

    fn set_mut(&self) -> RwLockWriteGuard<'_, MerkleTree> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }
}

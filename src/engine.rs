//! The trees over the log, as its writer keeps them.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, RwLockReadGuard},
};

use stemedb_merkle::{
    ArchiveError, Entry, Hash, MerkleTree, Snapshot,
    history::{History, TreeHead, leaf_hash, tile::Tile},
};
use stemedb_wal::{
    commit::Index,
    error::{DiskError, ReadError},
    log::{HoleEntry, Placed, Watermark},
    record::Kind,
    tiles::TileFile,
};
use tokio::sync::watch;

/// What readers see: the trees at the end of a commit.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) tree: Snapshot,
    pub(crate) history: History,
    pub(crate) last_time: u64,
    /// How far the log was.
    pub(crate) reached: Watermark,
}

impl View {
    pub(crate) fn log_head(&self) -> TreeHead {
        self.history.head()
    }
}

/// The view that readers see, and who waits for the next.
#[derive(Debug)]
pub(crate) struct Published {
    view: RwLock<Arc<View>>,
    /// How many entries the log has, for those who watch it.
    entries: watch::Sender<u64>,
}

impl Published {
    fn new(view: View) -> Self {
        let entries = watch::Sender::new(view.reached.next_index);
        Self { view: RwLock::new(Arc::new(view)), entries }
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.read())
    }

    fn read(&self) -> RwLockReadGuard<'_, Arc<View>> {
        self.view.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.entries.subscribe()
    }

    fn publish(&self, view: View) {
        let entries = view.reached.next_index;
        let view = Arc::new(view);
        let former = {
            let mut place = self.view.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::replace(&mut *place, view)
        };
        // Outside the lock: it may be the last to hold a part of the tree.
        drop(former);
        self.entries.send_replace(entries);
    }
}

/// The trees, the tiles and the holes.
#[derive(Debug)]
pub(crate) struct Engine {
    set: SetKeeper,
    history: HistoryKeeper,
    published: Arc<Published>,
    /// Whether large batches go into the two trees at the same time.
    threads: bool,
    entries: Vec<Entry>,
}

/// The set tree.
#[derive(Debug)]
struct SetKeeper {
    tree: MerkleTree,
    /// Why it does not have everything.
    failure: Option<ArchiveError>,
    /// What was taken in since a restart checkpoint was begun.
    journal: Option<Vec<Entry>>,
}

/// The history tree, and what the log says beside.
#[derive(Debug)]
struct HistoryKeeper {
    tree: History,
    tiles: TileFile,
    /// Tiles that the disk did not take yet, and why.
    unwritten: Vec<Tile>,
    tiles_failure: Option<DiskError>,
    holes: HashMap<Hash, HoleEntry>,
    /// The time of the last entry.
    last_time: u64,
}

/// From so many records on it is worth a thread to take them into both trees at once.
const PARALLEL_LEN_MIN: usize = 4096;

impl Engine {
    /// Trees as a restart checkpoint has them, or empty ones.
    pub(crate) fn new(
        tree: MerkleTree,
        history: History,
        tiles: TileFile,
        holes: HashMap<Hash, HoleEntry>,
        last_time: u64,
        threads: bool,
    ) -> Self {
        let view = View {
            tree: tree.snapshot(),
            history: history.clone(),
            last_time,
            reached: Watermark::default(),
        };
        let (unwritten, tiles_failure) = (Vec::new(), None);
        Self {
            set: SetKeeper { tree, failure: None, journal: None },
            history: HistoryKeeper {
                tree: history,
                tiles,
                unwritten,
                tiles_failure,
                holes,
                last_time,
            },
            published: Arc::new(Published::new(view)),
            threads,
            entries: Vec::new(),
        }
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(crate) fn tiles(&self) -> &TileFile {
        &self.history.tiles
    }

    pub(crate) fn holes(&self) -> Vec<(Hash, HoleEntry)> {
        let holes = self.history.holes.iter();
        let mut holes: Vec<_> = holes.map(|(id, hole)| (*id, *hole)).collect();
        holes.sort_unstable_by_key(|(id, _)| *id);
        holes
    }

    pub(crate) fn tree(&self) -> &MerkleTree {
        &self.set.tree
    }

    pub(crate) fn history(&self) -> &History {
        &self.history.tree
    }

    pub(crate) fn failure(&self) -> Option<&ArchiveError> {
        self.set.failure.as_ref()
    }

    pub(crate) fn tiles_failure(&self) -> Option<&DiskError> {
        self.history.tiles_failure.as_ref()
    }

    /// Takes the set tree out, to go on with it elsewhere.
    pub(crate) fn replace_tree(&mut self, tree: MerkleTree) -> MerkleTree {
        std::mem::replace(&mut self.set.tree, tree)
    }

    /// Takes in records without their ids, which the caller brings into the set tree.
    pub(crate) fn apply_history(&mut self, placed: &[Placed]) {
        self.history.apply(placed);
    }

    /// Takes ids into the set tree.
    pub(crate) fn apply_set(&mut self, entries: &[Entry]) {
        self.set.apply(entries);
    }

    /// Notes that the set tree does not have everything.
    pub(crate) fn fail(&mut self, error: ArchiveError) {
        self.set.failure = Some(error);
    }

    /// Begins to note what is taken into the set tree, for another tree to catch up.
    pub(crate) fn begin_journal(&mut self) {
        self.set.journal = Some(Vec::new());
    }

    /// What was noted since the last call.
    pub(crate) fn take_journal(&mut self) -> Vec<Entry> {
        self.set.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes no more.
    pub(crate) fn end_journal(&mut self) {
        self.set.journal = None;
    }
}

impl SetKeeper {
    fn apply(&mut self, entries: &[Entry]) {
        if let Some(journal) = &mut self.journal {
            journal.extend_from_slice(entries);
        }
        if self.failure.is_none()
            && let Err(error) = self.tree.insert_batch(entries)
        {
            self.failure = Some(error);
        }
    }
}

impl HistoryKeeper {
    fn apply(&mut self, placed: &[Placed]) {
        let mut completed = Vec::new();
        for record in placed {
            match record.kind {
                Kind::Entry => {}
                Kind::Hole => {
                    let hole = HoleEntry { index: record.index, time: record.time };
                    self.holes.insert(record.id, hole);
                }
                Kind::Heal => {
                    self.holes.remove(&record.id);
                    continue;
                }
            }
            let leaf = leaf_hash(record.time, &record.id);
            self.tree.append(leaf, |tile| completed.push(tile));
            self.last_time = record.time;
        }
        self.unwritten.append(&mut completed);
        if !self.unwritten.is_empty() {
            match self.tiles.append(&self.unwritten) {
                Ok(()) => {
                    self.unwritten.clear();
                    self.tiles_failure = None;
                }
                // They are a cache of the log: tried again with the next, and missed by no append.
                Err(error) => self.tiles_failure = Some(error),
            }
        }
    }
}

/// What the set tree takes in of a record.
pub(crate) fn set_entry(record: &Placed) -> Option<Entry> {
    (record.kind != Kind::Hole).then_some(Entry { id: record.id, position: record.position })
}

impl Index for Engine {
    fn position_of(&self, id: &Hash) -> Result<Option<u64>, ReadError> {
        let boxed = |error: ArchiveError| ReadError::Index(Box::new(error));
        match &self.set.failure {
            Some(error) => Err(boxed(error.clone())),
            None => self.set.tree.view().position(id).map_err(boxed),
        }
    }

    fn hole_of(&self, id: &Hash) -> Option<HoleEntry> {
        self.history.holes.get(id).copied()
    }

    fn apply(&mut self, placed: &[Placed]) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.clear();
        entries.extend(placed.iter().filter_map(set_entry));
        let (set, history) = (&mut self.set, &mut self.history);
        if self.threads && placed.len() >= PARALLEL_LEN_MIN {
            std::thread::scope(|scope| {
                scope.spawn(|| history.apply(placed));
                set.apply(&entries);
            });
        } else {
            set.apply(&entries);
            history.apply(placed);
        }
        self.entries = entries;
    }

    fn publish(&mut self, durable: Watermark) {
        if self.set.failure.is_some() {
            return;
        }
        self.published.publish(View {
            tree: self.set.tree.snapshot(),
            history: self.history.tree.clone(),
            last_time: self.history.last_time,
            reached: durable,
        });
    }
}

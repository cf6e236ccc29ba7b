//! The history tree, and what the log says beside.

use std::{collections::HashMap, sync::Arc};

use crate::tiles::TileFile;
use stemedb_merkle::symbols::Sketch;
use stemedb_merkle::{
    Entry, Hash, Timestamp,
    history::{History, leaf_hashes, tile::Tile},
};
use stemedb_wal::{
    error::DiskError,
    log::{HoleEntry, Kind, Placed, Watermark},
};

/// What is folded but for the set tree.
#[derive(Debug)]
pub(crate) struct IndexState {
    pub(crate) history: History,
    tiles: TileFile,
    /// Tiles that the disk did not take yet, and why.
    unwritten: Vec<Tile>,
    pub(crate) tiles_failure: Option<DiskError>,
    pub(crate) holes: HashMap<Hash, HoleEntry>,
    /// The time of the last entry.
    pub(crate) last_time: Timestamp,
    /// How far the log is in the trees.
    pub(crate) reached: Watermark,
    /// What was taken into the set tree since a restart checkpoint was begun.
    pub(super) journal: Option<Vec<Entry>>,
    /// The first coded symbols of the set tree, once they were asked for: a store that is never
    /// compared with another does without.
    pub(crate) sketch: Option<Arc<Sketch>>,
}

/// How many leaves of the history are hashed together: they and the nodes above them fit a
/// second-level cache.
const LEAVES_AT_ONCE: usize = 4096;

impl IndexState {
    /// A history that comes to here.
    pub(crate) fn new(
        history: History,
        tiles: TileFile,
        holes: HashMap<Hash, HoleEntry>,
        last_time: Timestamp,
    ) -> Self {
        Self {
            history,
            tiles,
            unwritten: Vec::new(),
            tiles_failure: None,
            holes,
            last_time,
            reached: Watermark::default(),
            journal: None,
            sketch: None,
        }
    }

    /// Takes in records that are durable; their ids go into the set tree elsewhere.
    pub(crate) fn apply(&mut self, placed: &[Placed]) {
        note_holes(&mut self.holes, placed);
        let mut completed = Vec::new();
        let entries = placed.iter().filter(|record| record.kind.takes_index());
        let entries: Vec<_> = entries.map(|record| (record.time, &record.id)).collect();
        for run in entries.chunks(LEAVES_AT_ONCE) {
            self.history.extend(leaf_hashes(run), |tile| completed.push(tile));
        }
        if let Some((time, _)) = entries.last() {
            self.last_time = *time;
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

    pub(crate) fn tiles(&self) -> &TileFile {
        &self.tiles
    }

    /// Notes what is taken into the set tree.
    pub(super) fn note(&mut self, entries: &[Entry]) {
        if let Some(journal) = &mut self.journal {
            journal.extend_from_slice(entries);
        }
        if let Some(sketch) = &mut self.sketch {
            // Copied where a session has it pinned.
            let sketch = Arc::make_mut(sketch);
            for entry in entries {
                sketch.insert(&entry.id);
            }
        }
    }

    /// The holes, sorted by id.
    pub(crate) fn sorted_holes(&self) -> Vec<(Hash, HoleEntry)> {
        let mut holes: Vec<_> = self.holes.iter().map(|(id, hole)| (*id, *hole)).collect();
        holes.sort_unstable_by_key(|(id, _)| *id);
        holes
    }

    /// Begins to note what is taken into the set tree, for another tree to catch up.
    pub(crate) fn begin_journal(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// What was noted since the last call.
    pub(crate) fn take_journal(&mut self) -> Vec<Entry> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes no more.
    pub(crate) fn end_journal(&mut self) {
        self.journal = None;
    }
}

/// Holes come with their entries, and go when the bodies come back.
pub(crate) fn note_holes(holes: &mut HashMap<Hash, HoleEntry>, placed: &[Placed]) {
    for record in placed {
        match record.kind {
            Kind::Entry | Kind::Void => {}
            Kind::Hole => {
                holes.insert(record.id, HoleEntry { index: record.index, time: record.time });
            }
            Kind::Heal => {
                holes.remove(&record.id);
            }
        }
    }
}

/// What the set tree takes in of a record.
pub(crate) fn set_entry(record: &Placed) -> Option<Entry> {
    record.kind.has_body().then_some(Entry { id: record.id, position: record.position.get() })
}

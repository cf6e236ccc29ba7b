//! Goes through the segments of an archived log, and holds everything against everything else.

use std::collections::HashMap;

use stemedb_merkle::{
    Entry, Hash, LogIndex, MerkleTree,
    history::{History, leaf_hash, tile::Tile},
};
use stemedb_wal::{
    log::{HoleEntry, Kind, Placed},
    sealed::{CheckedSegment, SegmentHeader, check_segment},
};

use super::{
    Fault,
    manifest::{ArchivedSegment, Manifest},
};
use stemedb_store::options::Hashing;

/// State of a scan. Of one segment at a time all bytes are in memory.
#[derive(Debug)]
pub(super) struct Scan {
    /// How ids are made, if bodies are held against them.
    hashing: Option<Hashing>,
    pub(super) history: History,
    /// All ids and their places, if the set is built: 100 bytes each.
    pub(super) set: Option<MerkleTree>,
    pub(super) holes: HashMap<Hash, HoleEntry>,
    /// The segment before, without its records.
    pub(super) before: Option<CheckedSegment>,
    pub(super) last: Option<Placed>,
}

impl Scan {
    /// With `hashing`, each body is held against its id; with `set`, the set is built.
    pub(super) fn new(hashing: Option<Hashing>, set: bool) -> Self {
        Self {
            hashing,
            history: History::new(),
            set: set.then(MerkleTree::new),
            holes: HashMap::new(),
            before: None,
            last: None,
        }
    }

    /// Takes in the next segment, whose bytes are what the manifest says. The tiles of the history
    /// that it completes go to `tiles`.
    pub(super) fn take(
        &mut self,
        manifest: &Manifest,
        archived: &ArchivedSegment,
        bytes: &[u8],
        tiles: &mut dyn FnMut(Tile),
    ) -> Result<(), Fault> {
        let first_index = LogIndex(archived.first_index);
        let mut found =
            check_segment(bytes).map_err(|fault| Fault::Segment { first_index, fault })?;
        let header = &found.header;
        let in_place = (header.store_id, header.generation)
            == (manifest.store_id, manifest.generation)
            && (header.first_index, header.first_position)
                == (archived.first_index, archived.first_position)
            && found.next_index == LogIndex(archived.next_index);
        if !in_place || !self.is_next(header) {
            return Err(Fault::Sequence { first_index });
        }
        if let Some(hashing) = self.hashing {
            check_bodies(hashing, &found, bytes).map_err(|index| Fault::Body { index })?;
        }
        let mut held = Vec::new();
        for placed in &found.placed {
            if placed.kind.takes_index() {
                self.history.append(leaf_hash(placed.time, &placed.id), &mut *tiles);
                self.last = Some(*placed);
            }
            match placed.kind {
                Kind::Hole => {
                    let hole = HoleEntry { index: placed.index, time: placed.time };
                    self.holes.insert(placed.id, hole);
                }
                Kind::Entry | Kind::Heal => {
                    self.holes.remove(&placed.id);
                    held.push(Entry { id: placed.id, position: placed.position.get() });
                }
                Kind::Void => {}
            }
        }
        if let Some(set) = &mut self.set {
            // A tree that lies in memory alone can't be damaged.
            set.insert_batch(&held).map_err(|_| Fault::SetRoot)?;
        }
        found.placed = Vec::new();
        self.before = Some(found);
        Ok(())
    }

    fn is_next(&self, header: &SegmentHeader) -> bool {
        match &self.before {
            Some(before) => before.is_followed_by(header),
            None => (header.previous_sum, header.time_before) == (0, 0),
        }
    }

    /// Holds what all segments together give against the manifest.
    pub(super) fn finish(&self, manifest: &Manifest) -> Result<(), Fault> {
        let log = self.history.head();
        if (log.size.get(), log.root.0) != (manifest.log_size, manifest.log_root.0) {
            return Err(Fault::LogRoot);
        }
        let mut holes: Vec<Hash> = self.holes.keys().copied().collect();
        holes.sort_unstable();
        let same_holes = holes.iter().eq(manifest.holes.iter().map(|id| &id.0));
        let same_set = self
            .set
            .as_ref()
            .is_none_or(|set| (set.len(), set.root().0) == (manifest.count, manifest.set_root.0));
        if same_holes && same_set { Ok(()) } else { Err(Fault::SetRoot) }
    }
}

/// Holds the bodies of a segment against their ids; the index of the first that is another.
pub(super) fn check_bodies(
    hashing: Hashing,
    found: &CheckedSegment,
    bytes: &[u8],
) -> Result<(), LogIndex> {
    let with_body = || found.placed.iter().filter(|placed| placed.kind.has_body());
    let bodies = with_body().map(|placed| (found.body(bytes, placed), placed.id));
    let wrong = hashing.first_wrong(bodies).and_then(|wrong| with_body().nth(wrong));
    wrong.map_or(Ok(()), |placed| Err(placed.index))
}

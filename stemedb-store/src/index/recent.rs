//! What was appended last, by id.

use std::collections::HashMap;

use crate::id_hash::IdHashBuilder;
use stemedb_merkle::Hash;
use stemedb_wal::{
    Position,
    log::{Placed, Watermark},
};

/// Records that are not in the trees yet.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    positions: Positions,
    /// The positions of what is being folded.
    folding: Positions,
    /// Not durable yet, as far as is known.
    written: Vec<Placed>,
    /// Durable, and to be folded.
    published: Vec<Placed>,
    /// How far the log is published.
    pub(super) reached: Watermark,
    /// How many assertions are published, those in the trees included.
    pub(super) count: u64,
}

/// Positions by id.
pub(super) type Positions = HashMap<Hash, u64, IdHashBuilder>;

impl Recent {
    /// The last records of a log, all of them published; the trees have the others, and `count`
    /// assertions.
    pub(crate) fn new(tail: &[Placed], reached: Watermark, count: u64) -> Self {
        let mut recent = Self { count, ..Self::default() };
        recent.note(tail);
        recent.publish(reached);
        recent
    }

    /// Takes in what was written; says how many published records wait to be folded.
    pub(super) fn note(&mut self, placed: &[Placed]) -> usize {
        let bodies = placed.iter().filter(|record| record.kind.has_body());
        self.positions.extend(bodies.map(|record| (record.id, record.position.get())));
        self.written.extend_from_slice(placed);
        self.published.len()
    }

    /// All that was written is durable.
    pub(super) fn publish(&mut self, durable: Watermark) {
        let bodies = self.written.iter().filter(|record| record.kind.has_body());
        self.count += bodies.count() as u64;
        self.published.append(&mut self.written);
        self.reached = durable;
    }

    /// The position of a body, published or not.
    pub(super) fn written_position(&self, id: &Hash) -> Option<u64> {
        self.positions.get(id).or_else(|| self.folding.get(id)).copied()
    }

    /// The position of a body that is published.
    pub(super) fn position(&self, id: &Hash) -> Option<u64> {
        self.written_position(id).filter(|position| Position(*position) < self.reached.position)
    }

    /// Whether all that is published is in the trees, or on the way.
    pub(super) fn is_folded(&self) -> bool {
        self.published.is_empty()
    }

    /// The records to be folded, and how far the trees will then have come. Lookups go on finding
    /// them here until they are [forgotten](Self::forget).
    pub(super) fn take(&mut self) -> (Vec<Placed>, Watermark) {
        let room =
            Positions::with_capacity_and_hasher(self.positions.len(), IdHashBuilder::default());
        self.folding = std::mem::replace(&mut self.positions, room);
        let unpublished = self.written.iter().filter(|record| record.kind.has_body());
        self.positions.extend(unpublished.map(|record| (record.id, record.position.get())));
        (std::mem::take(&mut self.published), self.reached)
    }

    /// Forgets what was taken: it is in the trees. The result can be dropped elsewhere.
    pub(super) fn forget(&mut self) -> Positions {
        std::mem::take(&mut self.folding)
    }
}

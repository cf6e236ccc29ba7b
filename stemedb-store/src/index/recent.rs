//! What was appended last, by id.

use std::sync::Arc;

use super::id_table::IdTable;
use stemedb_merkle::Hash;
use stemedb_wal::{
    Position,
    log::{Placed, Watermark},
};

/// Records that are not in the trees yet, and ids that are about to be written.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// What came since the last fold began.
    now: Run,
    /// What is being folded.
    folding: Arc<Run>,
    /// Room of an earlier run.
    spare: Option<Run>,
    /// How many of the records that came since are durable.
    published: usize,
    /// How often what was folded was forgotten.
    pub(super) folds: u64,
    /// How far the log is published.
    pub(super) reached: Watermark,
    /// How many assertions are published, those in the trees included.
    pub(super) count: u64,
}

/// Records in the order in which they were written, by id.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// By number: the place among the records, and behind them among what is claimed.
    numbers: IdTable,
    pub(super) records: Vec<Placed>,
    /// Ids of bodies that are to be written next, in this order.
    claimed: Vec<Hash>,
}

/// For so many records at most room is kept for, whatever there was before.
const ROOM_MAX: usize = 1 << 16;

/// What the index says to an id that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is held at this position.
    Held(u64),
    /// It comes a second time: that of this number is written.
    Same(usize),
    /// It is to be written, as the next of those that are. They are numbered from 0.
    New(usize),
}

impl Run {
    fn with_capacity(len: usize) -> Self {
        let (numbers, records) = (IdTable::with_capacity(len), Vec::with_capacity(len));
        Self { numbers, records, claimed: Vec::new() }
    }

    /// The same room with nothing in it, if it is not too much to be kept.
    pub(super) fn into_room(mut self) -> Option<Self> {
        if self.records.capacity() > 2 * ROOM_MAX {
            return None;
        }
        self.numbers.clear();
        self.records.clear();
        self.claimed.clear();
        Some(self)
    }

    fn has(&self, number: usize, id: &Hash) -> bool {
        let kept = match number.checked_sub(self.records.len()) {
            None => self.records.get(number).map(|record| &record.id),
            Some(claimed) => self.claimed.get(claimed),
        };
        kept == Some(id)
    }

    /// The position of a body that is written.
    fn position(&self, id: &Hash) -> Option<u64> {
        let number = self.numbers.get(id, |number| self.has(number, id))?;
        self.records.get(number).map(|record| record.position.get())
    }

    fn claim(&mut self, id: &Hash) -> Claim {
        let written = self.records.len();
        let number = written + self.claimed.len();
        let (records, claimed) = (&self.records, &self.claimed);
        let is_at = |number: usize| match number.checked_sub(written) {
            None => records.get(number).is_some_and(|record| record.id == *id),
            Some(at) => claimed.get(at) == Some(id),
        };
        let Some(found) = self.numbers.get_or_insert(id, number, is_at) else {
            self.claimed.push(*id);
            return Claim::New(number - written);
        };
        match self.records.get(found) {
            Some(record) => Claim::Held(record.position.get()),
            None => Claim::Same(found - written),
        }
    }

    /// Takes in records that were not claimed.
    fn take_in(&mut self, records: &[Placed]) {
        for record in records {
            if record.kind.has_body() {
                let kept = &self.records;
                let is_at =
                    |number: usize| kept.get(number).is_some_and(|kept| kept.id == record.id);
                self.numbers.insert(&record.id, kept.len(), is_at);
            }
            self.records.push(*record);
        }
    }
}

impl Recent {
    /// The last records of a log, all of them published; the trees have the others, and `count`
    /// assertions.
    pub(crate) fn new(tail: &[Placed], reached: Watermark, count: u64) -> Self {
        let mut recent = Self { now: Run::with_capacity(tail.len()), count, ..Self::default() };
        recent.now.take_in(tail);
        recent.publish(reached);
        recent
    }

    /// Says of each id what is to become of it. `positions` has those that are in the trees. What
    /// is [new](Claim::New) is noted next, or [abandoned](Self::abandon).
    pub(super) fn claim<'a>(
        &mut self,
        ids: impl Iterator<Item = (&'a Hash, Option<u64>)>,
        claims: &mut Vec<Claim>,
    ) {
        assert!(self.now.claimed.is_empty(), "internal error: claims that nothing came of");
        for (id, position) in ids {
            let held = position.or_else(|| self.folding.position(id));
            claims.push(held.map_or_else(|| self.now.claim(id), Claim::Held));
        }
    }

    /// Forgets what was claimed: it could not be written.
    pub(super) fn abandon(&mut self) {
        if self.now.claimed.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.now).records;
        self.now.take_in(&records);
    }

    /// Takes in what was written of what was claimed; says how many published records wait to be
    /// folded.
    pub(super) fn note(&mut self, placed: &[Placed]) -> usize {
        let Run { records, claimed, .. } = &mut self.now;
        let (written, wanted) = (placed.len(), claimed.len());
        assert!(written == wanted, "internal error: {written} records of {wanted} claimed");
        debug_assert!(placed.iter().map(|record| &record.id).eq(claimed.iter()), "in order");
        claimed.clear();
        records.extend_from_slice(placed);
        self.published
    }

    /// Takes in what another process wrote.
    pub(super) fn extend(&mut self, placed: &[Placed]) {
        self.now.take_in(placed);
    }

    /// How many published records wait to be folded.
    pub(super) fn waiting(&self) -> usize {
        self.published
    }

    /// All that was written is durable.
    pub(super) fn publish(&mut self, durable: Watermark) {
        let (_, written) = self.now.records.split_at(self.published);
        self.count += written.iter().filter(|record| record.kind.has_body()).count() as u64;
        self.published = self.now.records.len();
        self.reached = durable;
    }

    /// The position of a body that is published.
    pub(super) fn position(&self, id: &Hash) -> Option<u64> {
        let written = self.now.position(id).or_else(|| self.folding.position(id));
        written.filter(|position| Position(*position) < self.reached.position)
    }

    /// Whether all that is published is in the trees, or on the way.
    pub(super) fn is_folded(&self) -> bool {
        self.published == 0
    }

    /// The records to be folded, and how far the trees will then have come. Lookups go on finding
    /// them here until they are [forgotten](Self::forget).
    pub(super) fn take(&mut self) -> (Arc<Run>, Watermark) {
        let next = std::mem::take(&mut self.spare);
        let next = next.unwrap_or_else(|| Run::with_capacity(self.published.min(ROOM_MAX)));
        let mut run = std::mem::replace(&mut self.now, next);
        let (_, unpublished) = run.records.split_at(self.published);
        self.now.take_in(unpublished);
        for id in run.claimed.drain(..) {
            self.now.claim(&id);
        }
        run.records.truncate(self.published);
        self.published = 0;
        self.folding = Arc::new(run);
        (Arc::clone(&self.folding), self.reached)
    }

    /// Forgets what was taken: it is in the trees. The result can be dropped elsewhere, or be made
    /// [room](Run::into_room) for others.
    pub(super) fn forget(&mut self) -> Arc<Run> {
        self.folds += 1;
        std::mem::take(&mut self.folding)
    }

    /// Keeps room for what comes after the next fold.
    pub(super) fn keep(&mut self, room: Run) {
        self.spare = Some(room);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use stemedb_merkle::{LogIndex, Timestamp};
    use stemedb_wal::log::Kind;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Claims these, and writes or abandons what is new; with a fold begun in between.
        Write {
            numbers: Vec<u8>,
            failing: bool,
            fold: bool,
        },
        Publish,
        Take,
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        let numbers = prop::collection::vec(any::<u8>(), 0..40);
        prop_oneof![
            4 => (numbers, prop::bool::weighted(0.2), any::<bool>())
                .prop_map(|(numbers, failing, fold)| Step::Write { numbers, failing, fold }),
            3 => Just(Step::Publish),
            1 => Just(Step::Take),
            1 => Just(Step::Forget),
        ]
    }

    fn id(number: u8) -> Hash {
        *blake3::hash(&[number]).as_bytes()
    }

    fn mark(position: u64) -> Watermark {
        Watermark { position: Position(position), next_index: LogIndex(position) }
    }

    /// What a map of everything that was ever written says, whatever is folded meanwhile: no id is
    /// written twice, and none is lost on its way to the trees.
    #[test]
    fn agrees_with_a_map_of_everything() {
        proptest!(|(steps in prop::collection::vec(step(), 0..60))| {
            let mut recent = Recent::new(&[], mark(0), 0);
            // All that was written, with the positions; and what is in the trees.
            let (mut written, mut trees) = (HashMap::new(), HashMap::new());
            let (mut end, mut reached, mut folding) = (0, 0, None);
            for step in steps {
                match step {
                    Step::Write { numbers, failing, fold } => {
                        let ids: Vec<Hash> = numbers.iter().copied().map(id).collect();
                        let asked = ids.iter().map(|id| (id, trees.get(id).copied()));
                        let mut claims = Vec::new();
                        recent.claim(asked, &mut claims);
                        let mut new: Vec<Hash> = Vec::new();
                        for (id, claim) in ids.iter().zip(&claims) {
                            let same = new.iter().position(|new| new == id);
                            let expected = match (written.get(id), same) {
                                (Some(position), _) => Claim::Held(*position),
                                (None, Some(number)) => Claim::Same(number),
                                (None, None) => {
                                    new.push(*id);
                                    Claim::New(new.len() - 1)
                                }
                            };
                            prop_assert_eq!(*claim, expected);
                        }
                        if fold && folding.is_none() && !recent.is_folded() {
                            folding = Some(recent.take().0);
                        }
                        for id in &new {
                            let said = recent.position(id);
                            prop_assert_eq!(said, None, "nobody is shown what is only claimed");
                        }
                        if failing {
                            recent.abandon();
                            continue;
                        }
                        let placed: Vec<Placed> = new
                            .iter()
                            .map(|id| {
                                written.insert(*id, end);
                                let (position, index) = (Position(end), LogIndex(end));
                                end += 1;
                                let time = Timestamp::from_ntp64(end);
                                Placed { id: *id, position, index, time, len: 0, kind: Kind::Entry }
                            })
                            .collect();
                        recent.note(&placed);
                    }
                    Step::Publish => {
                        recent.publish(mark(end));
                        reached = end;
                        prop_assert_eq!(recent.count, end);
                    }
                    Step::Take if folding.is_none() && !recent.is_folded() => {
                        let (run, to) = recent.take();
                        prop_assert_eq!(to, mark(reached));
                        folding = Some(run);
                    }
                    Step::Forget => {
                        let Some(run) = folding.take() else { continue };
                        trees.extend(run.records.iter().map(|at| (at.id, at.position.get())));
                        recent.forget();
                    }
                    Step::Take => {}
                }
                for (id, position) in &written {
                    let published = (*position < reached).then_some(*position);
                    let found = recent.position(id).or_else(|| trees.get(id).copied());
                    prop_assert_eq!(found, published);
                }
            }
        });
    }
}

//! What a store has to hold, kept beside it, and the check that it does.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;

use stemedb_merkle::history::{MemoryHistory, leaf_hash};
use stemedb_store::{
    AssertionId, Entry, Head, LogIndex, LogSize, Presence, Receipt, Store, Timestamp, TreeHead,
};

use super::{
    random::Random,
    set_tree::{HASHES, SetTree},
};

/// An append that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) body: Arc<[u8]>,
    pub(crate) receipt: Receipt,
}

/// Everything that was acknowledged, in the order of the log, and what was under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: Arc<Vec<Acknowledged>>,
    /// Bodies of one append that was not acknowledged: all of them are there, or none.
    pub(crate) in_flight: Arc<Vec<Arc<[u8]>>>,
    /// So many entries were durable when the last acknowledged batch was written, as that says.
    pub(crate) covered: usize,
}

impl Ledger {
    pub(crate) fn holds(&self, body: &[u8]) -> bool {
        self.entries.iter().any(|entry| *entry.body == *body)
    }

    /// What of an append is not held already, each once.
    pub(crate) fn new_ones(&self, bodies: &[Arc<[u8]>]) -> Vec<Arc<[u8]>> {
        let mut new: Vec<Arc<[u8]>> = Vec::new();
        for body in bodies {
            if !self.holds(body) && !new.contains(body) {
                new.push(Arc::clone(body));
            }
        }
        new
    }

    /// Takes over the receipts of an append, and checks them.
    pub(crate) fn acknowledge(
        &mut self,
        bodies: &[Arc<[u8]>],
        receipts: &[Receipt],
    ) -> Result<(), String> {
        if bodies.len() != receipts.len() {
            return Err(format!("{} bodies, {} receipts", bodies.len(), receipts.len()));
        }
        let before = self.entries.len();
        for (body, receipt) in bodies.iter().zip(receipts) {
            let held = self.entries.iter().find(|entry| entry.body == *body);
            let expected = match held {
                Some(first) => Receipt { duplicate: true, ..first.receipt },
                None => Receipt {
                    id: AssertionId(*blake3::hash(body).as_bytes()),
                    index: LogIndex(self.entries.len() as u64),
                    duplicate: false,
                    ..*receipt
                },
            };
            if *receipt != expected {
                return Err(format!("the receipt is {receipt:?}, and not {expected:?}"));
            }
            if held.is_none() {
                let last = self.entries.last();
                if last.is_some_and(|last| {
                    last.receipt.time >= receipt.time || last.receipt.position >= receipt.position
                }) {
                    return Err(format!("{receipt:?} does not follow {last:?}"));
                }
                let acknowledged = Acknowledged { body: Arc::clone(body), receipt: *receipt };
                Arc::make_mut(&mut self.entries).push(acknowledged);
            }
        }
        if self.entries.len() > before {
            self.covered = before;
        }
        self.in_flight = Arc::default();
        Ok(())
    }

    fn leaves(&self) -> impl Iterator<Item = [u8; 32]> {
        let entries = self.entries.iter();
        entries.map(|entry| leaf_hash(entry.receipt.time, &entry.receipt.id.0))
    }

    pub(crate) fn history(&self) -> MemoryHistory {
        self.leaves().collect()
    }

    /// Counts and roots, by their definitions.
    pub(crate) fn head(&self) -> Head {
        let set = SetTree::new(self.entries.iter().map(|entry| entry.receipt.id.0), HASHES);
        let log = self.history().head();
        Head {
            count: set.ids.len() as u64,
            set_root: set.root(),
            log_size: LogSize(log.size.0),
            log_root: log.root,
            last_time: self.entries.last().map_or(Timestamp::MIN, |entry| entry.receipt.time),
        }
    }

    /// Resolves what was under way by what an opened store has of it.
    pub(crate) fn resolve(&mut self, store: &Store) -> Result<(), String> {
        let (size, sure) = (store.log_size(), self.entries.len() as u64);
        let in_flight = Arc::clone(&self.in_flight);
        if size < LogSize(sure) {
            return Err(format!("{sure} entries were acknowledged, and {size} are there"));
        }
        if size == sure {
            self.in_flight = Arc::default();
            return Ok(());
        }
        if size != sure + in_flight.len() as u64 {
            return Err(format!(
                "{size} entries, {sure} acknowledged and {} under way",
                in_flight.len()
            ));
        }
        // Appending what is held writes nothing, and gives the receipt that got lost.
        let mut receipts = Vec::new();
        for body in in_flight.iter() {
            let receipt = store.append(body).map_err(|error| error.to_string())?;
            if !receipt.duplicate {
                return Err(format!("entry {} is something else than was written", receipt.index));
            }
            receipts.push(Receipt { duplicate: false, ..receipt });
        }
        self.acknowledge(&in_flight, &receipts)
    }

    /// Checks that a store holds exactly this.
    pub(crate) fn check(&self, store: &Store, random: &mut Random) -> Result<(), String> {
        let (head, expected) = (store.head().unwrap(), self.head());
        if head != expected {
            return Err(format!("the head is {head:?}, and not {expected:?}"));
        }
        for (index, (entry, expected)) in (0_u64..).zip(store.iter().zip(self.entries.iter())) {
            let entry = entry.map_err(|error| error.to_string())?;
            let Acknowledged { body, receipt } = expected;
            let (time, id, len) = (receipt.time, receipt.id, body.len() as u64);
            if entry != (Entry { index: LogIndex(index), time, id, len, hole: false }) {
                return Err(format!("entry {index} is {entry:?}, and its receipt {receipt:?}"));
            }
            let read = store.get_at(receipt.position).map_err(|error| error.to_string())?;
            if read != **body {
                return Err(format!("entry {index} reads as something else"));
            }
        }
        self.check_some(store, random)
    }

    /// Checks a few entries by id and by index, a duplicate, and proofs.
    fn check_some(&self, store: &Store, random: &mut Random) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let absent = AssertionId(*blake3::hash(&random.next().to_le_bytes()).as_bytes());
        let root = store.root().unwrap();
        let proof = store.prove(&absent).map_err(|error| text(&error))?.proof;
        if proof.verify(&root) != Ok(Presence::Absent) {
            return Err("an absence is not proven".into());
        }
        if self.entries.is_empty() {
            return Ok(());
        }
        for _ in 0..3 {
            let expected = &self.entries[random.index(self.entries.len())];
            let receipt = expected.receipt;
            let (index, size) = (receipt.index, self.entries.len() as u64);
            let by_id = store.get(&receipt.id).map_err(|error| text(&error))?;
            if by_id.as_deref() != Some(&*expected.body) {
                return Err(format!("entry {index} is not found by its id"));
            }
            let by_index = store.get_index(index).map_err(|error| text(&error))?;
            if by_index.is_none_or(|(_, body)| body != *expected.body) {
                return Err(format!("entry {index} is not found by its index"));
            }
            let proof = store.prove(&receipt.id).map_err(|error| text(&error))?.proof;
            if proof.verify(&root) != Ok(Presence::Present) {
                return Err(format!("the presence of entry {index} is not proven"));
            }
            let again = store.append(&expected.body).map_err(|error| text(&error))?;
            if again != (Receipt { duplicate: true, ..receipt }) {
                return Err(format!("appended again, {receipt:?} has become {again:?}"));
            }
            let old = index.entries_before() + 1 + random.below(size - index.get());
            let history = self.history();
            let old_head = history.head_at(old).map_err(|error| text(&error))?;
            let found = store.history_root_at(old).map_err(|error| text(&error))?;
            if found != old_head.root {
                return Err(format!("the root over the first {old} entries is another"));
            }
            let leaf = leaf_hash(receipt.time, &receipt.id.0);
            let proof = store.prove_inclusion_at(index, old).map_err(|error| text(&error))?;
            proof.verify(&leaf, index, &old_head).map_err(|error| text(&error))?;
            let proof =
                store.prove_consistency(old, LogSize(size)).map_err(|error| text(&error))?;
            let new_head = TreeHead { size: LogSize(size), root: history.root() };
            proof.verify(&old_head, &new_head).map_err(|error| text(&error))?;
        }
        Ok(())
    }
}

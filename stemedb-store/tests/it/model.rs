//! A store against a plain model of it: a vector of entries and an ordered map of ids.

use crate::reference::random;
use crate::reference::set_tree;
use crate::reference::world;
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds as _},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use random::noise;
use set_tree::{HASHES, SetTree};
use stemedb_merkle::{
    Root,
    history::{MemoryHistory, leaf_hash},
};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{
    AssertionId, Entry, LogIndex, LogSize, Options, Presence, Receipt, ResolveError, Snapshot,
    Store, Timestamp, TreeHead,
};
use world::ENVIRONMENT;

/// Something done to a store. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    /// Bodies by number and length; few enough numbers that some come again.
    Append(Vec<(u64, usize)>),
    Reopen,
    /// As if the process had died.
    Die,
    Checkpoint,
    Get(u64),
    Range(Bound<u64>, Bound<u64>),
    RangeByTime(u64, u64),
    Resolve(u64, usize),
    TakeSnapshot,
    Diff,
    SetProof(u64),
    HistoryProof(u64, u64, u64),
    Watch(u64),
}

fn bound() -> impl Strategy<Value = Bound<u64>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..400_u64).prop_map(Bound::Included),
        (0..400_u64).prop_map(Bound::Excluded),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![8 => 0..60_usize, 2 => 0..3000_usize, 1 => Just(6000)];
    prop_oneof![
        6 => prop::collection::vec((0..400_u64, length), 0..12).prop_map(Step::Append),
        1 => (50..300_u64).prop_map(|count| Step::Append((0..count).map(|n| (n, 9)).collect())),
        1 => Just(Step::Reopen),
        1 => Just(Step::Die),
        2 => Just(Step::Checkpoint),
        2 => any::<u64>().prop_map(Step::Get),
        2 => (bound(), bound()).prop_map(|(from, to)| Step::Range(from, to)),
        2 => (any::<u64>(), any::<u64>()).prop_map(|(from, to)| Step::RangeByTime(from, to)),
        2 => (any::<u64>(), 1..66_usize).prop_map(|(which, len)| Step::Resolve(which, len)),
        1 => Just(Step::TakeSnapshot),
        1 => Just(Step::Diff),
        2 => any::<u64>().prop_map(Step::SetProof),
        3 => (any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(index, old, new)| Step::HistoryProof(index, old, new)),
        1 => any::<u64>().prop_map(Step::Watch),
    ]
}

fn options() -> Options {
    Options::default().segment_len(4096).threads(false)
}

fn open(disk: &FaultyDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap()
}

struct Model {
    disk: FaultyDisk,
    store: Option<Store>,
    entries: Vec<(Receipt, Vec<u8>)>,
    by_id: BTreeMap<AssertionId, usize>,
    snapshot: Option<(Snapshot, usize)>,
}

impl Model {
    fn new() -> Self {
        world::reset();
        let disk = FaultyDisk::new(1);
        let store = Some(open(&disk));
        Self { disk, store, entries: Vec::new(), by_id: BTreeMap::new(), snapshot: None }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn history(&self) -> MemoryHistory {
        let leaf = |(receipt, _): &(Receipt, Vec<u8>)| leaf_hash(receipt.time, &receipt.id.0);
        self.entries.iter().map(leaf).collect()
    }

    fn entry(&self, index: usize) -> Entry {
        let (receipt, body) = &self.entries[index];
        let Receipt { index, time, id, .. } = *receipt;
        Entry { index, time, id, len: body.len() as u64, hole: false }
    }

    fn entries_of(&self, indexes: impl Iterator<Item = usize>) -> Vec<Entry> {
        indexes.map(|index| self.entry(index)).collect()
    }

    fn pick(&self, number: u64) -> Option<usize> {
        let len = u64::try_from(self.entries.len()).unwrap();
        number.checked_rem(len).map(|index| usize::try_from(index).unwrap())
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append(bodies) => self.append(&bodies)?,
            Step::Reopen => {
                self.store.take().unwrap().close().unwrap();
                self.store = Some(open(&self.disk));
            }
            Step::Die => {
                self.disk = self.disk.fork();
                self.store = Some(open(&self.disk));
            }
            Step::Checkpoint => {
                let report = self.store().checkpoint().unwrap();
                prop_assert_eq!(report.log_size, self.entries.len() as u64);
            }
            Step::Get(number) => self.get(number)?,
            Step::Range(from, to) => {
                let wanted =
                    (0..self.entries.len()).filter(|index| (from, to).contains(&(*index as u64)));
                let wanted = self.entries_of(wanted);
                let (from, to) = (from.map(LogIndex), to.map(LogIndex));
                let found: Vec<Entry> =
                    self.store().range((from, to)).map(Result::unwrap).collect();
                prop_assert_eq!(&found, &wanted);
                let mut back: Vec<Entry> =
                    self.store().range((from, to)).rev().map(Result::unwrap).collect();
                back.reverse();
                prop_assert_eq!(back, wanted);
            }
            Step::RangeByTime(from, to) => self.range_by_time(from, to)?,
            Step::Resolve(number, len) => self.resolve(number, len)?,
            Step::TakeSnapshot => {
                self.snapshot = Some((self.store().snapshot().unwrap(), self.entries.len()));
            }
            Step::Diff => self.diff()?,
            Step::SetProof(number) => self.set_proof(number)?,
            Step::HistoryProof(index, old, new) => self.history_proof(index, old, new)?,
            Step::Watch(number) => {
                let from = self.pick(number).unwrap_or(0);
                let mut watch = self.store().watch(LogIndex(from as u64));
                for index in from..self.entries.len() {
                    let entry = watch.next_within(Duration::ZERO).unwrap().unwrap();
                    prop_assert_eq!(entry, self.entry(index));
                }
                prop_assert!(watch.next_within(Duration::ZERO).is_none());
            }
        }
        self.heads()
    }

    fn append(&mut self, bodies: &[(u64, usize)]) -> Result<(), TestCaseError> {
        let bodies: Vec<Vec<u8>> =
            bodies.iter().map(|(number, len)| noise(*number, *len)).collect();
        let receipts = self.store().append_batch(&bodies).unwrap();
        prop_assert_eq!(receipts.len(), bodies.len());
        for (receipt, body) in receipts.into_iter().zip(bodies) {
            prop_assert_eq!(receipt.id.0, *blake3::hash(&body).as_bytes());
            if let Some(held) = self.by_id.get(&receipt.id) {
                let (first, _) = self.entries[*held];
                prop_assert_eq!(receipt, Receipt { duplicate: true, ..first });
                continue;
            }
            prop_assert!(!receipt.duplicate);
            prop_assert_eq!(receipt.index, self.entries.len() as u64);
            prop_assert!(self.entries.last().is_none_or(|(last, _)| last.time < receipt.time));
            self.by_id.insert(receipt.id, self.entries.len());
            self.entries.push((receipt, body));
        }
        Ok(())
    }

    fn get(&self, number: u64) -> Result<(), TestCaseError> {
        let store = self.store();
        let len = self.entries.len() as u64;
        prop_assert!(store.entry(LogIndex(len)).unwrap().is_none());
        prop_assert!(store.get_index(LogIndex(len + number % 5)).unwrap().is_none());
        let absent = AssertionId(*blake3::hash(&number.to_be_bytes()).as_bytes());
        prop_assert_eq!(store.get(&absent).unwrap(), None);
        prop_assert!(!store.contains(&absent).unwrap());
        let Some(index) = self.pick(number) else { return Ok(()) };
        let (receipt, body) = &self.entries[index];
        prop_assert_eq!(store.get(&receipt.id).unwrap(), Some(body.clone()));
        prop_assert_eq!(&store.get_at(receipt.position).unwrap(), body);
        prop_assert_eq!(store.find(&receipt.id).unwrap(), Some(self.entry(index)));
        let (entry, found) = store.get_index(LogIndex(index as u64)).unwrap().unwrap();
        prop_assert_eq!((entry, &found), (self.entry(index), body));
        Ok(())
    }

    fn range_by_time(&self, from: u64, to: u64) -> Result<(), TestCaseError> {
        // Times of entries, and right beside them.
        let time = |number: u64| {
            self.pick(number >> 8)
                .map_or(number, |index| self.entries[index].0.time.as_ntp64() + number % 3 - 1)
        };
        let (from, to) = (Timestamp::from_ntp64(time(from)), Timestamp::from_ntp64(time(to)));
        let indexes = |holds: &dyn Fn(Timestamp) -> bool| {
            let all = 0..self.entries.len();
            self.entries_of(all.filter(|index| holds(self.entries[*index].0.time)))
        };
        let found =
            |entries: stemedb_store::Entries<'_>| entries.map(Result::unwrap).collect::<Vec<_>>();
        let store = self.store();
        let half_open = found(store.range_by_time(from..to).unwrap());
        prop_assert_eq!(half_open, indexes(&|time| (from..to).contains(&time)));
        let closed = found(store.range_by_time(from..=to).unwrap());
        prop_assert_eq!(closed, indexes(&|time| (from..=to).contains(&time)));
        let first = self.entries.partition_point(|(receipt, _)| receipt.time < from);
        prop_assert_eq!(store.index_at_time(from).unwrap(), first as u64);
        Ok(())
    }

    fn resolve(&self, number: u64, len: usize) -> Result<(), TestCaseError> {
        let Some(index) = self.pick(number) else { return Ok(()) };
        let id = self.entries[index].0.id;
        let text = id.to_string();
        let prefix = &text[..len.min(64)];
        let matching = self.by_id.keys().filter(|id| id.to_string().starts_with(prefix)).count();
        match self.store().resolve(prefix) {
            Ok(found) => prop_assert!(found == id && matching == 1),
            Err(ResolveError::Malformed { .. }) => prop_assert!(len < 4),
            Err(ResolveError::Ambiguous { .. }) => prop_assert!(matching > 1),
            Err(error) => prop_assert!(false, "{}", error),
        }
        Ok(())
    }

    fn diff(&self) -> Result<(), TestCaseError> {
        let Some((old, len)) = &self.snapshot else { return Ok(()) };
        let new = self.store().snapshot().unwrap();
        prop_assert_eq!(old.len(), *len as u64);
        let mut added: Vec<AssertionId> =
            self.entries[*len..].iter().map(|(receipt, _)| receipt.id).collect();
        added.sort_unstable();
        let diff = new.diff(old).unwrap();
        prop_assert_eq!((&diff.only_here, diff.only_there.len()), (&added, 0));
        let diff = old.diff(&new).unwrap();
        prop_assert_eq!((diff.only_here.len(), &diff.only_there), (0, &added));
        let mut ids: Vec<AssertionId> =
            self.entries[..*len].iter().map(|(receipt, _)| receipt.id).collect();
        ids.sort_unstable();
        let found: Vec<AssertionId> = old.ids().map(Result::unwrap).collect();
        prop_assert_eq!(found, ids);
        Ok(())
    }

    fn set_proof(&self, number: u64) -> Result<(), TestCaseError> {
        let (store, root) = (self.store(), self.store().root().unwrap());
        let absent = AssertionId(*blake3::hash(&number.to_be_bytes()).as_bytes());
        let proof = store.prove_absence(&absent).unwrap().unwrap().proof;
        prop_assert_eq!(proof.verify(&root), Ok(Presence::Absent));
        let Some(index) = self.pick(number) else { return Ok(()) };
        let id = self.entries[index].0.id;
        prop_assert_eq!(store.prove(&id).unwrap().proof.verify(&root), Ok(Presence::Present));
        prop_assert!(store.prove_absence(&id).unwrap().is_none());
        prop_assert!(store.prove(&id).unwrap().proof.verify(&Root(absent.0)).is_err());
        Ok(())
    }

    fn history_proof(&self, index: u64, old: u64, new: u64) -> Result<(), TestCaseError> {
        let store = self.store();
        let len = self.entries.len() as u64;
        prop_assert!(store.history_root_at(LogSize(len + 1)).is_err());
        prop_assert!(
            store
                .prove_inclusion_at(LogIndex(index % (len + 1)), LogSize(index % (len + 1)))
                .is_err()
        );
        let Some(index) = self.pick(index) else { return Ok(()) };
        let history = self.history();
        let head = |size: u64| history.head_at(LogSize(size)).unwrap();
        let new = index as u64 + 1 + new % (len - index as u64);
        let old = 1 + old % new;
        prop_assert_eq!(store.history_root_at(LogSize(old)).unwrap(), head(old).root);
        let receipt = self.entries[index].0;
        let leaf = leaf_hash(receipt.time, &receipt.id.0);
        let proof = store.prove_inclusion_at(receipt.index, LogSize(new)).unwrap();
        prop_assert!(proof.verify(&leaf, receipt.index, &head(new)).is_ok());
        let wrong = TreeHead { root: Root(leaf), ..head(new) };
        prop_assert!(new == 1 || proof.verify(&leaf, receipt.index, &wrong).is_err());
        let proof = store.prove_consistency(LogSize(old), LogSize(new)).unwrap();
        prop_assert!(proof.verify(&head(old), &head(new)).is_ok());
        Ok(())
    }

    fn heads(&self) -> Result<(), TestCaseError> {
        let store = self.store();
        let set = SetTree::new(self.by_id.keys().map(|id| id.0), HASHES);
        let head = store.head().unwrap();
        prop_assert_eq!((head.count, head.set_root), (self.by_id.len() as u64, set.root()));
        prop_assert_eq!(head.log_size, self.entries.len() as u64);
        prop_assert_eq!(head.log_root, self.history().root());
        prop_assert_eq!(
            head.last_time,
            self.entries.last().map_or(Timestamp::MIN, |(last, _)| last.time)
        );
        prop_assert_eq!((store.len(), store.root().unwrap()), (head.count, head.set_root));
        prop_assert_eq!(
            (store.log_size(), store.history_root().unwrap()),
            (head.log_size, head.log_root)
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_store_does_what_the_model_does(steps in prop::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step)?;
        }
        let ids: Vec<AssertionId> = model.store().ids().map(Result::unwrap).collect();
        prop_assert!(ids.iter().eq(model.by_id.keys()));
    }
}

/// A store that holds one thing more than the model fails the same checks.
#[test]
fn control_an_entry_that_the_model_lacks_is_noticed() {
    let mut model = Model::new();
    model.run(Step::Append(vec![(1, 5), (2, 5)])).unwrap();
    model.store().append(b"behind its back").unwrap();
    assert!(model.heads().is_err());
}

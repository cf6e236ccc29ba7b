//! A store that keeps everything in memory.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use stemedb_store::Timestamp;

use stemedb_merkle::{
    AssertionId, Hash,
    history::{LogSize, MemoryHistory, leaf_hash},
    proof::SetProof,
    set::{Entry as Leaf, MerkleTree, Snapshot},
};
use stemedb_rpc::{
    Backend, Reason,
    backend::{EntriesWanted, Entry, Failure, Head, LogId, Pending, Receipt, Which},
};
use stemedb_sync::Keys;
use tokio::sync::watch;

/// The store, and some knobs.
#[derive(Debug)]
pub(crate) struct Memory {
    inner: Mutex<Inner>,
    size: watch::Sender<u64>,
    keys: Keys,
    /// Raised when it becomes another log.
    pub epoch: AtomicU64,
    /// How often a body was read.
    pub gets: AtomicUsize,
    /// Bytes of bodies that were read.
    pub given: AtomicUsize,
    /// How long an append takes.
    pub append_time: Duration,
    /// What reading a body fails with, if it does.
    pub broken: Option<Reason>,
    /// Appends that have begun.
    pub appends: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    log: Vec<(AssertionId, Vec<u8>)>,
    indexes: HashMap<AssertionId, u64>,
    tree: MerkleTree,
    history: MemoryHistory,
}

/// The longest body that it takes.
pub(crate) const BODY_LEN_MAX: usize = 8 << 20;
/// The time of entry 0.
pub(crate) const TIME: u64 = 1 << 62;

pub(crate) fn id(body: &[u8]) -> AssertionId {
    AssertionId(blake3::hash(body).into())
}

impl Default for Memory {
    fn default() -> Self {
        let (size, _) = watch::channel(0);
        Self {
            inner: Mutex::default(),
            size,
            keys: Keys::new(None),
            epoch: 1.into(),
            gets: AtomicUsize::new(0),
            given: AtomicUsize::new(0),
            append_time: Duration::ZERO,
            broken: None,
            appends: AtomicUsize::new(0),
        }
    }
}

impl Memory {
    pub(crate) fn with_keys(keys: Keys) -> Self {
        Self { keys, ..Self::default() }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.inner.lock().unwrap().tree.snapshot()
    }

    pub(crate) fn log_root_at(&self, size: u64) -> Option<Hash> {
        let inner = self.inner.lock().unwrap();
        inner.history.head_at(LogSize(size)).ok().map(|head| head.root)
    }

    pub(crate) fn slow(append_time: Duration) -> Self {
        Self { append_time, ..Self::default() }
    }

    pub(crate) fn broken(reason: Reason) -> Self {
        Self { broken: Some(reason), ..Self::default() }
    }

    pub(crate) fn take(&self, bodies: Vec<Vec<u8>>) -> Vec<Receipt> {
        let mut inner = self.inner.lock().unwrap();
        let mut receipts = Vec::new();
        let mut leaves = Vec::new();
        for body in bodies {
            let id = AssertionId(self.keys.id(&body));
            let next = inner.log.len() as u64;
            let index = *inner.indexes.entry(id).or_insert(next);
            if index == next {
                leaves.push(Leaf { id: id.0, position: index });
                inner.history.append(leaf_hash(Timestamp::from_ntp64(TIME + index), &id.0));
                inner.log.push((id, body));
            }
            receipts.push(Receipt { id, index, time: TIME + index, duplicate: index < next });
        }
        inner.tree.insert_batch(&leaves).unwrap();
        self.size.send_replace(inner.log.len() as u64);
        receipts
    }

    pub(crate) fn body_of(&self, which: &Which) -> Option<Vec<u8>> {
        self.find(which).and_then(|entry| self.body(&entry)).ok()
    }

    pub(crate) fn root(&self) -> Hash {
        self.inner.lock().unwrap().tree.root()
    }

    pub(crate) fn len(&self) -> u64 {
        *self.size.borrow()
    }
}

/// Bodies that are taken when somebody waits for them.
#[derive(Debug)]
pub(crate) struct Submitted(Result<Vec<Receipt>, Reason>, Duration);

impl Pending for Submitted {
    fn wait(self) -> Result<Vec<Receipt>, Failure> {
        std::thread::sleep(self.1);
        Ok(self.0?)
    }
}

/// A body that the store refuses.
pub(crate) const UNWELCOME: &[u8] = b"unwelcome";

impl Memory {
    fn try_take(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<Receipt>, Reason> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        if bodies.iter().any(|body| body == UNWELCOME) {
            return Err(Reason::Failed);
        }
        Ok(self.take(bodies))
    }
}

impl Backend for Memory {
    type Pending = Submitted;

    async fn append(&self, body: Vec<u8>) -> Result<Receipt, Failure> {
        let receipts = self.try_take(vec![body])?;
        tokio::time::sleep(self.append_time).await;
        Ok(receipts[0])
    }

    fn submit(&self, bodies: Vec<Vec<u8>>) -> Submitted {
        Submitted(self.try_take(bodies), self.append_time)
    }

    fn body_len_max(&self) -> usize {
        BODY_LEN_MAX
    }

    fn head(&self) -> Result<Head, Failure> {
        let inner = self.inner.lock().unwrap();
        let size = inner.log.len() as u64;
        Ok(Head {
            count: size,
            set_root: inner.tree.root(),
            log_size: size,
            log_root: inner.history.root(),
            last_time: if size == 0 { 0 } else { TIME + size - 1 },
        })
    }

    fn find(&self, which: &Which) -> Result<Entry, Failure> {
        if let Some(reason) = self.broken {
            return Err(Failure::new(reason, "/a/path/of/this/machine"));
        }
        let inner = self.inner.lock().unwrap();
        let index = match which {
            Which::Id(id) => inner.indexes.get(id).copied(),
            Which::Index(index) => Some(*index),
            Which::Prefix(prefix) => {
                let mut found =
                    inner.indexes.iter().filter(|(id, _)| id.to_string().starts_with(prefix));
                let first = found.next();
                if found.next().is_some() {
                    return Err(Reason::Ambiguous.into());
                }
                first.map(|(_, index)| *index)
            }
        };
        let index = index.ok_or(Reason::NotFound)?;
        let (id, body) = usize::try_from(index)
            .ok()
            .and_then(|index| inner.log.get(index))
            .ok_or(Reason::NotFound)?;
        let len = body.len() as u64;
        Ok(Entry { id: *id, index, time: TIME + index, len, body: None })
    }

    fn body(&self, entry: &Entry) -> Result<Vec<u8>, Failure> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let inner = self.inner.lock().unwrap();
        let (_, body) = &inner.log[usize::try_from(entry.index).unwrap()];
        self.given.fetch_add(body.len(), Ordering::Relaxed);
        Ok(body.clone())
    }

    fn prove(&self, id: &AssertionId) -> Result<(SetProof, Hash), Failure> {
        let inner = self.inner.lock().unwrap();
        let snapshot = inner.tree.snapshot();
        Ok((snapshot.prove(&id.0).unwrap(), snapshot.root()))
    }

    fn log_id(&self) -> LogId {
        LogId { node: [7; 16], epoch: self.epoch.load(Ordering::Relaxed) }
    }

    fn entries(&self, from: u64, wanted: &EntriesWanted) -> Result<Vec<Entry>, Failure> {
        let inner = self.inner.lock().unwrap();
        let mut bytes = 0;
        let mut entries = Vec::new();
        for (index, (id, body)) in (0_u64..).zip(&inner.log).skip(usize::try_from(from).unwrap()) {
            if entries.len() == wanted.entries_max || bytes >= wanted.bytes_aim {
                break;
            }
            let kept = wanted.body_len_max.is_some_and(|max| body.len() <= max);
            bytes += if kept { body.len() } else { 0 };
            self.given.fetch_add(if kept { body.len() } else { 0 }, Ordering::Relaxed);
            let (len, body) = (body.len() as u64, kept.then(|| body.clone()));
            entries.push(Entry { id: *id, index, time: TIME + index, len, body });
        }
        Ok(entries)
    }

    async fn grown(&self, entries: u64) -> bool {
        self.size.subscribe().wait_for(|size| *size > entries).await.is_ok()
    }
}

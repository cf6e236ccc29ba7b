//! Stores on disks in memory, which can be slow, fail, and take damage.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stemedb_merkle::{AssertionId, Root};
use stemedb_rpc::{
    Observer, PeerStore, ResponderService, StoreEvent,
    observer::Origin,
    store::{fitting, peer_identity},
};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Target};
use stemedb_store::{Environment, Options, Receipt, Secret, Store, store::ENVIRONMENT};
use stemedb_sync::{Keys, Limits, MemoryBudget, Responder};

/// The longest body that a store takes.
pub(crate) const BODY_LEN_MAX: usize = 8 << 20;

/// A store, its disk, and what is noted of it.
#[derive(Debug)]
pub(crate) struct TestStore {
    pub store: Arc<Store>,
    pub disk: FaultyDisk,
    pub seen: Arc<Seen>,
}

/// What is noted.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Bodies that were asked for and read.
    pub gets: AtomicUsize,
    /// Appends of bodies of peers.
    pub peer_appends: AtomicUsize,
    /// Syncs of the log that have begun since it became slow.
    pub syncs: AtomicUsize,
    /// Whether syncs are slow no more.
    released: Mutex<bool>,
    release: Condvar,
}

pub(crate) fn body(n: u64) -> Vec<u8> {
    format!("assertion {n}").into_bytes()
}

impl TestStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::on(FaultyDisk::new(1), None)
    }

    /// A store with a secret or without, and some bodies.
    pub(crate) fn of(secret: Option<&[u8]>, bodies: impl IntoIterator<Item = u64>) -> Arc<Self> {
        let store = Self::on(FaultyDisk::new(1), secret);
        store.take(bodies.into_iter().map(body).collect());
        store
    }

    pub(crate) fn on(disk: FaultyDisk, secret: Option<&[u8]>) -> Arc<Self> {
        Self::within(ENVIRONMENT, disk, secret)
    }

    pub(crate) fn within(
        environment: Environment,
        disk: FaultyDisk,
        secret: Option<&[u8]>,
    ) -> Arc<Self> {
        let options = Options::default()
            .body_len_max(u32::try_from(BODY_LEN_MAX).unwrap())
            .secret(secret.map(|secret| Secret::new(secret).unwrap()));
        let store = Arc::new(Store::open_on(Arc::new(disk.clone()), environment, options).unwrap());
        Arc::new(Self { store, disk, seen: Arc::default() })
    }

    /// A store on which each sync of the log takes so long, until it is [released](Self::release).
    pub(crate) fn slow(time: Duration) -> Arc<Self> {
        let store = Self::new();
        store.slow_down(time);
        store
    }

    pub(crate) fn slow_down(&self, time: Duration) {
        let seen = Arc::clone(&self.seen);
        self.disk.observe(move |step| {
            if step.operation == Operation::Sync && step.name.starts_with("segment-") {
                seen.syncs.fetch_add(1, Ordering::Relaxed);
                let released = seen.released.lock().unwrap();
                let _ = seen.release.wait_timeout_while(released, time, |done| !*done).unwrap();
            }
        });
    }

    /// Lets the syncs that wait and all later ones go on at once.
    pub(crate) fn release(&self) {
        *self.seen.released.lock().unwrap() = true;
        self.seen.release.notify_all();
    }

    /// Has each write to the disk fail from now on.
    pub(crate) fn fail(&self) {
        self.disk.inject(Fault {
            target: Target::Only(Operation::Write),
            after: 0,
            from_then_on: true,
            error: io::ErrorKind::Other,
            kind: FaultKind::Failed,
        });
    }

    pub(crate) fn take(&self, bodies: Vec<Vec<u8>>) -> Vec<Receipt> {
        self.store.append_batch(bodies).unwrap()
    }

    pub(crate) fn keys(&self) -> Keys {
        peer_identity(&self.store).keys
    }

    pub(crate) fn id(&self, body: &[u8]) -> AssertionId {
        AssertionId(self.keys().id(body))
    }

    pub(crate) fn len(&self) -> u64 {
        self.store.len()
    }

    pub(crate) fn root(&self) -> Root {
        self.store.root().unwrap()
    }

    pub(crate) fn gets(&self) -> usize {
        self.seen.gets.load(Ordering::Relaxed)
    }

    /// How many bodies of a length, of some hundred KiB, were read.
    pub(crate) fn reads_of(&self, len: usize) -> usize {
        // The beginning of a body comes with its head, and heads are read together with what lies
        // between them.
        usize::try_from(self.disk.reads_of(len - 1024..len + 1)).unwrap()
    }

    /// How many bytes were read in blocks of some hundred KiB.
    pub(crate) fn bytes_in_blocks(&self) -> usize {
        usize::try_from(self.disk.bytes_of_reads(100 << 10..usize::MAX)).unwrap()
    }

    pub(crate) fn syncs(&self) -> usize {
        self.seen.syncs.load(Ordering::Relaxed)
    }

    /// As sessions see it.
    pub(crate) fn peer_store(&self) -> PeerStore {
        let seen = Arc::clone(&self.seen);
        let observer = Observer::new(move |event| {
            let count = match event {
                StoreEvent::Get { result: Ok(()), .. } => &seen.gets,
                StoreEvent::Append { origin: Origin::Peer, .. } => &seen.peer_appends,
                _ => return,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
        PeerStore::new(Arc::clone(&self.store)).with_observer(observer)
    }

    pub(crate) fn responder(&self, limits: Limits, memory: MemoryBudget) -> Arc<ResponderService> {
        let (identity, limits) = (peer_identity(&self.store), fitting(&self.store, limits));
        let responder = Responder::with_memory(identity, limits, memory);
        Arc::new(ResponderService::new(responder, self.peer_store()))
    }
}

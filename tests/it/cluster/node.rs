//! A machine: a disk, a clock, what the disk has acknowledged, and the process if it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use stemedb::rpc::store::peer_identity;

use stemedb::{
    Hash, Options, Secret, Store,
    sync::{
        Cluster, Limits, Responder, Session,
        cluster::{Config, Head, KnownMember, NodeKey, Policy},
        message::SetHead,
        report::PeerCursor,
    },
};
use stemedb_simdisk::{FaultyDisk, Survival, UnsyncedDisk};
use stemedb_wal::disk::Disk;

use super::{
    sabotage::Sabotage,
    world::{self, ENVIRONMENT},
};

/// 2025-01-01, in NTP64.
const START: i128 = 1_735_689_600 << 32;

/// What all nodes of a cluster have in common.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) gossip: bool,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) interval: Duration,
    pub(crate) sessions_max: usize,
    pub(crate) segment_len: u64,
    pub(crate) limits: Limits,
    pub(crate) sabotage: Sabotage,
}

pub(crate) struct Node {
    pub(crate) address: String,
    pub(crate) disk: FaultyDisk,
    /// How far its clock is ahead, in units of NTP64, and how much more in each second.
    pub(crate) skew: i128,
    pub(crate) drift: i128,
    /// Ids that this disk has acknowledged.
    pub(crate) acknowledged: BTreeSet<Hash>,
    pub(crate) cursors: BTreeMap<usize, PeerCursor>,
    pub(crate) backup: Option<Backup>,
    pub(crate) process: Option<Process>,
    /// Members that it has written down, if it does so at all.
    pub(crate) members: Vec<KnownMember>,
    /// The power goes off at so many operations that change the disk from now.
    pub(crate) fuse: Option<Fuse>,
    /// Whether it has left for ever.
    pub(crate) gone: bool,
    pub(crate) join: Vec<String>,
    pub(crate) peers: Vec<String>,
    /// Bytes sent since this was last set to zero.
    pub(crate) sent: u64,
}

#[derive(Clone)]
pub(crate) struct Backup {
    disk: FaultyDisk,
    acknowledged: BTreeSet<Hash>,
    cursors: BTreeMap<usize, PeerCursor>,
}

#[derive(Clone, Copy)]
pub(crate) struct Fuse {
    pub(crate) operations: u64,
    pub(crate) survival: Survival,
    pub(crate) seed: u64,
}

/// What runs on a machine.
pub(crate) struct Process {
    /// Tells it from earlier ones.
    pub(crate) run: u64,
    pub(crate) store: Arc<Store>,
    pub(crate) cluster: Cluster,
    pub(crate) responder: Responder,
    pub(crate) sessions: BTreeMap<u64, Running>,
    /// When the next tick is to come.
    pub(crate) tick: Option<Duration>,
    /// Whether the store takes nothing more until it is opened again.
    pub(crate) broken: bool,
    store_id: [u8; 16],
    epoch: u64,
}

pub(crate) struct Running {
    pub(crate) session: Session,
    pub(crate) peer: usize,
    pub(crate) begun: Duration,
    pub(crate) tick: Option<Duration>,
}

/// What came of an append.
pub(crate) enum Appended {
    Durable(Vec<(Hash, bool)>),
    Failed,
    /// The power went off, and this is the disk that the next boot finds.
    Crashed(FaultyDisk),
}

impl Process {
    pub(crate) fn head(&self) -> Head {
        let head = self.store.head().unwrap();
        Head {
            set: SetHead { count: head.count, root: head.set_root },
            log_size: head.log_size.get(),
            last_time: head.last_time.as_ntp64(),
            epoch: self.epoch,
            store: self.store_id,
            version: "sim".to_owned(),
        }
    }
}

pub(crate) fn address(place: usize) -> String {
    format!("node-{place}:7845")
}

/// The place of an address; `None` for one that a hostile member made up.
pub(crate) fn place_of(address: &str) -> Option<usize> {
    let place = address.strip_prefix("node-")?.strip_suffix(":7845")?;
    Some(place.parse().unwrap())
}

/// The seed of a node's key. It belongs to the id, as the file of a real node does.
pub(crate) fn key_of(node: &[u8; 16]) -> [u8; 32] {
    blake3::derive_key("stemedb simulation node key", node)
}

impl Node {
    pub(crate) fn new(place: usize, seed: u64) -> Self {
        Self {
            address: address(place),
            disk: FaultyDisk::new(seed),
            skew: 0,
            drift: 0,
            acknowledged: BTreeSet::new(),
            cursors: BTreeMap::new(),
            backup: None,
            process: None,
            members: Vec::new(),
            fuse: None,
            gone: false,
            join: Vec::new(),
            peers: Vec::new(),
            sent: 0,
        }
    }

    /// What its clock shows.
    pub(crate) fn clock(&self, now: Duration) -> u64 {
        let passed = (i128::try_from(now.as_nanos()).unwrap() << 32) / 1_000_000_000;
        let drifted = self.drift * i128::from(now.as_secs());
        u64::try_from(START + passed + drifted + self.skew).unwrap()
    }

    /// It has its turn.
    pub(crate) fn turn(&self, now: Duration) {
        world::turn(self.clock(now));
    }

    /// Opens the store and begins. `None` if the disk is too full for that.
    pub(crate) fn start(&mut self, shape: &Shape, run: u64, now: Duration) -> Option<()> {
        self.turn(now);
        let options = Options::default()
            .secret(shape.secret.as_ref().map(|secret| Secret::new(secret).unwrap()))
            .body_len_max(4096)
            .segment_len(shape.segment_len)
            .map_files(false)
            .threads(false);
        let disk: Arc<dyn Disk> = match shape.sabotage {
            Sabotage::Unsynced => Arc::new(UnsyncedDisk(self.disk.clone())),
            _ => Arc::new(self.disk.clone()),
        };
        let store = match Store::open_on(disk, ENVIRONMENT, options) {
            Ok(store) => Arc::new(store),
            Err(error) => {
                let room = self.disk.available().unwrap();
                assert!(room < 1 << 20, "{} does not open: {error}", self.address);
                return None;
            }
        };
        let identity = peer_identity(&store);
        let stats = store.stats().unwrap();
        let config = Config {
            node: identity.node,
            key: NodeKey::from_seed(&key_of(&identity.node)),
            remembered: self.members.clone(),
            run: store.random().unwrap(),
            began: store.clock_time().max(store.head().unwrap().last_time).as_ntp64() + 1,
            address: self.address.clone(),
            version: "sim".to_owned(),
            keys: identity.keys.clone(),
            gossip: shape.gossip,
            join: self.join.clone(),
            peers: self.peers.clone(),
            policy: Policy { interval: shape.interval, sessions_max: shape.sessions_max },
            seed: u64::from_le_bytes(world::drawn(8).try_into().unwrap()),
        };
        let (set_root, head) = (store.head().unwrap().set_root, store.head().unwrap());
        let head = Head {
            set: SetHead { count: head.count, root: set_root },
            log_size: head.log_size.get(),
            last_time: head.last_time.as_ntp64(),
            epoch: stats.epoch,
            store: stats.store_id,
            version: "sim".to_owned(),
        };
        self.process = Some(Process {
            run,
            cluster: Cluster::new(config, head, now),
            responder: Responder::new(identity, shape.limits.clone()),
            store,
            sessions: BTreeMap::new(),
            tick: None,
            broken: false,
            store_id: stats.store_id,
            epoch: stats.epoch,
        });
        Some(())
    }

    /// The process ends at once. What it still writes as it goes is on no disk that is used again.
    pub(crate) fn kill(&mut self, disk: FaultyDisk) {
        self.end();
        self.disk = disk;
        self.fuse = None;
    }

    /// The process ends. Every second node remembers whom it has met.
    pub(crate) fn end(&mut self) {
        let Some(process) = self.process.take() else { return };
        let remembers = place_of(&self.address).is_some_and(|place| place % 2 == 0);
        if remembers {
            self.members = process.cluster.known_members();
        }
    }

    /// Appends, and keeps account of what was acknowledged.
    pub(crate) fn append(&mut self, bodies: &[Vec<u8>], now: Duration) -> Appended {
        self.turn(now);
        let process = self.process.as_mut().unwrap();
        let caught: Arc<Mutex<Option<FaultyDisk>>> = Arc::default();
        if let Some(fuse) = self.fuse {
            let caught = Arc::clone(&caught);
            let mut left = fuse.operations;
            self.disk.observe(move |moment| {
                if left == 0 {
                    caught.lock().unwrap().get_or_insert(moment.disk);
                }
                left = left.saturating_sub(1);
            });
        }
        let keys = peer_identity(&process.store).keys;
        let bodies = bodies.iter().map(|body| (keys.id(body), body.as_slice()));
        let taken = process.store.append_from_peer(bodies);
        if self.fuse.take().is_some() {
            self.disk.stop_observing();
        }
        let caught = caught.lock().unwrap().take();
        if let Some(disk) = caught {
            return Appended::Crashed(disk);
        }
        let Ok(taken) = taken else {
            process.broken = true;
            return Appended::Failed;
        };
        self.acknowledged.extend(taken.iter().map(|(id, _)| *id));
        process.cluster.changed(process.head(), now);
        Appended::Durable(taken)
    }

    /// Keeps a copy of the disk as it is.
    pub(crate) fn back_up(&mut self) {
        let (acknowledged, cursors) = (self.acknowledged.clone(), self.cursors.clone());
        self.backup = Some(Backup { disk: self.disk.copied(), acknowledged, cursors });
    }

    /// Puts the copy in the place of the disk, with another fingerprint.
    pub(crate) fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.kill(backup.disk.copied());
        self.disk.set_capacity(None);
        self.members.clear();
        (self.acknowledged, self.cursors) = (backup.acknowledged, backup.cursors);
    }

    /// An empty disk takes the place of the one before.
    pub(crate) fn wipe(&mut self, seed: u64) {
        self.kill(FaultyDisk::new(seed));
        self.members.clear();
        self.acknowledged.clear();
        self.cursors.clear();
    }
}

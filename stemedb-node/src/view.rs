//! Status of a node.

use std::{sync::atomic::Ordering, time::Duration};

use stemedb_merkle::id::to_hex;
use stemedb_rpc::store::peer_identity;
use stemedb_store::{LogIndex, Store, store::uptime};
use stemedb_sync::{
    cluster::{Peer, Standing},
    message::SetHead,
};

use super::{
    Shared,
    metrics::AccessGauges,
    session::Sessions,
    status::{
        HeadStatus, PeerState, PeerStatus, Problem, ProblemCode, Status, SyncStatus, unix_seconds,
    },
};
use stemedb_store::store::lock;

/// Time for which the status shows that another process had this node's id.
const DUPLICATE_TIME: Duration = Duration::from_secs(300);

/// Status of a node at this moment.
pub(super) fn status(shared: &Shared) -> Status {
    let store = &shared.store;
    let (now, time) = (uptime(), unix_seconds(store.clock_time()));
    let identity = peer_identity(store);
    // Where the trees fail, the reason is among the problems below.
    let head = store.head().ok();
    let own = head.map(|head| SetHead { count: head.count, root: head.set_root });
    let at = |moment: Duration| time - now.as_secs_f64() + moment.as_secs_f64();
    let known: Vec<_> = {
        let cluster = lock(&shared.cluster);
        cluster.peers().map(|(address, peer)| (address.to_owned(), peer.clone())).collect()
    };
    let running = known.iter().filter(|(_, peer)| peer.running).count();
    // Reads the log: without a lock that gossip takes.
    let lags = known.iter().map(|(_, peer)| Lag::of(peer, store, own, now, time));
    let lags: Vec<Lag> = lags.collect();
    let sessions = lock(&shared.sessions);
    let mut peers: Vec<_> = known
        .iter()
        .zip(lags)
        .map(|((address, peer), lag)| peer_status(address, peer, own, lag, &sessions, now, &at))
        .collect();
    let duplicate = sessions
        .duplicate
        .as_ref()
        .filter(|duplicate| now.saturating_sub(duplicate.reported) < DUPLICATE_TIME);
    peers.extend(duplicate.map(|duplicate| duplicate_status(&duplicate.address)));
    drop(sessions);
    let Joins { joined, unreached } = shared.joins();
    peers.extend(unreached.into_iter().map(|(address, error)| unreached_status(address, error)));
    let not_ready = problems(shared);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: to_hex(identity.node),
        store: to_hex(store.store_id()),
        epoch: identity.epoch,
        address: shared.address.clone(),
        time,
        uptime_seconds: now.saturating_sub(shared.began).as_secs(),
        head: head.as_ref().map(HeadStatus::from),
        not_ready,
        joined,
        sync: SyncStatus {
            paused: lock(&shared.pauses).reason(),
            running: running as u64,
            append_p99_seconds: shared.meter.append_p99().map(|p99| p99.as_secs_f64()),
        },
        peers,
        slices: lock(&shared.slices).status(),
        disk: shared.disk_space.status(),
        scrub: shared.options().scrub.map(|_| shared.scrub.status()),
        archive: lock(&shared.archive).clone(),
    }
}

/// Problems that an operator must solve before clients are served well.
fn problems(shared: &Shared) -> Vec<Problem> {
    let mut problems = Vec::new();
    if shared.stopping.load(Ordering::Relaxed) {
        let text = "the node is about to stop".to_owned();
        problems.push(Problem { code: ProblemCode::Stopping, text });
    }
    problems.extend(store_problems(&shared.store));
    let mut add = |code, text: String| problems.push(Problem { code, text });
    let unhealed = shared.scrub.unhealed();
    if unhealed > 0 {
        add(
            ProblemCode::Damage,
            format!(
                "{unhealed} place(s) in the log are damaged, and no peer had what belongs there: \
                 a check lists them"
            ),
        );
    }
    if shared.disk_space.is_low() {
        let disk = shared.disk_space.status();
        add(
            ProblemCode::Disk,
            format!(
                "the disk has {} bytes free, less than the reserve of {}: make room",
                disk.free, disk.reserve
            ),
        );
    }
    problems
}

impl Shared {
    /// Problems that an operator must solve before clients are served well.
    pub(super) fn problems(&self) -> Vec<Problem> {
        problems(self)
    }

    /// Whether clients are served as they should be.
    pub(super) fn is_ready(&self) -> bool {
        self.problems().is_empty()
    }
}

/// Problems of the store itself.
pub(super) fn store_problems(store: &Store) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |code, text: String| problems.push(Problem { code, text });
    if let Some(failure) = store.failure() {
        add(
            ProblemCode::Writer,
            format!("nothing can be appended: {failure}; see to that, then restart the node"),
        );
    }
    if store.is_read_only() {
        add(
            ProblemCode::Writer,
            "the store is open for reading only, because there was no room to put in order what a \
             crash left: make room, then restart the node"
                .to_owned(),
        );
    }
    if let Some(failure) = store.tree_failure() {
        add(
            ProblemCode::Damage,
            format!("the set tree can't be read: {failure}; restart the node, which rebuilds it"),
        );
    }
    problems
}

/// Whether a node has found others, and where it has not.
#[derive(Debug)]
pub(super) struct Joins {
    /// Whether another member is there; `None` without an address to join by.
    pub(super) joined: Option<bool>,
    /// Addresses to join by that were never reached, and the last error.
    pub(super) unreached: Vec<(String, String)>,
}

impl Shared {
    /// Whether this node has found others, and where it has not.
    pub(super) fn joins(&self) -> Joins {
        let cluster = lock(&self.cluster);
        let unanswered: Vec<String> = cluster.unanswered().map(str::to_owned).collect();
        let is_member = |peer: &Peer| matches!(peer.standing, Standing::Alive | Standing::Suspect);
        let joined = cluster
            .has_join()
            .then(|| cluster.peers().any(|(_, peer)| peer.node.is_some() && is_member(peer)));
        // One that is known is among the peers, or was.
        let unknown = |address: &String| cluster.peer(address).is_none();
        let unreached: Vec<String> = unanswered.into_iter().filter(unknown).collect();
        drop(cluster);
        let with_error = |address: String| {
            let error = self.links.failure(&address).unwrap_or_else(|| "no answer yet".to_owned());
            (address, error)
        };
        Joins { joined, unreached: unreached.into_iter().map(with_error).collect() }
    }

    /// What the metrics show of who is let in.
    pub(super) fn access_gauges(&self) -> AccessGauges {
        let time = unix_seconds(self.store.clock_time());
        AccessGauges {
            rejections: self.rejections.counts().collect(),
            certificate_days: lock(&self.certificates).days_left(time),
        }
    }
}

/// An address to join by that was never reached.
fn unreached_status(address: String, error: String) -> PeerStatus {
    PeerStatus {
        address,
        state: PeerState::Unreached,
        remark: Some(error),
        ..PeerStatus::default()
    }
}

/// A process with this node's id.
fn duplicate_status(address: &str) -> PeerStatus {
    let remark = "a copy of this store was started there with this node's id, and refused: give it \
                  one of its own by restoring it from a backup";
    PeerStatus {
        address: address.to_owned(),
        state: PeerState::DuplicateId,
        remark: Some(remark.to_owned()),
        ..PeerStatus::default()
    }
}

fn peer_status(
    address: &str,
    peer: &Peer,
    own: Option<SetHead>,
    lag: Lag,
    sessions: &Sessions,
    now: Duration,
    at: &dyn Fn(Duration) -> f64,
) -> PeerStatus {
    let set = peer.set();
    let state = match peer.standing {
        _ if peer.quarantined.is_some() && peer.not_before > now => PeerState::Quarantined,
        Standing::Alive => PeerState::Alive,
        Standing::Suspect => PeerState::Suspect,
        Standing::Down => PeerState::Down,
        Standing::Left => PeerState::Left,
        Standing::Named => PeerState::Named,
    };
    PeerStatus {
        address: address.to_owned(),
        node: peer.node.map(to_hex),
        version: peer.head.as_ref().map(|head| head.version.clone()),
        state,
        count: set.map(|set| set.count),
        set_root: set.map(|set| to_hex(set.root)),
        in_step: set.zip(own).map(|(set, own)| set == own),
        lag_seconds: lag.seconds,
        last_repaired: peer.repaired.map(at),
        failures: peer.failures.into(),
        retry_at: (peer.not_before > now).then(|| at(peer.not_before)),
        last_session: sessions.last.get(address).cloned(),
        remark: peer.quarantined.map(|violation| violation.to_string()),
        lag_entries: lag.entries,
        ahead_entries: lag.ahead,
    }
}

/// How far two nodes are apart.
#[derive(Clone, Copy, Debug, Default)]
struct Lag {
    /// Entries that the peer may lack.
    entries: Option<u64>,
    /// Entries that this node may lack.
    ahead: Option<u64>,
    /// Age of the oldest of all of these.
    seconds: Option<f64>,
}

impl Lag {
    /// How far a peer is from a store. What of one log the other lacks begins behind where both
    /// held the same, at the earliest. When the peer recorded its entries is not known, but since
    /// when they are logged.
    fn of(peer: &Peer, store: &Store, own: Option<SetHead>, now: Duration, time: f64) -> Self {
        let (Some(set), Some(own)) = (peer.set(), own) else { return Self::default() };
        if set == own {
            return Self { entries: Some(0), ahead: Some(0), seconds: Some(0.0) };
        }
        let differs_for = peer.differs_since.map(|since| now.saturating_sub(since).as_secs_f64());
        let Some(equal_at) = peer.equal_at else {
            return Self { seconds: differs_for, ..Self::default() };
        };
        let entries = store.log_size().get().saturating_sub(equal_at.own);
        let known = peer.head.as_ref().zip(equal_at.peer);
        let ahead = known.map(|(head, size)| head.log_size.saturating_sub(size));
        let first = (entries > 0).then(|| store.entry(LogIndex(equal_at.own)).ok().flatten());
        let oldest = first.flatten().map(|entry| (time - unix_seconds(entry.time)).max(0.0));
        let differs_for = differs_for.filter(|_| ahead != Some(0));
        let seconds = [oldest, differs_for].into_iter().flatten().reduce(f64::max);
        Self { entries: Some(entries), ahead, seconds }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;
    use crate::{Node, Options};

    #[tokio::test]
    async fn a_node_whose_trees_fail_shows_no_head() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), stemedb_store::Options::default()).unwrap());
        let id = store.append(b"held").unwrap().id;
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let options = Options::default().listen(listen);
        let node = Node::start(Arc::clone(&store), options).await.unwrap();
        let before = status(&node.shared);
        assert_eq!(before.head.map(|head| head.count), Some(1));
        assert!(before.not_ready.is_empty(), "{:?}", before.not_ready);
        let died = thread::scope(|scope| scope.spawn(|| store.break_trees()).join());
        assert!(died.is_err());
        // The first to ask for an id meets the lock that the panic poisoned.
        assert!(store.get(&id).is_err());
        let after = status(&node.shared);
        assert_eq!(after.head, None);
        assert!(
            after.not_ready.iter().any(|problem| problem.code == ProblemCode::Damage),
            "{after:?}"
        );
        let text = node.shared.metrics.text(&after, &store, None, node.shared.access_gauges());
        assert!(text.contains("\nstemedb_ready 0.0\n"), "{text}");
    }
}

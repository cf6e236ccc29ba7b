//! Status of a node.

use std::{sync::atomic::Ordering, time::Duration};

use stemedb_merkle::id::to_hex;
use stemedb_rpc::store::peer_identity;
use stemedb_store::store::uptime;
use stemedb_sync::{
    cluster::{Peer, Standing},
    message::SetHead,
};

use super::{
    Shared,
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
    let sessions = lock(&shared.sessions);
    let at = |moment: Duration| time - now.as_secs_f64() + moment.as_secs_f64();
    let (mut peers, running) = {
        let cluster = lock(&shared.cluster);
        let peers: Vec<_> = cluster
            .peers()
            .map(|(address, peer)| peer_status(address, peer, own, &sessions, now, &at))
            .collect();
        (peers, cluster.peers().filter(|(_, peer)| peer.running).count())
    };
    let duplicate = sessions
        .duplicate
        .as_ref()
        .filter(|duplicate| now.saturating_sub(duplicate.told) < DUPLICATE_TIME);
    peers.extend(duplicate.map(|duplicate| duplicate_status(&duplicate.address)));
    drop(sessions);
    let not_ready = problems(shared);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: to_hex(&identity.node),
        store: to_hex(&store.store_id()),
        epoch: identity.epoch,
        address: shared.address.clone(),
        time,
        uptime_seconds: now.saturating_sub(shared.began).as_secs(),
        head: head.as_ref().map(HeadStatus::from),
        not_ready,
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
    let mut add = |code, text: String| problems.push(Problem { code, text });
    if shared.stopping.load(Ordering::Relaxed) {
        add(ProblemCode::Stopping, "the node is about to stop".to_owned());
    }
    if let Some(failure) = shared.store.failure() {
        add(
            ProblemCode::Writer,
            format!("nothing can be appended: {failure}; see to that, then restart the node"),
        );
    }
    if shared.store.is_read_only() {
        add(
            ProblemCode::Writer,
            "the store is open for reading only, because there was no room to put in order what a \
             crash left: make room, then restart the node"
                .to_owned(),
        );
    }
    if let Some(failure) = shared.store.tree_failure() {
        add(
            ProblemCode::Damage,
            format!("the set tree can't be read: {failure}; restart the node, which rebuilds it"),
        );
    }
    let unhealed = shared.scrub.unhealed();
    if unhealed > 0 {
        add(
            ProblemCode::Damage,
            format!(
                "{unhealed} place(s) in the log are damaged, and no peer had what belongs there: \
                 `stemedb check` lists them"
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

/// A process with this node's id.
fn duplicate_status(address: &str) -> PeerStatus {
    let remark = "a copy of this store was started there with this node's id, and refused: give it \
                  one of its own with `stemedb restore`";
    PeerStatus {
        address: address.to_owned(),
        node: None,
        version: None,
        state: PeerState::DuplicateId,
        count: None,
        set_root: None,
        in_step: None,
        lag_seconds: None,
        last_repaired: None,
        failures: 0,
        retry_at: None,
        last_session: None,
        remark: Some(remark.to_owned()),
    }
}

fn peer_status(
    address: &str,
    peer: &Peer,
    own: Option<SetHead>,
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
        Standing::Named => PeerState::Named,
    };
    PeerStatus {
        address: address.to_owned(),
        node: peer.node.map(|node| to_hex(&node)),
        version: peer.head.as_ref().map(|head| head.version.clone()),
        state,
        count: set.map(|set| set.count),
        set_root: set.map(|set| to_hex(&set.root)),
        in_step: set.zip(own).map(|(set, own)| set == own),
        lag_seconds: set.map(|_| {
            peer.differs_since.map_or(0.0, |since| now.saturating_sub(since).as_secs_f64())
        }),
        last_repaired: peer.repaired.map(at),
        failures: peer.failures.into(),
        retry_at: (peer.not_before > now).then(|| at(peer.not_before)),
        last_session: sessions.last.get(address).cloned(),
        remark: peer.quarantined.map(|violation| violation.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;
    use crate::{Node, Options};
    use stemedb_store::Store;

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
        let text = node.shared.metrics.text(&after, &store, None);
        assert!(text.contains("\nstemedb_ready 0.0\n"), "{text}");
    }
}

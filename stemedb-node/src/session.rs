//! Sessions that a node begins.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stemedb_rpc::SyncOptions;
use stemedb_rpc::sync::Synced;
use stemedb_store::store::uptime;
use stemedb_sync::{
    Ending,
    cluster::Outcome,
    message::Refusal,
    report::{Limited, Report},
};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use super::{
    Shared,
    progress::Progress,
    status::{SessionStatus, unix_seconds},
};
use stemedb_store::{error::with_causes, store::lock};

/// Sessions that ended, and what else there is to tell of peers.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// The last one with each peer, by address.
    pub(super) last: BTreeMap<String, SessionStatus>,
    /// A process with this node's id that was refused.
    pub(super) duplicate: Option<DuplicateNodeId>,
    /// A process with this node's id that was there first.
    pub(super) refused_by: Option<String>,
}

/// Another process with this node's id.
#[derive(Debug)]
pub(super) struct DuplicateNodeId {
    pub(super) address: String,
    /// When it was reported.
    pub(super) reported: Duration,
}

/// Last sessions are kept of so many peers.
const PEERS_MAX: usize = 1024;

/// Runs a session, and tells the schedule whatever becomes of it.
pub(super) async fn begin(shared: Arc<Shared>, peer: String) {
    // A set, so that it ends with this task.
    let mut session = JoinSet::new();
    session.spawn({
        let (shared, peer) = (Arc::clone(&shared), peer.clone());
        async move { run(&shared, peer).await }
    });
    if session.join_next().await.is_some_and(|ended| ended.is_err()) {
        // A panic, which has told of itself.
        lock(&shared.cluster).ended(&peer, Outcome::Failed, uptime());
    }
}

/// Runs a session with a peer, and tells everybody who wants to know.
async fn run(shared: &Arc<Shared>, peer: String) {
    let began = uptime();
    let again = lock(&shared.cluster).peer(&peer).is_some_and(|peer| peer.failures > 0);
    if again {
        shared.metrics.session_retried();
    }
    let outcome = match sync(shared, &peer).await {
        Ok(synced) => ended(shared, &peer, &synced, uptime().saturating_sub(began)),
        Err(text) => {
            shared.links.forget(&peer);
            debug!(peer, error = text, "no session with a peer");
            note(
                shared,
                &peer,
                SessionStatus {
                    time: unix_seconds(shared.store.clock_time()),
                    outcome: text,
                    layer: None,
                    fetched: 0,
                    pushed: 0,
                    bytes_sent: 0,
                    bytes_received: 0,
                    millis: millis(uptime().saturating_sub(began)),
                },
            );
            Outcome::Failed
        }
    };
    // What came with the session belongs to what is compared next.
    shared.announce_head().await;
    lock(&shared.cluster).ended(&peer, outcome, uptime());
    shared.wake.notify_one();
}

async fn sync(shared: &Arc<Shared>, peer: &str) -> Result<Synced, String> {
    let client = shared.links.client(peer).await.map_err(|error| {
        let is_named = shared.options().peers.iter().any(|named| named.to_string() == peer);
        if is_named || error.is_misconfigured() {
            shared.warn_of(peer, error.word(), &with_causes(&error), false);
        }
        with_causes(&error)
    })?;
    let node = lock(&shared.cluster).peer(peer).and_then(|peer| peer.node);
    let _under_way = node.map(|node| shared.outgoing.begin(node));
    let (options, stopped) = (SyncOptions::default(), shared.stopped());
    // What comes with it is counted when it ends, not as it comes; a long one is seen to go on.
    let store = shared.peer_store();
    let mut progress = Progress::new(uptime());
    let show = |report: &Report| {
        let moved = report.fetched + report.pushed;
        if let Some(per_second) = progress.due(moved, uptime()) {
            let of = (report.only_theirs + report.only_mine).max(moved);
            let bytes = report.body_bytes_received + report.body_bytes_sent;
            info!(peer, moved, of, bytes, per_second, "bodies are moved");
        }
    };
    let synced = stemedb_rpc::store::sync(store, &client, options, stopped, show).await;
    if synced.is_ok() {
        shared.note_well(peer);
    }
    synced.map_err(|error| error.to_string())
}

/// Takes in how a session ended.
fn ended(shared: &Shared, peer: &str, synced: &Synced, time: Duration) -> Outcome {
    let report = &synced.report;
    shared.metrics.session_ended(peer, report, time);
    let outcome = outcome(synced);
    let repaired = matches!(outcome, Outcome::Repaired(_));
    let (fetched, pushed) = (report.fetched, report.pushed);
    let text = match &synced.error {
        Some(error) => error.to_string(),
        None => report.ending.to_string(),
    };
    match outcome {
        Outcome::ProtocolViolation(violation) => {
            error!(peer, %violation, "a peer broke the protocol and is quarantined for an hour");
        }
        Outcome::Failed => warn!(peer, outcome = text, "a session failed"),
        _ if fetched + pushed > 0 => {
            info!(peer, fetched, pushed, millis = millis(time), "in step with a peer again");
        }
        _ => debug!(peer, outcome = text, "met a peer"),
    }
    if let Some(ahead) = report.clock_ahead {
        warn!(peer, seconds = ahead.as_secs(), "the clock of a peer is ahead of this one's");
    }
    let now = unix_seconds(shared.store.clock_time());
    lock(&shared.slices).take_in(report, repaired, now);
    note(
        shared,
        peer,
        SessionStatus {
            time: now,
            outcome: if repaired { "complete".to_owned() } else { text },
            layer: report.layers.last().map(|step| step.layer.name().to_owned()),
            fetched,
            pushed,
            bytes_sent: report.bytes_sent(),
            bytes_received: report.bytes_received(),
            millis: millis(time),
        },
    );
    outcome
}

/// Meaning of a session for the next.
fn outcome(synced: &Synced) -> Outcome {
    let report = &synced.report;
    let moved = report.fetched + report.pushed > 0;
    match report.ending {
        Ending::ProtocolViolation(what) => Outcome::ProtocolViolation(what),
        Ending::Complete if report.equal => report.set.map_or(Outcome::Partial, Outcome::Repaired),
        Ending::Complete => Outcome::Partial,
        Ending::Limit(Limited::BodyBytes | Limited::Time | Limited::Disk)
        | Ending::Refused(Refusal::SnapshotGone)
            if moved =>
        {
            Outcome::Partial
        }
        // Called off because the peer can't be talked to at all: a wrong token, say.
        Ending::Cancelled if synced.error.is_some() => Outcome::Failed,
        // The peer's own session does what this one would have.
        Ending::Cancelled | Ending::Refused(Refusal::BusyWithYou) => Outcome::Cancelled,
        _ => Outcome::Failed,
    }
}

fn note(shared: &Shared, peer: &str, session: SessionStatus) {
    let mut sessions = lock(&shared.sessions);
    if sessions.last.len() >= PEERS_MAX && !sessions.last.contains_key(peer) {
        sessions.last.clear();
    }
    sessions.last.insert(peer.to_owned(), session);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

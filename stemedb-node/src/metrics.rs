//! Metrics of a node, in the text that Prometheus reads.
//!
//! Events are counted as they happen, by a method for each. What is, is
//! looked up when somebody asks: [`Metrics::text`] takes the node's [`Status`] and its store. The
//! registry is a value, so that several nodes of one process don't mix.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use stemedb_rpc::{CallError, ConnectFailure};
use stemedb_sync::{
    message::{Kind, Refusal},
    report::{Ending, Layer, Limited, Report},
};
use strum::VariantArray as _;

use self::{
    gauges::GaugeCollector,
    labels::{
        AppendLabels, BodyLabels, CauseLabels, DirectionLabels, KindLabel, LayerLabel,
        OriginLabels, OutcomeLabels, PeerSessionLabels, PeerTrafficLabels, ReasonLabel,
        RefusalLabels, RequestLabels, SessionLabels, SessionOutcome, TrafficLabels,
    },
    process::ProcessCollector,
};
use super::Status;
use stemedb_store::{Store, store::CheckpointGauges};

mod gauges;
mod labels;
mod process;
mod writer;

pub use self::{
    gauges::AccessGauges,
    labels::{Direction, Origin, Outcome},
};

/// The content type of what [`Metrics::text`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Peers that have series of their own; all others share those of the peer `other`.
pub const PEERS_MAX: usize = 256;

/// The label of the peers beyond [`PEERS_MAX`].
const OTHER: &str = "other";

/// The metrics of one node. Clones are cheap and count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// Defines the metrics that count: fields, and their names and meanings for Prometheus.
macro_rules! metrics {
    ($($field:ident: $kind:ty = $new:expr, $name:literal $(in $unit:ident)?, $help:literal;)*) => {
        struct Inner {
            registry: Registry,
            /// Peers that have series of their own.
            peers: Mutex<BTreeSet<String>>,
            /// The last that was seen, for while it is being replaced.
            checkpoint: Mutex<CheckpointGauges>,
            $($field: $kind,)*
        }

        impl Inner {
            fn new() -> Self {
                let mut registry = Registry::with_prefix("stemedb");
                $(
                    let $field: $kind = $new;
                    let unit: &[Unit] = &[$(Unit::$unit)?];
                    match unit.first().cloned() {
                        Some(unit) => {
                            registry.register_with_unit($name, $help, unit, $field.clone());
                        }
                        None => registry.register($name, $help, $field.clone()),
                    }
                )*
                let (peers, checkpoint) = Default::default();
                Self { registry, peers, checkpoint, $($field,)* }
            }
        }
    };
}

metrics! {
    appends: Family<AppendLabels, Counter> = <_>::default(),
        "appends", "Bodies appended, by who brought them and what came of it";
    append_time: Family<OriginLabels, Histogram, fn() -> Histogram> =
        Family::new_with_constructor(latencies as fn() -> Histogram),
        "append" in Seconds, "Client-observed append latency";
    gets: Family<OutcomeLabels, Counter> = <_>::default(),
        "gets", "Assertions that clients asked for, by what came of it";
    get_time: Histogram = latencies(),
        "get" in Seconds, "Time that getting an assertion took";
    sessions: Family<SessionLabels, Counter> = <_>::default(),
        "sync_sessions",
        "Sessions that this node began and that ended, by outcome and the layer that settled them";
    session_time: Histogram = session_times(),
        "sync_session" in Seconds, "Time that sessions took";
    session_bytes: Family<TrafficLabels, Counter> = <_>::default(),
        "sync" in Bytes, "Bytes of messages of sessions, by kind and direction";
    bodies: Family<BodyLabels, Counter> = <_>::default(),
        "sync_bodies",
        "Bodies that sessions moved, by direction and whether the receiver held them already";
    rounds: Counter = <_>::default(),
        "sync_rounds", "Requests of sessions to find out what differs";
    repeats: Counter = <_>::default(),
        "sync_repeats", "Requests of sessions that were sent again";
    restarts: Counter = <_>::default(),
        "sync_restarts",
        "How often sessions began again because the peer no longer had their snapshot";
    retries: Counter = <_>::default(),
        "sync_retries", "How often a peer was tried again after a failure";
    refusals: Family<RefusalLabels, Counter> = <_>::default(),
        "sync_refusals", "Requests that a peer refused, by reason";
    timeouts: Counter = <_>::default(),
        "sync_timeouts", "Sessions that ended because the peer gave no answer or time was over";
    violations: Counter = <_>::default(),
        "sync_protocol_violations", "Sessions that ended because the peer broke the protocol";
    peer_sessions: Family<PeerSessionLabels, Counter> = <_>::default(),
        "peer_sync_sessions", "Sessions that this node began and that ended, by peer and outcome";
    peer_bytes: Family<PeerTrafficLabels, Counter> = <_>::default(),
        "peer_sync" in Bytes, "Bytes of messages of sessions, by peer and direction";
    gossip_messages: Family<DirectionLabels, Counter> = <_>::default(),
        "gossip_messages", "Gossip messages, by direction";
    gossip_bytes: Family<DirectionLabels, Counter> = <_>::default(),
        "gossip" in Bytes, "Bytes of gossip messages, by direction";
    join_failures: Family<CauseLabels, Counter> = <_>::default(),
        "join_failures", "Failed calls to addresses to join by, by reason";
    requests: Family<RequestLabels, Counter> = <_>::default(),
        "http_requests", "HTTP requests answered, by status code";
}

/// Appends and reads take from 50 µs to 13 s: each bucket goes twice as far as the one before.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 19))
}

/// Sessions take from 1 ms to an hour.
fn session_times() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 2.0, 23))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that have seen nothing yet.
    pub fn new() -> Self {
        let inner = Inner::new();
        inner.begin_at_zero();
        Self(Arc::new(inner))
    }

    /// Bodies were appended, or were to be: how many, and the latency that the client observed.
    /// Several that were handed over together are one wait.
    pub fn appended(&self, origin: Origin, outcome: Outcome, count: u64, time: Option<Duration>) {
        let inner = &self.0;
        inner.appends.get_or_create(&AppendLabels { origin, outcome }).inc_by(count);
        if let Some(time) = time {
            let labels = OriginLabels { origin };
            inner.append_time.get_or_create(&labels).observe(time.as_secs_f64());
        }
    }

    /// An assertion was asked for.
    pub fn got(&self, outcome: Outcome, time: Duration) {
        self.0.gets.get_or_create(&OutcomeLabels { outcome }).inc();
        self.0.get_time.observe(time.as_secs_f64());
    }

    /// A session that this node began has ended. What it fetched counts as appends of the origin
    /// `peer`.
    pub fn session_ended(&self, peer: &str, report: &Report, time: Duration) {
        let inner = &self.0;
        let outcome = SessionOutcome::of(&report.ending);
        let layer = LayerLabel(report.layers.last().map(|step| step.layer));
        inner.sessions.get_or_create(&SessionLabels { outcome, layer }).inc();
        inner.session_time.observe(time.as_secs_f64());
        for (kind, traffic) in Kind::ALL.into_iter().zip(&report.traffic) {
            for (direction, bytes) in
                [(Direction::Sent, traffic.sent), (Direction::Received, traffic.received)]
            {
                let labels = TrafficLabels { kind: KindLabel(kind), direction };
                inner.session_bytes.get_or_create(&labels).inc_by(bytes);
            }
        }
        for (direction, held, count) in [
            (Direction::Received, false, report.fetched.saturating_sub(report.fetched_duplicates)),
            (Direction::Received, true, report.fetched_duplicates),
            (Direction::Sent, false, report.pushed.saturating_sub(report.pushed_duplicates)),
            (Direction::Sent, true, report.pushed_duplicates),
        ] {
            inner.bodies.get_or_create(&BodyLabels { direction, held }).inc_by(count);
            if direction == Direction::Received {
                let outcome = if held { Outcome::Held } else { Outcome::Done };
                self.appended(Origin::Peer, outcome, count, None);
            }
        }
        inner.rounds.inc_by(report.rounds);
        inner.repeats.inc_by(report.repeats);
        inner.restarts.inc_by(report.restarts.into());
        match report.ending {
            Ending::ProtocolViolation(_) => {
                inner.violations.inc();
            }
            Ending::Refused(refusal) => self.refused(refusal),
            Ending::Silent | Ending::Limit(Limited::Time) => {
                inner.timeouts.inc();
            }
            _ => {}
        }
        let peer = self.peer(peer);
        let labels = PeerSessionLabels { peer: peer.clone(), outcome };
        inner.peer_sessions.get_or_create(&labels).inc();
        for (direction, bytes) in
            [(Direction::Sent, report.bytes_sent()), (Direction::Received, report.bytes_received())]
        {
            let labels = PeerTrafficLabels { peer: peer.clone(), direction };
            inner.peer_bytes.get_or_create(&labels).inc_by(bytes);
        }
    }

    /// A peer is tried again after a session with it failed or none began.
    pub fn session_retried(&self) {
        self.0.retries.inc();
    }

    /// A peer refused a request. Refusals that end a session are counted with it.
    pub fn refused(&self, refusal: Refusal) {
        self.0.refusals.get_or_create(&RefusalLabels { reason: ReasonLabel(refusal) }).inc();
    }

    /// A gossip message of so many bytes went out.
    pub fn gossip_sent(&self, bytes: u64) {
        self.gossiped(Direction::Sent, bytes);
    }

    /// A gossip message of so many bytes came in.
    pub fn gossip_received(&self, bytes: u64) {
        self.gossiped(Direction::Received, bytes);
    }

    fn gossiped(&self, direction: Direction, bytes: u64) {
        let labels = DirectionLabels { direction };
        self.0.gossip_messages.get_or_create(&labels).inc();
        self.0.gossip_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// An address to join by can't be joined by, and why, in one of a few words.
    pub(super) fn join_failed(&self, reason: &'static str) {
        self.0.join_failures.get_or_create(&CauseLabels { reason }).inc();
    }

    /// An HTTP request was answered with a status code.
    pub(super) fn answered(&self, code: u16) {
        self.0.requests.get_or_create(&RequestLabels { code: u32::from(code) }).inc();
    }

    /// All metrics, together with what node and store are at this moment.
    ///
    /// O(peers), and reads a few files of the system's about this process.
    pub fn text(
        &self,
        status: &Status,
        store: &Store,
        memory_bytes: Option<u64>,
        access: AccessGauges,
    ) -> String {
        let gauges = store.gauges();
        let mut known = self.0.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        *known = gauges.checkpoint.unwrap_or(*known);
        let checkpoint = *known;
        drop(known);
        let mut node = Registry::with_prefix("stemedb");
        node.register_collector(Box::new(GaugeCollector {
            status: status.clone(),
            gauges,
            checkpoint,
            memory_bytes,
            access,
            disk_read_bytes: process::disk_read_bytes(),
        }));
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessCollector));
        let mut text = String::with_capacity(32 << 10);
        self.events_into(&mut text);
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &node)
            .and_then(|()| encode_registry(&mut text, &process))
            .and_then(|()| encode_eof(&mut text));
        text
    }

    /// Writes the counters.
    pub(super) fn events_into(&self, text: &mut String) {
        // Writing to a string does not fail.
        let _ = encode_registry(text, &self.0.registry);
    }

    /// The label of a peer: its own, as long as there are few.
    fn peer(&self, peer: &str) -> String {
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if !peers.contains(peer) {
            if peers.len() >= PEERS_MAX {
                return OTHER.into();
            }
            peers.insert(peer.into());
        }
        peer.into()
    }
}

impl Inner {
    /// Makes the series whose labels are known, so that their first increase is seen as one.
    fn begin_at_zero(&self) {
        for origin in [Origin::Client, Origin::Peer] {
            for outcome in [Outcome::Done, Outcome::Held, Outcome::Failed] {
                drop(self.appends.get_or_create(&AppendLabels { origin, outcome }));
            }
        }
        drop(self.append_time.get_or_create(&OriginLabels { origin: Origin::Client }));
        for outcome in [Outcome::Done, Outcome::Missing, Outcome::Failed] {
            drop(self.gets.get_or_create(&OutcomeLabels { outcome }));
        }
        let complete = SessionOutcome::Complete;
        for layer in [Layer::Root, Layer::Cursor, Layer::Symbols, Layer::Descent, Layer::Bulk] {
            let labels = SessionLabels { outcome: complete, layer: LayerLabel(Some(layer)) };
            drop(self.sessions.get_or_create(&labels));
        }
        for outcome in SessionOutcome::VARIANTS.iter().copied() {
            let labels = SessionLabels { outcome, layer: LayerLabel(None) };
            drop(self.sessions.get_or_create(&labels));
        }
        for refusal in Refusal::ALL {
            drop(self.refusals.get_or_create(&RefusalLabels { reason: ReasonLabel(refusal) }));
        }
        for direction in [Direction::Sent, Direction::Received] {
            for kind in Kind::ALL {
                let labels = TrafficLabels { kind: KindLabel(kind), direction };
                drop(self.session_bytes.get_or_create(&labels));
            }
            for held in [false, true] {
                drop(self.bodies.get_or_create(&BodyLabels { direction, held }));
            }
            drop(self.gossip_messages.get_or_create(&DirectionLabels { direction }));
            drop(self.gossip_bytes.get_or_create(&DirectionLabels { direction }));
        }
        for reason in ConnectFailure::WORDS.into_iter().chain(CallError::OTHER_WORDS) {
            drop(self.join_failures.get_or_create(&CauseLabels { reason }));
        }
        drop(self.requests.get_or_create(&RequestLabels { code: 200 }));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

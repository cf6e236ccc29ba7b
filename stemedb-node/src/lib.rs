//! A node: a store that serves, gossips, and brings itself into step with its peers.
//!
//! ```text
//!  clients, peers ──> server ──> store        console, metrics, health ──> http
//!                       │ gossip   ^ ^                                       │
//!                       v          │ └── scrub, archive                      v
//!   links <── frames ─ loop ─ sessions                                    Status
//! ```
//!
//! Decisions are those of [`Cluster`]; here are the network, the clock, the
//! disk and chance for it.

pub mod archiver;
mod certificates;
pub mod config;
mod disk_space;
mod donor;
mod drive;
mod error;
pub mod http;
mod links;
mod member;
mod members;
mod meter;
pub mod metrics;
mod nodekey;
mod operator;
pub mod options;
mod pauses;
mod progress;
pub mod reload;
pub mod scrub;
mod served;
mod session;
mod slices;
pub mod status;
mod view;

use std::{
    error::Error,
    fmt,
    future::Future,
    net::SocketAddr,
    os::unix::net::UnixListener,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stemedb_merkle::id::to_hex;
use stemedb_rpc::store::{fitting, peer_identity};
use stemedb_rpc::{
    CallError, Limiter, PeerAddress, PeerStore, Reloaded, ResponderService, Server, WarningRate,
    node::{FRAMES_PER_CALL_MAX, Gossiped},
    serve_control,
    server::{Credentials, Rejections},
};
use stemedb_store::{error::with_causes, store::uptime};
use stemedb_sync::{
    Cluster, Limits, Responder,
    cluster::{Note, Output, Way},
    responder::Outgoing,
};
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use self::{
    certificates::Certificates,
    disk_space::DiskSpace,
    drive::drive,
    http::{Http, HttpOptions},
    links::Links,
    member::{cluster, head_of, policy},
    members::Members,
    meter::Meter,
    options::ScrubPolicy,
    pauses::Pauses,
    reload::Kept,
    slices::Slices,
    status::ArchiveStatus,
};
pub use self::{
    error::NodeError, metrics::Metrics, options::Options, served::serve, status::Status,
};
#[doc(hidden)]
pub use self::{members::rewrite as rewrite_members, nodekey::rewrite as rewrite_node_key};
use stemedb_store::{Store, store::lock};

/// Time that is left for a stop once the server has to be done.
const STOP_REST: Duration = Duration::from_secs(3);

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Calls and sessions that had not ended and were cut.
    pub cut: usize,
}

/// A node that listens already; see [`run`](Self::run). Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
    parts: Arc<Mutex<Option<(Server, Option<Http>)>>>,
}

/// State that the parts of a node share.
#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    metrics: Metrics,
    /// Latency of appends of clients.
    meter: Meter,
    options: RwLock<Options>,
    /// By which others know this node.
    address: String,
    listens: SocketAddr,
    listens_http: Option<SocketAddr>,
    cluster: Mutex<Cluster>,
    /// Held while the cluster is given what the store holds.
    announcing: Mutex<()>,
    /// The members that are remembered.
    members: Mutex<Members>,
    /// Wakes the loop.
    wake: Notify,
    links: Links,
    pauses: Mutex<Pauses>,
    limiter: Arc<Limiter>,
    /// Sessions that it has begun.
    outgoing: Outgoing,
    slices: Mutex<Slices>,
    sessions: Mutex<session::Sessions>,
    disk_space: Arc<DiskSpace>,
    scrub_policy: watch::Sender<Option<ScrubPolicy>>,
    scrub: scrub::View,
    archive: Mutex<Option<ArchiveStatus>>,
    writer_failed: AtomicBool,
    /// Whether the last reading of the clock was one that the log does not take.
    clock_wrong: AtomicBool,
    stopping: AtomicBool,
    /// Certificates and tokens of the server.
    credentials: Credentials,
    /// Callers that the server did not let in.
    rejections: Rejections,
    /// Until when its certificates are valid.
    certificates: Mutex<Certificates>,
    /// Warnings of addresses that it calls.
    warnings: Mutex<WarningRate>,
    began: Duration,
    stop: CancellationToken,
    /// Sessions and links.
    tasks: TaskTracker,
    /// Cancelled once none of these is begun any more.
    ended: CancellationToken,
    /// Cuts those that are left.
    cut: CancellationToken,
    reload: Mutex<Option<Reload>>,
    control: Mutex<Option<UnixListener>>,
}

/// Reads the configuration again, and says what was changed.
struct Reload(Box<ReadAgain>);

type ReadAgain = dyn Fn(&Node) -> Result<Reloaded, Box<dyn Error + Send + Sync>> + Send;

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload(..)")
    }
}

impl Node {
    /// Makes a node of a store: it listens from now on, and serves once it runs.
    ///
    /// # Errors
    ///
    /// See [`NodeError`].
    pub async fn start(store: Arc<Store>, options: Options) -> Result<Self, NodeError> {
        if store.lacks_secret() {
            return Err(NodeError::SecretMissing);
        }
        options.check(store.has_secret())?;
        if options.is_open_to_others(store.has_secret()) {
            warn!(
                "open membership: the store has no secret and no client certificates are asked \
                 for, so that anybody who reaches this node can become a member of its cluster"
            );
        }
        let mut serving = options.server.clone();
        // The console and the farewell come after it, within the same bound.
        serving.limits.stop_time_max = options.stop_time_max.saturating_sub(STOP_REST);
        let server = Server::bind(options.listen, serving).await?;
        let (credentials, rejections) = (server.credentials(), server.rejections());
        let listens = server.address();
        let address = match &options.advertise {
            Some(address) => address.to_string(),
            None => PeerAddress::from(listens).to_string(),
        };
        let http = match options.http {
            Some(address) => {
                let hosts = options.http_hosts.clone();
                Some(Http::bind(address, HttpOptions::default().hosts(hosts)).await?)
            }
            None => None,
        };
        let now = uptime();
        let (members, cluster, disk_space) = {
            let (store, options, address) = (Arc::clone(&store), options.clone(), address.clone());
            // It reads and writes files, and folds the trees.
            let begin = move || {
                let members = Members::load(store.disk(), now);
                let cluster = cluster(&store, &options, &address, members.known(), now)?;
                Ok::<_, NodeError>((
                    members,
                    cluster,
                    DiskSpace::new(store.dir(), options.disk_reserve),
                ))
            };
            spawn_blocking(begin).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))?
        };
        let metrics = Metrics::new();
        let shared = Shared {
            links: Links::new(&options),
            credentials,
            rejections,
            certificates: Certificates::of(&options).into(),
            warnings: Mutex::default(),
            limiter: Arc::new(Limiter::default()),
            outgoing: Outgoing::default(),
            disk_space: Arc::new(disk_space),
            pauses: Pauses::default().into(),
            scrub_policy: watch::Sender::new(options.scrub),
            scrub: scrub::View::default(),
            archive: Mutex::default(),
            options: options.into(),
            address,
            listens,
            listens_http: http.as_ref().map(Http::address),
            meter: Meter::new(metrics.clone()),
            metrics,
            reload: Mutex::default(),
            control: Mutex::default(),
            cluster: cluster.into(),
            announcing: ().into(),
            members: members.into(),
            wake: Notify::new(),
            slices: Slices::default().into(),
            sessions: session::Sessions::default().into(),
            writer_failed: false.into(),
            clock_wrong: false.into(),
            stopping: false.into(),
            began: now,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
            cut: CancellationToken::new(),
            store,
        };
        let space = Arc::clone(&shared.disk_space);
        shared.limiter.ask_for_room(move |bytes| space.has_room(bytes));
        shared.limit_sessions();
        Ok(Self { shared: Arc::new(shared), parts: Arc::new(Mutex::new(Some((server, http)))) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.listens
    }

    /// Where it serves console, metrics and health.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.shared.listens_http
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Client-observed append latency of late, 99th percentile; `None` without appends.
    fn append_p99(&self) -> Option<Duration> {
        self.shared.meter.append_p99()
    }

    /// Its metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Status at this moment.
    pub fn status(&self) -> Status {
        view::status(&self.shared)
    }

    /// Changes what can be changed while it runs: [`Options::sync`], [`Options::scrub`],
    /// [`Options::peers`], [`Options::disk_reserve`], [`Options::client`] for new connections, and
    /// certificates and tokens of [`Options::server`]: certificates for new connections, tokens for
    /// all calls from now on. Certificates that can't be used do not keep the rest from being taken
    /// on: they are kept as they were, which the result says with the reason. May wait for the
    /// parts of a node that read its options.
    pub fn reload(&self, options: Options) -> Vec<Kept> {
        let shared = &self.shared;
        let now = uptime();
        let mut current = shared.options.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let options = Options { listen: current.listen, ..options };
        let (options, mut kept) = options.over(&current, shared.store.has_secret());
        let peers: Vec<_> = options.peers.iter().map(ToString::to_string).collect();
        lock(&shared.cluster).reload(policy(&options), &peers, now);
        shared.scrub_policy.send_replace(options.scrub);
        if let Err(error) = shared.credentials.replace(&options.server)
            && kept.is_empty()
        {
            // They have expired in this very moment.
            kept.push(Kept { keys: "tls.cert, tls.key", reason: error.to_string() });
        }
        *lock(&shared.certificates) = Certificates::of(&options);
        current.scrub = options.scrub;
        current.sync = options.sync;
        current.peers = options.peers;
        current.server = options.server;
        current.client = options.client;
        current.disk_reserve = options.disk_reserve;
        shared.links.set_options(&current);
        drop(current);
        shared.limit_sessions();
        shared.wake.notify_one();
        kept
    }

    /// The options in force.
    pub fn options(&self) -> Options {
        self.shared.options()
    }

    /// Runs until `stop` is ready, and then ends well: it says good-bye to the others, refuses new
    /// calls, and finishes what runs, within [`Options::stop_time_max`].
    ///
    /// # Errors
    ///
    /// See [`NodeError`].
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<Ended, NodeError> {
        let Some((server, http)) = lock(&self.parts).take() else { return Ok(Ended { cut: 0 }) };
        let shared = &self.shared;
        let limits = fitting(&shared.store, Limits::default());
        let responder =
            Responder::with_memory(peer_identity(&shared.store), limits, server.memory())
                .with_outgoing(shared.outgoing.clone());
        let store = shared.peer_store().with_observer(shared.meter.observer());
        let responder = Arc::new(ResponderService::new(responder, store));
        let node = Arc::new(self.clone());
        let serving = server.serve_node(responder, Some(node), shared.stopped());
        let mut tasks = JoinSet::new();
        if let Some(http) = http {
            tasks.spawn(http.serve(self.clone(), shared.stopped()));
        }
        if let Some(listener) = lock(&shared.control).take() {
            let (node, stopped) = (Arc::new(self.clone()), shared.stopped());
            tasks.spawn(async move {
                if let Err(error) = serve_control(listener, node, stopped).await {
                    error!(%error, "the control socket is not served any more");
                }
            });
        }
        let donor = donor::Peers(Arc::clone(shared));
        let policy = shared.scrub_policy.subscribe();
        let (store, view) = (Arc::clone(&shared.store), shared.scrub.clone());
        tasks.spawn(scrub::run(store, policy, donor, view, shared.stopped()));
        if let Some(policy) = shared.options().archive {
            let (store, seen) = (Arc::clone(&shared.store), Arc::clone(shared));
            let observer = move |status| *lock(&seen.archive) = Some(status);
            tasks.spawn(archiver::run(store, policy, observer, shared.stopped()));
        }
        let driving = drive(shared);
        tokio::pin!(serving, driving, stop);
        let fatal = tokio::select! {
            ended = &mut serving => {
                shared.stop.cancel();
                shared.end_tasks(STOP_REST).await;
                return Ok(Ended { cut: ended?.cut });
            }
            fatal = &mut driving => Some(fatal),
            () = &mut stop => None,
        };
        shared.stopping.store(true, Ordering::Relaxed);
        // A copy that is refused does not speak for the node.
        if fatal.is_none() {
            self.leave().await;
        }
        shared.stop.cancel();
        let ended = timeout(shared.options().stop_time_max, serving).await;
        while tasks.join_next().await.is_some() {}
        shared.end_tasks(STOP_REST).await;
        match (fatal, ended) {
            (Some(fatal), _) => Err(fatal),
            (None, Ok(ended)) => Ok(Ended { cut: ended?.cut }),
            (None, Err(_)) => Ok(Ended { cut: 1 }),
        }
    }

    /// Says good-bye, so that nobody has to find out.
    async fn leave(&self) {
        let shared = &self.shared;
        let frames = {
            let mut cluster = lock(&shared.cluster);
            cluster.leave(uptime());
            std::iter::from_fn(|| cluster.output()).collect::<Vec<_>>()
        };
        for output in frames {
            if let Output::Send { to, frame, .. } = output {
                shared.links.send(shared, to, frame);
            }
        }
        shared.links.flush(Duration::from_millis(300)).await;
    }
}

impl Shared {
    /// Runs a session, a link or the like, which ends before the node does.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        // Once the node is at its end nothing begins any more.
        if self.ended.is_cancelled() {
            return None;
        }
        let task = self.cut.clone().run_until_cancelled_owned(task);
        let tracked = self.tasks.spawn(async {
            let _: Option<()> = task.await;
        });
        Some(tracked.abort_handle())
    }

    /// Ends sessions and links: they have some time for it, and are cut then.
    async fn end_tasks(&self, time_max: Duration) {
        self.ended.cancel();
        self.tasks.close();
        if timeout(time_max, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }

    /// Ready when the node stops serving.
    fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.clone().cancelled_owned()
    }

    /// The store as sessions see it.
    fn peer_store(&self) -> PeerStore {
        PeerStore::new(Arc::clone(&self.store)).with_limiter(Arc::clone(&self.limiter))
    }

    /// Limits sessions as the options say.
    fn limit_sessions(&self) {
        let sync = self.options().sync;
        self.limiter.set(sync.bytes_per_second, sync.cpu_share);
    }

    fn options(&self) -> Options {
        self.options.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Takes in frames, and gives those that answer their senders. Each has signatures to verify,
    /// for which no worker of the runtime has the time.
    fn take_frames(self: &Arc<Self>, frames: Vec<Vec<u8>>) -> Gossiped {
        let (mut senders, mut answers, mut refused) = (Vec::new(), Vec::new(), None);
        for frame in frames {
            self.metrics.gossip_received(frame.len() as u64);
            // Workers wait for the lock: it is held for one frame at a time.
            let mut cluster = lock(&self.cluster);
            match cluster.receive(&frame, uptime()) {
                Ok(from) => senders.extend(from),
                Err(error) => {
                    refused.get_or_insert(error);
                }
            }
            let outputs: Vec<_> = std::iter::from_fn(|| cluster.output()).collect();
            drop(cluster);
            for output in outputs {
                match output {
                    Output::Send { to, frame, way: Way::Back | Way::Member }
                        if senders.contains(&to) && answers.len() < FRAMES_PER_CALL_MAX =>
                    {
                        answers.push(frame);
                    }
                    other => self.carry_out(other),
                }
            }
        }
        self.wake.notify_one();
        Gossiped { frames: answers, refused }
    }

    /// Notes that a call to another node failed. A warning follows at once, and now and then while
    /// it lasts: of an address to join by that never was a member, and of others where something is
    /// set wrongly. Gossip finds members that are down.
    fn note_failure(&self, address: &str, error: &CallError) {
        let is_joined_by = self.options().join.iter().any(|join| join.to_string() == address);
        let is_member = lock(&self.cluster).peer(address).is_some_and(|peer| peer.node.is_some());
        let fails_to_join = is_joined_by && !is_member;
        if fails_to_join {
            self.metrics.join_failed(error.word());
        }
        if fails_to_join || error.is_misconfigured() {
            let error_text = with_causes(error);
            self.warn_of(address, error.word(), &error_text, fails_to_join);
        }
    }

    fn warn_of(&self, address: &str, cause: &'static str, error: &str, fails_to_join: bool) {
        let Some(left_out) = lock(&self.warnings).note(address, cause, uptime()) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        if fails_to_join {
            warn!(peer = address, error, left_out, "cannot join the cluster at this address");
        } else {
            warn!(peer = address, error, left_out, "another node cannot be called");
        }
    }

    /// Notes that another node answers as it should.
    fn note_well(&self, address: &str) {
        if lock(&self.warnings).forget(address) {
            info!(peer = address, "this node answers again");
        }
    }

    fn carry_out(self: &Arc<Self>, output: Output) {
        match output {
            Output::Send { to, frame, way: Way::Ask | Way::Member } => {
                self.links.send(self, to, frame);
            }
            Output::Sync { peer } => {
                let shared = Arc::clone(self);
                self.spawn(session::begin(shared, peer));
            }
            Output::Note(Note::Up(member)) => {
                info!(peer = member.address, node = to_hex(member.node), "a member is there");
            }
            Output::Note(Note::Left(member)) => {
                info!(peer = member.address, node = to_hex(member.node), "a member has left");
            }
            Output::Note(Note::Down(member)) => {
                warn!(peer = member.address, node = to_hex(member.node), "a member is gone");
            }
            // Where calls fail, that was reported.
            Output::Note(Note::NoAnswer { address }) if self.links.failure(&address).is_none() => {
                self.metrics.join_failed("other");
                let error = "it answers calls, but not as a member of this cluster: its cluster \
                             secret is another one, or its program is of another version";
                self.warn_of(&address, "other", error, true);
            }
            // An answer that did not fit is lost, as gossip may be.
            Output::Note(Note::NoAnswer { .. }) | Output::Send { way: Way::Back, .. } => {}
            Output::Note(Note::DuplicateKey { node, address }) => {
                let own = node == peer_identity(&self.store).node;
                error!(
                    peer = address,
                    node = to_hex(node),
                    own,
                    "two nodes have one node id, with different keys: the second one is not taken \
                     for a member; restoring it from a backup gives it an id of its own"
                );
                if own {
                    let reported = uptime();
                    lock(&self.sessions).duplicate =
                        Some(session::DuplicateNodeId { address, reported });
                }
            }
            Output::Note(Note::DuplicateNodeId { address, refused: false }) => {
                error!(
                    peer = address,
                    "a process with this node's id has been started there, from a copy of this \
                     store: it is refused"
                );
                let reported = uptime();
                lock(&self.sessions).duplicate =
                    Some(session::DuplicateNodeId { address, reported });
            }
            Output::Note(Note::DuplicateNodeId { address, refused: true }) => {
                lock(&self.sessions).refused_by = Some(address);
            }
        }
    }

    /// Tells the cluster what the store holds. To know that, the store takes into its trees what
    /// was appended last, which no worker of the runtime has the time for. Where that is not known
    /// any more, the status and the readiness say so, and others keep what was announced last.
    async fn announce_head(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let announce = move || {
            // So that an earlier head never comes after a later one.
            let _one = lock(&shared.announcing);
            if let Ok(head) = head_of(&shared.store) {
                lock(&shared.cluster).changed(head, uptime());
            }
        };
        // It ends early only with the runtime.
        let _ = spawn_blocking(announce).await;
    }
}

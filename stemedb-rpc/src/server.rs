//! A server: the store service and the replication service of one store, on one address.
//!
//! ```text
//!  listener -> connections -> TLS -> HTTP/2 -> gate -> services -> Store, Responder
//!  (how many)  (first call)   (5 s)  (frames)  (token, calls, deadline)
//! ```
//!
//! Everything is limited by [`ServerLimits`].

mod access;
mod addresses;
mod answers;
mod batch;
mod blocking;
mod budget;
mod connection;
mod control;
mod credentials;
mod date;
mod gate;
mod greeting;
mod list;
mod listener;
mod node;
mod phase;
mod push;
mod rejection;
mod replication;
mod store;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use stemedb_sync::MemoryBudget;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tonic::transport::server::Router;
use tonic_health::server::HealthReporter;

#[cfg(test)]
pub(crate) use self::greeting::refusal_in_plaintext;
use self::{
    budget::Budget,
    gate::{Calls, Gate, Rules},
    node::NodeService,
    phase::{Phase, Phases},
    replication::ReplicationService,
    store::StoreService,
};
pub use self::{
    control::serve_control,
    credentials::Credentials,
    rejection::{Rejection, Rejections},
};
use crate::{
    ResponderService,
    limits::ServerLimits,
    node::{NoNode, Node},
    proto::{
        DESCRIPTORS, v1::node_service_server::NodeServiceServer,
        v1::replication_service_server::ReplicationServiceServer,
        v1::store_service_server::StoreServiceServer,
    },
    tls::{ServerTls, TlsError},
    token::Tokens,
};

/// How often it is looked whether all calls have ended.
const DRAIN_INTERVAL: Duration = Duration::from_millis(10);
/// The name by which the health service knows the node service.
const NODE_SERVICE: &str = "stemedb.v1.NodeService";
/// How often the health service looks whether the node is ready.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);
/// How often sessions that were idle for too long are let go of.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);
/// How long connections have to say good-bye once all calls have ended.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

stemedb_merkle::options! {
    /// How a server serves. The default is without TLS and tokens, for the machine itself only.
    #[derive(Clone, Debug)]
    pub struct ServerOptions {
        /// TLS; `None` serves in plaintext.
        pub tls: Option<ServerTls> = None,
        /// Whether to serve in plaintext where other machines can reach it. Default: no.
        pub allow_plaintext: bool = false,
        /// Tokens of clients and peers alike. Where neither these nor the next two are given, both
        /// are let in without a token.
        pub tokens: Option<Tokens> = None,
        /// Tokens of clients, which permit the calls of the store service.
        pub client_tokens: Option<Tokens> = None,
        /// Tokens of peers, which permit sessions and gossip.
        pub peer_tokens: Option<Tokens> = None,
        /// Tokens of administrators, which permit all calls. Without one nobody controls the node
        /// over the network; see [`serve_control`].
        pub admin_tokens: Option<Tokens> = None,
        /// Whether the reflection service is on (v1 and v1alpha), which tells clients what services
        /// there are.
        /// Default: no.
        pub reflection: bool = false,
        /// Limits.
        pub limits: ServerLimits = ServerLimits::default(),
    }
}

impl ServerOptions {
    /// Whether a server could serve so on an address.
    ///
    /// # Errors
    ///
    /// If that is not safe, or the certificates can't be used.
    pub fn check(&self, address: SocketAddr) -> Result<(), ServeError> {
        self.check_plaintext(address)?;
        Ok(self.tls.as_ref().map_or(Ok(()), ServerTls::check)?)
    }

    fn check_plaintext(&self, address: SocketAddr) -> Result<(), ServeError> {
        if self.tls.is_none() && !address.ip().is_loopback() && !self.allow_plaintext {
            return Err(ServeError::Plaintext { address });
        }
        Ok(())
    }
}

/// Error of serving a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken, or none of this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Other machines could listen in.
    #[error(
        "serving on {address} without TLS would let others read along: give a certificate and its \
         key, listen on 127.0.0.1, or allow plaintext"
    )]
    Plaintext {
        /// The address.
        address: SocketAddr,
    },
    /// Certificate, key or authority don't parse, or don't belong together.
    #[error("the server's certificates cannot be used: {0}")]
    Tls(#[from] TlsError),
    /// The control socket can't be listened on.
    #[error("cannot listen on the control socket: {0}")]
    Control(#[source] io::Error),
    /// The reflection service can't be made.
    #[error("the reflection service can't be made: {0}")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// Serving ended by itself.
    #[error("the server failed: {0}")]
    Transport(#[source] tonic::transport::Error),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Calls and sessions that had not ended and were cut.
    pub cut: usize,
}

/// A server that listens already; see [`serve`](Self::serve).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
    memory: MemoryBudget,
    credentials: Credentials,
    rejections: Rejections,
}

impl Server {
    /// Listens on an address. Port 0 takes any that is free.
    ///
    /// # Errors
    ///
    /// If that is not possible or not safe, or the certificates are not good.
    pub async fn bind(address: SocketAddr, options: ServerOptions) -> Result<Self, ServeError> {
        let credentials = Credentials::of(&options, address)?;
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let memory = MemoryBudget::new(options.limits.sessions_memory_max);
        let rejections = Rejections::default();
        Ok(Self { listener, address, options, memory, credentials, rejections })
    }

    /// The memory budget of its sessions, for the responder.
    pub fn memory(&self) -> MemoryBudget {
        self.memory.clone()
    }

    /// Its certificates and tokens, which can be replaced while it serves.
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// Callers that it does not let in.
    pub fn rejections(&self) -> Rejections {
        self.rejections.clone()
    }

    /// Address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a store until `stop` is ready, and then finishes what runs: new calls and sessions
    /// are refused, those under way have [`stop_time_max`](ServerLimits::stop_time_max) to end.
    ///
    /// # Errors
    ///
    /// If it can't begin, or fails.
    pub async fn serve(
        self,
        responder: Arc<ResponderService>,
        stop: impl Future<Output = ()>,
    ) -> Result<Stopped, ServeError> {
        self.serve_node(responder, None::<Arc<NoNode>>, stop).await
    }

    /// [`serve`](Self::serve) with the node service; the health service says whether the node is
    /// ready.
    ///
    /// # Errors
    ///
    /// If it can't begin, or fails.
    pub async fn serve_node<N: Node>(
        self,
        responder: Arc<ResponderService>,
        node: Option<Arc<N>>,
        stop: impl Future<Output = ()>,
    ) -> Result<Stopped, ServeError> {
        let Self { listener, options, memory, credentials, rejections, .. } = self;
        let (phase, phases) = Phases::new();
        let limits = Arc::new(options.limits.clone());
        let rules = Arc::new(Rules {
            credentials: credentials.clone(),
            rejections: rejections.clone(),
            clients: Calls::new(limits.calls_max, limits.calls_per_address_max),
            peers: Calls::new(limits.peer_calls_max, limits.peer_calls_per_address_max),
            admitted: AtomicU64::new(0),
            call_time_max: limits.call_time_max,
            idle_time_max: limits.idle_time_max,
            phases: phases.clone(),
        });
        let store = StoreService {
            store: Arc::clone(responder.store().store()),
            observer: responder.store().observer().clone(),
            batches: Budget::new(limits.batches_pending_max),
            reads: Budget::new(limits.reads_pending_max),
            limits: Arc::clone(&limits),
            phases: phases.clone(),
        };
        let replication = ReplicationService {
            responder: Arc::clone(&responder),
            limits: Arc::clone(&limits),
            memory,
            pushes: Arc::new(Semaphore::new(limits.push_threads_max.max(1))),
            rejections: rejections.clone(),
        };
        let service = node.clone().map(|node| NodeService { node, rejections: rejections.clone() });
        let (health, router) = router(&options, &rules, store, replication, service)?;
        health.set_serving::<StoreServiceServer<StoreService>>().await;
        health.set_serving::<ReplicationServiceServer<ReplicationService>>().await;
        let (connections, mut tasks) =
            listener::connections(listener, &limits, phases.clone(), credentials, rejections);
        let tidied = Arc::clone(&responder);
        tasks.spawn(async move {
            loop {
                sleep(TIDY_INTERVAL).await;
                tidied.sessions();
            }
        });

        if let Some(node) = node {
            let (health, phases) = (health.clone(), phases.clone());
            tasks.spawn(async move {
                while phases.now() == Phase::Serving {
                    let status = if node.is_ready() {
                        tonic_health::ServingStatus::Serving
                    } else {
                        tonic_health::ServingStatus::NotServing
                    };
                    health.set_service_status("", status).await;
                    health.set_service_status(NODE_SERVICE, status).await;
                    sleep(HEALTH_INTERVAL).await;
                }
            });
        }

        let closing = phases.reached(Phase::Closing);
        let serving = router.serve_with_incoming_shutdown(connections, closing);
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => {
                return ended.map(|()| Stopped { cut: 0 }).map_err(ServeError::Transport);
            }
            () = stop => {}
        }
        // A receiver is held here, so nothing that is sent gets lost.
        phase.send_replace(Phase::Draining);
        health.set_not_serving::<StoreServiceServer<StoreService>>().await;
        health.set_not_serving::<ReplicationServiceServer<ReplicationService>>().await;
        for service in ["", NODE_SERVICE] {
            health.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
        }
        let drained = drained(&rules, &responder, limits.stop_quiet_max);
        tokio::select! {
            ended = &mut serving => {
                return ended.map(|()| Stopped { cut: 0 }).map_err(ServeError::Transport);
            }
            _in_time = timeout(limits.stop_time_max, drained) => {}
        }
        let cut = rules.running() + responder.sessions();
        phase.send_replace(Phase::Closing);
        // What they hold is given back before this returns.
        tasks.shutdown().await;
        if let Ok(ended) = timeout(CLOSE_TIME_MAX, serving).await {
            ended.map_err(ServeError::Transport)?;
        }
        phase.send_replace(Phase::Closed);
        Ok(Stopped { cut })
    }
}

/// Ready once no call runs and no session is open, or none that still asks for something.
async fn drained(rules: &Rules, responder: &ResponderService, quiet_max: Duration) {
    let mut quiet = Duration::ZERO;
    let mut admitted = rules.admitted();
    while rules.running() > 0 || responder.sessions() > 0 && quiet < quiet_max {
        sleep(DRAIN_INTERVAL).await;
        let still = rules.running() == 0 && rules.admitted() == admitted;
        quiet = if still { quiet + DRAIN_INTERVAL } else { Duration::ZERO };
        admitted = rules.admitted();
    }
}

/// All services, behind their gates.
fn router<N: Node>(
    options: &ServerOptions,
    rules: &Arc<Rules>,
    store: StoreService,
    replication: ReplicationService,
    node: Option<NodeService<N>>,
) -> Result<(HealthReporter, Router), ServeError> {
    let limits = &options.limits;
    let len_max = limits.message_len_max;
    let store = StoreServiceServer::new(store)
        .max_decoding_message_size(len_max)
        .max_encoding_message_size(len_max);
    let replication = ReplicationServiceServer::new(replication)
        .max_decoding_message_size(len_max)
        .max_encoding_message_size(len_max);
    let node = node.map(|node| {
        let server = NodeServiceServer::new(node)
            .max_decoding_message_size(len_max)
            .max_encoding_message_size(len_max);
        Gate::new(server, rules)
    });
    let (health, health_server) = tonic_health::server::health_reporter();
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection = options.reflection.then(|| descriptors().build_v1()).transpose();
    let reflection = reflection.map_err(ServeError::Reflection)?;
    // Many tools, grpcurl among them, ask by the name that it had before it was settled.
    let reflection_alpha = options.reflection.then(|| descriptors().build_v1alpha()).transpose();
    let reflection_alpha = reflection_alpha.map_err(ServeError::Reflection)?;
    let mut builder = tonic::transport::Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(limits.streams_per_connection_max)
        .http2_max_header_list_size(limits.headers_len_max)
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_local_error_reset_streams(Some(256))
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_time_max))
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(limits.frame_len_max)
        .max_connection_age(limits.connection_age_max)
        .max_connection_age_grace(limits.connection_grace);
    let router = builder
        .add_service(Gate::new(store, rules))
        .add_service(Gate::new(replication, rules))
        .add_optional_service(node)
        .add_service(Gate::open(health_server, rules))
        .add_optional_service(reflection.map(|server| Gate::new(server, rules)))
        .add_optional_service(reflection_alpha.map(|server| Gate::new(server, rules)));
    Ok((health, router))
}

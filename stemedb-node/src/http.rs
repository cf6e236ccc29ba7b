//! Health, metrics and the console over HTTP: what a node shows to people and to programs that
//! watch it. Nothing can be changed through it.
//!
//! Anybody who reaches the address can read everything in the store, so it is the loopback unless
//! an operator says otherwise. A web page from elsewhere can't: the `Host` of a request must be a
//! name that is known (a page can rebind its own name to this machine, not an address or another
//! name), answers forbid to be read or framed by other origins, and the console runs no script but
//! its own. The two probes are answered whatever `Host` they have, as load balancers send any or
//! none; they tell nothing but whether the node is well.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, middleware, routing::get};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    growth::{Growth, Sample},
    listener::Gate,
    refusal::Refusal,
};
use super::Node;

mod api;
mod assets;
mod cells;
mod connection;
mod early;
mod growth;
mod guard;
mod health;
mod listener;
mod live;
mod places;
mod refusal;

pub(crate) use self::cells::cells;

stemedb_merkle::options! {
    /// Options of the HTTP server.
    #[derive(Clone, Debug)]
    pub struct HttpOptions {
        /// Host names beside IP addresses and `localhost` by which it may be asked for. Default:
        /// none.
        pub hosts: Vec<String> = Vec::new(),
        /// Connections at the same time; default 64. Beyond that the one that has been idle for the
        /// longest gives way to a new one. If none is idle, up to 64 more are accepted for one
        /// request each.
        pub connections_max: usize = 64,
        /// Clients that follow the log at the same time; more are refused. Default 16.
        pub listeners_max: usize = 16,
        /// How long an answer may take to begin. Default 10 seconds.
        pub answer_time_max: Duration = Duration::from_secs(10),
        /// How long a connection may be open without a request, or with an answer that the client
        /// does not take. Default 20 seconds.
        pub idle_max: Duration = Duration::from_secs(20),
    }
}

/// Error of a server that does not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address can't be listened on.
    #[error(
        "HTTP can't be served at {address}: {source}; choose another address, or see what listens \
         there"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

/// A server that listens, and does not answer yet.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
    options: HttpOptions,
}

impl Http {
    /// Listens on an address. On any but the loopback that is logged as a warning.
    ///
    /// # Errors
    ///
    /// See [`HttpError`].
    pub async fn bind(address: SocketAddr, options: HttpOptions) -> Result<Self, HttpError> {
        let failed = |source| HttpError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the console is served beyond this machine: anybody who reaches the address can \
                 read the whole store"
            );
        }
        Ok(Self { listener, address, options })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers for a node until `stop` is ready, and for at most two seconds after that.
    pub async fn serve(self, node: Node, stop: impl Future<Output = ()>) {
        let Self { listener, options, .. } = self;
        let stopping = CancellationToken::new();
        let _dropped = stopping.clone().drop_guard();
        let (connections_max, idle_max) = (options.connections_max, options.idle_max);
        let state = Arc::new(HttpState::new(node, options, stopping.clone()));
        let router = router(Arc::clone(&state));
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let mut ticks = interval(growth::SAMPLE_EVERY);
            while state.stopping.run_until_cancelled(ticks.tick()).await.is_some() {
                state.sample();
            }
        });
        let gate = Gate::new(listener, connections_max);
        let accepting = async {
            loop {
                let (stream, place) = gate.accept().await;
                let (stopping, router) = (stopping.clone(), router.clone());
                tasks.spawn(connection::serve(stream, place, idle_max, stopping, router));
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop => {}
        }
        drop(gate);
        stopping.cancel();
        tasks.close();
        // Soon: connections that last for longer cut themselves.
        tasks.wait().await;
    }
}

/// State that all requests share.
#[derive(Debug)]
struct HttpState {
    node: Node,
    options: HttpOptions,
    /// Requests that read from the store or ask the node.
    work: Arc<Semaphore>,
    /// Probes: they don't wait for other requests.
    probes: Arc<Semaphore>,
    /// Comparisons with peers: they cost the peers something.
    compares: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    growth: Mutex<Growth>,
    /// Memory of the set tree, and when it was counted.
    memory: Mutex<Option<(Instant, u64)>>,
    stopping: CancellationToken,
}

/// Requests that read at the same time; more wait for a while.
const WORK_MAX: usize = 8;
/// Probes that look at the node at the same time.
const PROBES_MAX: usize = 2;
/// How long requests and probes wait for that.
const WORK_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long the size of the set tree is taken for what it was: counting it is O(N).
const MEMORY_FOR: Duration = Duration::from_secs(60);

impl HttpState {
    fn new(node: Node, options: HttpOptions, stopping: CancellationToken) -> Self {
        let listeners = Arc::new(Semaphore::new(options.listeners_max));
        Self {
            node,
            options,
            work: Arc::new(Semaphore::new(WORK_MAX)),
            probes: Arc::new(Semaphore::new(PROBES_MAX)),
            compares: Arc::new(Semaphore::new(1)),
            listeners,
            growth: Mutex::default(),
            memory: Mutex::default(),
            stopping,
        }
    }

    /// Does what may block where that is allowed.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(Arc::clone(&self.work), work).await
    }

    /// [`read`](Self::read) for probes.
    async fn probe<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(Arc::clone(&self.probes), work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        permits: Arc<Semaphore>,
        work: impl FnOnce(&Node) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = timeout(WORK_WAIT_MAX, permits.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Refusal::busy()) };
        let node = self.node.clone();
        let done = spawn_blocking(move || {
            // Kept by the work itself: a client that goes away does not end it.
            let _permit = permit;
            work(&node)
        });
        done.await.map_err(|_| Refusal::failed())
    }

    /// Notes how large the store is, and how long appends take.
    fn sample(&self) {
        let gauges = self.node.store().gauges();
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        growth.note(Sample {
            count: gauges.count,
            log_bytes: gauges.log_bytes,
            append_p99: self.node.append_p99(),
        });
    }

    /// Memory of the set tree, as of some time in the last minute; `None` where it can't be read.
    async fn memory(&self) -> Result<Option<u64>, Refusal> {
        let known = *self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((counted, bytes)) = known
            && counted.elapsed() < MEMORY_FOR
        {
            return Ok(Some(bytes));
        }
        // Where the trees fail, the metrics still say so.
        let counted = self.read(|node| Some(node.store().snapshot().ok()?.tree().memory_len()));
        let bytes = counted.await?;
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) =
            bytes.map(|bytes| (now(), bytes));
        Ok(bytes)
    }
}

/// The time of the runtime, which tests can hold.
fn now() -> Instant {
    Instant::now()
}

fn router(state: Arc<HttpState>) -> Router {
    let guarded = middleware::from_fn_with_state(Arc::clone(&state), guard::guard);
    Router::new()
        .route(guard::LIVE, get(health::live))
        .route(guard::READY, get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/status.json", get(health::status))
        .route("/api/head", get(api::head))
        .route("/api/growth", get(api::growth))
        .route("/api/log", get(api::log))
        .route("/api/log/live", get(live::live))
        .route("/api/assertion/{id}", get(api::assertion))
        .route("/api/proof/{id}", get(api::proof))
        .route("/api/cells", get(api::cells))
        .route("/api/cells/{cell}", get(api::cell))
        .route("/api/compare", get(api::compare))
        .route("/", get(assets::page))
        .route("/console/{name}", get(assets::file))
        .fallback(refusal::not_found)
        .layer(guarded)
        .with_state(state)
}

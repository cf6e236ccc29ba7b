//! A server, its store, and clients of it.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use stemedb_rpc::{
    CallError, Client, ClientOptions, ResponderService, Server, ServerOptions,
    server::{Credentials, Rejection, Rejections, ServeError, Stopped},
};
use stemedb_sync::{Limits, MemoryBudget};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle, time::timeout};

use super::stores::TestStore;

/// Nothing here takes longer.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Environment {
    pub address: SocketAddr,
    pub store: Arc<TestStore>,
    pub responder: Arc<ResponderService>,
    /// What sessions hold.
    pub memory: MemoryBudget,
    pub credentials: Credentials,
    pub rejections: Rejections,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<Stopped, ServeError>>,
}

impl Environment {
    pub(crate) async fn new(options: ServerOptions) -> Self {
        Self::with(options, TestStore::new()).await
    }

    pub(crate) async fn with(options: ServerOptions, store: Arc<TestStore>) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), options, store).await
    }

    /// A server on an address.
    pub(crate) async fn at(
        address: SocketAddr,
        options: ServerOptions,
        store: Arc<TestStore>,
    ) -> Self {
        let server = Server::bind(address, options).await.unwrap();
        let address = server.address();
        let memory = server.memory();
        let (credentials, rejections) = (server.credentials(), server.rejections());
        let responder = store.responder(Limits::default(), memory.clone());
        let (stop, stopped) = oneshot::channel();
        let serving = server.serve(Arc::clone(&responder), async {
            let _stopped = stopped.await;
        });
        let serving = tokio::spawn(serving);
        Self { address, store, responder, memory, credentials, rejections, stop, serving }
    }

    /// How many callers were not let in for a reason.
    pub(crate) fn rejected(&self, reason: Rejection) -> u64 {
        let mut counts = self.rejections.counts();
        counts.find(|(counted, _)| *counted == reason).unwrap().1
    }

    pub(crate) fn sessions(&self) -> usize {
        self.responder.responder().sessions()
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_with(ClientOptions::default()).await.unwrap()
    }

    /// A client that does not try again, unless told to.
    pub(crate) async fn client_with(&self, options: ClientOptions) -> Result<Client, CallError> {
        Client::connect(&self.address.into(), options).await
    }

    /// Asks the server to stop.
    pub(crate) fn stop(self) -> JoinHandle<Result<Stopped, ServeError>> {
        self.stop.send(()).unwrap();
        self.serving
    }

    pub(crate) async fn end(self) -> Stopped {
        timeout(TIME_MAX, self.stop()).await.unwrap().unwrap().unwrap()
    }
}

/// Runs a test with a bound on its time.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(TIME_MAX, test);
}

pub(crate) fn run_within(time_max: Duration, test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    run_on(runtime, time_max, test);
}

pub(crate) fn run_on(runtime: Runtime, time_max: Duration, test: impl Future<Output = ()>) {
    runtime.block_on(async { timeout(time_max, test).await.expect("the test takes too long") });
    // Some tests leave threads behind that wait for nobody.
    runtime.shutdown_background();
}

/// Waits until something is so.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

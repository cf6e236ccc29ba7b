//! Whole stores that meet over loopback.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use stemedb::rpc::{Client, ClientOptions, Server, ServerOptions};
use stemedb::sync::report::Report;
use stemedb::sync::{Ending, Limits};
use stemedb::{Options, Replicate, Store, SyncOptions};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::body;
use crate::contest::Sample;

/// A runtime with a worker for each core.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Appends the bodies of these numbers, of `len` bytes each.
pub(crate) fn fill(
    store: &Store,
    numbers: impl Iterator<Item = u64>,
    len: usize,
) -> Result<(), Failure> {
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let bodies = numbers.by_ref().take((64 << 20) / len).map(|number| {
            let mut bytes = vec![0; len];
            body::fill(number, &mut bytes);
            bytes
        });
        store.append_batch(bodies)?;
    }
    Ok(())
}

/// What one store can take in durably, with nobody at the other end.
pub(crate) fn append_alone(dir: &Path, bodies: u64, len: usize) -> Result<Sample, Failure> {
    const PIECE_LEN: usize = 256 << 10;
    let store = open(dir)?;
    let mut all: Vec<Vec<u8>> = (0..bodies).map(|_| vec![0; len]).collect();
    for (bytes, number) in all.iter_mut().zip(0..) {
        body::fill(number, bytes);
    }
    let started = std::time::Instant::now();
    for piece in all.chunks((PIECE_LEN / len).max(1)) {
        store.append_batch(piece)?;
    }
    Ok(rate(bodies, len, started.elapsed().as_secs_f64()))
}

pub(crate) fn open(dir: &Path) -> Result<Arc<Store>, Failure> {
    Ok(Arc::new(Store::open(dir, Options::default())?))
}

/// A store that is served, with workers of its own.
pub(crate) struct Served {
    pub(crate) store: Arc<Store>,
    pub(crate) address: SocketAddr,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), Failure>>,
}

impl Served {
    pub(crate) fn new(store: Arc<Store>) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let server =
            runtime.block_on(Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()))?;
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let replica = Arc::clone(&store);
        let serving = runtime.spawn(async move {
            let stopped = async { drop(stopped.await) };
            replica.serve(server, Limits::default(), stopped).await?;
            Ok(())
        });
        Ok(Self { store, address, runtime, stop, serving })
    }

    /// Stops serving; the store is closed once nobody else has it.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.runtime.block_on(self.serving)??;
        self.runtime.shutdown_background();
        Ok(())
    }
}

/// A client that is connected.
pub(crate) fn connect(runtime: &Runtime, to: SocketAddr) -> Result<Client, Failure> {
    Ok(runtime.block_on(Client::connect(&to.into(), ClientOptions::default()))?)
}

/// One session to its good end.
pub(crate) fn sync(
    runtime: &Runtime,
    store: &Arc<Store>,
    client: &Client,
    options: SyncOptions,
) -> Result<Report, Failure> {
    let synced = runtime.block_on(store.sync(client, options, pending(), |_| {}))?;
    if let Some(error) = synced.error {
        return Err(error.into());
    }
    match synced.report.ending {
        Ending::Complete => Ok(synced.report),
        ending => Err(format!("the session ended otherwise: {ending}").into()),
    }
}

/// Bytes and bodies a second.
pub(crate) fn rate(bodies: u64, len: usize, seconds: f64) -> Sample {
    let bodies = bodies as f64;
    vec![("MB/s", bodies * len as f64 / seconds / 1e6), ("bodies/s", bodies / seconds)]
}

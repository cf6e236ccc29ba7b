//! Nodes that run in this process.

#![allow(dead_code, reason = "each example uses a part")]

use std::{error::Error, sync::Arc, time::Duration};
use stemedb::node::status::PeerState;

use stemedb::{
    Store,
    node::{Ended, Node, NodeError, Options},
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// A node, and the task it runs in.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) node: Node,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Ended, NodeError>>,
}

impl Running {
    pub(crate) async fn start(store: Store, options: Options) -> Result<Self, Failure> {
        let node = Node::start(Arc::new(store), options).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let running = node.clone();
        let ended = tokio::spawn(async move { running.run(async { drop(stopped.await) }).await });
        Ok(Self { node, stop, ended })
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        self.node.store()
    }

    /// How many sessions it has begun so far.
    pub(crate) fn sessions(&self) -> u64 {
        // Each of them compares all slices.
        self.node.status().slices.first().map_or(0, |slice| slice.sessions)
    }

    /// How many others it knows and reaches.
    pub(crate) fn alive(&self) -> usize {
        self.node.status().peers.iter().filter(|peer| peer.state == PeerState::Alive).count()
    }

    /// Stops it and closes its store.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        // An end of the node by itself is told by its result.
        let _ = self.stop.send(());
        self.ended.await??;
        let mut store = Arc::clone(self.node.store());
        drop(self.node);
        // Tasks that end at the same time may still have it for a moment.
        loop {
            match Arc::try_unwrap(store) {
                Ok(store) => return Ok(store.close()?),
                Err(shared) => store = shared,
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Whether all hold the same.
pub(crate) fn in_step<'a>(nodes: impl IntoIterator<Item = &'a Running>) -> bool {
    let mut roots = nodes.into_iter().map(|node| node.store().root().ok());
    let first = roots.next();
    roots.all(|root| root.is_some() && Some(root) == first)
}

/// Waits until something holds, and says how long that took.
pub(crate) async fn until(
    what: &str,
    patience: Duration,
    mut holds: impl FnMut() -> bool,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > patience {
            return Err(format!("{what}: not within {} s", patience.as_secs()).into());
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(began.elapsed())
}

/// Text number `number` of a series, of so many bytes that zstd can't make shorter.
pub(crate) fn body(series: &str, number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(series.as_bytes()).update(&number.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

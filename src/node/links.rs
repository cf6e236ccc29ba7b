//! Connections to other nodes: made when they are needed first, and shared by gossip and sessions.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stemedb_rpc::{CallError, Client, ClientOptions, PeerAddress, node::FRAMES_PER_CALL_MAX};
use stemedb_sync::cluster::MEMBERS_MAX;
use tokio::{
    sync::{OnceCell, mpsc},
    time::{Instant, sleep, timeout},
};

use super::Shared;
use crate::store::lock;

/// Frames that wait for a node that does not take them; others are lost, as gossip may be.
const FRAMES_MAX: usize = 256;
/// Nodes that gossip is sent to at the same time.
const LINKS_MAX: usize = MEMBERS_MAX + 64;
/// How long a frame may take. After that it is worth nothing.
const FRAME_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a node that can't be reached is left alone by gossip.
const PAUSE: Duration = Duration::from_secs(1);
/// A link that carries no gossip for so long is let go of.
const IDLE_TIME_MAX: Duration = Duration::from_secs(120);

/// Connections by address.
#[derive(Debug)]
pub(super) struct Links {
    options: Mutex<ClientOptions>,
    clients: Mutex<HashMap<String, Arc<OnceCell<Client>>>>,
    queues: Mutex<HashMap<String, mpsc::Sender<Vec<u8>>>>,
    /// Why the last call of gossip to an address failed.
    failures: Mutex<BTreeMap<String, String>>,
    /// Calls of gossip that are under way.
    calling: AtomicU64,
}

impl Links {
    pub(super) fn new(options: ClientOptions) -> Self {
        Self {
            options: options.into(),
            clients: Mutex::default(),
            queues: Mutex::default(),
            failures: Mutex::default(),
            calling: 0.into(),
        }
    }

    /// What new connections are made with.
    pub(super) fn set_options(&self, options: ClientOptions) {
        *lock(&self.options) = options;
        lock(&self.clients).clear();
    }

    /// A client of the node at an address. The connection is made anew by itself when it breaks.
    pub(super) async fn client(&self, address: &str) -> Result<Client, CallError> {
        let cell = Arc::clone(lock(&self.clients).entry(address.to_owned()).or_default());
        let mut options = lock(&self.options).clone();
        // The schedule tries again by itself.
        options.retries_max = 0;
        let connect = || async {
            let peer: PeerAddress = address.parse().map_err(|_| CallError::Stalled)?;
            Client::connect(&peer, options).await
        };
        cell.get_or_try_init(connect).await.cloned()
    }

    /// Why the last call of gossip to an address failed; `None` if it did not.
    pub(super) fn failure(&self, address: &str) -> Option<String> {
        lock(&self.failures).get(address).cloned()
    }

    fn note_failure(&self, address: &str, error: &CallError) {
        let mut failures = lock(&self.failures);
        if failures.len() < LINKS_MAX || failures.contains_key(address) {
            failures.insert(address.to_owned(), with_causes(error));
        }
    }

    /// Forgets a connection, so that the next one asks for the address anew.
    pub(super) fn forget(&self, address: &str) {
        lock(&self.clients).remove(address);
    }

    /// Sends a frame, soon.
    pub(super) fn send(&self, shared: &Arc<Shared>, to: String, frame: Vec<u8>) {
        let mut queues = lock(&self.queues);
        queues.retain(|_, queue| !queue.is_closed());
        if queues.len() >= LINKS_MAX && !queues.contains_key(&to) {
            // Whatever addresses anybody names.
            return;
        }
        let queue = queues.entry(to).or_insert_with_key(|address| {
            let (queue, frames) = mpsc::channel(FRAMES_MAX);
            tokio::spawn(carry(Arc::clone(shared), address.clone(), frames));
            queue
        });
        // What does not fit is lost, as gossip may be.
        let _ = queue.try_send(frame);
    }

    /// Waits until all frames are gone, but no longer than this.
    pub(super) async fn flush(&self, time_max: Duration) {
        let end = Instant::now() + time_max;
        let waits = || {
            let queues = lock(&self.queues);
            queues.values().any(|queue| queue.capacity() < queue.max_capacity())
        };
        while (waits() || self.calling.load(Ordering::Relaxed) > 0) && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Carries frames to one node, as many at once as wait.
async fn carry(shared: Arc<Shared>, address: String, mut frames: mpsc::Receiver<Vec<u8>>) {
    let links = &shared.links;
    let mut batch = Vec::new();
    let stopped = shared.stopped();
    tokio::pin!(stopped);
    loop {
        let taken = frames.recv_many(&mut batch, FRAMES_PER_CALL_MAX);
        let taken = tokio::select! {
            taken = timeout(IDLE_TIME_MAX, taken) => taken.unwrap_or(0),
            () = &mut stopped => 0,
        };
        if taken == 0 {
            return;
        }
        links.calling.fetch_add(1, Ordering::Relaxed);
        let called = call(&shared, &address, std::mem::take(&mut batch)).await;
        links.calling.fetch_sub(1, Ordering::Relaxed);
        match called {
            Ok(answers) => {
                lock(&links.failures).remove(&address);
                if !answers.is_empty() {
                    for frame in shared.take_frames(answers) {
                        // What answers the answer goes the same way.
                        links.send(&shared, address.clone(), frame);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(peer = address, %error, "gossip did not get through");
                links.note_failure(&address, &error);
                links.forget(&address);
                sleep(PAUSE).await;
            }
        }
    }
}

async fn call(
    shared: &Shared,
    address: &str,
    frames: Vec<Vec<u8>>,
) -> Result<Vec<Vec<u8>>, CallError> {
    let client = shared.links.client(address).await?;
    for frame in &frames {
        shared.metrics.gossip_sent(frame.len() as u64);
    }
    timeout(FRAME_TIME_MAX, client.gossip(frames)).await.unwrap_or(Err(CallError::Stalled))
}

/// What an error says, and what its causes say that it does not.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

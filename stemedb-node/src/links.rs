//! Connections to other nodes: made when they are needed first, and shared by gossip and sessions.

use std::{
    collections::{HashMap, HashSet},
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
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{Shared, options::Options};
use stemedb_store::{error::with_causes, store::lock};

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
    options: Mutex<LinkOptions>,
    clients: Mutex<HashMap<String, Arc<OnceCell<Client>>>>,
    queues: Mutex<HashMap<String, mpsc::Sender<Vec<u8>>>>,
    failures: Mutex<Failures>,
    /// Calls of gossip that are under way.
    calling: AtomicU64,
    /// Addresses that were not shown the token.
    withheld: Mutex<HashSet<String>>,
}

/// Errors of the last call of gossip to an address.
#[derive(Debug, Default)]
struct Failures {
    reasons: HashMap<String, Failure>,
    noted: u64,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    /// Whether the configuration names the address: such a failure is not evicted.
    is_named: bool,
    /// Counts failures, so that it is known which one is the oldest.
    number: u64,
}

impl Failures {
    /// Notes why. The oldest at an address that is not named gives way: anybody can name others.
    fn note(&mut self, address: &str, reason: String, is_named: bool) {
        self.noted += 1;
        self.reasons.insert(address.to_owned(), Failure { reason, is_named, number: self.noted });
        if self.reasons.len() > LINKS_MAX {
            let learned = self.reasons.iter().filter(|(_, failure)| !failure.is_named);
            let oldest = learned.min_by_key(|(_, failure)| failure.number);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                self.reasons.remove(&oldest);
            }
        }
    }
}

/// Options of connections.
#[derive(Clone, Debug)]
struct LinkOptions {
    client: ClientOptions,
    /// The addresses that the configuration names; others are told by gossip.
    named: Vec<PeerAddress>,
}

impl LinkOptions {
    fn of(options: &Options) -> Self {
        let named = options.join.iter().chain(&options.peers).cloned().collect();
        Self { client: options.client.clone(), named }
    }

    fn names(&self, peer: &PeerAddress) -> bool {
        self.named.iter().any(|named| named.is_same_place(peer))
    }

    /// Options of a connection to an address. Any member can tell of any address: one that
    /// the operator has not named gets the token only if it shows a certificate.
    fn to(&self, peer: &PeerAddress) -> ClientOptions {
        let is_named = self.names(peer);
        let token = self.client.token.clone().filter(|_| is_named || self.client.tls.is_some());
        // The schedule tries again by itself.
        self.client.clone().retries_max(0).token(token)
    }
}

impl Links {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            options: LinkOptions::of(options).into(),
            clients: Mutex::default(),
            queues: Mutex::default(),
            failures: Mutex::default(),
            calling: 0.into(),
            withheld: Mutex::default(),
        }
    }

    /// Sets the options of new connections.
    pub(super) fn set_options(&self, options: &Options) {
        *lock(&self.options) = LinkOptions::of(options);
        lock(&self.clients).clear();
    }

    /// A client of the node at an address. The connection is made again when it breaks.
    pub(super) async fn client(&self, address: &str) -> Result<Client, CallError> {
        let cell = Arc::clone(lock(&self.clients).entry(address.to_owned()).or_default());
        let connect = || async {
            let peer: PeerAddress = address.parse().map_err(|_| CallError::Stalled)?;
            let (options, has_token) = {
                let options = lock(&self.options);
                (options.to(&peer), options.client.token.is_some())
            };
            if has_token && options.token.is_none() {
                self.note_withheld(address);
            }
            Client::connect(&peer, options).await
        };
        cell.get_or_try_init(connect).await.cloned()
    }

    /// Tells, once for an address, that the token is not shown there.
    fn note_withheld(&self, address: &str) {
        let mut withheld = lock(&self.withheld);
        if withheld.len() < LINKS_MAX && withheld.insert(address.to_owned()) {
            warn!(
                peer = address,
                "the token is not shown to this node: its address comes from gossip, and without \
                 TLS it could be anybody's; name it in cluster.peers, or use tls.ca"
            );
        }
    }

    /// Error of the last call of gossip to an address; `None` if it did not fail.
    pub(super) fn failure(&self, address: &str) -> Option<String> {
        lock(&self.failures).reasons.get(address).map(|failure| failure.reason.clone())
    }

    fn note_failure(&self, address: &str, error: &CallError) {
        let is_named = address.parse().is_ok_and(|peer| lock(&self.options).names(&peer));
        lock(&self.failures).note(address, with_causes(error), is_named);
    }

    /// Forgets a connection, so that the next one resolves the address again.
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
            shared.spawn(carry(Arc::clone(shared), address.clone(), frames));
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
                lock(&links.failures).reasons.remove(&address);
                if !answers.is_empty() {
                    let taking = Arc::clone(&shared);
                    // A panic has told of itself.
                    let taken = spawn_blocking(move || taking.take_frames(answers)).await;
                    let taken = taken.unwrap_or_default();
                    match taken.refused {
                        None => shared.note_well(&address),
                        Some(error) => {
                            shared.warn_of(&address, error.word(), &error.to_string(), false);
                        }
                    }
                    for frame in taken.frames {
                        // What answers the answer goes the same way.
                        links.send(&shared, address.clone(), frame);
                    }
                }
            }
            Err(error) => {
                tracing::debug!(peer = address, %error, "gossip did not get through");
                links.note_failure(&address, &error);
                shared.note_failure(&address, &error);
                links.forget(&address);
                sleep(PAUSE).await;
                if frames.is_empty() {
                    // It leaves its place to others: anybody may have named this address.
                    return;
                }
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

#[cfg(test)]
mod tests {
    use stemedb_rpc::{ClientTls, Token};

    use super::*;

    #[test]
    fn failures_at_made_up_addresses_do_not_hide_others() {
        let mut failures = Failures::default();
        failures.note("named:1", "refused".to_owned(), true);
        for number in 0..5 * LINKS_MAX {
            failures.note(&format!("made-up:{number}"), String::new(), false);
        }
        failures.note("learned:1", "refused".to_owned(), false);
        assert_eq!(failures.reasons.len(), LINKS_MAX);
        assert!(["named:1", "learned:1"].iter().all(|known| failures.reasons.contains_key(*known)));
    }

    #[test]
    fn the_token_goes_to_named_addresses_and_to_those_that_show_a_certificate() {
        let token = Token::parse(b"0123456789abcdef").unwrap();
        let address = |text: &str| text.parse::<PeerAddress>().unwrap();
        let mut options = Options::default()
            .join(vec![address("a.example")])
            .peers(vec![address("http://b.example:1")])
            .client(ClientOptions::default().token(Some(token)));
        let shown =
            |options: &Options, to: &str| LinkOptions::of(options).to(&address(to)).token.is_some();
        for named in ["a.example:7845", "A.EXAMPLE", "b.example:1"] {
            assert!(shown(&options, named), "{named}");
        }
        // The loopback is no exception: any process may listen there.
        for learned in ["a.example:1", "b.example", "c.example", "127.0.0.1:7845", "[::1]:7845"] {
            assert!(!shown(&options, learned), "{learned}");
        }
        options.client.tls = Some(ClientTls::new(Vec::new()));
        assert!(shown(&options, "c.example"));
    }
}

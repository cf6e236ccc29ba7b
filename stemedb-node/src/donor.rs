//! Bodies for what is damaged here, from the peers that have them.

use std::{cmp::Reverse, future::Future, sync::Arc, time::Duration};

use stemedb_merkle::AssertionId;
use stemedb_rpc::Which;
use stemedb_rpc::store::peer_identity;
use stemedb_sync::cluster::{Peer, Standing};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Shared, scrub::Donor};
use stemedb_store::store::lock;

/// How long one peer may take,
const PEER_TIME_MAX: Duration = Duration::from_secs(20);
/// and all of them. What nobody gave until then is asked for again later.
const TIME_MAX: Duration = Duration::from_secs(60);
/// A peer that has not answered after this time has the next one asked beside it,
const NEXT_AFTER: Duration = Duration::from_secs(1);
/// and so many are asked at once.
const ASKED_MAX: usize = 4;

/// The peers of a node.
#[derive(Debug)]
pub(super) struct Peers(pub(super) Arc<Shared>);

impl Donor for Peers {
    async fn body(&self, id: &AssertionId) -> Option<Vec<u8>> {
        let peers = in_order(lock(&self.0.cluster).peers());
        let (which, keys) = (Which::Id(*id), peer_identity(&self.0.store).keys);
        let ask = |peer: String| {
            let (shared, which, keys) = (Arc::clone(&self.0), which.clone(), keys.clone());
            async move {
                let asked =
                    async { shared.links.client(&peer).await?.get(&which, Some(&keys)).await };
                match timeout(PEER_TIME_MAX, asked).await {
                    Ok(Ok(found)) => found.map(|(_, body)| body),
                    Ok(Err(error)) => {
                        tracing::debug!(peer, %error, "a peer was asked for a body in vain");
                        None
                    }
                    Err(_) => {
                        tracing::debug!(peer, "a peer was asked for a body for too long");
                        None
                    }
                }
            }
        };
        timeout(TIME_MAX, first_answer(peers, ask)).await.ok().flatten()
    }
}

/// The peers that may be there: first those that a session ended well with, the last one of these
/// in front. Anybody can name others, and they may be silent.
fn in_order<'a>(peers: impl Iterator<Item = (&'a str, &'a Peer)>) -> Vec<String> {
    let there = peers.filter(|(_, peer)| peer.standing != Standing::Down);
    let mut order: Vec<_> = there
        .map(|(address, peer)| {
            let suspect = peer.standing == Standing::Suspect;
            let rank = (suspect, Reverse(peer.repaired), peer.failures, Reverse(peer.met));
            (rank, address.to_owned())
        })
        .collect();
    order.sort();
    order.into_iter().map(|(_, address)| address).collect()
}

/// Asks one after the other, a few at once where they don't answer soon, until one has something.
async fn first_answer<T, F>(peers: Vec<String>, ask: impl Fn(String) -> F) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    // What is still asked ends with this.
    let mut asked = JoinSet::new();
    let mut peers = peers.into_iter().peekable();
    loop {
        if asked.len() < ASKED_MAX
            && let Some(peer) = peers.next()
        {
            asked.spawn(ask(peer));
        }
        let may_ask_more = asked.len() < ASKED_MAX && peers.peek().is_some();
        tokio::select! {
            answer = asked.join_next() => match answer {
                Some(Ok(Some(found))) => return Some(found),
                // It has nothing; or a panic, which has told of itself.
                Some(_) => {}
                None => return None,
            },
            () = sleep(NEXT_AFTER), if may_ask_more => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use stemedb_sync::{
        Cluster, Keys,
        cluster::{Config, Head, NodeKey, Outcome, Policy},
        message::SetHead,
    };
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn those_that_a_session_ended_well_with_last_come_first() {
        let second = Duration::from_secs(1);
        let peers = ["a:1", "b:1", "c:1", "d:1"].map(str::to_owned).to_vec();
        let config = Config {
            node: [1; 16],
            key: NodeKey::from_seed(&[1; 32]),
            remembered: Vec::new(),
            run: [1; 16],
            began: 1,
            address: "own:1".to_owned(),
            version: String::new(),
            keys: Keys::new(None),
            gossip: false,
            join: Vec::new(),
            peers,
            policy: Policy { interval: second, sessions_max: 1 },
            seed: 1,
        };
        let set = SetHead { count: 1, root: stemedb_merkle::Root([1; 32]) };
        let (store, version) = ([1; 16], String::new());
        let head = Head { set, log_size: 1, last_time: 1, epoch: 1, store, version };
        let mut cluster = Cluster::new(config, head, second);
        cluster.ended("c:1", Outcome::Repaired(set), second);
        cluster.ended("a:1", Outcome::Failed, 2 * second);
        cluster.ended("d:1", Outcome::Repaired(set), 3 * second);
        assert_eq!(in_order(cluster.peers()), ["d:1", "c:1", "b:1", "a:1"]);
    }

    #[tokio::test]
    async fn silent_peers_delay_a_body_by_moments() {
        let asked = Arc::new(AtomicUsize::new(0));
        let peers = (0..6).map(|number| number.to_string()).collect();
        let began = Instant::now();
        let found = first_answer(peers, |peer| {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                match peer.as_str() {
                    // It is silent.
                    "0" | "3" => std::future::pending().await,
                    // They have nothing.
                    "1" | "2" => None,
                    peer => Some(peer.to_owned()),
                }
            }
        });
        assert_eq!(found.await.as_deref(), Some("4"));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(asked.load(Ordering::Relaxed), 5, "who comes later is not asked");
    }

    #[tokio::test]
    async fn nobody_has_it() {
        let none = first_answer(vec!["a".to_owned(), "b".to_owned()], |_| async { None::<u8> });
        assert_eq!(none.await, None);
        let nobody = first_answer(Vec::new(), |_| async { Some(1) });
        assert_eq!(nobody.await, None);
    }
}

//! Five nodes as processes of their own, under load, killed at random and started again.
//!
//! `STEMEDB_CLUSTER_SECONDS=60` does that for a minute, `STEMEDB_CLUSTER_SEED=n` in another order.

use std::collections::BTreeSet;
use std::env;
use std::time::Duration;

use stemedb::rpc::{Client, ClientOptions};
use tokio::time::{Instant, sleep, timeout};

use super::binary::Place;
use super::serving::Served;

const NODES: usize = 5;
/// All agree within this after the last of them is back: it is more than an interval and a pause
/// after failures.
const BOUND: Duration = Duration::from_secs(60);

/// A node on an address, which finds the others by the first that is there.
fn start(place: &Place, store: &str, listen: &str, join: &[String]) -> Served {
    let mut arguments = vec!["node", "--store", store, "--listen", listen, "--http", "none"];
    arguments.extend(["--log-level", "error", "--sync-interval", "5s"]);
    for address in join {
        arguments.extend(["--join", address]);
    }
    Served::ready(place.command(&arguments).spawn().unwrap())
}

/// xorshift64*, by Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % most
    }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap())
}

async fn client(address: &str) -> Option<Client> {
    let options = ClientOptions::default().retries_max(0);
    Client::connect(&address.parse().unwrap(), options).await.ok()
}

/// Appends one body after another, and gives those that were acknowledged.
async fn write(address: String, writer: u64, end: Instant) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut connected = None;
    let mut n = 0;
    while Instant::now() < end {
        if connected.is_none() {
            connected = client(&address).await;
        }
        let Some(there) = &connected else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        n += 1;
        let body = format!("writer {writer} body {n}");
        match timeout(Duration::from_secs(5), there.append(body.into_bytes())).await {
            Ok(Ok(receipt)) => acknowledged.push(receipt.id.to_string()),
            _ => connected = None,
        }
        sleep(Duration::from_millis(2)).await;
    }
    acknowledged
}

async fn root_of(address: &str) -> Option<String> {
    let status = client(address).await?.status().await.ok()?;
    Some(status.head?.set_root)
}

#[test]
fn five_nodes_that_are_killed_at_random_end_with_one_root() {
    let seconds = number("STEMEDB_CLUSTER_SECONDS", 8);
    let seed = number("STEMEDB_CLUSTER_SEED", 1);
    println!("STEMEDB_CLUSTER_SECONDS={seconds} STEMEDB_CLUSTER_SEED={seed}");
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let place = Place::new();
    let stores: Vec<_> = (0..NODES).map(|node| format!("node{node}")).collect();
    let mut addresses: Vec<String> = Vec::new();
    let mut nodes: Vec<Option<Served>> = Vec::new();
    for store in &stores {
        let node = start(&place, store, "127.0.0.1:0", &addresses);
        addresses.push(node.address.clone());
        nodes.push(Some(node));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let acknowledged = runtime.block_on(async {
        let end = Instant::now() + Duration::from_secs(seconds);
        let writers: Vec<_> = (0..)
            .zip(&addresses)
            .map(|(writer, address)| tokio::spawn(write(address.clone(), writer, end)))
            .collect();
        let mut kills = 0;
        while Instant::now() < end {
            sleep(Duration::from_millis(200 + random.below(800))).await;
            let victim = usize::try_from(random.below(NODES as u64)).unwrap();
            match nodes[victim].take() {
                Some(node) => {
                    // Dropping it is a SIGKILL.
                    drop(node);
                    kills += 1;
                }
                None => {
                    nodes[victim] =
                        Some(start(&place, &stores[victim], &addresses[victim], &addresses));
                }
            }
        }
        for victim in 0..NODES {
            nodes[victim].get_or_insert_with(|| {
                start(&place, &stores[victim], &addresses[victim], &addresses)
            });
        }
        let mut acknowledged = BTreeSet::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        let begin = Instant::now();
        loop {
            let mut roots = BTreeSet::new();
            for address in &addresses {
                roots.insert(root_of(address).await.unwrap_or_else(|| address.clone()));
            }
            if roots.len() == 1 {
                break;
            }
            assert!(begin.elapsed() < BOUND, "after {BOUND:?}: {roots:?}");
            sleep(Duration::from_millis(100)).await;
        }
        println!(
            "{kills} kills, {} acknowledged, one root after {:?}",
            acknowledged.len(),
            begin.elapsed()
        );
        acknowledged
    });
    assert!(acknowledged.len() > 100, "only {} were acknowledged", acknowledged.len());
    for node in nodes.into_iter().flatten() {
        let (code, said) = node.stop();
        assert_eq!(code, 0, "{said}");
    }
    let held = |store: &String| -> BTreeSet<String> {
        place.run(&["ids", "--store", store]).ok().lines().into_iter().collect()
    };
    let first = held(&stores[0]);
    assert!(acknowledged.is_subset(&first), "something acknowledged is lost");
    for store in &stores {
        assert_eq!(held(store), first, "{store}");
        place.run(&["check", "--store", store, "--deep"]).ok();
    }
}

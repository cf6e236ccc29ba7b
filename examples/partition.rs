//! Two regions that hold the same keys are cut off from each other for a while, write on, and come
//! together again: how long that takes, and what it moves, beside what a full copy would.
//!
//! ```sh
//! cargo run --example partition
//! cargo run --release --example partition -- --keys 10000000 --writes 12000 --delay-ms 40
//! ```
//!
//! The second line is a region of 10 million keys after a partition of 20 minutes in which each
//! side took 10 writes a second. It takes some 8 GB of disk and a few minutes, most of them to
//! write the keys. A real outage of 20 minutes is had by `--outage-seconds 1200`.

#![expect(clippy::cast_precision_loss, reason = "figures are rounded when they are printed")]

#[path = "shared/proxy.rs"]
mod proxy;
#[path = "shared/running.rs"]
mod running;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use proxy::{End, Link, Proxy, Shape};
use running::{Failure, Running, body, in_step, until};
use stemedb::{Options as StoreOptions, Store, node::Options};
use tokio::time::sleep;

/// Two regions, cut off from each other, and together again.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keys that both regions hold at first.
    #[arg(long, default_value_t = 20_000)]
    keys: u64,
    /// Writes on each side during the partition.
    #[arg(long, default_value_t = 500)]
    writes: u64,
    /// How often it happens.
    #[arg(long, default_value_t = 2)]
    rounds: u64,
    /// How long the regions are cut off from each other.
    #[arg(long, default_value_t = 1)]
    outage_seconds: u64,
    /// How long everything takes from one region to the other.
    #[arg(long, default_value_t = 20)]
    delay_ms: u64,
    /// Bytes a second between the regions, each way.
    #[arg(long)]
    bytes_per_second: Option<u64>,
    /// Bytes of a body; none of them can be compressed away.
    #[arg(long, default_value_t = 256)]
    body_len: usize,
    /// Where the stores are made, and removed again. Default: where temporary files are.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// No round takes longer; members that were given up are looked for every 20 seconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let parent = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(parent)?;
    let body = |series: &str, number| body(series, number, arguments.body_len);
    let full_copy = arguments.keys * arguments.body_len as u64;

    // Both have the same keys, which came to them in another order.
    let (north, south) = (
        Store::open(dir.path().join("north"), StoreOptions::default())?,
        Store::open(dir.path().join("south"), StoreOptions::default())?,
    );
    fill(&north, (0..arguments.keys).map(|n| body("key", n)))?;
    fill(&south, (0..arguments.keys).rev().map(|n| body("key", n)))?;
    assert_eq!(north.root()?, south.root()?);

    // Each is known to the other by an address at the far end of the link.
    let link = Link::new(Shape {
        delay: Duration::from_millis(arguments.delay_ms),
        bytes_per_second: arguments.bytes_per_second,
    });
    let (to_north, to_south) =
        (Proxy::open(&link, End::Right).await?, Proxy::open(&link, End::Left).await?);
    let options = |advertise: &Proxy| {
        Options::default()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .advertise(Some(advertise.address().into()))
            .http(None)
    };
    let north = Running::start(north, options(&to_north)).await?;
    to_north.lead_to(north.node.address());
    let joins = options(&to_south).join(vec![to_north.address().into()]);
    let south = Running::start(south, joins).await?;
    to_south.lead_to(south.node.address());
    until("they find each other", PATIENCE, || north.alive() == 1 && south.alive() == 1).await?;
    println!(
        "{} keys of {} B on either side, {} ms away; a full copy is {}",
        arguments.keys,
        arguments.body_len,
        arguments.delay_ms,
        bytes(full_copy)
    );

    for round in 1..=arguments.rounds {
        let begun = || north.sessions() + south.sessions();
        link.cut();
        for (region, name) in [(&north, "north"), (&south, "south")] {
            let first = round * arguments.writes;
            fill(region.store(), (first..first + arguments.writes).map(|n| body(name, n)))?;
        }
        sleep(Duration::from_secs(arguments.outage_seconds)).await;
        assert!(!in_step([&north, &south]), "nothing came through the cut");

        let (before, sessions) = (link.bytes_both_ways(), begun());
        link.heal();
        let took = until("one root", PATIENCE, || in_step([&north, &south])).await?;
        // Sessions that are about to end say so.
        sleep(Duration::from_millis(200)).await;
        let moved = link.bytes_both_ways() - before;
        let differed = 2 * arguments.writes * arguments.body_len as u64;
        println!(
            "round {round}: one root {:.2} s after the cut was healed; {} crossed, {:.2} times the \
             {} that differed, {:.1} % of a full copy; {} session(s), by {}",
            took.as_secs_f64(),
            bytes(moved),
            moved as f64 / differed as f64,
            bytes(differed),
            100.0 * moved as f64 / full_copy as f64,
            begun() - sessions,
            layers(&[&north, &south]),
        );
        assert_eq!(north.store().len(), arguments.keys + 2 * round * arguments.writes);
        // Ids and symbols that find the differences, gossip, and a session that both began.
        let allowed = 2 * differed + 256 * arguments.writes + (256 << 10);
        assert!(moved <= allowed, "{moved} bytes are out of proportion");
    }
    for region in [north, south] {
        region.stop().await?;
    }
    Ok(())
}

/// Appends in pieces, so that not all bodies are in memory.
fn fill(store: &Store, bodies: impl Iterator<Item = Vec<u8>>) -> Result<(), Failure> {
    let mut bodies = bodies.peekable();
    while bodies.peek().is_some() {
        store.append_batch(bodies.by_ref().take(100_000))?;
    }
    Ok(())
}

/// What settled the last sessions.
fn layers(nodes: &[&Running]) -> String {
    let mut names: Vec<_> = nodes
        .iter()
        .flat_map(|node| node.node.status().peers)
        .filter_map(|peer| peer.last_session?.layer)
        .collect();
    names.dedup();
    names.join(" and ")
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

//! Twelve nodes in three regions, with little room between regions: everybody writes, one region is
//! cut off and writes on, a node is restarted, and all come to hold the same, old keys that nobody
//! reads among it.
//!
//! ```sh
//! cargo run --example regions
//! cargo run --release --example regions -- --keys 1000000 --writes 10000
//! ```
//!
//! Within a region nodes gossip. Between regions they don't: two nodes of each region, the
//! gateways, name one of the next region (`peers`), over an address that a real deployment would
//! have at the end of its long line. So nothing comes over a line once for each node there.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "figures are rounded when they are printed, and places are numbered"
)]

#[path = "shared/proxy.rs"]
mod proxy;
#[path = "shared/running.rs"]
mod running;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use clap::Parser;
use proxy::{End, Link, Proxy, Shape};
use running::{Failure, Running, body, in_step, until};
use stemedb::{
    Options as StoreOptions, Store,
    node::{Options, options::SyncPolicy},
    rpc::PeerAddress,
};
use tokio::time::{Instant, sleep};

/// Twelve nodes in three regions.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keys that all hold at first.
    #[arg(long, default_value_t = 2_000)]
    keys: u64,
    /// Writes on each node, in each of the three parts.
    #[arg(long, default_value_t = 50)]
    writes: u64,
    /// How long everything takes from one region to another.
    #[arg(long, default_value_t = 40)]
    delay_ms: u64,
    /// Bytes a second between two regions, each way.
    #[arg(long, default_value_t = 2_000_000)]
    bytes_per_second: u64,
    /// Bytes of a body; none of them can be compressed away.
    #[arg(long, default_value_t = 256)]
    body_len: usize,
}

const REGIONS: usize = 3;
const NODES: usize = 4;
/// Nodes of a region that talk to other regions.
const GATEWAYS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);

/// A place for a node: how it is reached, and whom it names.
struct Place {
    region: usize,
    /// For its own region.
    near: Proxy,
    /// For the gateways of other regions.
    far: Vec<Proxy>,
    join: Option<PeerAddress>,
    peers: Vec<PeerAddress>,
}

impl Place {
    async fn start(&self, store: Store) -> Result<Running, Failure> {
        // Nobody says across regions what he holds: they look for themselves.
        let sync = SyncPolicy::default().interval(Duration::from_secs(2));
        let options = Options::default()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .advertise(Some(self.near.address().into()))
            .http(None)
            .join(self.join.clone().into_iter().collect())
            .peers(self.peers.clone())
            .sync(sync);
        let node = Running::start(store, options).await?;
        for proxy in self.far.iter().chain([&self.near]) {
            proxy.lead_to(node.node.address());
        }
        Ok(node)
    }
}

/// The links of the world: those inside regions, and those between them.
struct Links {
    inside: Vec<Arc<Link>>,
    /// Between region `n` and the one after it.
    between: Vec<Arc<Link>>,
}

impl Links {
    fn bytes(&self) -> [u64; 2] {
        [&self.inside, &self.between]
            .map(|links| links.iter().map(|link| link.bytes_both_ways()).sum())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let dir = tempfile::tempdir()?;
    let line = Shape {
        delay: Duration::from_millis(arguments.delay_ms),
        bytes_per_second: Some(arguments.bytes_per_second),
    };
    let links = Links {
        inside: (0..REGIONS).map(|_| Link::new(Shape::default())).collect(),
        between: (0..REGIONS).map(|_| Link::new(line)).collect(),
    };
    let places = places(&links).await?;

    let open = |number: usize| open(dir.path(), number);
    let mut nodes = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let store = open(number)?;
        store.append_batch((0..arguments.keys).map(|n| body("key", n, arguments.body_len)))?;
        if number == 7 {
            // One key never got anywhere else, and nobody will read it.
            store.append(b"a cold key")?;
        }
        nodes.push(place.start(store).await?);
    }
    let cold = arguments.keys + 1;
    let complete = |nodes: &[Running], len: u64| {
        in_step(nodes) && nodes.iter().all(|node| node.store().len() == len)
    };
    let took = until("the cold key is everywhere", PATIENCE, || complete(&nodes, cold)).await?;
    println!(
        "{} nodes in {REGIONS} regions hold {cold} keys, the cold one too, after {:.1} s",
        nodes.len(),
        took.as_secs_f64()
    );

    // All write, and nothing is wrong.
    let (mut before, mut len) = (links.bytes(), cold);
    let part = |series: &str, nodes: &[Running]| {
        for (number, node) in nodes.iter().enumerate() {
            let series = format!("{series} {number}");
            let bodies = (0..arguments.writes).map(|n| body(&series, n, arguments.body_len));
            node.store().append_batch(bodies)?;
        }
        Ok::<u64, Failure>(arguments.writes * nodes.len() as u64)
    };
    let mut tell = |what: &str, began: Instant, written: u64| {
        let after = links.bytes();
        let [inside, between] = [after[0] - before[0], after[1] - before[1]];
        before = after;
        let bytes = (written * arguments.body_len as u64) as f64;
        println!(
            "{what}: one root after {:.1} s; {:.0} KB of bodies, {:.0} KB between regions ({:.1} \
             times), {:.0} KB within ({:.1} times)",
            began.elapsed().as_secs_f64(),
            bytes / 1e3,
            between as f64 / 1e3,
            between as f64 / bytes,
            inside as f64 / 1e3,
            inside as f64 / bytes,
        );
        // Two other regions want each body, from three others each in turn.
        assert!((between as f64) < 8.0 * bytes + 1e6, "too much goes between regions");
    };
    let (began, written) = (Instant::now(), part("all is well", &nodes)?);
    len += written;
    until("one root", PATIENCE, || complete(&nodes, len)).await?;
    tell("all write", began, written);

    // The last region is cut off, and goes on as the others do.
    let cut = |link: &&Arc<Link>| !Arc::ptr_eq(link, &links.between[0]);
    links.between.iter().filter(cut).for_each(|link| link.cut());
    let written = part("cut off", &nodes)?;
    len += written;
    sleep(Duration::from_secs(4)).await;
    let roots = |region: usize| nodes[region * NODES].store().root().ok();
    assert_ne!(roots(0), roots(2), "nothing came through the cut");
    let began = Instant::now();
    links.between.iter().filter(cut).for_each(|link| link.heal());
    until("one root", PATIENCE, || complete(&nodes, len)).await?;
    tell("one region was cut off", began, written);

    // A gateway is stopped while all write, and comes back.
    let stopped = nodes.remove(5);
    stopped.stop().await?;
    let written = part("a gateway is down", &nodes)?;
    len += written;
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    nodes.insert(5, places[5].start(open(5)?).await?);
    until("one root", PATIENCE, || complete(&nodes, len)).await?;
    tell("a gateway was restarted", began, written);

    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

fn open(dir: &Path, number: usize) -> Result<Store, Failure> {
    Ok(Store::open(dir.join(number.to_string()), StoreOptions::default())?)
}

/// Who is reached how.
async fn places(links: &Links) -> Result<Vec<Place>, Failure> {
    let mut places: Vec<Place> = Vec::new();
    for number in 0..REGIONS * NODES {
        let region = number / NODES;
        let near = Proxy::open(&links.inside[region], End::Left).await?;
        let join = places.iter().find(|place| place.region == region);
        let join = join.map(|place| place.near.address().into());
        places.push(Place { region, near, far: Vec::new(), join, peers: Vec::new() });
    }
    // The gateways of each region name those of the next one; a session goes both ways.
    for (region, link) in links.between.iter().enumerate() {
        for gateway in 0..GATEWAYS {
            let next = (region + 1) % REGIONS;
            let proxy = Proxy::open(link, End::Left).await?;
            places[region * NODES + gateway].peers.push(proxy.address().into());
            places[next * NODES + gateway].far.push(proxy);
        }
    }
    Ok(places)
}

//! What a cluster says to itself when nothing happens.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    cluster, options,
    running::{Failure, Running, in_step, until},
};

/// An idle cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Nodes.
    #[arg(long, default_value_t = 20)]
    nodes: usize,
    /// How long it is left alone before.
    #[arg(long, default_value_t = 20)]
    settle_seconds: u64,
    /// How long it is watched.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let http = Some(([127, 0, 0, 1], 0).into());
    let (dir, nodes) = cluster(arguments.nodes, options().http(http)).await?;
    for (number, node) in (0_u64..).zip(&nodes) {
        node.store().append(format!("node {number} was here").as_bytes())?;
    }
    until("one root", Duration::from_secs(60), || in_step(&nodes)).await?;
    sleep(Duration::from_secs(arguments.settle_seconds)).await;

    let before = counted(&nodes).await?;
    let (wire, began) = (loopback()?, Instant::now());
    sleep(Duration::from_secs(arguments.seconds)).await;
    let (wire_after, seconds) = (loopback()?, began.elapsed().as_secs_f64());
    let after = counted(&nodes).await?;
    assert!(in_step(&nodes));

    let each = |bytes: f64| bytes / seconds / arguments.nodes as f64;
    println!("{} nodes, {seconds:.0} s; for each node, a second:", arguments.nodes);
    let (bytes, packets) = (wire_after.0 - wire.0, wire_after.1 - wire.1);
    println!(
        "  {:7.0} B in {:.1} packets on the loopback interface, with the headers of TCP and IP",
        each(bytes as f64),
        each(packets as f64)
    );
    for (name, before, after) in
        before.iter().zip(&after).map(|((name, before), (_, after))| (name, before, after))
    {
        println!("  {:9.2} {name}", each(after - before));
    }
    for node in nodes {
        node.stop().await?;
    }
    drop(dir);
    Ok(())
}

/// Bytes and packets that were sent on the loopback interface so far.
fn loopback() -> Result<(u64, u64), Failure> {
    let text = std::fs::read_to_string("/proc/self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let mut fields = line.ok_or("no loopback interface")?.split_whitespace().skip(8);
    let mut next = || Ok::<u64, Failure>(fields.next().ok_or("a short line")?.parse()?);
    Ok((next()?, next()?))
}

/// What the nodes' own metrics say of gossip and sessions, all nodes together.
async fn counted(nodes: &[Running]) -> Result<Vec<(String, f64)>, Failure> {
    let mut sums: Vec<(String, f64)> = Vec::new();
    for node in nodes {
        let address = node.node.http_address().ok_or("no metrics are served")?;
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let told =
                name.contains("gossip") || name.contains("session") && name.contains("total");
            if !told || name.starts_with('#') {
                continue;
            }
            // Peers are of no interest here, only what it is that is counted.
            let name = match name.find("peer=") {
                Some(at) => name.get(..at).unwrap_or(name),
                None => name,
            };
            let value: f64 = value.trim().parse().unwrap_or(0.0);
            match sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => sums.push((name.to_owned(), value)),
            }
        }
    }
    Ok(sums)
}

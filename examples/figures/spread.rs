//! How soon a write on one node is on all.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    cluster, options, quantiles,
    running::{Failure, until},
};

/// A write on one node, until all have it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Writes, one after the other, each on another node.
    #[arg(long, default_value_t = 30)]
    writes: u64,
}

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (dir, nodes) = cluster(arguments.nodes, options()).await?;
    let (mut all, mut half) = (Vec::new(), Vec::new());
    for number in 0..arguments.writes {
        sleep(Duration::from_millis(1_000 + number * 137 % 700)).await;
        let writer = &nodes[(number * 7) as usize % nodes.len()];
        let receipt = writer.store().append(format!("write {number}").as_bytes())?;
        let began = Instant::now();
        let mut half_after = None;
        until("all have it", PATIENCE, || {
            let have = nodes
                .iter()
                .filter(|node| matches!(node.store().contains(&receipt.id), Ok(true)))
                .count();
            if half_after.is_none() && 2 * have > nodes.len() {
                half_after = Some(began.elapsed());
            }
            have == nodes.len()
        })
        .await?;
        let took = began.elapsed();
        all.push(took.as_secs_f64());
        half.push(half_after.unwrap_or(took).as_secs_f64());
    }
    let sessions: u64 = nodes.iter().map(super::Running::sessions).sum();
    let [least, median, p99, most] = quantiles(&mut all, [0.0, 0.5, 0.99, 1.0]);
    println!(
        "{} nodes, {} writes: on all after {median:.3} s, p99 {p99:.3} ({least:.3} to {most:.3}); \
         on more than half after {:.3} s; {:.1} sessions for each write",
        arguments.nodes,
        arguments.writes,
        quantiles(&mut half, [0.5])[0],
        sessions as f64 / arguments.writes as f64,
    );
    for node in nodes {
        node.stop().await?;
    }
    drop(dir);
    Ok(())
}

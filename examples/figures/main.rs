//! Measures nodes: how soon a difference is gone, what a repair costs those who append, what an
//! idle cluster says to itself, and how soon a write is everywhere.
//!
//! ```sh
//! cargo run --release --example figures -- difference --ids 10000000
//! cargo run --release --example figures -- appends
//! cargo run --release --example figures -- idle --nodes 20
//! cargo run --release --example figures -- spread --nodes 3
//! ```
//!
//! All nodes run in this one process and share its cores. `idle` reads what passed over the
//! loopback interface, so that it wants to be alone there:
//! `unshare -n sh -c 'ip link set lo up; ...'`.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "figures are rounded when they are printed"
)]

mod appends;
mod difference;
mod idle;
#[path = "../shared/proxy.rs"]
mod proxy;
#[path = "../shared/running.rs"]
mod running;
mod spread;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use running::{Failure, Running, until};
use stemedb::{Options as StoreOptions, Store, node::Options};

/// Measures nodes.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where stores are made. Those that take long to make stay there for the next run.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Debug, Subcommand)]
enum Figure {
    Difference(difference::Arguments),
    Appends(appends::Arguments),
    Idle(idle::Arguments),
    Spread(spread::Arguments),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let Arguments { dir, figure } = Arguments::parse();
    let dir = dir.unwrap_or_else(|| std::env::temp_dir().join("stemedb-figures"));
    std::fs::create_dir_all(&dir)?;
    match figure {
        Figure::Difference(arguments) => difference::run(&arguments, &dir).await,
        Figure::Appends(arguments) => appends::run(&arguments, &dir).await,
        Figure::Idle(arguments) => idle::run(&arguments).await,
        Figure::Spread(arguments) => spread::run(&arguments).await,
    }
}

/// A node on a port that is free.
fn options() -> Options {
    Options::default().listen(SocketAddr::from(([127, 0, 0, 1], 0))).http(None)
}

/// So many nodes with empty stores, of which all but the first were told of the first alone.
async fn cluster(
    nodes: usize,
    options: Options,
) -> Result<(tempfile::TempDir, Vec<Running>), Failure> {
    let dir = tempfile::tempdir()?;
    let mut running: Vec<Running> = Vec::new();
    for number in 0..nodes {
        let store = Store::open(dir.path().join(number.to_string()), StoreOptions::default())?;
        let join = running.first().map(|first| first.node.address().into());
        let options = options.clone().join(join.into_iter().collect());
        running.push(Running::start(store, options).await?);
    }
    let all = || running.iter().all(|node| node.alive() == nodes - 1);
    until("all know all", Duration::from_secs(60), all).await?;
    Ok((dir, running))
}

/// Sorts values, and gives those of these shares, 0 to 1, by nearest rank.
fn quantiles<const N: usize>(values: &mut [f64], shares: [f64; N]) -> [f64; N] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    shares.map(|share| values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN))
}

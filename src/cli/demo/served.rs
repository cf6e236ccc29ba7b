//! The step in which two served stores meet over the network, on this machine.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use stemedb::rpc::{Client, ClientOptions, Server, ServerOptions};
use stemedb::sync::report::Report;
use stemedb::sync::{Ending, Limits};
use stemedb::{Options, Replicate as _, Store, SyncOptions};

use super::lines::Lines;
use super::narrator::Narrator;
use crate::cli::failure::Failure;
use crate::cli::format::grouped;
use crate::cli::input::to_hex;
use crate::cli::stopwatch::Stopwatch;
use crate::cli::{open, output, peer};

/// Each of the two misses one line in so many, and not the same ones.
const MISSED_EVERY: [usize; 2] = [101, 103];
/// New lines at the end, which only one of the two takes in.
const LATER: usize = 1_000;

/// Facts of one session.
#[derive(Serialize)]
pub(super) struct Facts {
    layers: Vec<&'static str>,
    rounds: u64,
    reconcile_bytes: u64,
    fetched: u64,
    pushed: u64,
    equal: bool,
}

pub(super) fn show(
    dir: &Path,
    lines: &Lines,
    narrator: &mut Narrator,
) -> Result<[Facts; 2], Failure> {
    let [north, south] =
        ["north", "south"].map(|name| open::open(&dir.join(name), Options::default()));
    let (north, south) = (Arc::new(north?), Arc::new(south?));
    for (store, every) in [&north, &south].into_iter().zip(MISSED_EVERY) {
        let kept = lines.bodies.iter().enumerate().filter(|(n, _)| n % every != 0);
        store.append_batch(kept.map(|(_, body)| body))?;
    }
    let runtime = peer::runtime()?;
    let outcome = runtime.block_on(meet(&north, &south, narrator));
    drop(runtime);
    for store in [north, south] {
        store.close()?;
    }
    outcome
}

async fn meet(
    north: &Arc<Store>,
    south: &Arc<Store>,
    narrator: &mut Narrator,
) -> Result<[Facts; 2], Failure> {
    narrator.step("Sync", "two served stores that took different lines meet over gRPC")?;
    let (to_north, to_south) = (serve(north).await?, serve(south).await?);
    narrator.row("north", &format!("on {}", to_north.peer()))?;
    narrator.row("south", &format!("on {}", to_south.peer()))?;

    let first = sync(south, &to_north, narrator).await?;
    narrate(&first, narrator)?;
    narrator.row("north root", &to_hex(to_north.head().await?.set_root))?;
    narrator.row("south root", &to_hex(to_south.head().await?.set_root))?;

    narrator.step("Fall behind", "north takes in more, and south reads what came since")?;
    north.append_batch((0..LATER).map(|n| format!("a line that came later: {n}")))?;
    let second = sync(south, &to_north, narrator).await?;
    narrate(&second, narrator)?;
    if north.root()? != south.root()? || !first.equal || !second.equal {
        return Err(Failure::Demo { what: "two stores that were synced differ" });
    }
    narrator.say("One command does it: stemedb serve here, stemedb sync PEER there.")?;
    Ok([facts(&first), facts(&second)])
}

/// Serves a store on a port of its own until the runtime ends; returns a client of it.
async fn serve(store: &Arc<Store>) -> Result<Client, Failure> {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await?;
    let address = server.address();
    let store = Arc::clone(store);
    tokio::spawn(async move { store.serve(server, Limits::default(), pending()).await });
    Ok(Client::connect(&address.into(), ClientOptions::default()).await?)
}

async fn sync(
    store: &Arc<Store>,
    peer: &Client,
    narrator: &mut Narrator,
) -> Result<Report, Failure> {
    let watch = Stopwatch::start();
    let synced = store.sync(peer, SyncOptions::default(), pending(), |_| {}).await?;
    if let Some(error) = synced.error {
        return Err(error.into());
    }
    if synced.report.ending != Ending::Complete {
        return Err(Failure::Sync { ending: synced.report.ending });
    }
    narrator.row("took", &format!("{:.1} ms", watch.millis()))?;
    Ok(synced.report)
}

fn narrate(report: &Report, narrator: &mut Narrator) -> Result<(), Failure> {
    let layers: Vec<&str> = report.layers.iter().map(|step| step.layer.name()).collect();
    narrator.row("found by", &format!("{}, in {} rounds", layers.join(", "), report.rounds))?;
    narrator.row("bytes for it", &output::bytes(report.reconcile_bytes()))?;
    narrator.row("fetched", &grouped(report.fetched))?;
    narrator.row("pushed", &grouped(report.pushed))
}

fn facts(report: &Report) -> Facts {
    Facts {
        layers: report.layers.iter().map(|step| step.layer.name()).collect(),
        rounds: report.rounds,
        reconcile_bytes: report.reconcile_bytes(),
        fetched: report.fetched,
        pushed: report.pushed,
        equal: report.equal,
    }
}

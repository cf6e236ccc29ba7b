//! `stemedb scrub`: everything checked once, and healed from a served store.

use std::sync::Arc;

use serde::Serialize;
use stemedb::node::scrub::{self, Donor, Found, View};
use stemedb::rpc::Which;
use stemedb::rpc::{Client, PeerAddress};
use stemedb::{AssertionId, Store};
use tokio::time::{Duration, interval};

use super::failure::Failure;
use super::format::grouped;
use super::peer;
use super::signals::Signals;
use super::stopwatch::Stopwatch;
use super::{Globals, decimal, open, output, progress};

/// Check every body against its id, and heal what is damaged
///
/// Reads the whole log and the tiles of its history, at a bounded rate if asked to. What follows
/// from the rest is written again at once; bodies come from the served store that --from names. A
/// damaged file is never written to: its successor takes its place, and what was there is kept in a
/// file named *.damaged. Exit code 3 if damage remains. A node does the same by itself, always.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb scrub
  stemedb scrub --from db.example.org --tls-ca authority.pem
  stemedb scrub --rate 20M --json

JSON: {whole, entries, bytes, damaged, healed, faults, millis}; faults: [{id, entry, position, \
error, outcome}], outcome: healed, no donor, failed; id null where it is no record")]
pub(super) struct Args {
    /// A served store that gives bodies which are damaged here
    #[arg(long, value_name = "PEER")]
    from: Option<PeerAddress>,
    /// The most bytes to read in a second; K, M and G are powers of 1024
    #[arg(long, value_name = "N", value_parser = super::input::size)]
    rate: Option<u64>,
    #[command(flatten)]
    connection: peer::Connection,
}

/// The store that was named, or nobody.
struct Peer(Option<Client>);

impl Donor for Peer {
    async fn body(&self, id: &AssertionId) -> Option<Vec<u8>> {
        match self.0.as_ref()?.get(&Which::Id(*id), None).await {
            Ok(found) => found.map(|(_, body)| body),
            Err(error) => {
                output::note(format_args!("{id}: the peer did not give it: {error}"));
                None
            }
        }
    }
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let runtime = peer::runtime()?;
    let client = match &args.from {
        Some(peer) => Some(runtime.block_on(args.connection.connect(peer))?),
        None => None,
    };
    open::existing(globals, |store| {
        open::require_secret(store, globals)?;
        let outcome = runtime.block_on(scrub(args, &Peer(client), store, globals));
        // Waits for reads that still run.
        drop(runtime);
        outcome
    })
}

async fn scrub(
    args: &Args,
    donor: &Peer,
    store: &Arc<Store>,
    globals: &Globals,
) -> Result<(), Failure> {
    let signals = Signals::watch()?;
    let watch = Stopwatch::start();
    let bar = progress::bytes(Some(store.stats()?.log_bytes));
    let view = View::default();
    let show = async {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            bar.set_position(view.position());
        }
    };
    let found = tokio::select! {
        found = scrub::pass(store, args.rate, donor, &view, signals.stop()) => found?,
        () = show => Vec::new(),
    };
    bar.finish_and_clear();
    print(&found, &view, store, watch.millis(), globals.json)?;
    if signals.has_stop() {
        return Err(Failure::Interrupted);
    }
    let faults = found.iter().filter(|found| !found.is_healed()).count();
    if faults == 0 {
        return Ok(());
    }
    Err(Failure::StillDamaged { dir: globals.store.clone(), faults })
}

#[derive(Serialize)]
struct Fields<'a> {
    whole: bool,
    entries: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes: u64,
    damaged: usize,
    healed: usize,
    faults: Vec<Fault<'a>>,
    millis: f64,
}

#[derive(Serialize)]
struct Fault<'a> {
    id: Option<String>,
    entry: u64,
    #[serde(serialize_with = "decimal::string")]
    position: u64,
    error: &'a str,
    outcome: &'static str,
}

fn print<'a>(
    found: &'a [Found],
    view: &View,
    store: &Store,
    millis: f64,
    as_json: bool,
) -> Result<(), Failure> {
    for found in found {
        output::note(found);
    }
    let healed = found.iter().filter(|found| found.is_healed()).count();
    let fault = |found: &'a Found| Fault {
        id: found.id.map(|id| id.to_string()),
        entry: found.index.get(),
        position: found.position.get(),
        error: &found.error,
        outcome: found.outcome.name(),
    };
    let fields = Fields {
        whole: healed == found.len(),
        entries: store.log_size().get(),
        bytes: view.bytes_read(),
        damaged: found.len(),
        healed,
        faults: found.iter().map(fault).collect(),
        millis,
    };
    let rows = [
        ("store", if healed == found.len() { "whole" } else { "damaged" }.to_owned()),
        ("entries", grouped(store.log_size().get())),
        ("read", output::bytes(view.bytes_read())),
        ("damaged", grouped(found.len() as u64)),
        ("healed", grouped(healed as u64)),
    ];
    output::facts(as_json, &fields, &rows)
}

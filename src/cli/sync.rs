//! `stemedb sync`: one session with a served store.

mod plan;
mod report;

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use stemedb::rpc::sync::Synced;
use stemedb::rpc::{CallError, Client, PeerAddress};
use stemedb::sync::report::Report;
use stemedb::sync::{Direction, Ending, Limits};
use stemedb::{Replicate as _, Store, SyncOptions};
use tokio::time::timeout;

use super::failure::Failure;
use super::peer;
use super::signals::Signals;
use super::stopwatch::Stopwatch;
use super::{Globals, input, open, output, progress};

/// Bring this store and a served one into step
///
/// Finds out what each of the two lacks, checks that against the other's root, and moves only
/// that; each body is checked against its id, and durable before it counts. Ends with exit code 0
/// only if all of that came out well. What has arrived stays if the session is cut: run the command
/// again for the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb sync 127.0.0.1:7845
  stemedb sync db.example.org --tls-ca authority.pem --token-file token
  stemedb sync 127.0.0.1:7845 --plan           Say what it would do, move nothing
  stemedb sync 127.0.0.1:7845 --pull --max-bytes 100M --timeout 10m

JSON: {equal, layers, rounds, bytes_sent, bytes_received, reconcile_bytes, fetched, pushed, \
compared, restarts, millis, set_root, only_here, only_there, ending}, and where they apply \
withheld, unreadable, peer_moved, peer_rewritten, clock_ahead_seconds, error; equal: both hold the \
same set, checked by both and durable; set_root: that of this store now. With --plan: {equal, \
layers, rounds, reconcile_bytes, only_here, only_there, push_bytes, fetch_bytes_estimate, millis}, \
null where it is not known")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct Args {
    /// The served store: HOST or HOST:PORT, with https:// before it for TLS
    #[arg(value_name = "PEER")]
    peer: PeerAddress,
    /// Only fetch what this store lacks
    #[arg(long, conflicts_with = "push")]
    pull: bool,
    /// Only push what the other store lacks
    #[arg(long)]
    push: bool,
    /// Say what would be done and how many bytes that takes, and move nothing
    #[arg(long, conflicts_with_all = ["max_bytes", "pull", "push"])]
    plan: bool,
    /// End after so many bytes of bodies, both ways together; K, M and G are powers of 1024
    #[arg(long, value_name = "N", value_parser = input::size)]
    max_bytes: Option<u64>,
    /// End after so much time: 30s, 5m, 1h
    #[arg(long, value_name = "T", value_parser = input::time)]
    timeout: Option<Duration>,
    /// Fail where there is no store, instead of making one
    #[arg(long)]
    no_create: bool,
    #[command(flatten)]
    connection: peer::Connection,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let runtime = peer::runtime()?;
    // First, so that a wrong address makes no store.
    let connecting = args.connection.connect(&args.peer);
    let client = runtime.block_on(async {
        match args.timeout {
            None => connecting.await,
            Some(time) => timeout(time, connecting).await.unwrap_or(Err(CallError::Stalled.into())),
        }
    })?;
    let work = |store: &Arc<Store>| {
        open::require_secret(store, globals)?;
        let outcome = runtime.block_on(sync(args, &client, store, globals));
        // Waits for reads and appends that still run.
        drop(runtime);
        outcome
    };
    match (args.plan, args.no_create) {
        (true, _) => open::reading_as_store(globals, work),
        (_, true) => open::existing(globals, work),
        _ => open::or_make_or_read(globals, work),
    }
}

async fn sync(
    args: &Args,
    client: &Client,
    store: &Arc<Store>,
    globals: &Globals,
) -> Result<(), Failure> {
    let signals = Signals::watch()?;
    let watch = Stopwatch::start();
    let bar = progress::count("finding out what differs");
    let synced =
        store.sync(client, options(args), signals.stop(), |report| show(&bar, report)).await?;
    bar.finish_and_clear();
    let Synced { report, error } = &synced;
    let (error, millis) = (error.as_ref(), watch.millis());
    if report.ending == Ending::Complete && args.plan {
        return plan::print(store, report, millis, globals.json);
    }
    report::print(report, &store.head()?, error, millis, globals.json)?;
    if signals.has_stop() {
        return Err(Failure::Interrupted);
    }
    match synced.error {
        Some(error) => Err(error.into()),
        None if report.ending == Ending::Complete && report.checked => Ok(()),
        None => Err(Failure::Sync { ending: report.ending }),
    }
}

fn options(args: &Args) -> SyncOptions {
    let direction = match (args.plan, args.pull, args.push) {
        (true, ..) => Direction::Neither,
        (_, true, _) => Direction::Pull,
        (_, _, true) => Direction::Push,
        _ => Direction::Both,
    };
    let mut limits = Limits::default();
    limits.body_bytes_max = args.max_bytes.unwrap_or(limits.body_bytes_max);
    limits.session_time_max = args.timeout.unwrap_or(limits.session_time_max);
    SyncOptions::default().direction(direction).limits(limits)
}

/// Shows how far it has come. Bodies may move before all that differs is known: where much differs
/// it is never found out one by one.
fn show(bar: &ProgressBar, report: &Report) {
    let moved = report.fetched + report.pushed;
    let bytes = report.body_bytes_received + report.body_bytes_sent;
    if !report.checked && moved == 0 && bytes == 0 {
        bar.set_length(report.compared);
        bar.set_position(report.compared);
        return;
    }
    bar.set_message(format!("moving bodies, {}", output::bytes(bytes)));
    bar.set_length((report.only_theirs + report.only_mine).max(moved));
    bar.set_position(moved);
}

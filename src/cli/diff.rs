//! `stemedb diff`: what only one of two stores holds.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use stemedb::rpc::Client;
use stemedb::sync::report::{Found, Layer};
use stemedb::sync::{Direction, Ending};
use stemedb::{AssertionId, Hash, InternalError, Replicate as _, SnapshotDiff, Store, SyncOptions};

use super::failure::{Failure, OutputError};
use super::format::grouped;
use super::peer;
use super::signals::Signals;
use super::{Globals, open, output};

/// List the ids that only one of two stores holds
///
/// The other store is a directory, or the address of a served one. What the two share is skipped:
/// the work grows with the difference, not with the stores. `<` is held here only, `>` there only.
/// Nothing is changed on either side.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb diff ../other/.stemedb
  stemedb diff 127.0.0.1:7845
  stemedb diff ../other/.stemedb --exit-code > /dev/null || echo different
  stemedb --store a diff b --json | jq '.only_there | length'

JSON: {only_here, only_there, visited}; visited counts the tree nodes that were looked at, and \
of a served store the ids that were compared one by one")]
pub(super) struct Args {
    /// The other store's directory, or the address of a served one with its port: HOST:PORT, with
    /// https:// before it for TLS
    #[arg(value_name = "DIR|PEER", value_hint = clap::ValueHint::DirPath)]
    other: String,
    /// End with exit code 5 where they differ
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    connection: peer::Connection,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let other = Path::new(&args.other);
    if args.other.contains(':') && !other.exists() {
        return diff_peer(args, globals)?.exit_code(args);
    }
    let found = open::reading(globals, |here| {
        let there = open::reader(other, open::options(globals)?)?;
        print(&here.snapshot()?.diff(&there.snapshot()?)?, globals.json)
    })?;
    found.exit_code(args)
}

/// Whether two stores hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Same,
    Different,
}

impl Compared {
    /// The end of the command, as the arguments ask for it.
    fn exit_code(self, args: &Args) -> Result<(), Failure> {
        match self {
            Self::Different if args.exit_code => Err(Failure::Differs),
            _ => Ok(()),
        }
    }
}

fn diff_peer(args: &Args, globals: &Globals) -> Result<Compared, Failure> {
    let peer = args
        .other
        .parse()
        .map_err(|source| Failure::NeitherDirNorPeer { argument: args.other.clone(), source })?;
    open::reading_as_store(globals, |store| {
        open::require_secret(store, globals)?;
        let diff = peer::runtime()?.block_on(async {
            let signals = Signals::watch()?;
            let client = args.connection.connect(&peer).await?;
            found(store, &client, &signals).await
        })?;
        print(&diff, globals.json)
    })
}

/// Finds out what differs, and moves nothing.
async fn found(
    store: &Arc<Store>,
    client: &Client,
    signals: &Signals,
) -> Result<SnapshotDiff, Failure> {
    let options = SyncOptions::default()
        .direction(Direction::Neither)
        .without(vec![Layer::Cursor, Layer::Bulk]);
    let synced = store.sync(client, options, signals.stop(), |_| {}).await?;
    let report = synced.report;
    match (report.ending, synced.error) {
        _ if signals.has_stop() => Err(Failure::Interrupted),
        (_, Some(error)) => Err(error.into()),
        (Ending::Complete, None) => {
            let ids = |hashes: Vec<Hash>| hashes.into_iter().map(AssertionId).collect();
            let found = match report.found {
                Some(found) => found,
                // The roots were the same: there was nothing to look for.
                None if report.equal => Found::default(),
                None => return Err(InternalError::new("the difference").into()),
            };
            Ok(SnapshotDiff {
                only_here: ids(found.only_mine),
                only_there: ids(found.only_theirs),
                visited: report.compared,
            })
        }
        (ending, None) => Err(Failure::Sync { ending }),
    }
}

#[derive(Serialize)]
struct Fields {
    only_here: Vec<String>,
    only_there: Vec<String>,
    visited: u64,
}

fn print(diff: &SnapshotDiff, as_json: bool) -> Result<Compared, Failure> {
    let same = diff.only_here.is_empty() && diff.only_there.is_empty();
    let compared = if same { Compared::Same } else { Compared::Different };
    if as_json {
        output::json(&Fields {
            only_here: texts(&diff.only_here),
            only_there: texts(&diff.only_there),
            visited: diff.visited,
        })?;
        return Ok(compared);
    }
    let mut out = output::stdout();
    for id in &diff.only_here {
        writeln!(out, "< {id}").map_err(OutputError)?;
    }
    for id in &diff.only_there {
        writeln!(out, "> {id}").map_err(OutputError)?;
    }
    output::finish(out)?;
    output::note(format_args!(
        "{} only here, {} only there, {} visited",
        grouped(diff.only_here.len() as u64),
        grouped(diff.only_there.len() as u64),
        grouped(diff.visited)
    ));
    Ok(compared)
}

fn texts(ids: &[AssertionId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

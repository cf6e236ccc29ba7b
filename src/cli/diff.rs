//! `stemedb diff`: what only one of two stores holds.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use stemedb::{AssertionId, Options, SnapshotDiff, Store};

use super::failure::{Failure, OutputError};
use super::{Globals, open, output};

/// List the ids that only one of two local stores holds
///
/// Compares the two set trees and skips what they share: the work grows with the difference, not
/// with the stores. `<` is held here only, `>` there only.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb diff ../other/.stemedb
  stemedb --store a diff b --json | jq '.only_there | length'

JSON: {only_here, only_there, visited}; visited counts the tree nodes that were looked at")]
pub(super) struct Args {
    /// The other store's directory
    #[arg(value_name = "DIR")]
    other: PathBuf,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    if is_same(&args.other, &globals.store) {
        // The second opening would find the store locked, by this very process.
        let same = SnapshotDiff { only_here: vec![], only_there: vec![], visited: 0 };
        return open::existing(globals, |_| print(&same, globals.json));
    }
    open::existing(globals, |here| {
        let there = open::open(&args.other, Options { create: false, ..open::options(globals)? })?;
        let outcome = compare(here, &there, globals.json);
        let closed = there.close();
        outcome?;
        Ok(closed?)
    })
}

fn compare(here: &Store, there: &Store, as_json: bool) -> Result<(), Failure> {
    print(&here.snapshot().diff(&there.snapshot())?, as_json)
}

fn print(diff: &SnapshotDiff, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(&json!({
            "only_here": texts(&diff.only_here),
            "only_there": texts(&diff.only_there),
            "visited": diff.visited,
        }));
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
        "{} only here, {} only there, {} tree nodes visited",
        diff.only_here.len(),
        diff.only_there.len(),
        diff.visited
    ));
    Ok(())
}

fn texts(ids: &[AssertionId]) -> Vec<Value> {
    ids.iter().map(|id| Value::String(id.to_string())).collect()
}

fn is_same(one: &std::path::Path, other: &std::path::Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

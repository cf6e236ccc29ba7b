//! `stemedb get`: the body of an assertion.

use serde_json::json;
use stemedb::Store;

use super::failure::Failure;
use super::input::IdArg;
use super::{Globals, open, output, timestamp};

/// Print the body of an assertion, verified against its id
///
/// Prints the body's bytes as they are and nothing else, no line end either. With --json it
/// prints the facts about the body instead, after verifying it just the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb get 2a0f9c31                     The first 8 digits do if no other id begins so
  stemedb get 2a0f9c31 > body

JSON: {id, index, time, ntp64, len}")]
pub(super) struct Args {
    /// The id: 64 lowercase hex digits, or the first 8 or more of them
    #[arg(value_name = "ID", value_parser = IdArg::parse)]
    id: IdArg,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    open::existing(globals, |store| get(store, args, globals))
}

fn get(store: &Store, args: &Args, globals: &Globals) -> Result<(), Failure> {
    open::require_secret(store, globals)?;
    let id = args.id.resolve(store)?;
    let not_held = || Failure::NotHeld { id, dir: globals.store.clone() };
    let body = store.get(&id)?.ok_or_else(not_held)?;
    if !globals.json {
        return output::raw(&body);
    }
    let entry = store.find(&id)?.ok_or_else(not_held)?;
    output::json(&json!({
        "id": id.to_string(),
        "index": entry.index,
        "time": timestamp::rfc3339(entry.time),
        "ntp64": entry.time,
        "len": body.len(),
    }))
}

//! `stemedb get`: the body of an assertion.

use serde::Serialize;
use stemedb::rpc::{CallError, PeerAddress, Which};
use stemedb::sync::Keys;
use stemedb::{AssertionId, LogIndex, Store, Timestamp};

use super::failure::Failure;
use super::input::IdArg;
use super::{Globals, open, output, peer, secret};

/// Print the body of an assertion, verified against its id
///
/// Prints the body's bytes as they are and nothing else, no line end either. With --json it
/// prints the facts about the body instead, after verifying it just the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb get 2a0f9c31                     The first 8 digits do if no other id begins so
  stemedb get 2a0f9c31 > body
  stemedb get 2a0f9c31 --from 127.0.0.1:7845
                                           From a served store, verified here

JSON: {id, index, time, ntp64, len}")]
pub(super) struct Args {
    /// The id: 64 lowercase hex digits, or the first 8 or more of them
    #[arg(value_name = "ID", value_parser = IdArg::parse)]
    id: IdArg,
    /// Get it from a served store: HOST or HOST:PORT, with https:// before it for TLS
    #[arg(long, value_name = "PEER")]
    from: Option<PeerAddress>,
    #[command(flatten)]
    connection: peer::Connection,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    if let Some(peer) = &args.from {
        return peer::runtime()?.block_on(get_from(peer, args, globals));
    }
    open::reading(globals, |store| get(store, args, globals))
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
    print_facts(id, entry.index, entry.time, body.len())
}

async fn get_from(peer: &PeerAddress, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let secret = globals.secret_file.as_deref().map(secret::read_bytes).transpose()?;
    let keys = Keys::new(secret.as_deref());
    let client = args.connection.connect(peer).await?;
    let which = match &args.id {
        IdArg::Whole(id) => Which::Id(*id),
        IdArg::Prefix(prefix) => Which::Prefix(prefix.clone()),
    };
    let found = client.get(&which, Some(&keys)).await.map_err(|error| match error {
        CallError::WrongBody { id } if secret.is_none() => Failure::WrongBody { id },
        error => error.into(),
    })?;
    let (entry, body) = found
        .ok_or_else(|| Failure::NotThere { what: args.id.to_string(), peer: peer.to_string() })?;
    if !globals.json {
        return output::raw(&body);
    }
    print_facts(entry.id, entry.index, entry.time, body.len())
}

#[derive(Serialize)]
struct Facts {
    id: String,
    index: u64,
    time: String,
    ntp64: u64,
    len: usize,
}

fn print_facts(
    id: AssertionId,
    index: LogIndex,
    time: Timestamp,
    len: usize,
) -> Result<(), Failure> {
    output::json(&Facts {
        id: id.to_string(),
        index: index.get(),
        time: time.to_string(),
        ntp64: time.as_ntp64(),
        len,
    })
}

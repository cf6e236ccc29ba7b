//! `stemedb get`: the bodies of assertions.

use std::io::Write;

use serde::Serialize;
use stemedb::rpc::{CallError, PeerAddress, Which};
use stemedb::sync::Keys;
use stemedb::{AssertionId, LogIndex, Store, Timestamp};

use super::failure::{Failure, OutputError};
use super::input::IdArg;
use super::{Globals, open, output, peer, secret};

/// Print the bodies of assertions, verified against their ids
///
/// Prints the bytes of the bodies as they are, one behind the other, and nothing else, no line
/// ends either. With --json it prints the facts about each body instead, one line each, after
/// verifying it just the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb get 2a0f9c31                     The first 8 digits do if no other id begins so
  stemedb get 2a0f9c31 > body
  stemedb get 2a0f9c31 77b1d3e0 > both     One behind the other
  stemedb get 2a0f9c31 --from 127.0.0.1:7845
                                           From a served store, verified here

JSON, one line an id: {id, index, time, ntp64, len}")]
pub(super) struct Args {
    /// The ids: 64 lowercase hex digits each, or the first 8 or more of them
    #[arg(value_name = "ID", required = true, value_parser = IdArg::parse)]
    ids: Vec<IdArg>,
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
    let ids = args.ids.iter().map(|id| id.resolve(store)).collect::<Result<Vec<_>, _>>()?;
    let mut out = output::stdout();
    for (id, body) in ids.iter().zip(store.get_many(&ids)) {
        let not_held = || Failure::NotHeld { id: *id, dir: globals.store.clone() };
        let body = body?.ok_or_else(not_held)?;
        if globals.json {
            let entry = store.find(id)?.ok_or_else(not_held)?;
            output::json_line(&mut out, &Facts::new(*id, entry.index, entry.time, body.len()))?;
        } else {
            out.write_all(&body).map_err(OutputError)?;
        }
    }
    output::finish(out)
}

async fn get_from(peer: &PeerAddress, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let secret = globals.secret_file.as_deref().map(secret::read_bytes).transpose()?;
    let keys = Keys::new(secret.as_deref());
    let client = args.connection.connect(peer).await?;
    let mut out = output::stdout();
    for id in &args.ids {
        let which = match id {
            IdArg::Whole(id) => Which::Id(*id),
            IdArg::Prefix(prefix) => Which::Prefix(prefix.clone()),
        };
        let found = client.get(&which, Some(&keys)).await.map_err(|error| match error {
            CallError::WrongBody { id } if secret.is_none() => Failure::WrongBody { id },
            error => error.into(),
        })?;
        let not_there = || Failure::NotThere { what: id.to_string(), peer: peer.to_string() };
        let (entry, body) = found.ok_or_else(not_there)?;
        if globals.json {
            let facts = Facts::new(entry.id, entry.index, entry.time, body.len());
            output::json_line(&mut out, &facts)?;
        } else {
            out.write_all(&body).map_err(OutputError)?;
        }
    }
    output::finish(out)
}

#[derive(Serialize)]
struct Facts {
    id: String,
    index: u64,
    time: String,
    ntp64: u64,
    len: usize,
}

impl Facts {
    fn new(id: AssertionId, index: LogIndex, time: Timestamp, len: usize) -> Self {
        Self {
            id: id.to_string(),
            index: index.get(),
            time: time.to_string(),
            ntp64: time.as_ntp64(),
            len,
        }
    }
}

//! `stemedb ids`: what the store holds.

use std::io::Write;

use stemedb::AssertionId;

use super::failure::{Failure, OutputError};
use super::{Globals, open, output, peer};

/// List every id that the store holds, sorted, one a line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb ids | wc -l
  stemedb ids --from 127.0.0.1:7845        Of a served store
  comm -3 <(stemedb ids --store a) <(stemedb ids --store b)

JSON: {ids}, on one line")]
pub(super) struct Args {
    #[command(flatten)]
    read: peer::ReadFrom,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    match args.read.connect()? {
        None => open::reading(globals, |store| {
            print(store.ids().map(|id| id.map_err(Failure::from)), globals.json)
        }),
        Some(remote) => {
            let mut ids = remote.wait(remote.client.ids())?;
            let next = || remote.wait(ids.next()).transpose();
            print(std::iter::from_fn(next), globals.json)
        }
    }
}

fn print(
    ids: impl Iterator<Item = Result<AssertionId, Failure>>,
    as_json: bool,
) -> Result<(), Failure> {
    let mut out = output::stdout();
    // Written as it is read: a store may hold more ids than memory does.
    if as_json {
        write!(out, "{{\"ids\":[").map_err(OutputError)?;
    }
    for (n, id) in ids.enumerate() {
        let id = id?;
        if as_json {
            let comma = if n == 0 { "" } else { "," };
            write!(out, "{comma}\"{id}\"").map_err(OutputError)?;
        } else {
            writeln!(out, "{id}").map_err(OutputError)?;
        }
    }
    if as_json {
        writeln!(out, "]}}").map_err(OutputError)?;
    }
    output::finish(out)
}

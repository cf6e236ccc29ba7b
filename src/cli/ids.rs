//! `stemedb ids`: what the store holds.

use std::io::Write;

use stemedb::Store;

use super::failure::{Failure, OutputError};
use super::{Globals, open, output};

/// List every id that the store holds, sorted, one a line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb ids | wc -l
  comm -3 <(stemedb ids --store a) <(stemedb ids --store b)

JSON: {ids}, on one line")]
pub(super) struct Args {}

pub(super) fn run(_: &Args, globals: &Globals) -> Result<(), Failure> {
    open::reading(globals, |store| ids(store, globals.json))
}

fn ids(store: &Store, as_json: bool) -> Result<(), Failure> {
    let mut out = output::stdout();
    // Written as it is read: a store may hold more ids than memory does.
    if as_json {
        write!(out, "{{\"ids\":[").map_err(OutputError)?;
    }
    for (n, id) in store.ids().enumerate() {
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

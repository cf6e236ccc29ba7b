//! `stemedb root`: what the store commits to.

use stemedb::Head;
use stemedb::node::status::HeadStatus;

use super::failure::Failure;
use super::format::grouped;
use super::input::to_hex;
use super::{Globals, open, output, peer};

/// Show what the store commits to: how much it holds, and its two roots
///
/// The set root depends on the assertions alone: stores that hold the same ones have the same,
/// in whatever order they came. The log root commits to their order and times in this log.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb root
  stemedb root --json | jq -r .set_root
  stemedb root --from 127.0.0.1:7845       Of a served store

JSON: {count, set_root, log_size, log_root}")]
pub(super) struct Args {
    #[command(flatten)]
    read: peer::ReadFrom,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let head = match args.read.connect()? {
        Some(remote) => remote.wait(remote.client.head())?,
        None => open::reading(globals, |store| Ok(store.head()?))?,
    };
    output::facts(globals.json, &HeadStatus::from(&head), &rows(&head))
}

/// A head as rows of a table.
pub(super) fn rows(head: &Head) -> [(&'static str, String); 4] {
    [
        ("count", grouped(head.count)),
        ("set root", to_hex(head.set_root)),
        ("log size", grouped(head.log_size.get())),
        ("log root", to_hex(head.log_root)),
    ]
}

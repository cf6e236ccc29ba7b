//! `stemedb restore`: a store made from a backup.

use std::path::PathBuf;

use stemedb::Root;
use stemedb::node::status::HeadStatus;

use super::failure::Failure;
use super::{Globals, input, open, output, progress};

/// Make a store from a backup, and check all of it
///
/// Every body is checked against its id, and the set root against the one that `backup` printed. If
/// anything is wrong no store is made; if it is interrupted, run it again. The new store is another
/// node with an epoch of its own: peers don't take it for the one that the backup is of, and one
/// sync with any of them brings it up to date.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb restore /mnt/backup/2026-11-21 --root HEX --store elsewhere

JSON: {count, set_root, log_size, log_root}")]
pub(super) struct Args {
    /// The directory of the backup
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
    /// The set root that the backup must have: 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = input::root)]
    root: Root,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = open::options(globals)?;
    let bar = progress::bytes(Some(0));
    let head = stemedb::restore(&args.dir, &globals.store, &args.root, options, &mut |copied| {
        bar.set_length(copied.total);
        bar.set_position(copied.done);
        if copied.done == copied.total {
            // All is copied; reading it takes as long again.
            progress::wait(&bar, "checking every body");
        }
    });
    bar.finish_and_clear();
    let head = head?;
    output::facts(globals.json, &HeadStatus::from(&head), &super::root::rows(&head))
}

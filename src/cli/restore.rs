//! `stemedb restore`: a store made from a backup.

use std::path::PathBuf;

use stemedb::Hash;

use super::failure::Failure;
use super::{Globals, input, open, output, progress};

/// Make a store from a backup, and check all of it
///
/// Every body is checked against its id, and the set root against the one that `backup` printed. If
/// anything is wrong no store is made. The new store is a copy: it gets a node id and an epoch of
/// its own, and peers that knew the old one notice.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb restore /mnt/backup/store --root HEX
  stemedb restore /mnt/backup/store --root HEX --store elsewhere

JSON: {count, set_root, log_size, log_root}")]
pub(super) struct Args {
    /// The directory of the backup
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The set root that the backup must have: 64 lowercase hex digits
    #[arg(long, value_name = "HEX", value_parser = input::root)]
    root: Hash,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = open::options(globals)?;
    let head = progress::spin("restoring and checking", || {
        stemedb::restore(&args.dir, &globals.store, &args.root, options)
    })?;
    if globals.json {
        return output::json(&super::root::fields(&head).into());
    }
    output::raw(output::table(&super::root::rows(&head)).as_bytes())
}

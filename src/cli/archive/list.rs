//! `stemedb archive list`: what is there.

use std::io::Write as _;

use stemedb::archive::Archive;

use super::super::failure::{Failure, OutputError};
use super::super::format::grouped;
use super::super::{Globals, output, peer};
use super::ListedFields;

/// List the logs that are in an archive
///
/// Each node archives under a name of its own: store, node, epoch and generation.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb archive list s3://backups/log
  stemedb archive list file:///mnt/backups/log --json | jq -r .log

JSON: one line a log: {log, count, set_root, log_size, log_root, manifest, time, segments, bytes, \
checkpoint_log_size, secret}")]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "URL")]
    url: String,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let archive = Archive::open(&args.url)?;
    let listed = peer::runtime()?.block_on(archive.list())?;
    let mut out = output::stdout();
    if listed.is_empty() && !globals.json {
        output::note(format_args!("no log is in {}", archive.url()));
    }
    for (number, listed) in listed.iter().enumerate() {
        if globals.json {
            output::json_line(&mut out, &ListedFields::from(listed))?;
            continue;
        }
        let rows = [
            ("log", listed.log.to_string()),
            ("archived", super::time(listed.time)),
            ("log size", grouped(listed.head.log_size.get())),
            ("count", grouped(listed.head.count)),
            ("set root", listed.head.set_root.to_string()),
            ("segments", grouped(listed.segments)),
            ("size", output::bytes(listed.bytes)),
        ];
        let gap = if number == 0 { "" } else { "\n" };
        write!(out, "{gap}{}", output::table(&rows)).map_err(OutputError)?;
    }
    output::finish(out)
}

//! `stemedb archive drop`: bodies that are archived leave this machine.

use serde::Serialize;
use stemedb::archive::{Archive, segment_source};

use super::super::failure::Failure;
use super::super::format::counted;
use super::super::{Globals, decimal, open, output, peer};

/// Drop the bodies of segments that are archived from this machine, but for the newest ones
///
/// Each segment is read back from the archive before anything is removed. What commits to the
/// bodies stays here, some 80 bytes an entry: appends, roots, proofs and comparing need no archive
/// afterwards, and reading a body does: give the commands that do it --archive URL. The command
/// needs the store for itself; a running node drops by its configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb archive push s3://backups/log
  stemedb archive drop s3://backups/log --keep 16
  stemedb get 88538fbb --archive s3://backups/log

JSON: {segments, bytes, remote_segments}; segments and bytes: that were dropped; remote_segments: \
those whose bodies are only in an archive now")]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "URL")]
    url: String,
    /// How many sealed segments stay, the newest ones
    #[arg(long, value_name = "N")]
    keep: u64,
}

#[derive(Serialize)]
struct Fields {
    segments: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes: u64,
    remote_segments: u64,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let archive = Archive::open(&args.url)?;
    let runtime = peer::runtime()?;
    let source = Some(segment_source(&args.url));
    let options = open::options(globals)?.create(false).segment_source(source);
    let (dropped, remote) = open::with(globals, options, |store| {
        // Only what opening does not read is dropped.
        store.checkpoint()?;
        let dropped = runtime.block_on(archive.drop_archived(store, args.keep));
        // Waits for reads that still run.
        drop(runtime);
        Ok((dropped?, store.dropped_segments()?.len() as u64))
    })?;
    let fields =
        Fields { segments: dropped.segments, bytes: dropped.bytes, remote_segments: remote };
    let segments = counted(dropped.segments, "segment", "segments");
    let rows = [
        ("dropped", format!("{segments}, {}", output::bytes(dropped.bytes))),
        ("archive only", counted(remote, "segment", "segments")),
    ];
    output::facts(globals.json, &fields, &rows)
}

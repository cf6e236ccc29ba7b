//! `stemedb archive push`: sends what is not there yet.

use serde::Serialize;
use stemedb::Root;
use stemedb::archive::{Archive, PushOptions};

use super::super::failure::Failure;
use super::super::format::counted;
use super::super::{Globals, decimal, open, output, peer};

/// Send sealed segments, and the restart checkpoint, as far as they are not there yet
///
/// Each segment is checked before it is sent; damaged ones are not. Can be stopped at any time and
/// run again. What lies in the open segment is not sent unless --all is given. The command needs
/// the store for itself; a running node archives by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb archive push s3://backups/log
  stemedb archive push s3://backups/log --all        Also what was appended last
  AWS_ENDPOINT_URL=https://s3.example.org stemedb archive push s3://backups/log
  stemedb archive push file:///mnt/backups/log

JSON: {segments, bytes, manifest, count, set_root, log_size, log_root}; segments and bytes: that \
were sent; the others: what is there now; roots are null where nothing is")]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "URL")]
    url: String,
    /// Seal the open segment first, so that everything is sent
    #[arg(long)]
    all: bool,
    /// Ask for each object again, also those sent before, and send what is missing
    #[arg(long)]
    again: bool,
}

#[derive(Serialize)]
struct Sent {
    segments: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes: u64,
    manifest: u64,
    count: u64,
    set_root: Option<String>,
    log_size: u64,
    log_root: Option<String>,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let archive = Archive::create(&args.url)?;
    let runtime = peer::runtime()?;
    let options = PushOptions::default().seal(args.all).again(args.again);
    let pushed = open::existing(globals, |store| {
        let bar = super::bar();
        let pushed = runtime.block_on(archive.push(store, options, super::show(&bar)));
        bar.finish_and_clear();
        // Waits for reads that still run.
        drop(runtime);
        Ok(pushed?)
    })?;
    let head = &pushed.head;
    // Without a manifest there is not even an empty set.
    let root = |root: &Root| (pushed.manifest > 0).then(|| root.to_string());
    let fields = Sent {
        segments: pushed.segments,
        bytes: pushed.bytes,
        manifest: pushed.manifest,
        count: head.count,
        set_root: root(&head.set_root),
        log_size: head.log_size.get(),
        log_root: root(&head.log_root),
    };
    if pushed.manifest == 0 && !globals.json {
        output::note("nothing is sealed yet, so nothing was sent; --all seals what there is");
        return Ok(());
    }
    let segments = counted(pushed.segments, "segment", "segments");
    let rows = [
        ("sent", format!("{segments}, {}", output::bytes(pushed.bytes))),
        ("archived", counted(head.log_size.get(), "entry", "entries")),
        ("set root", head.set_root.to_string()),
    ];
    output::facts(globals.json, &fields, &rows)
}

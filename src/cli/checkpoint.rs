//! `stemedb checkpoint`: writes a restart checkpoint now.

use std::borrow::Cow;

use serde::Serialize;

use super::failure::Failure;
use super::format::grouped;
use super::{Globals, decimal, open, output, progress};

/// Write a restart checkpoint now, so that the next opening replays nothing
///
/// Checkpoints are written in the background too. They are only a cache: any of them can be
/// deleted, the log rebuilds them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb checkpoint

JSON: {file, bytes, count, log_size}")]
pub(super) struct Args {}

#[derive(Serialize)]
struct Fields<'a> {
    file: Cow<'a, str>,
    #[serde(serialize_with = "decimal::string")]
    bytes: u64,
    count: u64,
    log_size: u64,
}

pub(super) fn run(_: &Args, globals: &Globals) -> Result<(), Failure> {
    let report = open::existing(globals, |store| {
        Ok(progress::spin("writing a restart checkpoint", || store.checkpoint())?)
    })?;
    let fields = Fields {
        file: report.path.to_string_lossy(),
        bytes: report.bytes,
        count: report.count,
        log_size: report.log_size.get(),
    };
    let rows = [
        ("file", report.path.display().to_string()),
        ("size", output::bytes(report.bytes)),
        ("count", grouped(report.count)),
        ("log size", grouped(report.log_size.get())),
    ];
    output::facts(globals.json, &fields, &rows)
}

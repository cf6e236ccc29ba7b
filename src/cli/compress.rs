//! `stemedb compress`: makes the log smaller.

use serde::Serialize;
use stemedb::{CompressReport, Compression};

use super::failure::Failure;
use super::format::counted;
use super::{Globals, decimal, open, output, progress};

/// Compress the sealed segments of the log
///
/// All that is read stays as it is: ids, entries, positions, proofs. A segment stays plain that
/// would not be shorter by an eighth, and so does the last one, which is written to. With
/// --compress, commands that write do the same beside their work. Only builds with the feature zstd
/// open a store that has compressed segments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb compress
  stemedb compress --level 19

JSON: {segments, bytes_freed}")]
pub(super) struct Args {
    /// From 1, which is fast, to 22, which is slow
    #[arg(
        long,
        value_name = "N",
        default_value_t = Compression::ZSTD_LEVEL,
        value_parser = clap::value_parser!(i32).range(1..=22)
    )]
    level: i32,
}

#[derive(Serialize)]
struct Fields {
    segments: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes_freed: u64,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let compression = Compression::Zstd { level: args.level };
    let report = open::existing(globals, |store| {
        let bar = progress::bytes(None);
        let compressed = store.compress(compression, &mut |progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        });
        bar.finish_and_clear();
        Ok(compressed?)
    })?;
    let CompressReport { segments, bytes_freed, .. } = report;
    let rows = [
        ("compressed", counted(segments, "segment", "segments")),
        ("freed", output::bytes(bytes_freed)),
    ];
    output::facts(globals.json, &Fields { segments, bytes_freed }, &rows)
}

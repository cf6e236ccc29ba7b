//! `stemedb log`: what the log recorded, in order.

use std::io::Write;

use serde::Serialize;
use stemedb::{Entry, Store};

use super::failure::{Failure, OutputError};
use super::range::RangeArgs;
use super::{Globals, open, output};

/// List the entries of the log, one a line, in the order they came
///
/// Each line tells index, time, id and length of the body. A time is RFC 3339, a day in UTC, how
/// long ago (30s, 5m, 1h, 2d), or the number that JSON calls ntp64: its upper 32 bits are seconds
/// since 1970, its lower 32 the fraction.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb log --limit 10                   The first ten
  stemedb log --reverse --limit 10         The last ten, newest first
  stemedb log --first 100 --last 199       Indexes 100 to 199
  stemedb log --since 1h                   What came in the last hour
  stemedb log --since 2026-11-21T00:00:00Z --json

JSON, one line an entry: {index, time, ntp64, id, len}; an entry whose body was lost to damage \
has \"hole\": true besides. ntp64 is a number of 64 bits: read it as an integer.")]
pub(super) struct Args {
    #[command(flatten)]
    range: RangeArgs,
    /// At most so many entries
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// The newest first
    #[arg(long)]
    reverse: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    open::reading(globals, |store| log(store, args, globals.json))
}

fn log(store: &Store, args: &Args, as_json: bool) -> Result<(), Failure> {
    let range = args.range.of(store)?;
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);

    let mut out = output::stdout();
    let width = store.log_size().get().saturating_sub(1).to_string().len();
    let mut print = |entry: Entry| {
        if as_json {
            return output::json_line(&mut out, &EntryFields::from(&entry));
        }
        writeln!(out, "{}", text_line(&entry, width)).map_err(OutputError)?;
        Ok::<_, Failure>(())
    };
    let entries = store.range(range);
    if args.reverse {
        for entry in entries.rev().take(limit) {
            print(entry?)?;
        }
    } else {
        for entry in entries.take(limit) {
            print(entry?)?;
        }
    }
    output::finish(out)
}

/// An entry as fields of JSON.
#[derive(Serialize)]
pub(super) struct EntryFields {
    index: u64,
    time: String,
    ntp64: u64,
    id: String,
    len: u64,
    #[serde(skip_serializing_if = "is_false")]
    hole: bool,
}

impl From<&Entry> for EntryFields {
    fn from(entry: &Entry) -> Self {
        Self {
            index: entry.index.get(),
            time: entry.time.to_string(),
            ntp64: entry.time.as_ntp64(),
            id: entry.id.to_string(),
            len: entry.len,
            hole: entry.hole,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An entry as a line, its index right-aligned.
pub(super) fn text_line(entry: &Entry, width: usize) -> String {
    let Entry { index, time, id, len, .. } = entry;
    let lost = if entry.hole { "  (body lost)" } else { "" };
    format!("{index:>width$}  {time}  {id}  {len}{lost}")
}

//! `stemedb log`: what the log recorded, in order.

use serde::Serialize;
use stemedb::{Entry, LogSize, StoreReader};

use super::failure::Failure;
use super::peer::{ReadFrom, Remote};
use super::range::RangeArgs;
use super::{Globals, decimal, input, open, output};

/// List the entries of the log, one a line, in the order they came
///
/// Each line has index, time, id and length of the body. A time is RFC 3339, a day in UTC, how
/// long ago (30s, 5m, 1h, 2d), or the number that JSON calls ntp64: its upper 32 bits are seconds
/// since 1970, its lower 32 the fraction.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb log --limit 10                   The first ten
  stemedb log --reverse --limit 10         The last ten, newest first
  stemedb log --first 100 --last 199       Indexes 100 to 199
  stemedb log --from 127.0.0.1:7845 --reverse --limit 10
                                           The last ten of a served store
  stemedb log --since 1h                   What came in the last hour
  stemedb log --since 2026-11-21T00:00:00Z --json

JSON, one line an entry: {index, time, ntp64, id, len}; an entry whose body was lost to damage \
has \"hole\": true besides. ntp64 is a number of 64 bits: read it as an integer.")]
pub(super) struct Args {
    #[command(flatten)]
    range: RangeArgs,
    /// At most so many entries
    #[arg(long, value_name = "N", value_parser = input::number)]
    limit: Option<u64>,
    /// The newest first
    #[arg(long)]
    reverse: bool,
    #[command(flatten)]
    read: ReadFrom,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    match args.read.connect()? {
        None => open::reading(globals, |store| log(store, args, globals.json)),
        Some(remote) => log_of(&remote, args, globals.json),
    }
}

fn log(store: &StoreReader, args: &Args, as_json: bool) -> Result<(), Failure> {
    let range = args.range.of(store)?;
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let entries = store.range(range);
    let size = store.log_size();
    if args.reverse {
        print(entries.rev().take(limit).map(|entry| Ok(entry?)), size, as_json)
    } else {
        print(entries.take(limit).map(|entry| Ok(entry?)), size, as_json)
    }
}

fn log_of(remote: &Remote, args: &Args, as_json: bool) -> Result<(), Failure> {
    let Some(range) = args.range.there(args.limit, args.reverse) else { return Ok(()) };
    let size = remote.wait(remote.client.head())?.log_size;
    let mut entries = remote.wait(remote.client.entries(&range))?;
    let next = || remote.wait(entries.next()).transpose();
    print(std::iter::from_fn(next), size, as_json)
}

/// Prints entries as they come.
fn print(
    entries: impl Iterator<Item = Result<Entry, Failure>>,
    size: LogSize,
    as_json: bool,
) -> Result<(), Failure> {
    let mut out = output::stdout();
    let width = size.get().saturating_sub(1).to_string().len();
    for entry in entries {
        let entry = entry?;
        if as_json {
            output::json_line(&mut out, &EntryFields::from(&entry))?;
        } else {
            output::line(&mut out, text_line(&entry, width))?;
        }
    }
    output::finish(out)
}

/// An entry as fields of JSON.
#[derive(Serialize)]
pub(super) struct EntryFields {
    index: u64,
    time: String,
    #[serde(serialize_with = "decimal::string")]
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

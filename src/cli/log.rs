//! `stemedb log`: what the log recorded, in order.

use std::io::Write;

use serde::Serialize;
use stemedb::{Entry, LogIndex, Store};

use super::failure::{Failure, OutputError};
use super::timestamp::{self, TimeArg};
use super::{Globals, open, output};

/// List the entries of the log, one a line, in the order they came
///
/// Each line tells index, time, id and length of the body. Ranges include where they begin and
/// exclude where they end. A time is RFC 3339 or the number that JSON calls ntp64: its upper 32
/// bits are seconds since 1970, its lower 32 the fraction.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb log --limit 10                   The first ten
  stemedb log --reverse --limit 10         The last ten, newest first
  stemedb log --from 100 --to 200          Indexes 100 to 199
  stemedb log --since 2026-11-21T00:00:00Z --json

JSON, one line an entry: {index, time, ntp64, id, len}; an entry whose body was lost to damage \
has \"hole\": true besides. ntp64 is a number of 64 bits: read it as an integer.")]
pub(super) struct Args {
    /// The first index to list
    #[arg(long, value_name = "I", default_value_t = 0)]
    from: u64,
    /// The index to stop before
    #[arg(long, value_name = "I")]
    to: Option<u64>,
    /// The time from which to list
    #[arg(long, value_name = "T", value_parser = timestamp::parse)]
    since: Option<TimeArg>,
    /// The time to stop before
    #[arg(long, value_name = "T", value_parser = timestamp::parse)]
    until: Option<TimeArg>,
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
    let end = store.head()?.log_size.next_index();
    let since = first_index(store, args.since, end)?.unwrap_or_default();
    let from = LogIndex(args.from).max(since);
    let until = first_index(store, args.until, end)?.unwrap_or(end);
    let to = args.to.map_or(end, LogIndex).min(until).max(from);
    let limit = usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);

    let mut out = output::stdout();
    let width = end.get().saturating_sub(1).to_string().len();
    let mut print = |entry: Entry| {
        if as_json {
            return output::json_line(&mut out, &EntryFields::from(&entry));
        }
        writeln!(out, "{}", text_line(&entry, width)).map_err(OutputError)?;
        Ok::<_, Failure>(())
    };
    let entries = store.range(from..to);
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

/// The index of the first entry at or after a time.
fn first_index(
    store: &Store,
    time: Option<TimeArg>,
    end: LogIndex,
) -> Result<Option<LogIndex>, Failure> {
    let Some(time) = time else { return Ok(None) };
    let Some(time) = time.time else { return Ok(Some(end)) };
    Ok(Some(store.index_at_time(time)?))
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

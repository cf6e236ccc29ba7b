//! A part of the log, by indexes and by times.

use std::ops::Range;

use stemedb::rpc::client::EntryRange;
use stemedb::{LogIndex, StoreReader};

use super::failure::Failure;
use super::input;
use super::timestamp::{self, TimeArg};

/// The entries that are wanted.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RangeArgs {
    /// The index of the first entry
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = input::number)]
    first: u64,
    /// The index of the last entry, which is among them
    #[arg(long, value_name = "I", value_parser = input::number)]
    last: Option<u64>,
    /// The time from which on: as `log` prints it, a day like 2026-11-30, or how long ago, like 1h
    #[arg(long, value_name = "T", value_parser = timestamp::parse)]
    since: Option<TimeArg>,
    /// The time before which
    #[arg(long, value_name = "T", value_parser = timestamp::parse)]
    until: Option<TimeArg>,
    /// What --last was called; the number behind the last one
    #[arg(long, hide = true, value_parser = no_end)]
    to: Option<u64>,
}

impl RangeArgs {
    /// The indexes of a store.
    pub(super) fn of(&self, store: &StoreReader) -> Result<Range<LogIndex>, Failure> {
        let end = store.head()?.log_size.next_index();
        let since = first_index(store, self.since, end)?.unwrap_or_default();
        let until = first_index(store, self.until, end)?.unwrap_or(end);
        let first = LogIndex(self.first).max(since);
        let behind = self.last.and_then(|last| LogIndex(last).checked_add(1)).unwrap_or(end);
        Ok(first..behind.min(end).min(until).max(first))
    }
}

impl RangeArgs {
    /// The range as a served store is asked for it; nothing if no entry can be in it.
    pub(super) fn there(&self, limit: Option<u64>, reverse: bool) -> Option<EntryRange> {
        let since = match self.since {
            // After all times that a log can have.
            Some(TimeArg { time: None }) => return None,
            Some(TimeArg { time }) => time,
            None => None,
        };
        Some(EntryRange {
            indexes: LogIndex(self.first)..=LogIndex(self.last.unwrap_or(u64::MAX)),
            since,
            until: self.until.and_then(|until| until.time),
            limit,
            reverse,
        })
    }
}

/// The index of the first entry at or after a time.
fn first_index(
    store: &StoreReader,
    time: Option<TimeArg>,
    end: LogIndex,
) -> Result<Option<LogIndex>, Failure> {
    let Some(time) = time else { return Ok(None) };
    let Some(time) = time.time else { return Ok(Some(end)) };
    Ok(Some(store.index_at_time(time)?))
}

/// Refuses the end of a range as it was given before.
pub(super) fn no_end(text: &str) -> Result<u64, String> {
    let last =
        text.parse().map_or_else(|_| "N".to_owned(), |n: u64| n.saturating_sub(1).to_string());
    Err(format!("the last index is given by --last, itself included: --last {last}"))
}

/// Refuses the beginning of a range as it was given before.
pub(super) fn no_beginning(text: &str) -> Result<u64, String> {
    Err(format!("the first index is given by --first: --first {text}"))
}

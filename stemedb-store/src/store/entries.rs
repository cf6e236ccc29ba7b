//! The log's entries, in order.

use std::ops::{Bound, Range, RangeBounds};

use stemedb_merkle::{AssertionId, LogIndex, Timestamp};
use stemedb_wal::log::{Entries as LogEntries, Placed};

use super::{Store, StoreReader};
use crate::error::ReadError;

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index, from 0.
    pub index: LogIndex,
    /// The time at which the log took it in.
    pub time: Timestamp,
    /// The assertion's id.
    pub id: AssertionId,
    /// The length of the body in bytes.
    pub len: u64,
    /// Whether this is a hole: the body was lost to damage and is not restored.
    pub hole: bool,
}

impl Entry {
    pub(super) fn new(placed: &Placed, hole: bool) -> Self {
        let Placed { id, index, time, len, .. } = *placed;
        Self { index, time, id: AssertionId(id), len: u64::from(len), hole }
    }
}

/// Entries of the log from both ends. Ends at the first that cannot be read.
#[derive(Debug)]
pub struct Entries<'a> {
    store: &'a StoreReader,
    inner: LogEntries,
    ended: bool,
}

impl StoreReader {
    /// The entries of a range of indexes, in order and from both ends.
    pub fn range(&self, indexes: impl RangeBounds<LogIndex>) -> Entries<'_> {
        let inner = self.reader.entries(self.indexes(indexes));
        Entries { store: self, inner, ended: false }
    }

    /// The part of a range that the log has now.
    pub(super) fn indexes(&self, indexes: impl RangeBounds<LogIndex>) -> Range<LogIndex> {
        let size = self.log_size().next_index();
        let behind = |index: &LogIndex| index.checked_add(1).unwrap_or(size);
        let start = match indexes.start_bound() {
            Bound::Unbounded => LogIndex(0),
            Bound::Included(start) => *start,
            Bound::Excluded(start) => behind(start),
        };
        let end = match indexes.end_bound() {
            Bound::Unbounded => size,
            Bound::Included(end) => behind(end).min(size),
            Bound::Excluded(end) => (*end).min(size),
        };
        start.min(end)..end
    }

    /// The entries that the log took in within a range of times, in order and from both ends.
    /// O(log N) to find the first.
    ///
    /// # Errors
    ///
    /// If an entry that is looked at on the way is damaged, or the disk fails.
    pub fn range_by_time(
        &self,
        times: impl RangeBounds<Timestamp>,
    ) -> Result<Entries<'_>, ReadError> {
        let size = self.log_size().next_index();
        let behind =
            |time: &Timestamp| time.next().map_or(Ok(size), |next| self.index_at_time(next));
        let from = match times.start_bound() {
            Bound::Unbounded => LogIndex(0),
            Bound::Included(start) => self.index_at_time(*start)?,
            Bound::Excluded(start) => behind(start)?,
        };
        let to = match times.end_bound() {
            Bound::Unbounded => size,
            Bound::Included(end) => behind(end)?,
            Bound::Excluded(end) => self.index_at_time(*end)?,
        };
        Ok(self.range(from..to))
    }
}

impl Entries<'_> {
    fn take(
        &mut self,
        placed: Option<Result<Placed, stemedb_wal::error::ReadError>>,
    ) -> Option<Result<Entry, ReadError>> {
        let entry = match placed? {
            Ok(placed) => self.store.entry_of(&placed),
            Err(error) => Err(error.into()),
        };
        self.ended = entry.is_err();
        Some(entry)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let placed = self.inner.next();
        self.take(placed)
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let placed = self.inner.next_back();
        self.take(placed)
    }
}

impl<'a> IntoIterator for &'a StoreReader {
    type Item = Result<Entry, ReadError>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a Store {
    type Item = Result<Entry, ReadError>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

//! List of entries of the log there.

use std::{collections::VecDeque, ops::RangeInclusive};

use stemedb_store::{Entry, LogIndex, Timestamp};
use tonic::{Response, Status, Streaming};

use super::{CallError, Client, PeerText, Store, resumed::Resumed};
use crate::{Malformed, Reason, proto::v1};

/// Entries of a log that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRange {
    /// Their indexes.
    pub indexes: RangeInclusive<LogIndex>,
    /// The time from which on.
    pub since: Option<Timestamp>,
    /// The time before which.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Whether the last one comes first.
    pub reverse: bool,
}

/// Entries of the log of a store there, in order. Goes on behind the last one when the connection
/// breaks; where the log is another one by then, it ends with [`Reason::OtherLog`].
#[derive(Debug)]
pub struct EntryList {
    answers: Resumed<v1::ListEntriesResponse>,
    range: EntryRange,
    ready: VecDeque<Entry>,
    /// The last one that came.
    last: Option<Entry>,
    /// How many came.
    given: u64,
    /// Whether the next one that comes is the last one again.
    repeats: bool,
}

impl EntryList {
    pub(super) fn new(client: &Client, range: EntryRange) -> Self {
        let answers = Resumed::new(client);
        Self { answers, range, ready: VecDeque::new(), last: None, given: 0, repeats: false }
    }

    pub(super) async fn begin(&mut self) -> Result<(), CallError> {
        let (store, request) = (self.answers.client.store.clone(), self.request());
        self.answers.begin(|| call(store.clone(), request)).await
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the connection breaks and can't be made again, the log is another one then, or the server
    /// breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<Entry>, CallError> {
        while self.ready.is_empty() {
            let (store, request) = (self.answers.client.store.clone(), self.request());
            let answer = self.answers.next(|| call(store.clone(), request)).await?;
            self.repeats |= self.answers.take_called_again() && self.last.is_some();
            let Some(message) = answer else {
                // The entry that the list goes on behind is gone.
                return if self.repeats { Err(other_log()) } else { Ok(None) };
            };
            if message.entries.is_empty() {
                return Err(Malformed::new("entries", "must be one at least").into());
            }
            for entry in message.entries {
                let (entry, _) = entry.try_into()?;
                self.take(entry)?;
            }
            if !self.ready.is_empty() {
                self.answers.note_progress();
            }
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, entry: Entry) -> Result<(), CallError> {
        if std::mem::take(&mut self.repeats) {
            // A hole may have been filled meanwhile.
            let identity = |entry: &Entry| (entry.index, entry.time, entry.id);
            let is_same = self.last.as_ref().map(identity) == Some(identity(&entry));
            return if is_same { Ok(()) } else { Err(other_log()) };
        }
        self.follows(&entry)?;
        self.last = Some(entry);
        self.given += 1;
        self.ready.push_back(entry);
        Ok(())
    }

    /// Request for what is left. It begins with the last entry that came, by which the log is known
    /// to be the same one.
    fn request(&self) -> v1::ListEntriesRequest {
        let EntryRange { indexes, since, until, limit, reverse } = &self.range;
        let (mut first, mut last) = (*indexes.start(), *indexes.end());
        match self.last {
            Some(entry) if *reverse => last = entry.index,
            Some(entry) => first = entry.index,
            None => {}
        }
        let repeated = u64::from(self.last.is_some());
        let left = |limit: u64| limit.saturating_sub(self.given).saturating_add(repeated);
        v1::ListEntriesRequest {
            first: first.get(),
            last: Some(last.get()),
            since: since.map(Timestamp::as_ntp64),
            until: until.map(Timestamp::as_ntp64),
            limit: limit.map(left),
            reverse: *reverse,
        }
    }

    /// Whether an entry is one that was asked for, and comes behind the last one.
    fn follows(&self, entry: &Entry) -> Result<(), Malformed> {
        let EntryRange { indexes, since, until, limit, reverse } = &self.range;
        let is_asked_for = indexes.contains(&entry.index)
            && since.is_none_or(|since| entry.time >= since)
            && until.is_none_or(|until| entry.time < until)
            && limit.is_none_or(|limit| self.given < limit);
        if !is_asked_for {
            return Err(Malformed::new("entries", "must be those that were asked for"));
        }
        let is_in_order = match self.last {
            Some(last) if *reverse => follow(entry, &last),
            Some(last) => follow(&last, entry),
            // Only a time or the end of the log leaves out what the range begins with.
            None => *reverse || since.is_some() || entry.index == *indexes.start(),
        };
        if is_in_order {
            return Ok(());
        }
        Err(Malformed::new("entries", "must be in order and without gaps"))
    }
}

/// Whether one entry of a log is directly behind another: times ascend with indexes.
fn follow(before: &Entry, behind: &Entry) -> bool {
    let next: Option<LogIndex> = before.index.checked_add(1);
    next == Some(behind.index) && before.time < behind.time
}

fn other_log() -> CallError {
    CallError::Refused { reason: Reason::OtherLog, message: PeerText::new("") }
}

async fn call(
    mut store: Store,
    request: v1::ListEntriesRequest,
) -> Result<Response<Streaming<v1::ListEntriesResponse>>, Status> {
    store.list_entries(request).await
}

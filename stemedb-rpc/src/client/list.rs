//! Lists of what the store there holds, sizes, and proofs of its history.

use std::{collections::VecDeque, ops::RangeInclusive};

use backon::Retryable as _;
use stemedb_store::{AssertionId, Entry, LogIndex, LogSize, Stats, Timestamp};
use tokio::time::timeout;
use tonic::Streaming;

use super::{CallError, Client, pauses};
use crate::{
    Malformed, Reason, Which,
    history::{Grown, Included},
    proto::v1,
};

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

/// The ids that a store there holds, sorted.
#[derive(Debug)]
pub struct IdList {
    client: Client,
    answers: Streaming<v1::ListIdsResponse>,
    ready: VecDeque<AssertionId>,
    last: Option<AssertionId>,
}

/// Entries of the log of a store there, in order.
#[derive(Debug)]
pub struct EntryList {
    client: Client,
    answers: Streaming<v1::ListEntriesResponse>,
    ready: VecDeque<Entry>,
    last: Option<LogIndex>,
    reverse: bool,
}

impl Client {
    /// The entry of an assertion, without its body; `None` if the server says that its store does
    /// not hold it.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with another entry.
    pub async fn find(&self, which: &Which) -> Result<Option<Entry>, CallError> {
        let request = v1::FindRequest { which: Some(which.into()) };
        let answer = self.call(|| {
            let (mut store, request) = (self.store.clone(), request.clone());
            async move { store.find(request).await }
        });
        let entry = match answer.await {
            Err(CallError::Refused { reason: Reason::NotFound, .. }) => return Ok(None),
            answer => answer?.entry.ok_or(Malformed::missing("entry"))?,
        };
        let (entry, _) = entry.try_into()?;
        self.fits(which, &entry)?;
        Ok(Some(entry))
    }

    /// The ids that the store there holds at this moment, sorted, in parts.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn ids(&self) -> Result<IdList, CallError> {
        let once = || async {
            let mut store = self.store.clone();
            let request = v1::ListIdsRequest { after: None };
            self.answered(timeout(self.options.call_time_max, store.list_ids(request)).await)
        };
        let answers = once.retry(pauses(&self.options)).when(CallError::may_pass).await?;
        Ok(IdList { client: self.clone(), answers, ready: VecDeque::new(), last: None })
    }

    /// Entries of the log there as it is at this moment, in parts.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn entries(&self, range: &EntryRange) -> Result<EntryList, CallError> {
        let request = v1::ListEntriesRequest {
            first: range.indexes.start().get(),
            last: Some(range.indexes.end().get()),
            since: range.since.map(Timestamp::as_ntp64),
            until: range.until.map(Timestamp::as_ntp64),
            limit: range.limit,
            reverse: range.reverse,
        };
        let once = || async {
            let mut store = self.store.clone();
            self.answered(timeout(self.options.call_time_max, store.list_entries(request)).await)
        };
        let answers = once.retry(pauses(&self.options)).when(CallError::may_pass).await?;
        let (client, reverse) = (self.clone(), range.reverse);
        Ok(EntryList { client, answers, ready: VecDeque::new(), last: None, reverse })
    }

    /// Sizes and times of the store there, by its own account.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn stats(&self) -> Result<Stats, CallError> {
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.stats(v1::StatsRequest {}).await }
        });
        Ok(answer.await?.try_into()?)
    }

    /// A proof that an entry is among the first `size` of the log there, or in all of it. It does
    /// verify against its own root, which means nothing unless that is trusted for another reason.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with a proof of something else.
    pub async fn prove_inclusion(
        &self,
        index: LogIndex,
        size: Option<LogSize>,
    ) -> Result<Included, CallError> {
        let size = size.map(LogSize::get);
        let request = v1::ProveInclusionRequest { index: index.get(), size };
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.prove_inclusion(request).await }
        });
        let included = Included::try_from(answer.await?)?;
        if included.entry.index != index || size.is_some_and(|size| included.head.size.0 != size) {
            return Err(Malformed::new("entry", "must be the one asked about").into());
        }
        included.verify().map_err(CallError::WrongHistoryProof)?;
        Ok(included)
    }

    /// A proof that the log there only grew from one size to another, or to what it is. It does
    /// verify against its own roots, of which one must be trusted for another reason.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with a proof of something else.
    pub async fn prove_consistency(
        &self,
        old: LogSize,
        new: Option<LogSize>,
    ) -> Result<Grown, CallError> {
        let new_size = new.map(LogSize::get);
        let request = v1::ProveConsistencyRequest { old_size: old.get(), new_size };
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.prove_consistency(request).await }
        });
        let grown = Grown::try_from(answer.await?)?;
        if grown.old.size != old || new.is_some_and(|new| grown.new.size != new) {
            return Err(Malformed::new("old_size", "must be the one asked about").into());
        }
        grown.verify().map_err(CallError::WrongHistoryProof)?;
        Ok(grown)
    }
}

impl IdList {
    /// The next id; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or the server breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<AssertionId>, CallError> {
        while self.ready.is_empty() {
            let idle = self.client.options.idle_time_max;
            let message = timeout(idle, self.answers.message()).await;
            let message = message.map_err(|_| CallError::Stalled)?;
            let message = message.map_err(|status| CallError::of(status, &self.client.link))?;
            let Some(message) = message else { return Ok(None) };
            let (ids, rest) = message.ids.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(Malformed::new("ids", "must be whole ids").into());
            }
            for id in ids.iter().copied().map(AssertionId) {
                if self.last.is_some_and(|last| last >= id) {
                    return Err(Malformed::new("ids", "must ascend").into());
                }
                self.last = Some(id);
                self.ready.push_back(id);
            }
        }
        Ok(self.ready.pop_front())
    }
}

impl EntryList {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the connection breaks, or the server breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<Entry>, CallError> {
        while self.ready.is_empty() {
            let idle = self.client.options.idle_time_max;
            let message = timeout(idle, self.answers.message()).await;
            let message = message.map_err(|_| CallError::Stalled)?;
            let message = message.map_err(|status| CallError::of(status, &self.client.link))?;
            let Some(message) = message else { return Ok(None) };
            for entry in message.entries {
                let (entry, _) = entry.try_into()?;
                self.follows(&entry)?;
                self.last = Some(entry.index);
                self.ready.push_back(entry);
            }
        }
        Ok(self.ready.pop_front())
    }

    fn follows(&self, entry: &Entry) -> Result<(), Malformed> {
        let Some(last) = self.last else { return Ok(()) };
        let (before, behind) = if self.reverse { (entry.index, last) } else { (last, entry.index) };
        if before.checked_add(1) == Some(behind) {
            return Ok(());
        }
        Err(Malformed::new("entries", "must be in order and without gaps"))
    }
}

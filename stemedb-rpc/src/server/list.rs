//! Lists of what a store holds, in parts.

use std::{ops::Range, sync::Arc, time::Duration};

use stemedb_store::{AssertionId, Entry, LogIndex, Store, Timestamp};
use tokio::time::timeout;
use tonic::Status;

use super::{answers::Answering, blocking::blocking, budget::Share};
use crate::{Failure, Reason, convert::store::id, proto::v1};

/// Ids in one message.
const IDS_MAX: usize = 8192;
/// Entries in one message.
const ENTRIES_MAX: usize = 1024;
/// Bytes that an entry takes, about.
const ENTRY_LEN: usize = 256;

/// Sends all ids behind one, sorted. Each message is made from the set as it is then, so that a
/// client which takes them slowly holds no snapshot.
pub(super) async fn ids(
    store: Arc<Store>,
    request: v1::ListIdsRequest,
    answering: &Answering<v1::ListIdsResponse>,
    share: &Share,
    time_max: Duration,
) -> Result<(), Status> {
    let mut after = request.after.map(|after| id("after", &after)).transpose()?;
    loop {
        let reserved = share.reserve(IDS_MAX * size_of::<AssertionId>());
        let mut held = timeout(time_max, reserved).await.map_err(|_| Reason::Stalled)?;
        let reader = Arc::clone(&store);
        let read = move || {
            let ids = reader.snapshot()?.ids_after(after).take(IDS_MAX);
            Ok(ids.collect::<Result<Vec<_>, _>>()?)
        };
        let some = blocking(read).await?;
        let Some(last) = some.last() else { return Ok(()) };
        after = Some(*last);
        let bytes: Vec<u8> = some.iter().flat_map(|id| id.0).collect();
        held.keep(bytes.len());
        let answer = v1::ListIdsResponse { ids: bytes };
        if !answering.send_kept(Ok(answer), Some(Arc::new(held))).await {
            return Ok(());
        }
    }
}

/// Sends entries of the log, of which there are no more than there were when it began.
pub(super) async fn entries(
    store: Arc<Store>,
    request: v1::ListEntriesRequest,
    answering: &Answering<v1::ListEntriesResponse>,
    share: &Share,
    time_max: Duration,
) -> Result<(), Status> {
    let reverse = request.reverse;
    let reader = Arc::clone(&store);
    let mut wanted = blocking(move || range(&reader, &request)).await?;
    while !wanted.is_empty() {
        let reserved = share.reserve(ENTRIES_MAX * ENTRY_LEN);
        let held = timeout(time_max, reserved).await.map_err(|_| Reason::Stalled)?;
        let part = first_part(&mut wanted, reverse);
        let reader = Arc::clone(&store);
        let entries = blocking(move || read(&reader, part, reverse)).await?;
        let entries = entries.into_iter().map(|entry| (entry, None).into()).collect();
        let answer = v1::ListEntriesResponse { entries };
        if !answering.send_kept(Ok(answer), Some(Arc::new(held))).await {
            return Ok(());
        }
    }
    Ok(())
}

/// The indexes that a request wants.
fn range(store: &Store, request: &v1::ListEntriesRequest) -> Result<Range<LogIndex>, Failure> {
    let end = store.log_size().next_index();
    let at = |time| store.index_at_time(Timestamp::from_ntp64(time));
    let since = request.since.map(at).transpose()?.unwrap_or_default();
    let until = request.until.map(at).transpose()?.unwrap_or(end);
    let first = LogIndex(request.first).max(since);
    let behind = request.last.and_then(|last| LogIndex(last).checked_add(1)).unwrap_or(end);
    let behind = behind.min(end).min(until).max(first);
    let len = (behind.get() - first.get()).min(request.limit.unwrap_or(u64::MAX));
    Ok(if request.reverse {
        LogIndex(behind.get() - len)..behind
    } else {
        first..LogIndex(first.get() + len)
    })
}

/// Takes the entries of one message off a range.
fn first_part(wanted: &mut Range<LogIndex>, reverse: bool) -> Range<LogIndex> {
    let (first, behind) = (wanted.start.get(), wanted.end.get());
    let len = (behind - first).min(ENTRIES_MAX as u64);
    if reverse {
        wanted.end = LogIndex(behind - len);
        wanted.end..LogIndex(behind)
    } else {
        wanted.start = LogIndex(first + len);
        LogIndex(first)..wanted.start
    }
}

fn read(store: &Store, part: Range<LogIndex>, reverse: bool) -> Result<Vec<Entry>, Failure> {
    let entries = store.range(part);
    let read: Result<Vec<_>, _> = if reverse { entries.rev().collect() } else { entries.collect() };
    Ok(read?)
}

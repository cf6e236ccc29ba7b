//! Following the log as it grows.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use bytes::Bytes;
use stemedb_merkle::{AssertionId, LogIndex, LogSize, Timestamp};
use stemedb_wal::log::{Kind, Placed};
use tokio::sync::watch;

use super::{Entry, Store, read::BodyReader};
use crate::{
    error::{ReadError, WatchError},
    index::Index,
};

/// How many entries a watch reads at once, at most: it keeps some 80 bytes of each.
const AHEAD: u64 = 512;

/// The log's entries from an index on, and each new one as soon as it is durable.
///
/// [`next`](Iterator::next) waits for the next entry and ends when the store is closed;
/// [`next_within`](Self::next_within) waits for a while, and [`next_async`](Self::next_async) in a
/// task of any runtime. A watch does not keep the store open.
#[derive(Debug)]
pub struct Watch {
    followed: Arc<Followed>,
    entries: watch::Receiver<LogSize>,
    log: LogId,
    last: Option<(Timestamp, AssertionId)>,
    next: LogIndex,
    /// The entries from there on that are read already.
    ahead: VecDeque<Placed>,
    ended: bool,
}

/// A watch that reads the bodies as well; see [`Watch::with_bodies`].
#[derive(Debug)]
pub struct WatchBodies {
    watch: Watch,
    body_len_max: usize,
}

/// Identity of a log. An index means one entry as long as this stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogId {
    /// The id of the node.
    pub node: [u8; 16],
    /// The epoch of its log.
    pub epoch: u64,
}

/// The end of a watch, for another one to [go on](Store::resume_watch) from there, also after the
/// store was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The id of the node whose log it was.
    pub node: [u8; 16],
    /// The epoch of that log.
    pub epoch: u64,
    /// The index of the entry that comes next.
    pub next: LogIndex,
    /// Time and id of the entry before that; `None` if the watch gave none.
    pub last: Option<(Timestamp, AssertionId)>,
}

/// What watches read, until the store is closed. Locked for moments only: closing waits for no
/// read, which may be one of an archive.
#[derive(Debug)]
pub(super) struct Followed(RwLock<Option<(BodyReader, Arc<Index>)>>);

impl Followed {
    pub(super) fn new(reader: BodyReader, index: Arc<Index>) -> Self {
        Self(Some((reader, index)).into())
    }

    /// Reads the body of an assertion, if it is held; `None` once the store is closed.
    fn body(&self, id: &AssertionId) -> Option<Result<Option<Vec<u8>>, ReadError>> {
        let (reader, trees) = self.open()?;
        let read = || match trees.position(&id.0)? {
            Some(position) => reader.read(id, position).map(Some),
            None => Ok(None),
        };
        until_closed(read())
    }

    fn open(&self) -> Option<(BodyReader, Arc<Index>)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the entry at an index, and with it those behind it that are read ahead; `None` once
    /// the store is closed.
    fn entry(
        &self,
        index: LogIndex,
        ahead: &mut VecDeque<Placed>,
    ) -> Option<Result<Entry, ReadError>> {
        let (BodyReader { reader, .. }, trees) = self.open()?;
        let mut read = || {
            if ahead.is_empty() {
                let end = reader.next_index().min(index.checked_add(AHEAD).unwrap_or(index));
                // What comes behind damage is not read until that is met.
                ahead.extend(reader.entries(index..end).map_while(Result::ok));
            }
            let placed = ahead.pop_front().map_or_else(|| reader.entry_at(index), Ok)?;
            // It may have been filled since it was read.
            let hole = placed.kind == Kind::Hole && trees.position(&placed.id)?.is_none();
            Ok(Entry::new(&placed, hole))
        };
        until_closed(read())
    }

    /// Lets nothing more be read. What is being read now may still be given out.
    pub(super) fn end(&self) {
        let open = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(open);
    }
}

/// What was read; `None` where the store was closed meanwhile.
fn until_closed<T>(read: Result<T, ReadError>) -> Option<Result<T, ReadError>> {
    (!matches!(read, Err(ReadError::Closed))).then_some(read)
}

impl Store {
    /// Follows the log from entry `from` on.
    pub fn watch(&self, from: LogIndex) -> Watch {
        Watch {
            followed: Arc::clone(&self.followed),
            entries: self.shared.index.watch(),
            log: self.log_id(),
            last: None,
            next: from,
            ahead: VecDeque::new(),
            ended: false,
        }
    }

    /// Follows the log from where an earlier watch ended.
    ///
    /// # Errors
    ///
    /// [`WatchError::OtherLog`] if indexes mean other entries by now: the store was restored from a
    /// copy, repaired with loss of entries, or replaced.
    pub fn resume_watch(&self, point: &ResumePoint) -> Result<Watch, WatchError> {
        let ResumePoint { node, epoch, next, last } = *point;
        if self.log_id() != (LogId { node, epoch }) {
            return Err(WatchError::OtherLog);
        }
        if last.is_some() {
            // A directory that was put back as a whole keeps its name.
            let before = next.entries_before().last_index().ok_or(WatchError::OtherLog)?;
            let found = self.entry(before)?.map(|entry| (entry.time, entry.id));
            if found != last {
                return Err(WatchError::OtherLog);
            }
        }
        Ok(Watch { last, ..self.watch(next) })
    }
}

impl Watch {
    /// The same, with the body of each entry; none of one that is longer than `body_len_max` bytes,
    /// or that is lost. A body that can't be read ends the watch with the error.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = stemedb_store::Store::open(dir.path(), stemedb_store::Options::default())?;
    /// use stemedb_store::LogIndex;
    ///
    /// let mut watch = store.watch(LogIndex(0)).with_bodies(1 << 20);
    /// store.append(b"the sky is blue")?;
    /// let (entry, body) = watch.next().ok_or("the store is closed")??;
    /// assert_eq!((entry.index, body.as_deref()), (LogIndex(0), Some(&b"the sky is blue"[..])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_bodies(self, body_len_max: usize) -> WatchBodies {
        WatchBodies { watch: self, body_len_max }
    }

    /// The index of the entry that comes next.
    pub fn next_index(&self) -> LogIndex {
        self.next
    }

    /// Where the watch is.
    pub fn resume_point(&self) -> ResumePoint {
        let LogId { node, epoch } = self.log;
        ResumePoint { node, epoch, next: self.next, last: self.last }
    }

    /// The next entry; waits until there is one. `None` after an error, and once the
    /// store is closed.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub async fn next_async(&mut self) -> Option<Result<Entry, ReadError>> {
        if self.ended {
            return None;
        }
        let next = self.next;
        if self.entries.wait_for(|size| size.has(next)).await.is_err() {
            return None;
        }
        self.read()
    }

    /// The next entry, if there is one now or within `time`.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn next_within(&mut self, time: Duration) -> Option<Result<Entry, ReadError>> {
        let next = self.next;
        let mut entries = self.entries.clone();
        let grown = pin!(async move { entries.wait_for(|size| size.has(next)).await.is_ok() });
        if self.ended || !block_on(grown, Some(time)).unwrap_or(false) {
            return None;
        }
        self.read()
    }

    fn read(&mut self) -> Option<Result<Entry, ReadError>> {
        let entry = self.followed.entry(self.next, &mut self.ahead);
        match &entry {
            Some(Ok(read)) => {
                self.last = Some((read.time, read.id));
                self.next += 1;
            }
            _ => self.ended = true,
        }
        entry
    }
}

impl WatchBodies {
    /// Where the watch is.
    pub fn resume_point(&self) -> ResumePoint {
        self.watch.resume_point()
    }

    /// The next entry and its body; waits until there is one. `None` after an error, and once the
    /// store is closed.
    ///
    /// # Errors
    ///
    /// If one of them can't be read.
    pub async fn next_async(&mut self) -> Option<Result<(Entry, Option<Bytes>), ReadError>> {
        let before = self.watch.resume_point();
        let entry = self.watch.next_async().await?;
        self.with_body(before, entry)
    }

    /// The next entry and its body, if there is one now or within `time`.
    ///
    /// # Errors
    ///
    /// If one of them can't be read.
    pub fn next_within(
        &mut self,
        time: Duration,
    ) -> Option<Result<(Entry, Option<Bytes>), ReadError>> {
        let before = self.watch.resume_point();
        let entry = self.watch.next_within(time)?;
        self.with_body(before, entry)
    }

    /// Adds the body. A watch that ends before it was given out is resumed with its entry.
    fn with_body(
        &mut self,
        before: ResumePoint,
        entry: Result<Entry, ReadError>,
    ) -> Option<Result<(Entry, Option<Bytes>), ReadError>> {
        let Watch { followed, next, last, ended, .. } = &mut self.watch;
        let entry = match entry {
            Ok(entry) if entry.hole || entry.len > self.body_len_max as u64 => {
                return Some(Ok((entry, None)));
            }
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        match followed.body(&entry.id) {
            Some(Ok(body)) => Some(Ok((entry, body.map(Bytes::from)))),
            failed => {
                (*next, *last, *ended) = (before.next, before.last, true);
                Some(Err(failed?.err()?))
            }
        }
    }
}

impl Iterator for WatchBodies {
    type Item = Result<(Entry, Option<Bytes>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(pin!(self.next_async()), None).flatten()
    }
}

impl Iterator for Watch {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(pin!(self.next_async()), None).flatten()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future in this thread; with a time, until it has passed without news.
fn block_on<F: Future>(
    mut future: core::pin::Pin<&mut F>,
    time: Option<Duration>,
) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut last_look = false;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match time {
            None => thread::park(),
            Some(_) if last_look => return None,
            Some(time) => {
                thread::park_timeout(time);
                last_look = true;
            }
        }
    }
}

//! Following the log as it grows.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::watch;

use super::{Entry, Store};
use crate::error::ReadError;

/// The log's entries from an index on, and each new one as soon as it is durable.
///
/// [`next`](Iterator::next) waits for the next entry and ends when the store is closed;
/// [`next_within`](Self::next_within) waits for a while, and [`next_async`](Self::next_async) in a
/// task of any runtime.
#[derive(Debug)]
pub struct Watch<'a> {
    store: &'a Store,
    entries: watch::Receiver<u64>,
    next: u64,
    ended: bool,
}

impl Store {
    /// Follows the log from entry `from` on.
    pub fn watch(&self, from: u64) -> Watch<'_> {
        Watch { store: self, entries: self.shared.trees.watch(), next: from, ended: false }
    }
}

impl Watch<'_> {
    /// The index of the entry that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next entry; waits until there is one. `None` after an error.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub async fn next_async(&mut self) -> Option<Result<Entry, ReadError>> {
        if self.ended {
            return None;
        }
        let next = self.next;
        if self.entries.wait_for(|entries| *entries > next).await.is_err() {
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
        let grown = pin!(async move { entries.wait_for(|entries| *entries > next).await.is_ok() });
        if self.ended || !block_on(grown, Some(time)).unwrap_or(false) {
            return None;
        }
        self.read()
    }

    fn read(&mut self) -> Option<Result<Entry, ReadError>> {
        let entry = self.store.entry(self.next).transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        self.next += 1;
        entry
    }
}

impl Iterator for Watch<'_> {
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

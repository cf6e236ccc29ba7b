//! Group commit: many appenders, one writer.
//!
//! ```text
//!   append, append_async, submit ---> [ queue ] ---> writer: look up ids, write once
//!                 ^                                    |            |
//!                 |                                 apply to     sync, in
//!                 |                                 the index    a second thread
//!                 |                                    |            |
//!                 +------- receipts --- publish -------+------------+
//! ```
//!
//! The writer takes all that waits, so that the more there is to do, the less a sync costs each. An
//! acknowledgement means: durable, in the index, and visible to readers. A body that is held
//! already is acknowledged with its first receipt, after the sync that makes it durable if that is
//! still under way.
//!
//! The first write or sync that fails is the last one: everyone who waits, and everyone who comes
//! later, gets the error.

mod group;
mod queue;
mod slot;
mod writer;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};

use stemedb_merkle::Hash;

pub use self::{group::commit, queue::Submission, slot::Pending};

use self::{
    queue::{Admission, Queue, Request},
    slot::{Receipts, Ticket},
};
use crate::{
    error::{AppendError, ReadError},
    log::{HoleEntry, Log, Placed, Watermark},
};

/// What knows where ids are: the writer asks it, and tells it what was appended.
pub trait Index: Send {
    /// The position of a body that is held, published or not.
    ///
    /// # Errors
    ///
    /// If that cannot be told. The append then fails, and only that.
    fn position_of(&self, id: &Hash) -> Result<Option<u64>, ReadError>;

    /// The entry of a body that was lost, if this is one.
    fn hole_of(&self, id: &Hash) -> Option<HoleEntry> {
        let _ = id;
        None
    }

    /// Takes in what was written. Not durable yet, and not to be shown to anyone.
    fn apply(&mut self, placed: &[Placed]);

    /// All that was taken in is durable, and log readers see it.
    fn publish(&mut self, durable: Watermark);
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The body was new.
    Appended,
    /// The body was held already: index, time and position are from when it was appended first.
    Duplicate,
    /// The body had been lost and is back: index and time are from when it was appended first.
    Healed,
}

/// The acknowledgement of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The assertion id.
    pub id: Hash,
    /// The index of the entry.
    pub index: u64,
    /// The time of the entry, NTP64.
    pub time: u64,
    /// Where the body is.
    pub position: u64,
    /// New, held already, or back.
    pub outcome: Outcome,
}

/// What can be chosen about the queue and the writer.
#[derive(Clone, Copy, Debug)]
pub struct CommitOptions {
    /// How many records may wait. Appenders beyond that wait for room. Default 65,536.
    pub queue_records_max: usize,
    /// How many bytes of bodies may wait. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// After so long without work, a durable mark is written. Default 100 ms.
    pub idle_after: Duration,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            queue_records_max: 1 << 16,
            queue_bytes_max: 64 << 20,
            idle_after: Duration::from_millis(100),
        }
    }
}

/// The queue, and the two threads that work it off.
///
/// Dropping it is like [`close`](Self::close), with nobody to hear of a failure.
#[derive(Debug)]
pub struct Committer<I: Index + 'static> {
    queue: Arc<Queue<I>>,
    writer: Option<JoinHandle<(Log, I)>>,
}

impl<I: Index + 'static> Committer<I> {
    /// Starts the threads. `clock` tells the time, NTP64, once for each commit.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it.
    pub fn start(
        log: Log,
        index: I,
        clock: impl FnMut() -> u64 + Send + 'static,
        options: &CommitOptions,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(options));
        let writer = writer::start(log, index, clock, Arc::clone(&queue), options.idle_after)?;
        Ok(Self { queue, writer: Some(writer) })
    }

    /// Appends one body and waits until it is durable.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn append(&self, id: Hash, body: Vec<u8>) -> Result<Receipt, AppendError> {
        self.enqueue(Submission::one(id, body)).wait_one()
    }

    /// Queues bodies and returns; waits only if the queue is full.
    ///
    /// They are written as one batch if they fit the limit of one, and then a crash keeps all of
    /// them or none.
    pub fn submit(&self, bodies: Submission) -> Pending {
        self.enqueue(bodies)
    }

    /// Appends one body. It is queued at the first poll; a future dropped after that does not undo
    /// it.
    pub fn append_async(&self, id: Hash, body: Vec<u8>) -> AppendFuture<I> {
        AppendFuture {
            state: FutureState::Unqueued(Submission::one(id, body)),
            queue: Arc::clone(&self.queue),
        }
    }

    /// Runs something on the writer's thread, after what is queued already and between two
    /// commits: log and index then agree, and all in them is durable.
    ///
    /// # Errors
    ///
    /// [`AppendError::Closed`] if the writer is gone.
    pub fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log, &mut I) -> R + Send + 'static,
    ) -> Result<R, AppendError> {
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.queue.push_call(Box::new(move |log, index| {
            // Whoever asked may have gone.
            let _ = done.send(work(log, index));
        }));
        result.recv().map_err(|_| AppendError::Closed)
    }

    /// Works off the queue, writes the durable mark, and ends. The result is for the store's
    /// identity. The index comes back unless the writer died.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier. All that was acknowledged is intact.
    pub fn close(mut self) -> (Result<Watermark, AppendError>, Option<I>) {
        match self.stop() {
            Some((log, index)) => (log.close(), Some(index)),
            None => (Err(AppendError::Closed), None),
        }
    }

    fn enqueue(&self, bodies: Submission) -> Pending {
        let (ticket, pending) = slot::pair();
        self.queue.push_waiting(Request::Append(bodies, ticket));
        pending
    }

    fn stop(&mut self) -> Option<(Log, I)> {
        self.queue.close();
        self.writer.take().and_then(|writer| writer.join().ok())
    }
}

impl<I: Index + 'static> Drop for Committer<I> {
    fn drop(&mut self) {
        if let Some((log, _)) = self.stop() {
            // Nobody is left to be told; what was acknowledged is durable.
            let _ = log.close();
        }
    }
}

/// An append under way; see [`Committer::append_async`].
#[derive(Debug)]
#[must_use = "nothing is appended before it is polled"]
pub struct AppendFuture<I: Index + 'static> {
    state: FutureState,
    queue: Arc<Queue<I>>,
}

#[derive(Debug)]
enum FutureState {
    Unqueued(Submission),
    Queued(Pending),
    Done,
}

// Nothing in it is ever pinned.
impl<I: Index + 'static> Unpin for AppendFuture<I> {}

impl<I: Index + 'static> Future for AppendFuture<I> {
    type Output = Result<Receipt, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let FutureState::Unqueued(bodies) = &mut self.state {
            let bodies = std::mem::take(bodies);
            let (ticket, pending) = slot::pair();
            match self.queue.try_push(Request::Append(bodies, ticket), context.waker()) {
                Admission::Queued => self.state = FutureState::Queued(pending),
                Admission::Full(Request::Append(bodies, ticket)) => {
                    ticket.withdraw();
                    self.state = FutureState::Unqueued(bodies);
                    return Poll::Pending;
                }
                Admission::Full(Request::Call(_)) => {}
            }
        }
        let FutureState::Queued(pending) = &mut self.state else {
            return Poll::Ready(Err(AppendError::Closed));
        };
        let done = pending.poll_receipts(context);
        if done.is_ready() {
            self.state = FutureState::Done;
        }
        done.map(|receipts| receipts.and_then(Receipts::into_one))
    }
}

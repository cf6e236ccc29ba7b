//! Group commit: many appenders, one writer.
//!
//! ```text
//!   append, append_async, submit ---> [ queue ] ---> writer: look up ids, write once,
//!                 ^                                    note them in the index, sync
//!                 |                                            |
//!                 +---------- receipts --- publish ------------+
//! ```
//!
//! The writer takes all that waits, so that the more there is to do, the less a sync costs each. A
//! lone appender that is going to wait anyway does the writer's work by itself. An
//! acknowledgement means: durable, in the index, and visible to readers. A body that is held
//! already is acknowledged with its first receipt, after the sync that makes it durable if that is
//! still under way.
//!
//! The first write or sync that fails is the last one: everyone who waits, and everyone who comes
//! later, gets the error.

mod core;
mod group;
mod queue;
mod slot;
mod writer;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};

use stemedb_merkle::Hash;

pub use self::{queue::Submission, slot::Pending};

use self::{
    core::Core,
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

    /// The positions of bodies, as [`position_of`](Self::position_of) has them. Many at once may
    /// cost less each.
    ///
    /// # Errors
    ///
    /// If it cannot be told of any one of them.
    fn positions_of(&self, ids: &[Hash]) -> Result<Vec<Option<u64>>, ReadError> {
        ids.iter().map(|id| self.position_of(id)).collect()
    }

    /// The entry of a body that was lost, if this is one.
    fn hole_of(&self, id: &Hash) -> Option<HoleEntry> {
        let _ = id;
        None
    }

    /// Takes in what was written. Not durable yet, and not to be shown to anyone.
    fn apply(&mut self, placed: &[Placed]);

    /// All that was taken in is durable, and log readers see it.
    fn publish(&mut self, durable: Watermark);

    /// Nothing has come for a while.
    fn idle(&mut self) {}
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

/// Who commits: the caller where that is possible, else a thread that works off a queue.
///
/// An appender that finds nobody else at work, and whose like was alone last time, commits by
/// itself: it takes two changes of threads less, which is half of a sync. Dropping it is like
/// [`close`](Self::close), with nobody to hear of a failure.
#[derive(Debug)]
pub struct Committer<I: Index + 'static> {
    shared: Arc<Shared<I>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared<I> {
    queue: Queue<I>,
    /// `None` once it is closed.
    core: Mutex<Option<Core<I>>>,
    /// How many requests the writer took last.
    crowd: AtomicUsize,
    /// Whether there is a writer at all.
    threads: bool,
}

impl<I: Index + 'static> Committer<I> {
    /// Starts the writer. `clock` tells the time, NTP64, once for each commit.
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
        let shared = Arc::new(Shared::new(Core::new(log, index, clock), options, true));
        let writer = writer::start(Arc::clone(&shared), options.idle_after)?;
        Ok(Self { shared, writer: Some(writer).into() })
    }

    /// Without a thread: every append is a commit of its own, in the thread of its caller.
    pub fn inline(log: Log, index: I, clock: impl FnMut() -> u64 + Send + 'static) -> Self {
        let options = CommitOptions::default();
        let shared = Arc::new(Shared::new(Core::new(log, index, clock), &options, false));
        Self { shared, writer: None.into() }
    }

    /// Appends one body and waits until it is durable.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn append(&self, id: Hash, body: Vec<u8>) -> Result<Receipt, AppendError> {
        self.settle(Submission::one(id, body)).and_then(Receipts::into_one)
    }

    /// Appends bodies and waits until they are durable. Their receipts come in the order of the
    /// bodies. See [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn append_batch(&self, bodies: Submission) -> Result<Vec<Receipt>, AppendError> {
        self.settle(bodies).map(Receipts::into_vec)
    }

    fn settle(&self, bodies: Submission) -> Result<Receipts, AppendError> {
        match self.shared.commit_alone(bodies) {
            Ok(receipts) => receipts,
            Err(bodies) => self.shared.enqueue(bodies).wait_receipts(),
        }
    }

    /// Queues bodies and returns; waits only if the queue is full.
    ///
    /// They are written as one batch if they fit the limit of one, and then a crash keeps all of
    /// them or none.
    pub fn submit(&self, bodies: Submission) -> Pending {
        if self.shared.threads {
            return self.shared.enqueue(bodies);
        }
        let (ticket, pending) = slot::pair();
        if let Ok(receipts) = self.shared.commit_alone(bodies) {
            ticket.complete(receipts);
        }
        pending
    }

    /// Appends one body. It is queued at the first poll; a future dropped after that does not undo
    /// it.
    pub fn append_async(&self, id: Hash, body: Vec<u8>) -> AppendFuture<I> {
        AppendFuture {
            state: FutureState::Unqueued(Submission::one(id, body)),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Runs something between two commits, after what is queued already: log and index then agree,
    /// and all in them is durable. On the writer's thread if there is one.
    ///
    /// # Errors
    ///
    /// [`AppendError::Closed`] if the writer is gone.
    pub fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log, &mut I) -> R + Send + 'static,
    ) -> Result<R, AppendError> {
        if !self.shared.threads {
            let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
            let core = core.as_mut().ok_or(AppendError::Closed)?;
            return Ok(work(&mut core.log, &mut core.index));
        }
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.shared.queue.push_call(Box::new(move |log, index| {
            // Whoever asked may have gone.
            let _ = done.send(work(log, index));
        }));
        result.recv().map_err(|_| AppendError::Closed)
    }

    /// Works off the queue, writes the durable mark, and ends. The result is for the store's
    /// identity. The index comes back unless the writer died; `None` if it was closed before.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier. All that was acknowledged is intact.
    pub fn close(&self) -> (Result<Watermark, AppendError>, Option<I>) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let died = writer.is_some_and(|writer| writer.join().is_err());
        let core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner).take();
        match core.filter(|_| !died) {
            Some(core) => (core.log.close(), Some(core.index)),
            None => (Err(AppendError::Closed), None),
        }
    }
}

impl<I: Index> Shared<I> {
    fn new(core: Core<I>, options: &CommitOptions, threads: bool) -> Self {
        Self {
            queue: Queue::new(options),
            core: Some(core).into(),
            crowd: AtomicUsize::new(0),
            threads,
        }
    }

    fn enqueue(&self, bodies: Submission) -> Pending {
        let (ticket, pending) = slot::pair();
        self.queue.push_waiting(Request::Append(bodies, ticket));
        pending
    }

    /// Commits in this thread, if nobody else wants to; else the bodies come back.
    fn commit_alone(
        &self,
        bodies: Submission,
    ) -> Result<Result<Receipts, AppendError>, Submission> {
        let core = if self.threads {
            // With others about it is better to go with them: one sync serves all.
            if self.crowd.load(Ordering::Relaxed) > 1 {
                return Err(bodies);
            }
            // Held, or left behind by a panic, which has closed the queue.
            self.core.try_lock().ok()
        } else {
            Some(self.core.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let Some(mut core) = core else { return Err(bodies) };
        let Some(core) = core.as_mut() else { return Ok(Err(AppendError::Closed)) };
        if self.threads && !self.queue.is_empty() {
            return Err(bodies);
        }
        let (staged, settled) = core.commit(std::slice::from_ref(&bodies));
        let receipts = staged.results(settled).next().unwrap_or(Err(AppendError::Closed));
        core.recycle(staged);
        if self.threads {
            self.queue.kick();
        }
        Ok(receipts)
    }
}

impl<I: Index + 'static> Drop for Committer<I> {
    fn drop(&mut self) {
        // Nobody is left to be told; what was acknowledged is durable.
        let _ = self.close();
    }
}

/// An append under way; see [`Committer::append_async`].
#[derive(Debug)]
#[must_use = "nothing is appended before it is polled"]
pub struct AppendFuture<I: Index + 'static> {
    state: FutureState,
    shared: Arc<Shared<I>>,
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
            if !self.shared.threads {
                self.state = FutureState::Done;
                let receipts = self.shared.commit_alone(bodies);
                let receipts = receipts.unwrap_or(Err(AppendError::Closed));
                return Poll::Ready(receipts.and_then(Receipts::into_one));
            }
            let (ticket, pending) = slot::pair();
            match self.shared.queue.try_push(Request::Append(bodies, ticket), context.waker()) {
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

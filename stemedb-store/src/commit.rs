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
//! already is acknowledged with its first receipt, after it was [read back](Verify): outside of
//! the writer's lock, so that nobody else waits for that.
//!
//! Whatever is queued by one thread, and what it appends after that, is committed in that order.
//!
//! The first write or sync that fails is the last one: everyone who waits, and everyone who comes
//! later, gets the error.

mod buffers;
mod core;
mod future;
mod group;
mod queue;
mod slot;
mod submission;
mod verify;
mod writer;

use std::{
    fmt,
    future::Future,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use stemedb_merkle::{Hash, Timestamp};

pub(crate) use self::{
    future::Enqueue,
    slot::Pending,
    submission::{Priority, Submission, SubmissionBuilder},
    verify::{Held, Verified, Verify},
};

use self::{
    buffers::{Buffer, Buffers},
    core::Core,
    group::Settled,
    queue::{Queue, Request},
    slot::{Receipts, Ticket},
    verify::Unverified,
};
use crate::{
    index::{Index, IndexWriter},
    receipt::Receipt,
};
use stemedb_wal::{
    error::AppendError,
    log::{Log, Watermark},
};

/// What can be chosen about the queue and the writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitOptions {
    /// How many records may wait. Appenders beyond that wait for room. Default 65,536.
    pub(crate) queue_records_max: usize,
    /// How many bytes of bodies may wait. Default 64 MiB.
    pub(crate) queue_bytes_max: usize,
    /// After so long without work, a durable mark is written. Default 100 ms.
    pub(crate) idle_after: Duration,
    /// A clock that never goes back. Default: one that stands.
    pub(crate) uptime: fn() -> Duration,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            queue_records_max: 1 << 16,
            queue_bytes_max: 64 << 20,
            idle_after: Duration::from_millis(100),
            uptime: || Duration::ZERO,
        }
    }
}

/// Who commits: the caller where that is possible, else a thread that works off a queue.
///
/// An appender that finds nobody else at work, and whose like was alone last time, commits by
/// itself: it takes two changes of threads less, which is half of a sync. Dropping it is like
/// [`close`](Self::close), with nobody to hear of a failure.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    /// The writer, and the thread that verifies what it hands over; in the order in which they end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Queue,
    /// `None` once it is closed.
    core: Mutex<Option<Core>>,
    /// `None` once it is closed: a future that outlives the store keeps no file of it open.
    verify: Mutex<Option<Arc<Verify>>>,
    /// For lookups before the core is locked.
    index: Arc<Index>,
    /// For the bodies of long loads, until there is a pause.
    buffers: Arc<Buffers>,
    /// How many requests the writer took last.
    last_batch_len: AtomicUsize,
    /// Whether there is a writer at all.
    threads: bool,
}

impl Committer {
    /// Starts the writer. `clock` tells the time, NTP64, once for each commit.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it.
    pub(crate) fn start(
        log: Log,
        index: IndexWriter,
        verify: Arc<Verify>,
        clock: impl FnMut() -> Timestamp + Send + 'static,
        options: &CommitOptions,
    ) -> std::io::Result<Self> {
        let core = Core::new(log, index, clock);
        let shared = Arc::new(Shared::new(core, verify, options, true));
        let threads = writer::start(&shared, options.idle_after)?;
        Ok(Self { shared, threads: Vec::from(threads).into() })
    }

    /// Without a thread: every append is a commit of its own, in the thread of its caller.
    pub(crate) fn inline(
        log: Log,
        index: IndexWriter,
        verify: Arc<Verify>,
        clock: impl FnMut() -> Timestamp + Send + 'static,
    ) -> Self {
        let options = CommitOptions::default();
        let core = Core::new(log, index, clock);
        let shared = Arc::new(Shared::new(core, verify, &options, false));
        Self { shared, threads: Vec::new().into() }
    }

    /// Appends one body and waits until it is durable.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub(crate) fn append(&self, id: Hash, body: &[u8]) -> Result<Receipt, AppendError> {
        self.settle(Submission::one(id, body)).and_then(Receipts::into_one)
    }

    /// Appends bodies and waits until they are durable. Their receipts come in the order of the
    /// bodies. See [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub(crate) fn append_batch(&self, bodies: Submission<'_>) -> Result<Vec<Receipt>, AppendError> {
        self.settle(bodies).map(Receipts::into_vec)
    }

    fn settle(&self, mut bodies: Submission<'_>) -> Result<Receipts, AppendError> {
        self.look_up(&mut bodies);
        match self.shared.commit_alone(bodies) {
            ControlFlow::Break(receipts) => receipts,
            ControlFlow::Continue(bodies) => {
                self.shared.enqueue(bodies.into_owned()).wait_receipts()
            }
        }
    }

    /// Queues bodies and returns; waits only if the queue is full.
    ///
    /// They are written as one batch if they fit the limit of one, and then a crash keeps all of
    /// them or none.
    pub(crate) fn submit(&self, mut bodies: Submission<'static>) -> Pending {
        self.look_up(&mut bodies);
        if self.shared.threads {
            return self.shared.enqueue(bodies);
        }
        let (ticket, pending) = slot::pair();
        if let ControlFlow::Break(receipts) = self.shared.commit_alone(bodies) {
            ticket.complete(receipts);
        }
        pending
    }

    /// Appends one body. It is queued at the first poll; a future dropped after that does not undo
    /// it.
    pub(crate) fn append_async(
        &self,
        id: Hash,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Receipt, AppendError>> + Send + 'static + use<> {
        let queued = self.enqueue_async(Submission::one(id, body));
        async move { queued.await.one().await }
    }

    /// Queues bodies at the first poll that finds room for them.
    pub(crate) fn enqueue_async(&self, mut bodies: Submission<'static>) -> Enqueue {
        self.look_up(&mut bodies);
        Enqueue::new(Arc::clone(&self.shared), bodies)
    }

    /// Room for bodies that are submitted one piece after the other. It is used again once they are
    /// written.
    pub(crate) fn buffer(&self, len: usize) -> Buffer {
        self.shared.buffers.take(len)
    }

    /// Looks bodies up in the restart checkpoint, which may have to be read from the disk: nobody
    /// else waits for that here.
    fn look_up(&self, bodies: &mut Submission<'_>) {
        bodies.look_up(|ids| self.shared.index.mapped_positions(ids));
    }

    /// Runs something between two commits, after what is queued already: log and index then agree,
    /// and all in them is durable. On the writer's thread if there is one.
    ///
    /// # Errors
    ///
    /// [`AppendError::Closed`] if the writer is gone.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log, &mut IndexWriter) -> R + Send + 'static,
    ) -> Result<R, AppendError> {
        if !self.shared.threads {
            let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
            let core = core.as_mut().ok_or(AppendError::Closed)?;
            return Ok(work(&mut core.log, &mut core.index));
        }
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.shared.queue.push_call(Box::new(move |log, index| {
            // The caller may have gone.
            let _ = done.send(work(log, index));
        }));
        result.recv().map_err(|_| AppendError::Closed)
    }

    /// Works off the queue, writes the durable mark, and ends. The result is for the store's
    /// identity.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier. All that was acknowledged is intact.
    pub(crate) fn close(&self) -> Result<Watermark, AppendError> {
        self.shared.queue.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let mut died = false;
        for thread in threads {
            died |= thread.join().is_err();
        }
        lock(&self.shared.verify).take();
        let core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner).take();
        match core.filter(|_| !died) {
            Some(core) => core.log.close(),
            None => Err(AppendError::Closed),
        }
    }
}

impl Shared {
    fn new(core: Core, verify: Arc<Verify>, options: &CommitOptions, threads: bool) -> Self {
        Self {
            queue: Queue::new(options),
            buffers: Arc::default(),
            index: Arc::clone(core.index.index()),
            core: Some(core).into(),
            verify: Some(verify).into(),
            last_batch_len: AtomicUsize::new(0),
            threads,
        }
    }

    fn enqueue(&self, bodies: Submission<'static>) -> Pending {
        let (ticket, pending) = slot::pair();
        self.queue.push_waiting(Request::Append(bodies, ticket));
        pending
    }

    /// Commits in this thread, if nobody else wants to; else the bodies come back.
    fn commit_alone<'a>(
        &self,
        bodies: Submission<'a>,
    ) -> ControlFlow<Result<Receipts, AppendError>, Submission<'a>> {
        let core = if self.threads {
            // With others about it is better to go with them: one sync serves all.
            if self.last_batch_len.load(Ordering::Relaxed) > 1 {
                return ControlFlow::Continue(bodies);
            }
            // Held, or left behind by a panic, which has closed the queue.
            self.core.try_lock().ok()
        } else {
            Some(self.core.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let Some(mut guard) = core else { return ControlFlow::Continue(bodies) };
        let Some(core) = guard.as_mut() else {
            return ControlFlow::Break(Err(AppendError::Closed));
        };
        if self.threads && !self.queue.admits_alone(bodies.priority()) {
            return ControlFlow::Continue(bodies);
        }
        let (staged, synced) = core.commit(std::slice::from_ref(&bodies));
        let settled = staged.results(&synced, [bodies]).next();
        core.recycle(staged);
        drop(guard);
        if self.threads {
            self.queue.reset_timer();
        }
        ControlFlow::Break(match settled {
            Some(Settled::Done(result)) => result,
            Some(Settled::Unverified(unverified)) => self.verify(&unverified),
            None => Err(AppendError::Closed),
        })
    }

    /// Reads back what of a submission is held. Without the core's lock.
    fn verify(&self, unverified: &Unverified<'_>) -> Result<Receipts, AppendError> {
        let verify = lock(&self.verify).clone().ok_or(AppendError::Closed)?;
        unverified.verify(&*verify, &|| {
            let mut core = self.core.lock().map_err(|_| AppendError::Closed)?;
            core.as_mut().ok_or(AppendError::Closed)?.log.seal_open()
        })
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Nobody is left to be told; what was acknowledged is durable.
        let _ = self.close();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("threads", &self.threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

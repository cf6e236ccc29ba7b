//! The two threads: one writes, and one syncs while the first applies.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Index, Submission, Ticket,
    group::{Group, Staged},
    queue::{CloseOnDrop, Queue, Request, Taken},
};
use crate::log::{Log, SyncDone, SyncJob};

pub(super) fn start<I: Index + 'static>(
    log: Log,
    index: I,
    clock: impl FnMut() -> u64 + Send + 'static,
    queue: Arc<Queue<I>>,
    idle_after: Duration,
) -> io::Result<JoinHandle<(Log, I)>> {
    let syncer = SyncThread::start()?;
    let (group, requests) = (Group::default(), VecDeque::new());
    let writer = Writer { log, index, clock, queue, idle_after, syncer, group, requests };
    thread::Builder::new().name("stemedb-writer".into()).spawn(move || writer.run())
}

/// How often the two threads look for each other before they sleep: waking up costs about half of a
/// sync.
const LOOKS_BEFORE_SLEEP: u32 = 200;

/// From so many records on it is worth while to sync in another thread.
const PARALLEL_RECORDS_MIN: usize = 8;

/// If so many records wait while a sync runs, they are written meanwhile. Fewer are better left to
/// wait for more: they would need a sync of their own.
const AHEAD_RECORDS_MIN: usize = 1024;

struct Writer<I: Index, C> {
    log: Log,
    index: I,
    clock: C,
    queue: Arc<Queue<I>>,
    idle_after: Duration,
    syncer: SyncThread,
    group: Group,
    /// Taken from the queue, and not begun.
    requests: VecDeque<Request<I>>,
}

/// Appends that are written, and those who wait for them.
struct Begun {
    staged: Staged,
    tickets: Vec<Ticket>,
}

impl<I: Index, C: FnMut() -> u64> Writer<I, C> {
    fn run(mut self) -> (Log, I) {
        let queue = Arc::clone(&self.queue);
        let _close = CloseOnDrop(&queue);
        let mut begun = None;
        let mut expected = 0;
        loop {
            if begun.is_none() && self.requests.is_empty() {
                let idle_after = Some(self.idle_after).filter(|_| !self.log.is_marked());
                match queue.take(&mut self.requests, expected, idle_after) {
                    Taken::Closed => return (self.log, self.index),
                    Taken::Idle => {
                        // A failure is kept by the log, and the next append is told.
                        let _ = self.log.mark();
                        expected = 0;
                        continue;
                    }
                    Taken::Work => expected = self.requests.len(),
                }
            }
            begun = match begun.take().or_else(|| self.begin()) {
                Some(begun) => self.settle(begun),
                None => None,
            };
            // Nothing is under way at this point unless it came before the call.
            if begun.is_none()
                && let Some(Request::Call(_)) = self.requests.front()
                && let Some(Request::Call(call)) = self.requests.pop_front()
            {
                call(&mut self.log, &mut self.index);
            }
        }
    }

    /// Writes the appends at the front of the queue, up to the next call.
    fn begin(&mut self) -> Option<Begun> {
        let mut submissions = Vec::new();
        let mut tickets = Vec::new();
        while let Some(Request::Append(..)) = self.requests.front() {
            if let Some(Request::Append(bodies, ticket)) = self.requests.pop_front() {
                submissions.push(bodies);
                tickets.push(ticket);
            }
        }
        if tickets.is_empty() {
            return None;
        }
        let now = (self.clock)();
        let references: Vec<&Submission> = submissions.iter().collect();
        let staged = self.group.stage(&mut self.log, &self.index, now, &references);
        Some(Begun { staged, tickets })
    }

    /// Syncs and applies what is written, and tells those who wait. If much is waiting by then it
    /// is written while the sync runs, and returned.
    fn settle(&mut self, begun: Begun) -> Option<Begun> {
        let Begun { staged, tickets } = begun;
        let mut ahead = None;
        let synced = if staged.placed.len() >= PARALLEL_RECORDS_MIN {
            self.syncer.begin(self.log.begin_sync());
            self.index.apply(&staged.placed);
            if self.requests.is_empty() && self.queue.records() >= AHEAD_RECORDS_MIN {
                self.queue.take_now(&mut self.requests);
                ahead = self.begin();
            }
            let done = self.syncer.finish();
            self.log.finish_sync(done)
        } else if staged.needs_sync() {
            let synced = self.log.sync();
            self.index.apply(&staged.placed);
            synced
        } else {
            Ok(())
        };
        if synced.is_ok() && staged.needs_sync() {
            self.log.publish();
            self.index.publish(self.log.durable());
        }
        for (ticket, result) in tickets.into_iter().zip(staged.results(synced)) {
            ticket.complete(result);
        }
        self.group.recycle(staged.placed);
        ahead
    }
}

/// The thread that syncs.
#[derive(Debug)]
struct SyncThread {
    jobs: Option<SyncSender<SyncJob>>,
    done: Receiver<SyncDone>,
    /// A job that the thread did not take, because it is gone.
    own: Option<SyncJob>,
    thread: Option<JoinHandle<()>>,
}

/// The next sync; `None` once there will be none. Looks for a while before it sleeps, as groups
/// follow one another closely when there is much to do.
fn next_job(inbox: &Receiver<SyncJob>) -> Option<SyncJob> {
    for _ in 0..LOOKS_BEFORE_SLEEP {
        match inbox.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => thread::yield_now(),
        }
    }
    inbox.recv().ok()
}

impl SyncThread {
    fn start() -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<SyncJob>(1);
        let (outbox, done) = sync_channel(1);
        let work = move || {
            while let Some(job) = next_job(&inbox) {
                if outbox.send(job.run()).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("stemedb-sync".into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, own: None, thread: Some(thread) })
    }
}

impl SyncThread {
    /// Begins a sync. One at a time.
    fn begin(&mut self, job: SyncJob) {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        if let Some(Err(refused)) = sent {
            self.own = Some(refused.0);
        }
    }

    /// Waits for its end.
    fn finish(&mut self) -> SyncDone {
        if let Some(job) = self.own.take() {
            return job.run();
        }
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if let Ok(done) = self.done.try_recv() {
                return done;
            }
            thread::yield_now();
        }
        self.done.recv().unwrap_or_else(|_| SyncDone::lost())
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and has then been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

//! The two threads: one writes, and one syncs while the first applies.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Index,
    group::{Group, Syncer},
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
    let writer = Writer { log, index, clock, queue, idle_after, syncer, group: Group::default() };
    thread::Builder::new().name("stemedb-writer".into()).spawn(move || writer.run())
}

struct Writer<I: Index, C> {
    log: Log,
    index: I,
    clock: C,
    queue: Arc<Queue<I>>,
    idle_after: Duration,
    syncer: SyncThread,
    group: Group,
}

impl<I: Index, C: FnMut() -> u64> Writer<I, C> {
    fn run(mut self) -> (Log, I) {
        let queue = Arc::clone(&self.queue);
        let _close = CloseOnDrop(&queue);
        let mut requests = VecDeque::new();
        let mut expected = 0;
        loop {
            let idle_after = Some(self.idle_after).filter(|_| !self.log.is_marked());
            match queue.take(&mut requests, expected, idle_after) {
                Taken::Closed => return (self.log, self.index),
                // A failure is kept by the log, and the next append is told.
                Taken::Idle => drop(self.log.mark()),
                Taken::Work => {
                    expected = requests.len();
                    self.work_off(&mut requests);
                }
            }
        }
    }

    /// Commits all appends up to each call, in order.
    fn work_off(&mut self, requests: &mut VecDeque<Request<I>>) {
        let mut appends = Vec::with_capacity(requests.len());
        for request in requests.drain(..) {
            match request {
                Request::Append(bodies, ticket) => appends.push((bodies, ticket)),
                Request::Call(call) => {
                    self.commit(&mut appends);
                    call(&mut self.log, &mut self.index);
                }
            }
        }
        self.commit(&mut appends);
    }

    fn commit(&mut self, appends: &mut Vec<(super::Submission, super::Ticket)>) {
        if appends.is_empty() {
            return;
        }
        let now = (self.clock)();
        let submissions: Vec<_> = appends.iter().map(|(bodies, _)| bodies).collect();
        let syncer: &mut dyn Syncer = &mut self.syncer;
        let results =
            self.group.commit(&mut self.log, &mut self.index, now, &submissions, Some(syncer));
        for ((_, ticket), result) in appends.drain(..).zip(results) {
            ticket.complete(result);
        }
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

impl SyncThread {
    fn start() -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<SyncJob>(1);
        let (outbox, done) = sync_channel(1);
        let work = move || {
            for job in inbox {
                if outbox.send(job.run()).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("stemedb-sync".into()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), done, own: None, thread: Some(thread) })
    }
}

impl Syncer for SyncThread {
    fn begin(&mut self, job: SyncJob) {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job));
        if let Some(Err(refused)) = sent {
            self.own = Some(refused.0);
        }
    }

    fn finish(&mut self) -> SyncDone {
        match self.own.take() {
            Some(job) => job.run(),
            None => self.done.recv().unwrap_or_else(|_| SyncDone::lost()),
        }
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

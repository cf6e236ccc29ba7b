//! The thread that commits what is queued.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Shared, Submission, Ticket,
    core::Core,
    group::Settled,
    queue::{CloseOnDrop, Request, Waited},
    verify::{self, Handover},
};

/// Starts the writer, and the thread that verifies what it hands over.
pub(super) fn start(shared: &Arc<Shared>, idle_after: Duration) -> io::Result<[JoinHandle<()>; 2]> {
    let (verifying, verifier) = verify::start(shared)?;
    let shared = Arc::clone(shared);
    let mut writer =
        Writer { shared, verifying, idle_after, requests: VecDeque::new(), commits: 0 };
    // If there is no thread for this one, the other ends with what it was started with.
    let work = move || writer.run();
    let writer = thread::Builder::new().name("stemedb-writer".into()).spawn(work)?;
    Ok([writer, verifier])
}

struct Writer {
    shared: Arc<Shared>,
    verifying: Handover,
    idle_after: Duration,
    /// Taken from the queue, and not begun.
    requests: VecDeque<Request>,
    /// How many commits there were at the last look.
    commits: u64,
}

impl Writer {
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let _close = CloseOnDrop(&shared.queue);
        loop {
            let expected = shared.last_batch_len.load(Ordering::Relaxed);
            match shared.queue.wait(expected, self.timer()) {
                Waited::Closed => return,
                Waited::TimerReset => {}
                Waited::Idle => self.idle(),
                Waited::Work => self.work(&shared),
            }
        }
    }

    /// After how much time without work there is something to do.
    fn timer(&mut self) -> Option<Duration> {
        let core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        let core = core.as_ref().filter(|core| !core.log.is_marked())?;
        self.commits = core.commits;
        Some(self.idle_after)
    }

    /// Writes a durable mark, unless somebody has committed in the meantime.
    fn idle(&mut self) {
        self.shared.last_batch_len.store(0, Ordering::Relaxed);
        self.shared.buffers.clear();
        let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = core.as_mut().filter(|core| core.commits == self.commits) {
            // A failure is kept by the log, and the next append is told.
            let _ = core.log.mark();
            core.index.idle();
        }
    }

    /// Takes all that waits, and does it. Until the last of it is done nobody can commit on their
    /// own, and so get ahead of what they queued before.
    fn work(&mut self, shared: &Shared) {
        let mut guard = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        let own = shared.queue.take(&mut self.requests);
        shared.last_batch_len.store(own, Ordering::Relaxed);
        let Some(core) = guard.as_mut() else { return self.requests.clear() };
        loop {
            let settled = self.commit(core);
            let Some(Request::Call(call)) = self.requests.pop_front() else {
                // Who is told may append again at once, on their own.
                drop(guard);
                return self.tell(settled);
            };
            self.tell(settled);
            call(&mut core.log, &mut core.index);
        }
    }

    /// Commits the appends at the front, up to the next call.
    fn commit(&mut self, core: &mut Core) -> Vec<(Ticket, Settled<'static>)> {
        let mut submissions: Vec<Submission<'static>> = Vec::new();
        let mut tickets: Vec<Ticket> = Vec::new();
        while let Some(Request::Append(..)) = self.requests.front() {
            if let Some(Request::Append(bodies, ticket)) = self.requests.pop_front() {
                submissions.push(bodies);
                tickets.push(ticket);
            }
        }
        if tickets.is_empty() {
            return Vec::new();
        }
        let (staged, synced) = core.commit(&submissions);
        let settled = tickets.into_iter().zip(staged.results(&synced, submissions)).collect();
        core.recycle(staged);
        settled
    }

    /// Tells those who wait; hands over what is to be verified first.
    fn tell(&self, settled: Vec<(Ticket, Settled<'static>)>) {
        for (ticket, settled) in settled {
            match settled {
                Settled::Done(result) => ticket.complete(result),
                Settled::Unverified(unverified) => self.verifying.send(unverified, ticket),
            }
        }
    }
}

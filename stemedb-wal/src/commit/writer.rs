//! The thread that commits what is queued.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Index, Shared, Submission, Ticket,
    queue::{CloseOnDrop, Request, Waited},
};

pub(super) fn start<I: Index + 'static>(
    shared: Arc<Shared<I>>,
    idle_after: Duration,
) -> io::Result<JoinHandle<()>> {
    let mut writer = Writer { shared, idle_after, requests: VecDeque::new(), commits: 0 };
    thread::Builder::new().name("stemedb-writer".into()).spawn(move || writer.run())
}

struct Writer<I: Index> {
    shared: Arc<Shared<I>>,
    idle_after: Duration,
    /// Taken from the queue, and not begun.
    requests: VecDeque<Request<I>>,
    /// How many commits there were at the last look.
    commits: u64,
}

impl<I: Index> Writer<I> {
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let _close = CloseOnDrop(&shared.queue);
        loop {
            let expected = shared.crowd.load(Ordering::Relaxed);
            match shared.queue.wait(expected, self.timer()) {
                Waited::Closed => return,
                Waited::Kicked => {}
                Waited::Idle => self.idle(),
                Waited::Work => {
                    self.take();
                    while !self.requests.is_empty() {
                        self.commit();
                        self.call();
                    }
                }
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
        self.shared.crowd.store(0, Ordering::Relaxed);
        let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = core.as_mut().filter(|core| core.commits == self.commits) {
            // A failure is kept by the log, and the next append is told.
            let _ = core.log.mark();
            core.index.idle();
        }
    }

    /// Takes all that waits. Nobody can commit on their own in between and so get ahead of it.
    fn take(&mut self) {
        let _core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.queue.take(&mut self.requests);
        self.shared.crowd.store(self.requests.len(), Ordering::Relaxed);
    }

    /// Commits the appends at the front, up to the next call, and tells those who wait.
    fn commit(&mut self) {
        let mut submissions: Vec<Submission> = Vec::new();
        let mut tickets: Vec<Ticket> = Vec::new();
        while let Some(Request::Append(..)) = self.requests.front() {
            if let Some(Request::Append(bodies, ticket)) = self.requests.pop_front() {
                submissions.push(bodies);
                tickets.push(ticket);
            }
        }
        if tickets.is_empty() {
            return;
        }
        let (staged, settled) = {
            let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(core) = core.as_mut() else { return };
            core.commit(&submissions)
        };
        for (ticket, result) in tickets.into_iter().zip(staged.results(settled)) {
            ticket.complete(result);
        }
        if let Some(core) = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            core.recycle(staged);
        }
    }

    /// Does the call at the front, if there is one.
    fn call(&mut self) {
        if let Some(Request::Call(_)) = self.requests.front()
            && let Some(Request::Call(call)) = self.requests.pop_front()
        {
            let mut core = self.shared.core.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(core) = core.as_mut() {
                call(&mut core.log, &mut core.index);
            }
        }
    }
}

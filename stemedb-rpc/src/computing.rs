//! Threads for what sessions compute, of the lowest priority: appends and calls of clients wait for
//! others.
//!
//! A session makes and checks hashes for as long as it runs, and a machine of two cores has no
//! other core to spare: what becomes ready meanwhile must not wait until a thread of a session has
//! used up its slice. The priority belongs to a thread, so these are none of the runtime's.

use std::{
    collections::VecDeque,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use stemedb_wal::background::lowest_priority;
use tokio::{sync::oneshot, task::spawn_blocking};

/// Threads at most: some of the work reads from a disk or an archive, and what waits for that must
/// not keep other sessions waiting.
const THREADS_MAX: usize = 64;

/// A thread without work ends after so long.
const IDLE_TIME_MAX: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// Threads that are begun when there is work for them, and end when there was none for a while.
struct Threads {
    state: Mutex<State>,
    ready: Condvar,
    max: usize,
}

struct State {
    work: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

static SESSIONS: Threads = Threads::new(THREADS_MAX);

/// Does something for a session that takes a while, or reads from a disk. A panic goes on here.
/// What is not begun when nobody waits for it any more is not done.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    try_compute(work).await.unwrap_or_else(|panic| resume_unwind(panic))
}

/// The same, with a panic as an error.
pub(crate) async fn try_compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::Result<T> {
    SESSIONS.run(work).await
}

impl Threads {
    const fn new(max: usize) -> Self {
        let state = State { work: VecDeque::new(), threads: 0, idle: 0 };
        Self { state: Mutex::new(state), ready: Condvar::new(), max }
    }

    async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::Result<T> {
        let (sender, done) = oneshot::channel();
        self.push(Box::new(move || {
            if !sender.is_closed() {
                // Nobody may be left to take it.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
            }
        }));
        match done.await {
            Ok(done) => done,
            // It went with the runtime whose thread it was given.
            Err(_) => pending().await,
        }
    }

    fn push(&'static self, work: Work) {
        let mut state = self.state();
        state.work.push_back(work);
        if state.work.len() <= state.idle {
            return self.ready.notify_one();
        }
        if state.threads >= self.max {
            return;
        }
        state.threads += 1;
        drop(state);
        let thread = thread::Builder::new().name("stemedb-session".into());
        if thread.spawn(|| self.serve()).is_ok() {
            return;
        }
        let mut state = self.state();
        state.threads -= 1;
        // Where the system has no thread to give, the runtime may have one.
        if state.threads == 0
            && let Some(work) = state.work.pop_front()
        {
            drop(state);
            drop(spawn_blocking(work));
        }
    }

    fn serve(&self) {
        lowest_priority();
        let mut state = self.state();
        loop {
            if let Some(work) = state.work.pop_front() {
                drop(state);
                work();
                state = self.state();
                continue;
            }
            state.idle += 1;
            let waited = self.ready.wait_timeout(state, IDLE_TIME_MAX);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.work.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole at each moment at which a thread could give up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    #[cfg(target_os = "linux")]
    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn sessions_give_way_to_everything_else() {
        let (here, there) = (nice(), compute(nice).await);
        assert_eq!(there, 19, "{here}");
        assert_eq!(nice(), here);
    }

    /// As many as wait for each other run at the same time, up to the limit.
    #[tokio::test]
    async fn what_waits_keeps_nobody_waiting() {
        static THREADS: Threads = Threads::new(8);
        let together = Arc::new(Barrier::new(8));
        let wait = || {
            let together = Arc::clone(&together);
            tokio::spawn(THREADS.run(move || together.wait().is_leader()))
        };
        let waiting: Vec<_> = (0..8).map(|_| wait()).collect();
        let mut leaders = 0;
        for one in waiting {
            leaders += u32::from(one.await.unwrap().unwrap());
        }
        assert_eq!(leaders, 1);
    }

    #[tokio::test]
    async fn a_panic_goes_on_where_it_is_waited_for() {
        let failed = tokio::spawn(compute(|| -> u32 { panic!("on purpose") })).await;
        assert!(failed.unwrap_err().is_panic());
        assert!(try_compute(|| -> u32 { panic!("on purpose") }).await.is_err());
        assert_eq!(compute(|| 7).await, 7, "the thread is still there, or another one");
    }

    /// The only thread is busy: what nobody waits for any more by the time it has one is left.
    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        static THREADS: Threads = Threads::new(1);
        let (busy, begun) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
        let keep = Arc::clone(&busy);
        let keeping = tokio::spawn(THREADS.run(move || keep.wait()));
        let count = || {
            let begun = Arc::clone(&begun);
            tokio::spawn(THREADS.run(move || begun.fetch_add(1, Relaxed)))
        };
        let (left, kept) = (count(), count());
        tokio::task::yield_now().await;
        left.abort();
        assert!(left.await.unwrap_err().is_cancelled());
        // In a thread of its own: this one is the runtime's only one.
        spawn_blocking(move || busy.wait()).await.unwrap();
        keeping.await.unwrap().unwrap();
        assert_eq!(kept.await.unwrap().unwrap(), 0);
        assert_eq!(begun.load(Relaxed), 1);
    }
}

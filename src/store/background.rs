//! The thread that writes restart checkpoints when they are due, and checks the present one.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use stemedb_wal::checkpoint::CheckpointFault;

use super::{
    Shared,
    checkpoint::{tail_len, write},
    lock,
};

/// With a tail of at most so many entries a clean close writes no checkpoint: replaying them takes
/// a few milliseconds.
pub(super) const TAIL_LEN_AT_CLOSE_MAX: u64 = 10_000;

/// How often is looked whether a checkpoint is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The thread, and how it is stopped.
#[derive(Debug)]
pub(super) struct Background {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

/// How a thread is told to stop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    asked: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn ask(&self) {
        {
            let _guard = lock(&self.lock);
            self.asked.store(true, Ordering::Relaxed);
        }
        self.changed.notify_all();
    }

    /// Sleeps, unless it is time to stop.
    pub(super) fn wait(&self, time: Duration) {
        let guard = lock(&self.lock);
        if !self.is_asked() {
            let slept = self.changed.wait_timeout(guard, time);
            drop(slept.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Background {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let work = {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            move || {
                check_present(&shared, &stop);
                // What opening has left for later.
                drop(shared.trees.folded());
                write_when_due(&shared, &stop);
            }
        };
        let thread = thread::Builder::new().name("stemedb-checkpoint".into()).spawn(work)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread, after the checkpoint that it may be writing.
    pub(super) fn stop(self) {
        self.stop.ask();
        // It can only have panicked, and has then been reported by the panic itself.
        let _ = self.thread.join();
    }
}

/// Checks every block of the checkpoint that the store was opened with. A damaged one is set aside,
/// so that the next opening rebuilds it; what needs the damaged block meanwhile fails and says so.
fn check_present(shared: &Shared, stop: &Stop) {
    let Some(present) = lock(&shared.checkpoint).clone() else { return };
    let checked = present.check(&mut |_| {
        if stop.is_asked() {
            // The rest is checked when it is touched, and at the next opening.
            return false;
        }
        true
    });
    if let Err(error) = checked {
        let mut current = lock(&shared.checkpoint);
        // Best effort: what is not set aside now is found again at the next opening.
        let _ = present.set_aside(shared.disk.as_ref(), &CheckpointFault::Archive(error));
        *current = None;
    }
}

fn write_when_due(shared: &Shared, stop: &Stop) {
    let options = &shared.options;
    let mut waited = Duration::ZERO;
    while !stop.is_asked() {
        stop.wait(LOOK_EVERY);
        waited += LOOK_EVERY;
        let tail = tail_len(shared);
        let due =
            tail >= options.checkpoint_every || tail > 0 && waited >= options.checkpoint_interval;
        if due && !stop.is_asked() {
            waited = Duration::ZERO;
            // A failure costs time at the next opening, nothing else, and is met again by whoever
            // asks for a checkpoint.
            let _ = write(shared);
        }
    }
}

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

use crate::{checkpoint::CheckpointFault, index::CheckpointPace};
use stemedb_merkle::MappedSetError;
use stemedb_wal::background::lower_priority;

use super::{
    Shared,
    checkpoint::{leave_damaged, tail_len, write},
    lock,
};

/// With a tail of at most so many entries a clean close writes no checkpoint: replaying them takes
/// a few milliseconds.
pub(super) const TAIL_LEN_AT_CLOSE_MAX: u64 = 10_000;

/// How often is looked whether a checkpoint is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long after a checkpoint could not be written it is tried again; twice as long after each
/// further failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The longest pause between two tries.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

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
                lower_priority();
                let writes = WritesWhenDue::begin(&shared.pace);
                check_present(&shared, &stop);
                // What opening has left for later. If it fails, callers are told.
                drop(shared.index.folded());
                write_when_due(&shared, &stop);
                drop(writes);
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

/// The time in which the thread writes checkpoints, however it ends.
struct WritesWhenDue<'a>(&'a CheckpointPace);

impl<'a> WritesWhenDue<'a> {
    fn begin(pace: &'a CheckpointPace) -> Self {
        pace.set_written_when_due(true);
        Self(pace)
    }
}

impl Drop for WritesWhenDue<'_> {
    fn drop(&mut self) {
        self.0.set_written_when_due(false);
    }
}

/// Checks every block of the checkpoint that the store was opened with, unless the next one is due.
/// A damaged one is left for the log, and set aside.
fn check_present(shared: &Shared, stop: &Stop) {
    let Some(present) = lock(&shared.checkpoint).clone() else { return };
    // When it has to stop, the rest is checked when it is touched, and at the next opening.
    let every = shared.options.checkpoint_every;
    let mut goes_on = |_| !stop.is_asked() && tail_len(shared) < every;
    let checked = present.check_on(shared.disk.as_ref(), &mut goes_on);
    let damage = match checked {
        // A file that can't be opened now does not concern what is in use.
        Ok(()) | Err(CheckpointFault::Io(_)) => return,
        Err(CheckpointFault::MappedSet(damage)) => damage,
        Err(_) => {
            let (name, _) = present.file_sizes().swap_remove(0);
            MappedSetError::Inconsistent { file: name.into() }
        }
    };
    // Before somebody meets it. What can't be done now is done when it is met, or when the store is
    // closed.
    let _ = shared.index.leave_mapped_set(&damage);
    let _ = leave_damaged(shared);
}

fn write_when_due(shared: &Shared, stop: &Stop) {
    let options = &shared.options;
    let mut waited = Duration::ZERO;
    // After a failure, how long until the next try.
    let mut pause: Option<Duration> = None;
    while !stop.is_asked() {
        stop.wait(LOOK_EVERY);
        waited += LOOK_EVERY;
        let tail = tail_len(shared);
        let due = match pause {
            Some(pause) => waited >= pause,
            None => tail >= options.checkpoint_every || waited >= options.checkpoint_interval,
        };
        if due && tail > 0 && !stop.is_asked() {
            waited = Duration::ZERO;
            // A failure costs time at the next opening, nothing else; `Store::upkeep` tells.
            let written = write(shared).is_ok();
            shared.pace.set_written_when_due(written);
            let longer = pause.map_or(RETRY_AFTER, |pause| 2 * pause).min(RETRY_AFTER_MAX);
            pause = (!written).then_some(longer);
        }
    }
}

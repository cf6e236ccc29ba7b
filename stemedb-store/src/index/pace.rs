//! Pace of appends where restart checkpoints fall behind: what no checkpoint has is in memory.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Entries that the last restart checkpoint covers, and whether appends wait for the next one.
#[derive(Debug)]
pub(crate) struct CheckpointPace {
    /// After so many entries a checkpoint is due.
    every: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// Appends wait where checkpoints lack so many times what one is written after.
const LAG_CHECKPOINTS: u64 = 4;

/// And beyond that one for so many assertions: a larger store takes longer to write a new base.
const LAG_SHARE: u64 = 16;

/// They do not wait for less than that.
const LAG_LEN_MIN: u64 = 1 << 18;

#[derive(Debug)]
struct State {
    covered: u64,
    /// Somebody writes checkpoints when they are due, and is able to.
    written_when_due: bool,
}

impl CheckpointPace {
    /// The last checkpoint covers so many entries, and nobody writes the next one, which is due
    /// after `every` more.
    pub(crate) fn new(covered: u64, every: u64) -> Self {
        let state = State { covered, written_when_due: false };
        Self { every, state: state.into(), changed: Condvar::new() }
    }

    /// How many entries the last checkpoint covers.
    pub(crate) fn covered(&self) -> u64 {
        self.state().covered
    }

    /// The last checkpoint covers so many entries.
    pub(crate) fn cover(&self, entries: u64) {
        self.state().covered = entries;
        self.changed.notify_all();
    }

    /// Says whether checkpoints are written when they are due. Where they are not, or cannot be,
    /// appends go on without.
    pub(crate) fn set_written_when_due(&self, written: bool) {
        self.state().written_when_due = written;
        self.changed.notify_all();
    }

    /// Waits while a log of so many entries, and of so many assertions, has too many that no
    /// checkpoint covers: each takes about 100 bytes of memory.
    pub(crate) fn wait(&self, entries: u64, assertions: u64) {
        let lag_max = self.every.saturating_mul(LAG_CHECKPOINTS).max(LAG_LEN_MIN);
        let lag_max = lag_max.saturating_add(assertions / LAG_SHARE);
        let mut state = self.state();
        while state.written_when_due && entries.saturating_sub(state.covered) > lag_max {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn appends_wait_for_checkpoints_that_are_written_and_for_no_others() {
        let every = 100_000;
        let pace = CheckpointPace::new(100, every);
        let last = 100 + LAG_CHECKPOINTS * every;
        pace.wait(u64::MAX, 0);
        pace.set_written_when_due(true);
        pace.wait(last, 0);
        pace.wait(last + 10, 10 * LAG_SHARE);
        pace.wait(50, 0);
        for resume in [
            |pace: &CheckpointPace| pace.cover(101),
            |pace: &CheckpointPace| pace.set_written_when_due(false),
        ] {
            pace.cover(100);
            pace.set_written_when_due(true);
            thread::scope(|scope| {
                let (done, over) = mpsc::channel();
                let pace = &pace;
                scope.spawn(move || {
                    pace.wait(last + 1, 0);
                    done.send(()).unwrap();
                });
                // One that does not wait is done long before.
                let waits = over.recv_timeout(Duration::from_millis(200));
                assert_eq!(waits, Err(mpsc::RecvTimeoutError::Timeout));
                resume(pace);
                over.recv().unwrap();
            });
        }
    }
}

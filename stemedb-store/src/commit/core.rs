//! One commit: look up, write, note, sync, publish. No threads of its own.

use std::fmt;

use stemedb_merkle::Timestamp;

use super::{
    Submission,
    group::{Group, Staged},
};
use crate::index::IndexWriter;
use stemedb_wal::{error::AppendError, log::Log};

/// Log and index, and what it takes to commit to them.
pub(super) struct Core {
    pub(super) log: Log,
    pub(super) index: IndexWriter,
    clock: Box<dyn FnMut() -> Timestamp + Send>,
    group: Group,
    /// How many commits there were.
    pub(super) commits: u64,
}

impl Core {
    pub(super) fn new(
        log: Log,
        index: IndexWriter,
        clock: impl FnMut() -> Timestamp + Send + 'static,
    ) -> Self {
        Self { log, index, clock: Box::new(clock), group: Group::default(), commits: 0 }
    }

    /// Appends bodies with one sync. The result says whether all is durable and published.
    pub(super) fn commit(
        &mut self,
        submissions: &[Submission<'_>],
    ) -> (Staged, Result<(), AppendError>) {
        self.commits += 1;
        self.index.keep_pace();
        let now = (self.clock)();
        let staged = self.group.stage(&mut self.log, &self.index, now, submissions);
        if !staged.needs_sync() {
            return (staged, Ok(()));
        }
        // Before the sync, which gives the index time for what it does in other threads.
        self.index.apply(&staged.placed);
        let synced = self.log.sync();
        if synced.is_ok() {
            self.log.publish();
            self.index.publish(self.log.durable());
        }
        (staged, synced)
    }

    /// Takes memory back that a commit does not need any more.
    pub(super) fn recycle(&mut self, staged: Staged) {
        self.group.recycle(staged.placed);
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("commits", &self.commits).finish_non_exhaustive()
    }
}

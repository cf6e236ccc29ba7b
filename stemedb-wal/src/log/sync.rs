//! From written to durable, and from durable to seen by readers.

use std::{io, sync::Arc};

use super::{Log, NewRecord, Watermark};
use crate::{
    batch,
    disk::DiskFile,
    error::{Action, AppendError},
};

/// What is known to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) mark: Watermark,
    pub(super) last_time: u64,
}

/// A sync that can be done by another thread: see [`Log::begin_sync`].
#[derive(Debug)]
#[must_use = "nothing is durable before it ran"]
pub struct SyncJob {
    file: Arc<dyn DiskFile>,
    upto: Durable,
}

/// A sync that is done, or failed: for [`Log::finish_sync`].
#[derive(Debug)]
#[must_use = "the log must hear of it"]
pub struct SyncDone {
    result: io::Result<()>,
    upto: Durable,
}

impl SyncDone {
    /// Of a sync whose end is not known.
    pub(crate) fn lost() -> Self {
        let result = Err(io::Error::other("the thread that synced is gone"));
        Self { result, upto: Durable::default() }
    }
}

impl SyncJob {
    /// Syncs. Blocks for as long as the disk takes.
    pub fn run(self) -> SyncDone {
        SyncDone { result: self.file.sync(), upto: self.upto }
    }
}

impl Log {
    /// Makes durable all that was written.
    ///
    /// # Errors
    ///
    /// If the sync fails, now or earlier: the log is then poisoned.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check_poison()?;
        if self.durable.mark.position == self.end() {
            return Ok(());
        }
        let done = self.begin_sync().run();
        self.finish_sync(done)
    }

    /// The sync of all that was written so far, for another thread to run.
    ///
    /// The log may be written meanwhile.
    pub fn begin_sync(&self) -> SyncJob {
        let mark = Watermark { position: self.end(), next_index: self.next_index };
        let upto = Durable { mark, last_time: self.last_time };
        SyncJob { file: Arc::clone(&self.open.file), upto }
    }

    /// Takes note of a sync.
    ///
    /// # Errors
    ///
    /// If it failed: the log is then poisoned.
    pub fn finish_sync(&mut self, done: SyncDone) -> Result<(), AppendError> {
        self.check_poison()?;
        if let Err(source) = done.result {
            return Err(self.poison(Action::Sync, source));
        }
        self.syncs = self.syncs.saturating_add(1);
        if done.upto.mark.position > self.durable.mark.position {
            self.durable = done.upto;
        }
        Ok(())
    }

    /// Lets readers see all that is durable.
    pub fn publish(&self) {
        let Durable { mark, last_time } = self.durable;
        self.shared.publish(mark.position, mark.next_index, last_time);
    }

    /// Syncs, and writes down how far the log is durable, unless that has been done.
    ///
    /// From then on no part of it can be taken for torn. Cheap when there is nothing to do, so it
    /// can be called whenever the log is idle. Where the disk has no room left for it, it is left
    /// out: the log can be opened and closed on a full disk.
    ///
    /// # Errors
    ///
    /// If a write or a sync fails, now or earlier: the log is then poisoned.
    pub fn mark(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        if self.marked >= self.records_end || !self.has_room_for_mark() {
            return Ok(());
        }
        self.write_batch::<NewRecord<'_>>(&[], 0, &mut Vec::new())?;
        self.sync()
    }

    fn has_room_for_mark(&mut self) -> bool {
        let needed = self.offset + batch::FRAME_LEN;
        if needed <= self.allocated {
            return true;
        }
        match self.open.file.allocate(needed) {
            Ok(()) => {
                self.allocated = needed;
                true
            }
            // Any other failure shows again when the mark is written.
            Err(error) => error.kind() != io::ErrorKind::StorageFull,
        }
    }
}

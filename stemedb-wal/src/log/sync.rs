//! From written to durable, and from durable to seen by readers.

use std::io;

use super::{Log, NewRecord, Watermark};
use crate::{
    batch,
    error::{Action, AppendError},
};

/// What is known to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) mark: Watermark,
    pub(super) last_time: u64,
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
        if let Err(source) = self.file.sync() {
            return Err(self.poison(Action::Sync, source));
        }
        // What is in a file that nobody finds again is not durable, whatever the sync has done.
        self.shared.check_place().map_err(AppendError::Poisoned)?;
        // Each sync is of a batch at least, and a segment has no room for 2^32 of them.
        self.syncs += 1;
        let mark = Watermark { position: self.end(), next_index: self.next_index() };
        self.durable = Durable { mark, last_time: self.last_time };
        Ok(())
    }

    /// Lets readers see all that is durable.
    pub fn publish(&self) {
        let Durable { mark, last_time } = self.durable;
        self.shared.publish(mark.position.get(), mark.next_index.get(), last_time);
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
        match self.file.allocate(needed) {
            Ok(()) => {
                self.allocated = needed;
                true
            }
            // Any other failure shows again when the mark is written.
            Err(error) => error.kind() != io::ErrorKind::StorageFull,
        }
    }
}

//! A reader beside the writer of another process, or of none: how far it has come, and going on.

use super::{LogReader, Watermark};
use crate::{
    batch,
    disk::Disk,
    error::{Action, DiskError},
    files,
    internal::filled,
};

/// Sizes of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// How many segments, the open one included.
    pub segments: u64,
    /// How many bytes from the first header to the end of what is published.
    pub bytes: u64,
    /// How many bytes are reserved behind that in the open segment.
    pub reserved: u64,
}

impl LogReader {
    /// Up to where the log is published, and how many entries there are before.
    pub fn reached(&self) -> Watermark {
        Watermark { position: self.end(), next_index: self.next_index() }
    }

    /// Whether the log may be another one than what is published: a writer has gone on, or it has
    /// lost its end. Lists the directory as it is now, and reads a few bytes.
    ///
    /// # Errors
    ///
    /// If the disk fails, or the open segment is gone.
    pub fn has_more(&self, disk: &dyn Disk) -> Result<bool, DiskError> {
        let segments = self.shared().segments();
        let Some(open) = segments.last() else { return Ok(true) };
        if files::list(disk)?.iter().any(|name| open.is_before(name)) {
            return Ok(true);
        }
        let failed = |action, source| files::failed(disk, action, &open.name, source);
        let file = disk.open(&open.name).map_err(|source| failed(Action::Open, source))?;
        let offset = self.end().get() - open.header.first_position;
        if file.len().map_err(|source| failed(Action::Measure, source))? < offset {
            return Ok(true);
        }
        let mut bytes = [0; batch::HEADER_LEN];
        let read = file.read_at(&mut bytes, offset).map_err(|source| {
            failed(Action::Read { len: batch::HEADER_LEN as u64, offset }, source)
        })?;
        Ok(filled(&bytes, read).iter().any(|byte| *byte != 0))
    }

    /// Shows what another reader of the same log shows, which is as long or longer.
    pub fn adopt(&self, newer: &Self) {
        self.shared().replace_all(newer.shared().segments());
        let Watermark { position, next_index } = newer.reached();
        let last_time = newer.last_time().as_ntp64();
        self.shared().publish(position.get(), next_index.get(), last_time);
    }

    /// Sizes of what is published.
    ///
    /// # Errors
    ///
    /// If the open segment cannot be measured.
    pub fn stats(&self) -> Result<LogStats, DiskError> {
        let (bytes, segments) = (self.end().get(), self.shared().segments());
        let reserved = match segments.last() {
            None => 0,
            Some(open) => {
                let len = open.on(&*self.shared().disk).len()?;
                (open.header.first_position + len).saturating_sub(bytes)
            }
        };
        Ok(LogStats { segments: segments.len() as u64, bytes, reserved })
    }
}

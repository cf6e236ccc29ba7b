//! A reader beside the writer of another process, or of none: how far it has come, and going on.

use std::sync::Arc;

use stemedb_merkle::{Hash, LogIndex};

use super::{
    LogReader, Replayed, UnfinishedBatch, Watermark,
    recovery::{
        last::{Tail, read_on},
        survey::Found,
    },
    segments::{Offsets, Segment},
};
use crate::{
    disk::Disk,
    error::{Action, DiskError},
    files,
    internal::filled,
    record::{HEAD_LEN, Head},
    scan::{Scanner, file::SegmentFile, judge::Verdict},
    segment::{HEADER_LEN, SegmentHeader},
};

/// What a writer has appended to the open segment behind what a reader shows.
#[derive(Debug)]
pub struct Appended {
    segment: Arc<Segment>,
    tail: Tail,
}

impl Appended {
    /// Up to where the log will be shown.
    pub fn reached(&self) -> Watermark {
        self.tail.watermark(&self.segment.header)
    }

    /// The batch that is under way behind that, if there is one.
    pub fn unfinished(&self) -> Option<UnfinishedBatch> {
        (self.tail.rest == Verdict::Torn).then(|| self.tail.front())
    }
}

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

    /// Reads the whole batches that a writer has appended to the open segment, and hands their
    /// records to `replay`; nothing of them is shown before [`show`](Self::show). `None` where only
    /// opening the log finds out what there is: where it goes on in another segment, is another
    /// one, or has something else behind its last whole batch than a batch under way.
    ///
    /// `last_id` is that of the last entry that is shown, and `unfinished` what the call before
    /// found to be under way. Reads what is new and, once for each batch that is under way, the
    /// rest of the file.
    ///
    /// # Errors
    ///
    /// If the disk fails, or the open segment is gone.
    pub fn read_on(
        &self,
        disk: &dyn Disk,
        last_id: Option<Hash>,
        unfinished: Option<UnfinishedBatch>,
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<Option<Appended>, DiskError> {
        let segments = self.shared().segments();
        let Some(open) = segments.last() else { return Ok(None) };
        let Offsets::Memory(offsets) = &open.offsets else { return Ok(None) };
        if files::list(disk)?.iter().any(|name| open.is_before(name)) {
            return Ok(None);
        }
        let failed = |action, source| files::failed(disk, action, &open.name, source);
        let file = disk.open(&open.name).map_err(|source| failed(Action::Open, source))?;
        let len = file.len().map_err(|source| failed(Action::Measure, source))?;
        let (name, header, file) = (open.name.clone(), open.header, file.into());
        let found = Found { name, file, len, header };
        if !self.is_front_of(found.file(disk), &header, last_id)? {
            return Ok(None);
        }
        let offset = self.end().get() - header.first_position;
        let (next_index, last_time) = (self.next_index().get(), self.last_time().as_ntp64());
        let scanner = Scanner::resumed(&header, offset, next_index, last_time);
        let mut tail = read_on(found.file(disk), &found, scanner, unfinished)?;
        if !matches!(tail.rest, Verdict::End | Verdict::Torn) {
            return Ok(None);
        }
        let placed = std::mem::take(&mut tail.placed);
        if !placed.is_empty() {
            let (placed, bytes) = (placed.as_slice(), tail.bytes.as_slice());
            let first_position = header.first_position + tail.base;
            replay(Replayed { placed, bytes, first_position, remote: false });
        }
        let offsets = Offsets::Memory(Arc::clone(offsets));
        let segment = Arc::new(Segment { name: found.name, file: found.file, header, offsets });
        Ok(Some(Appended { segment, tail }))
    }

    /// Whether a file is the open segment with the last entry that is shown in its place, as far as
    /// that lies in it.
    fn is_front_of(
        &self,
        file: SegmentFile<'_>,
        header: &SegmentHeader,
        last_id: Option<Hash>,
    ) -> Result<bool, DiskError> {
        let mut bytes = [0; HEADER_LEN];
        let read = file.read_at(&mut bytes, 0)?;
        if SegmentHeader::parse(filled(&bytes, read)).as_ref() != Ok(header) {
            return Ok(false);
        }
        let next = self.next_index();
        let Some(last) = next.get().checked_sub(1).filter(|last| *last >= header.first_index)
        else {
            return Ok(true);
        };
        let Ok(position) = self.position_of(LogIndex(last)) else { return Ok(false) };
        let mut bytes = [0; HEAD_LEN];
        let read = file.read_at(&mut bytes, position.get() - header.first_position)?;
        let head = Head::parse(filled(&bytes, read), header.salt, position.get());
        Ok(head.is_some_and(|head| {
            let found = (head.index, head.time, Some(head.id));
            found == (last, self.last_time().as_ntp64(), last_id)
        }))
    }

    /// Shows what was read, which is of the log as it is shown now.
    pub fn show(&self, appended: &Appended) {
        let Appended { segment, tail, .. } = appended;
        if let Offsets::Memory(offsets) = &segment.offsets {
            offsets.extend(tail.offsets.iter().copied());
        }
        self.shared().replace_open(Arc::clone(segment));
        let Watermark { position, next_index } = appended.reached();
        self.shared().publish(position.get(), next_index.get(), tail.reached.last_time);
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

//! Goes on in a new segment.
//!
//! In this order, so that at each moment a power cut leaves a log that opens: the last batch is
//! synced; the footer is written, the file cut to its length and synced; the next file gets its
//! header, is synced, renamed into place, and the directory synced. Only then does it get batches.

use std::sync::Arc;

use tracing::debug;

use super::{
    Log, Recovered, Watermark,
    handles::{Handles, SealedFile},
    offsets::MemoryOffsets,
    segments::{Offsets, Segment},
    spare::SpareFile,
};
use crate::{
    disk::{Disk, DiskFile, SPARE_NAME},
    error::{Action, AppendError, DiskError},
    internal::{in_segment, internal_error},
    log::Origin,
    remote::Opened,
    segment::{HEADER_LEN, SegmentHeader, encode_footer, segment_name, segment_salt},
};

impl Log {
    pub(super) fn roll(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        // Nothing is sealed or made in a directory that is another's by now.
        self.shared.check_place().map_err(AppendError::Poisoned)?;
        let (sealed, previous_sum) = self.seal()?;
        let header = SegmentHeader {
            store_id: self.origin.store_id,
            generation: self.origin.generation,
            previous_sum,
            first_index: self.next_index,
            first_position: self.end().get(),
            salt: segment_salt(&self.origin.salt_seed, self.origin.generation, self.next_index),
            time_before: self.last_time,
        };
        let disk = Arc::clone(&self.shared.disk);
        let made = self
            .spare
            .take()
            .map_err(|source| DiskError::new(Action::Create, disk.path(SPARE_NAME), source))
            .and_then(|spare| {
                self.filled = spare.filled;
                install(&*disk, &header, spare)
            });
        let Installed { segment: next, file, len } =
            made.map_err(|failure| self.poison_with(failure))?;
        // The next one is locked. This one never changes again, and may be linked into a backup,
        // which would seem to be in use. If it stays locked, that is all that happens.
        let _ = self.file.unlock();
        self.shared.replace_last(sealed, Arc::clone(&next));
        (self.open, self.file) = (next, file);
        self.offset = HEADER_LEN as u64;
        self.allocated = len;
        self.syncs = 0;
        // The header is durable as well, and nothing else lies between.
        self.durable.mark = Watermark { position: self.end(), next_index: self.next_index() };
        // A segment that follows says as much as a mark.
        self.marked = self.end().get();
        self.records_end = self.end().get();
        debug!(segment = %self.open.name, first_index = self.next_index, "the log goes on");
        Ok(())
    }

    /// Seals the open segment if it has entries, and goes on in the next one. Returns whether it
    /// did: a segment without entries can't be followed by another.
    ///
    /// # Errors
    ///
    /// As for an append that needs a new segment: the log is then poisoned.
    pub fn seal_open(&mut self) -> Result<bool, AppendError> {
        self.check_poison()?;
        if self.next_index == self.open.header.first_index {
            return Ok(false);
        }
        self.roll()?;
        // Readers are to find the end of the log in its last segment.
        self.publish();
        Ok(true)
    }

    /// Writes the footer of the open segment, which is synced. Moves the end of the log behind it.
    fn seal(&mut self) -> Result<(Arc<Segment>, u32), AppendError> {
        let header = self.open.header;
        let offsets = match &self.open.offsets {
            Offsets::Memory(offsets) => offsets.all(self.open.on(&*self.shared.disk), &header),
            Offsets::File { .. } => internal_error("the open segment has a footer"),
        };
        let offsets = offsets.map_err(|error| AppendError::Lookup(Arc::new(error)))?;
        let entries = in_segment(offsets.len());
        let (footer, sum) = encode_footer(
            header.salt,
            header.first_position,
            self.offset,
            header.first_index,
            self.last_time,
            &offsets,
        );
        let file = Arc::clone(&self.file);
        let (offset, len) = (self.offset, footer.len() as u64);
        file.write_at(&footer, offset)
            .map_err(|source| self.poison(Action::Write { len, offset }, source))?;
        let len = offset + len;
        file.set_len(len).map_err(|source| self.poison(Action::Cut { len }, source))?;
        file.sync().map_err(|source| self.poison(Action::Sync, source))?;
        (self.offset, self.allocated) = (len, len);
        let sealed = Segment {
            name: self.open.name.clone(),
            file: SealedFile::opened(&self.open.name, Opened::Local(file), &self.shared.handles),
            header,
            offsets: Offsets::File { at: offset, entries },
        };
        Ok((Arc::new(sealed), sum))
    }
}

/// A segment that was made, to be written to.
struct Installed {
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
    /// The length of the file.
    len: u64,
}

/// Makes a file a segment, durably, under its final name.
fn install(
    disk: &dyn Disk,
    header: &SegmentHeader,
    spare: SpareFile,
) -> Result<Installed, DiskError> {
    let name = segment_name(header.generation, header.first_index);
    let failed = |action, source| DiskError::new(action, disk.path(SPARE_NAME), source);
    let SpareFile { file, len, .. } = spare;
    let bytes = header.encode();
    // Before anybody can open it under its final name.
    file.lock().map_err(|source| failed(Action::Lock, source))?;
    file.write_at(&bytes, 0)
        .map_err(|source| failed(Action::Write { len: bytes.len() as u64, offset: 0 }, source))?;
    file.sync().map_err(|source| failed(Action::Sync, source))?;
    disk.rename(SPARE_NAME, &name).map_err(|source| failed(Action::Rename, source))?;
    disk.sync_dir()
        .map_err(|source| DiskError::new(Action::SyncDirectory, disk.path(""), source))?;
    let offsets = Offsets::Memory(Arc::new(MemoryOffsets::default()));
    let segment = Segment { name, file: Arc::clone(&file).into(), header: *header, offsets };
    Ok(Installed { segment: Arc::new(segment), file, len: len.max(bytes.len() as u64) })
}

/// The header of the first segment of a log.
pub(crate) fn first_header(origin: &Origin) -> SegmentHeader {
    SegmentHeader {
        store_id: origin.store_id,
        generation: origin.generation,
        previous_sum: 0,
        first_index: 0,
        first_position: 0,
        salt: segment_salt(&origin.salt_seed, origin.generation, 0),
        time_before: 0,
    }
}

/// Makes the first segment of a log.
pub(crate) fn create_first(handles: Arc<Handles>, origin: &Origin) -> Result<Recovered, DiskError> {
    let disk = handles.dir().disk();
    let failed = |source| DiskError::new(Action::Create, disk.path(SPARE_NAME), source);
    let file = super::spare::fresh(&**disk).map_err(failed)?;
    let Installed { segment: open, file, len: allocated } =
        install(&**disk, &first_header(origin), SpareFile::new(file))?;
    Ok(Recovered {
        segments: vec![Arc::clone(&open)],
        handles,
        open,
        file,
        offset: HEADER_LEN as u64,
        allocated,
        next_index: 0,
        last_time: 0,
        marked: HEADER_LEN as u64,
        records_end: HEADER_LEN as u64,
    })
}

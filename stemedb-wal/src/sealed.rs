//! Sealed segments as whole files: what leaves this machine for an archive, and comes back.
//!
//! A sealed segment never changes but by repair, and says where it belongs: its header and trailer
//! tie it to the segment before and the one behind. So a copy of it, wherever it was kept, can be
//! held against the log without the log.

#[cfg(feature = "zstd")]
mod compress;
#[cfg(feature = "zstd")]
mod pack;

use std::{io, ops::Range};

use stemedb_merkle::{Hash, LogIndex, Timestamp};

pub use crate::compressed::{CannotDecompress, CompressedSegment, Compression};
pub use crate::segment::{
    HEADER_LEN, SEGMENT_LEN_MAX, SegmentHeader, parse_segment_name, segment_name,
};

use crate::{
    disk::Disk,
    error::{Action, DamageKind, DiskError},
    files,
    internal::in_memory,
    log::{LogReader, Placed},
    position::Position,
    remote::{LogDir, Opened, PART_LEN},
    scan::{Gap, Scanner, offsets_of},
    segment::{HeaderError, segment_salt},
};

/// A sealed segment of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// The name of its file.
    pub name: String,
    /// The index of its first entry.
    pub first_index: LogIndex,
    /// The index of the first entry behind it.
    pub next_index: LogIndex,
    /// The position of its first byte.
    pub first_position: Position,
    /// How many bytes it has.
    pub len: u64,
}

/// What a segment file holds that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSegment {
    /// What stands at its front.
    pub header: SegmentHeader,
    /// The checksum of its trailer, which the next header repeats.
    pub trailer_sum: u32,
    /// How many bytes it has.
    pub len: u64,
    /// The index of the first entry behind it.
    pub next_index: LogIndex,
    /// The time of the last entry up to its end.
    pub last_time: Timestamp,
    /// Its records, in order.
    pub placed: Vec<Placed>,
}

/// Where the bytes of a segment are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} at offset {offset}: {what}")]
pub struct SegmentFault {
    /// The offset in the file.
    pub offset: u64,
    /// The entry that it is about, or the next one.
    pub index: LogIndex,
    /// What is wrong.
    pub what: DamageKind,
}

/// Checks all bytes of a sealed segment: header, batches, records, bodies, offsets, trailer. Bodies
/// are held against their checksums; against their ids only the caller can hold them.
///
/// O(bytes).
///
/// # Errors
///
/// At the first byte that is not what was written. A segment of another format version is damage
/// of its header.
pub fn check_segment(bytes: &[u8]) -> Result<CheckedSegment, SegmentFault> {
    check_bodies_from(bytes, 0)
}

/// Checks what is kept of a segment in an archive: as [`check_segment`] but for the bodies. `None`
/// if it is not what was written, or begins with another header.
pub(crate) fn check_kept(header: &SegmentHeader, bytes: &[u8]) -> Option<CheckedSegment> {
    check_bodies_from(bytes, u64::MAX).ok().filter(|found| found.header == *header)
}

fn check_bodies_from(bytes: &[u8], position: u64) -> Result<CheckedSegment, SegmentFault> {
    let fault = |offset, index, what| SegmentFault { offset, index: LogIndex(index), what };
    let header = SegmentHeader::parse(bytes).map_err(|error| {
        let offset = if error == HeaderError::Damaged { 0 } else { 8 };
        fault(offset, 0, DamageKind::SegmentHeader)
    })?;
    // Positions of what is in here are sums of these: no file makes them wrap.
    if header.first_position.checked_add(bytes.len() as u64).is_none() {
        return Err(fault(48, header.first_index, DamageKind::SegmentHeader));
    }
    let scanned = Scanner::new(&header).check_bodies_from(position).all(bytes);
    let (reached, Gap { offset, index, what }) = (scanned.reached, scanned.gap);
    let offsets: Vec<u32> = offsets_of(&header, &scanned.placed).collect();
    let (footer, trailer_sum) = reached.footer(&header, &offsets);
    if bytes.get(in_memory(reached.offset)..) != Some(footer.as_slice()) {
        // Either the footer is not the one of these batches, or the batches go on and are damaged.
        return Err(match what {
            DamageKind::Short => fault(reached.offset, reached.next_index, what),
            _ if offset == reached.offset => fault(offset, index, DamageKind::Footer),
            _ => fault(offset, index, what),
        });
    }
    Ok(CheckedSegment {
        header,
        trailer_sum,
        len: bytes.len() as u64,
        next_index: LogIndex(reached.next_index),
        last_time: Timestamp::from_ntp64(reached.last_time),
        placed: scanned.placed,
    })
}

impl CheckedSegment {
    /// The body of one of its records, in the bytes that were checked.
    pub fn body<'a>(&self, bytes: &'a [u8], placed: &Placed) -> &'a [u8] {
        placed.body_in(bytes, self.header.first_position)
    }

    /// The header of the segment that follows, in a store with this salt seed.
    pub fn next_header(&self, salt_seed: &[u8; 16]) -> SegmentHeader {
        SegmentHeader {
            store_id: self.header.store_id,
            generation: self.header.generation,
            previous_sum: self.trailer_sum,
            first_index: self.next_index.get(),
            first_position: self.header.first_position + self.len,
            salt: segment_salt(salt_seed, self.header.generation, self.next_index.get()),
            time_before: self.last_time.as_ntp64(),
        }
    }

    /// Whether a segment is the one that follows, salt aside.
    pub fn is_followed_by(&self, next: &SegmentHeader) -> bool {
        let expected = SegmentHeader { salt: next.salt, ..self.next_header(&[0; 16]) };
        expected == *next
    }
}

impl LogReader {
    /// The sealed segments, in order. O(segments).
    pub fn sealed_segments(&self) -> Vec<SealedSegment> {
        let segments = self.shared().segments();
        let sealed = segments.windows(2).filter_map(|pair| {
            let [segment, next] = pair else { return None };
            let header = segment.header;
            Some(SealedSegment {
                name: segment.name.clone(),
                first_index: LogIndex(header.first_index),
                next_index: LogIndex(next.header.first_index),
                first_position: Position(header.first_position),
                len: next.header.first_position - header.first_position,
            })
        });
        sealed.collect()
    }

    /// Drops a sealed segment: see [`drop_segment`]. Returns how many bytes that frees.
    ///
    /// Reads go on meanwhile. A segment is not dropped while it is healed.
    ///
    /// # Errors
    ///
    /// If the segment is not whole or is not what the parts are, or the disk fails.
    pub fn drop_sealed(
        &self,
        name: &str,
        place: &str,
        parts: &[Hash],
        hash: &dyn Fn(&[u8]) -> Hash,
    ) -> Result<u64, DiskError> {
        let shared = self.shared();
        let _one_at_a_time = shared.healing();
        let segments = shared.segments();
        let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let failed = |source| DiskError::new(Action::Remove, shared.disk.path(name), source);
        let Some(segment) = sealed.iter().find(|segment| segment.name == name) else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let freed = drop_segment(shared.handles.dir(), name, place, parts, hash);
        // Also after a failure: it may have been the last sync.
        segment.file.release();
        freed.map_err(failed)
    }

    /// The names of the segments whose bodies are only in an archive.
    ///
    /// # Errors
    ///
    /// If the directory can't be listed.
    pub fn dropped_segments(&self) -> Result<Vec<String>, DiskError> {
        files::list_dropped(self.shared().handles.dir())
    }

    /// Whether bodies can be read that are only in an archive.
    pub fn has_source(&self) -> bool {
        self.shared().handles.dir().has_source()
    }

    /// All bytes of a sealed segment, unchecked.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn read_sealed(&self, segment: &SealedSegment) -> Result<Vec<u8>, DiskError> {
        let disk = &*self.shared().disk;
        let segments = self.shared().segments();
        let Some(found) = segments.iter().find(|found| found.name == segment.name) else {
            let (path, gone) = (disk.path(&segment.name), io::ErrorKind::NotFound);
            return Err(DiskError::new(Action::Open, path, gone.into()));
        };
        found.on(disk).read_all(segment.len)
    }
}

/// Puts a stub in the place of a segment that is sealed and in the archive at `place`, as these
/// parts, which `hash` names; the caller knows that they are there. Returns how many bytes are
/// freed once nobody has the file open.
///
/// After a crash at any point of it the segment is here, or the stub, or both; then the segment
/// counts.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the file is not whole, or not what the parts are; whatever the
/// disk reports. The segment is then still here, or its stub if only the last sync failed.
pub fn drop_segment(
    dir: &LogDir,
    name: &str,
    place: &str,
    parts: &[Hash],
    hash: &dyn Fn(&[u8]) -> Hash,
) -> io::Result<u64> {
    let file = match dir.open_segment(name)? {
        Opened::Remote(_) => return Err(io::ErrorKind::NotFound.into()),
        file => file,
    };
    let (len, stored) = (file.len()?, dir.file_len(name)?);
    let room = usize::try_from(len).ok().filter(|_| len <= SEGMENT_LEN_MAX);
    let mut bytes = vec![0; room.ok_or(io::ErrorKind::InvalidInput)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    if !bytes.chunks(PART_LEN).map(hash).eq(parts.iter().copied()) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let found =
        check_segment(&bytes).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
    let records = found.placed.iter().filter(|placed| placed.len > 0);
    let gaps: Vec<Range<usize>> =
        records.map(|placed| placed.body_range(found.header.first_position)).collect();
    dir.put_stub(name, bytes, &gaps, place, parts)?;
    Ok(stored)
}

/// Writes a file of a log in the making under a name that no log opens, and syncs it.
///
/// # Errors
///
/// If the disk fails.
pub fn write_unfinished(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    files::write_durably(disk, &unfinished_name(name), bytes)
}

/// The name of a file until its log is complete.
pub fn unfinished_name(name: &str) -> String {
    format!("{name}.tmp")
}

/// The name of the segment's file that has this header.
pub fn name_of(header: &SegmentHeader) -> String {
    segment_name(header.generation, header.first_index)
}

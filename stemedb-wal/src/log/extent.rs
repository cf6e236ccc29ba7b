//! How far a log is durable that somebody else writes.

use std::io;

use stemedb_merkle::LogIndex;

use super::Watermark;
use crate::{
    disk::DiskFile,
    internal::in_memory,
    position::Position,
    scan::{Scanner, judge::Judge},
    segment::{HEADER_LEN, SegmentHeader},
};

/// Up to where the log is durable, as far as its last segment says so: the highest `durable_upto`
/// of its batches, or where its header ends if it has none. What lies before is settled, although
/// the file may be written to at this moment. `None` if it is no segment. O(bytes).
///
/// # Errors
///
/// If the disk fails, or, as [`io::ErrorKind::InvalidData`], if what is durable can't be read
/// whole: less would be a log without entries that were acknowledged.
pub fn durable_extent(file: &dyn DiskFile) -> io::Result<Option<Watermark>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    let Ok(header) = SegmentHeader::parse(&bytes) else { return Ok(None) };
    let judge = Judge { bytes: &bytes, header: &header, marked: 0 };
    // The writer of a segment has made its header durable, and all before it: marks may lie there.
    let marked = judge.marked_behind(HEADER_LEN).saturating_sub(header.first_position);
    let marked = marked.max(HEADER_LEN as u64);
    // Where a mark lies behind what was read, all that was read counts.
    bytes.truncate(in_memory(marked.min(read as u64)));
    let reached = Scanner::new(&header).check_bodies_from(u64::MAX).all(&bytes).reached;
    // Marks are where batches end.
    if marked <= read as u64 && reached.offset != marked {
        let what = "the segment is damaged before the end of what was durable";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let position = Position(header.first_position + reached.offset);
    Ok(Some(Watermark { position, next_index: LogIndex(reached.next_index) }))
}

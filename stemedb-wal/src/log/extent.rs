//! How far a log reaches that somebody else writes.

use std::io;

use stemedb_merkle::LogIndex;

use super::Watermark;
use crate::{
    disk::DiskFile,
    position::Position,
    scan::{Scanner, judge::Judge},
    segment::{HEADER_LEN, SegmentHeader},
};

/// End of the last whole batch of the last segment of a log, which may be written to at this
/// moment: nothing is acknowledged that was not written whole before. Where its header ends if it
/// has no batch, `None` if it is no segment. O(bytes).
///
/// # Errors
///
/// If the disk fails, or, as [`io::ErrorKind::InvalidData`], if what the log marks as durable can't
/// be read whole: less would be a log without entries that were acknowledged.
pub fn written_extent(file: &dyn DiskFile) -> io::Result<Option<Watermark>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    let Ok(header) = SegmentHeader::parse(&bytes) else { return Ok(None) };
    let judge = Judge { bytes: &bytes, header: &header, marked: 0 };
    // The writer of a segment has made its header durable, and all before it: marks may lie there.
    let marked = judge.marked_behind(HEADER_LEN).saturating_sub(header.first_position);
    let marked = marked.max(HEADER_LEN as u64);
    // What is not marked yet may be half of a batch: its bodies are looked at too.
    let reached = Scanner::new(&header).check_bodies_from(marked).all(&bytes).reached;
    // Marks are where batches end.
    if marked <= read as u64 && reached.offset < marked {
        let what = "the segment is damaged before the end of what was durable";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let position = Position(header.first_position + reached.offset);
    Ok(Some(Watermark { position, next_index: LogIndex(reached.next_index) }))
}

//! How far a log is durable that somebody else writes.

use std::io;

use stemedb_merkle::LogIndex;

use super::Watermark;
use crate::{
    batch::BatchHeader,
    disk::DiskFile,
    position::Position,
    segment::{HEADER_LEN, SegmentHeader},
};

/// Up to where the log is durable, as far as its last segment says so: the highest `durable_upto`
/// of its batches, or where its header ends if it has none. What lies before is settled, although
/// the file may be written to at this moment. `None` if it is no segment. O(bytes).
///
/// # Errors
///
/// If the disk fails.
pub fn durable_extent(file: &dyn DiskFile) -> io::Result<Option<Watermark>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    let Ok(header) = SegmentHeader::parse(&bytes) else { return Ok(None) };
    let start = header.first_position + HEADER_LEN as u64;
    // The writer of a segment has made its header durable, and all before it.
    let mut durable =
        Watermark { position: Position(start), next_index: LogIndex(header.first_index) };
    let mut ends = Vec::new();
    let mut upto = start;
    let mut at = HEADER_LEN;
    while let Some(rest) = bytes.get(at..) {
        let position = header.first_position + at as u64;
        let Some(batch) = BatchHeader::parse(rest, header.salt, position) else { break };
        upto = upto.max(batch.durable_upto);
        let next_index = batch.first_index.saturating_add(u64::from(batch.entries));
        let len = batch.batch_len();
        ends.push(Watermark {
            position: Position(position.saturating_add(len)),
            next_index: LogIndex(next_index),
        });
        at = at.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    }
    for end in ends.into_iter().take_while(|end| end.position <= Position(upto)) {
        durable = end;
    }
    Ok(Some(durable))
}

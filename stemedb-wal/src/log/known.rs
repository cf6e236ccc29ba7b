//! What a restart checkpoint knows of the segments, so that opening need not open each.

use super::{LogReader, segments::Offsets};
use crate::segment::SegmentHeader;

/// A segment as a restart checkpoint knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSegment {
    /// What stands at its front.
    pub header: SegmentHeader,
    /// The offset at which its batches end; 0 of the last one, which was open.
    pub batches_end: u32,
}

impl LogReader {
    /// The segments that begin before a position, in order, with their headers; of all but the last
    /// also where their batches end. Ends early where only reading the segment tells that.
    pub fn known_segments(&self, position: u64) -> Vec<KnownSegment> {
        let segments = self.shared().segments();
        let count = segments.partition_point(|segment| segment.header.first_position < position);
        let mut known = Vec::with_capacity(count);
        for (number, segment) in segments.iter().take(count).enumerate() {
            let batches_end = match segment.offsets {
                Offsets::File { at, .. } if number + 1 < count => u32::try_from(at).ok(),
                _ => None,
            };
            let header = segment.header;
            // No segment has its batches end at 0.
            known.push(KnownSegment { header, batches_end: batches_end.unwrap_or(0) });
            if batches_end.is_none() {
                break;
            }
        }
        known
    }
}

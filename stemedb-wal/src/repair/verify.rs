//! Reads everything, and says what is not what was written.

use super::{
    HashBody,
    autopsy::{self, Context},
};
use crate::{
    disk::Disk,
    error::{Damage, DamageKind, DiskError},
    log::{
        LogReader,
        segments::{Offsets, Segment},
    },
    recovery::{
        sectors::read_sectors,
        survey::read_kept,
        walk::{Stop, Walker, offsets_of},
    },
    segment::{HEADER_LEN, SegmentHeader, TRAILER_LEN, Trailer},
};

/// What [`LogReader::verify`] is to do.
#[derive(Clone, Copy)]
pub struct Verify<'a> {
    /// Computes the id of a body: then each body is held against its id.
    pub deep: Option<HashBody<'a>>,
    /// Verifies only segments that hold entries from this index on.
    pub from_index: u64,
}

impl std::fmt::Debug for Verify<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verify")
            .field("deep", &self.deep.is_some())
            .field("from_index", &self.from_index)
            .finish()
    }
}

impl LogReader {
    /// Reads all published bytes and checks each: headers, batches, records, offsets, trailers.
    ///
    /// `progress` hears after each segment how many bytes were read so far. Holes are no damage:
    /// they are known. Of segments that are in an archive, what is kept here is checked; see
    /// [`remote_segments`](Self::remote_segments). One segment is in memory at a time.
    ///
    /// # Errors
    ///
    /// If the disk fails as a whole. Sectors that it cannot read are part of the result.
    pub fn verify(
        &self,
        verify: &Verify<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Damage>, DiskError> {
        let shared = self.shared();
        let disk = &*shared.disk;
        // In this order: all that is published lies in segments of the list.
        let end = self.end();
        let segments = shared.segments();
        let mut found = Vec::new();
        let mut read = 0;
        for (n, segment) in segments.iter().enumerate() {
            let next = segments.get(n + 1).map(|next| next.header);
            if next.is_some_and(|next| next.first_index < verify.from_index) {
                continue;
            }
            let len = match next {
                Some(next) => segment
                    .file
                    .len()
                    .map_err(|source| {
                        let path = disk.path(&segment.name);
                        DiskError::new(crate::error::Action::Measure, path, source)
                    })
                    .map(|len| len.max(next.first_position - segment.header.first_position))?,
                None => end.saturating_sub(segment.header.first_position),
            };
            if segment.file.is_remote() {
                found.extend(check_kept(disk, segment, next.as_ref(), &mut read)?);
                progress(read);
                continue;
            }
            let sectors = read_sectors(disk, &segment.name, &*segment.file, len)?;
            read += sectors.bytes.len() as u64;
            found.extend(sectors.damage(disk, &segment.name, &segment.header));
            check_segment(disk, segment, next.as_ref(), &sectors.bytes, len, verify, &mut found);
            progress(read);
        }
        Ok(found)
    }
}

impl LogReader {
    /// How many segments have their bodies in an archive only.
    pub fn remote_segments(&self) -> u64 {
        let segments = self.shared().segments();
        segments.iter().filter(|segment| segment.file.is_remote()).count() as u64
    }
}

/// Checks what is kept here of a segment that is in an archive: all but the bodies. Its length
/// there is added to `read`.
pub(crate) fn check_kept(
    disk: &dyn Disk,
    segment: &Segment,
    next: Option<&SegmentHeader>,
    read: &mut u64,
) -> Result<Option<Damage>, DiskError> {
    let header = &segment.header;
    let damaged = || Ok(Some(segment.stub_damaged(disk)));
    let Some(next) = next else { return damaged() };
    let len = next.first_position.saturating_sub(header.first_position);
    let bytes = match read_kept(disk, &segment.name, &*segment.file, len)? {
        Ok(bytes) => bytes,
        Err(damage) => return Ok(Some(damage)),
    };
    *read += bytes.len() as u64;
    let whole = walk_kept(header, &bytes).is_some_and(|kept| {
        kept.next_index == next.first_index
            && kept.trailer_sum == next.previous_sum
            && bytes.len() as u64 == len
    });
    if whole { Ok(None) } else { damaged() }
}

/// What follows from all of a segment but its bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) next_index: u64,
    pub(crate) last_time: u64,
    pub(crate) trailer_sum: u32,
}

/// Goes through the bytes of a sealed segment without looking at bodies. `None` if they are not
/// what was written.
pub(crate) fn walk_kept(header: &SegmentHeader, bytes: &[u8]) -> Option<Kept> {
    if SegmentHeader::parse(bytes).as_ref() != Ok(header) {
        return None;
    }
    let trailer = trailer_of(bytes, header)?;
    let until = usize::try_from(trailer.batches_end).ok()?;
    let mut walker = Walker::new(header).check_bodies_from(u64::MAX);
    let mut placed = Vec::new();
    walker.walk(bytes.get(HEADER_LEN..until)?, HEADER_LEN as u64, &mut placed);
    let reached = walker.reached();
    let (footer, trailer_sum) = reached.footer(header, &offsets_of(header, &placed));
    let whole =
        reached.offset == trailer.batches_end && bytes.get(until..) == Some(footer.as_slice());
    let (next_index, last_time) = (reached.next_index, reached.last_time);
    whole.then_some(Kept { next_index, last_time, trailer_sum })
}

/// Checks one segment. The last one ends where it is published.
pub(crate) fn check_segment(
    disk: &dyn Disk,
    segment: &Segment,
    next: Option<&SegmentHeader>,
    bytes: &[u8],
    len: u64,
    verify: &Verify<'_>,
    found: &mut Vec<Damage>,
) {
    let header = &segment.header;
    let mut damaged = |offset, index, what| {
        found.push(Damage { path: disk.path(&segment.name), offset, index, what });
    };
    if SegmentHeader::parse(bytes).as_ref() != Ok(header) {
        damaged(0, header.first_index, DamageKind::SegmentHeader);
    }
    let footer_at = next.map(|_| match segment.offsets {
        Offsets::File { at, .. } => Some(at),
        Offsets::Memory(_) => None,
    });
    let batches_end = footer_at.flatten().unwrap_or(len);
    let until = usize::try_from(batches_end).unwrap_or(usize::MAX).min(bytes.len());
    let mut walker = Walker::new(header);
    let mut placed = Vec::new();
    let batches = bytes.get(HEADER_LEN..until).unwrap_or_default();
    let (_, stop) = walker.walk(batches, HEADER_LEN as u64, &mut placed);
    placed.truncate(walker.take_whole());
    let reached = walker.reached();
    // Behind a damaged footer it stops as well, and has then read all batches.
    let complete = match (footer_at, stop) {
        (Some(None), Stop::Bad { .. }) => {
            next.is_some_and(|next| next.first_index == reached.next_index)
        }
        _ => reached.offset == batches_end,
    };
    if !complete {
        let context = Context {
            header,
            batches_end: Some(batches_end).filter(|_| footer_at != Some(None)),
            sealed_len: next.map(|next| next.first_position - header.first_position),
            marked: u64::MAX,
            closed: None,
            needless: &[],
            unreadable: &[],
            hash: verify.deep,
        };
        for wrong in autopsy::examine(bytes, &context).wrong {
            damaged(wrong.offset, wrong.index, wrong.what);
        }
    } else if let Some(hash) = verify.deep {
        for placed in placed.iter().filter(|placed| placed.kind.has_body()) {
            let at = usize::try_from(placed.position - header.first_position).unwrap_or(usize::MAX);
            let body_at = at.saturating_add(crate::record::HEAD_LEN);
            let body = bytes.get(body_at..body_at.saturating_add(placed.len as usize));
            if body.map(hash) != Some(placed.id) {
                damaged(body_at as u64, placed.index, DamageKind::Id);
            }
        }
    }
    let Some(next) = next else { return };
    if complete {
        let (footer, sum) = reached.footer(header, &offsets_of(header, &placed));
        let at = usize::try_from(reached.offset).unwrap_or(usize::MAX);
        if bytes.get(at..) != Some(footer.as_slice()) || sum != next.previous_sum {
            damaged(reached.offset, header.first_index, DamageKind::Footer);
        }
    } else if trailer_of(bytes, header).is_none() {
        let offset = len.saturating_sub(TRAILER_LEN as u64);
        damaged(offset, header.first_index, DamageKind::Footer);
    }
}

/// The trailer at the end of a segment's bytes.
pub(crate) fn trailer_of(bytes: &[u8], header: &SegmentHeader) -> Option<Trailer> {
    let at = bytes.len().checked_sub(TRAILER_LEN)?;
    let position = header.first_position.checked_add(at as u64)?;
    let trailer = Trailer::parse(bytes.get(at..)?, header.salt, position)?;
    let footer_len = crate::segment::footer_len(u64::from(trailer.entries));
    (trailer.first_index == header.first_index
        && trailer.batches_end.checked_add(footer_len) == Some(bytes.len() as u64))
    .then_some(trailer)
}

//! Puts a repaired segment in the place of a damaged one, and segments under their names.

use super::plan::{RepairedSegment, SegmentPlan};
use crate::{
    disk::{Disk, Quarantine, quarantined},
    error::DiskError,
    files,
    remote::LogDir,
    segment::segment_name,
};

/// While segments whose names were exchanged get their own again, a segment has a name with this
/// added to its first index: no log opens then, whatever happens, and the next repair goes on.
const PARKED: u64 = 1 << 63;

/// Writes the successor of a segment beside it, keeps a copy of what was there, and renames the
/// successor over it. Returns the name of the copy. A failure leaves neither file behind.
pub(super) fn replace(
    disk: &dyn Disk,
    name: &str,
    repaired: &RepairedSegment,
) -> Result<String, DiskError> {
    let temporary = format!("{name}.tmp");
    let RepairedSegment { before, after, .. } = repaired;
    let written = files::write_at_any_cost(disk, &temporary, after);
    let kept = written.and_then(|()| match copy_of(disk, name, before) {
        Some(kept) => Ok(kept),
        None => files::quarantine_bytes(disk, name, Quarantine::Damaged, before),
    });
    let kept = kept.inspect_err(|_| {
        // What cannot be removed now is removed by the next repair that succeeds.
        let _ = disk.remove(&temporary);
    })?;
    files::rename(disk, &temporary, name)?;
    files::sync_dir(disk)?;
    Ok(kept)
}

/// The copy that a repair before has kept of the same bytes.
fn copy_of(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Option<String> {
    let names = disk.list().ok()?;
    names.into_iter().find(|kept| {
        quarantined(kept).is_some_and(|found| found.of == name) && holds(disk, kept, bytes)
    })
}

fn holds(disk: &dyn Disk, name: &str, bytes: &[u8]) -> bool {
    let Ok(file) = disk.open(name) else { return false };
    if file.len().ok() != Some(bytes.len() as u64) {
        return false;
    }
    let mut held = vec![0; bytes.len()];
    file.read_at(&mut held, 0).is_ok_and(|read| read == bytes.len()) && held == bytes
}

/// Gives each segment the name that it should have. Returns the former names of those renamed.
///
/// Names may have been exchanged, so none is used before all files that have a wrong one are out
/// of the way.
pub(crate) fn put_names_right(
    disk: &LogDir,
    segments: &mut [SegmentPlan],
) -> Result<Vec<(String, String)>, DiskError> {
    let mut renamed = Vec::new();
    let misnamed = || segments.iter().filter(|segment| segment.name != segment.proper_name());
    for segment in misnamed() {
        let parked = parked_name(segment);
        if segment.name != parked {
            files::rename_segment(disk, &segment.name, &parked)?;
        }
        renamed.push((segment.name.clone(), segment.proper_name()));
    }
    if renamed.is_empty() {
        return Ok(renamed);
    }
    files::sync_dir(&**disk)?;
    for segment in segments.iter_mut().filter(|segment| segment.name != segment.proper_name()) {
        let name = segment.proper_name();
        files::rename_segment(disk, &parked_name(segment), &name)?;
        segment.name = name;
    }
    files::sync_dir(&**disk)?;
    Ok(renamed)
}

fn parked_name(segment: &SegmentPlan) -> String {
    segment_name(segment.header.generation, segment.header.first_index | PARKED)
}

//! Puts the end of the log in order, so that the next batch can be appended behind it.

use super::{Warning, last::Tail, survey::Found};
use crate::{
    disk::{Disk, DiskFile, Quarantine, SPARE_NAME},
    error::{Action, DiskError},
    files,
    internal::{filled, in_memory},
    remote::LogDir,
    scan::judge::Verdict,
};

/// Rewrites what is past the last mark, keeps a copy of what is cut, cuts it, and syncs.
///
/// After a failed sync, reads show what the disk may not hold: only bytes that are written and
/// synced again are known to be there. The sync comes even when there is nothing to cut: the
/// process before may have cut the file and died. Returns the file's length.
pub(crate) fn finish_last(
    disk: &dyn Disk,
    last: &Found,
    file: &dyn DiskFile,
    tail: &Tail,
    marked: u64,
    warnings: &mut Vec<Warning>,
) -> Result<u64, DiskError> {
    let end = tail.reached.offset;
    let path = disk.path(&last.name);
    match tail.rest {
        Verdict::Footer => warnings.push(Warning::UnfinishedSeal { path }),
        Verdict::Torn => {
            let torn = tail.torn();
            let kept = files::quarantine_bytes(disk, &last.name, Quarantine::Torn, torn)?;
            let (offset, len) = (end, torn.len() as u64);
            let (index, kept) = (tail.reached.next_index, disk.path(&kept));
            warnings.push(Warning::TornTail { path, offset, len, index, kept });
        }
        Verdict::End | Verdict::Damaged => {}
    }
    // The last mark may be of a segment before this one.
    let unproven = marked.saturating_sub(last.header.first_position).clamp(tail.base, end);
    let accepted = filled(tail.bytes_from(unproven), in_memory(end - unproven));
    let named = last.file(disk);
    files::write_all(file, accepted, unproven).map_err(|source| {
        named.failed(Action::Write { len: accepted.len() as u64, offset: unproven }, source)
    })?;
    let mut len = last.len;
    if tail.rest != Verdict::End {
        len = end;
        file.set_len(len).map_err(|source| named.failed(Action::Cut { len }, source))?;
    }
    files::sync(disk, &last.name, file)?;
    files::sync_dir(disk)?;
    Ok(len)
}

/// Removes temporary files and quarantines segments of other generations.
pub(crate) fn tidy(
    disk: &LogDir,
    temporary: &[String],
    superseded: &[String],
    warnings: &mut Vec<Warning>,
) -> Result<(), DiskError> {
    for name in temporary {
        files::remove(&**disk, name)?;
        if name != SPARE_NAME {
            warnings.push(Warning::Leftover { path: disk.path(name) });
        }
    }
    for name in superseded {
        let kept = files::quarantine_segment(disk, name)?;
        warnings.push(Warning::Superseded { path: disk.path(name), kept: disk.path(&kept) });
    }
    if superseded.is_empty() { Ok(()) } else { files::sync_dir(&**disk) }
}

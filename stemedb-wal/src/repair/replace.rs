//! Puts a mended segment in the place of a damaged one.

use super::plan::Mended;
use crate::{
    disk::Disk,
    error::{Action, DiskError},
    log::SPARE_NAME,
    recovery::{
        mend::{set_aside_bytes, sync_dir, write_durably},
        survey::failed,
    },
};

/// Writes the successor of a segment beside it, keeps a copy of what was there, and renames the
/// successor over it. Returns the name of the copy. A failure leaves neither file behind.
pub(super) fn replace(disk: &dyn Disk, name: &str, mended: &Mended) -> Result<String, DiskError> {
    let temporary = format!("{name}.tmp");
    let written = match write_durably(disk, &temporary, &mended.after) {
        // This is what the spare is kept for.
        Err(error) if error.is_full() && disk.remove(SPARE_NAME).is_ok() => {
            write_durably(disk, &temporary, &mended.after)
        }
        written => written,
    };
    let aside = written.and_then(|()| match copy_of(disk, name, &mended.before) {
        Some(aside) => Ok(aside),
        None => set_aside_bytes(disk, name, &mended.before),
    });
    let aside = aside.inspect_err(|_| {
        // What cannot be removed now is removed by the next repair that succeeds.
        let _ = disk.remove(&temporary);
    })?;
    disk.rename(&temporary, name)
        .map_err(|source| failed(disk, Action::Rename, &temporary, source))?;
    sync_dir(disk)?;
    Ok(aside)
}

/// The copy that a repair before has kept of the same bytes.
fn copy_of(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Option<String> {
    let names = disk.list().ok()?;
    names.into_iter().find(|aside| {
        let rest = aside.strip_prefix("aside-").and_then(|rest| rest.split_once('-'));
        rest.is_some_and(|(_, of)| of == name) && holds(disk, aside, bytes)
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

//! Files of a log's directory: written durably, renamed, quarantined.

use std::io;

use crate::{
    disk::{Disk, DiskFile, Quarantine, SPARE_NAME, quarantined},
    error::{Action, DiskError},
    remote::LogDir,
};

/// How much is written with one call.
pub(crate) const WRITE_LEN_MAX: usize = 8 << 20;

/// The next free name for what is quarantined of a file.
pub(crate) fn quarantine_name(
    disk: &dyn Disk,
    file: &str,
    why: Quarantine,
) -> Result<String, DiskError> {
    let names = list(disk)?;
    // Those in the making count as well: a crash left them, and they are removed later.
    let finished = names.iter().map(|name| name.strip_suffix(".tmp").unwrap_or(name));
    let numbers = finished.filter_map(|name| quarantined(name).map(|found| found.number));
    // Any number may be in a name.
    let number = numbers.max().map_or(1, |last| last.saturating_add(1));
    Ok(format!("{file}.{number:04}.{}", why.extension()))
}

/// Renames a segment, or its stub, to a name under which nothing uses it. Returns that name.
pub(crate) fn quarantine_segment(dir: &LogDir, name: &str) -> Result<String, DiskError> {
    let to = quarantine_name(&**dir, name, Quarantine::Damaged)?;
    rename_segment(dir, name, &to)?;
    Ok(to)
}

/// Renames a file to a name under which nothing uses it. Returns that name.
///
/// # Errors
///
/// If the disk fails.
pub fn quarantine(disk: &dyn Disk, name: &str) -> Result<String, DiskError> {
    let to = quarantine_name(disk, name, Quarantine::Damaged)?;
    rename(disk, name, &to)?;
    Ok(to)
}

/// Writes a copy of bytes of a file that are about to go, durably. Returns its name.
pub(crate) fn quarantine_bytes(
    disk: &dyn Disk,
    file: &str,
    why: Quarantine,
    bytes: &[u8],
) -> Result<String, DiskError> {
    let name = quarantine_name(disk, file, why)?;
    let temporary = format!("{name}.tmp");
    let renamed =
        write_at_any_cost(disk, &temporary, bytes).and_then(|()| rename(disk, &temporary, &name));
    renamed.inspect_err(|_| {
        // A full disk must not keep a part of each try.
        let _ = disk.remove(&temporary);
    })?;
    sync_dir(disk)?;
    Ok(name)
}

/// As [`write_durably`], in the place of the spare segment if the disk is full otherwise.
pub(crate) fn write_at_any_cost(
    disk: &dyn Disk,
    name: &str,
    bytes: &[u8],
) -> Result<(), DiskError> {
    match write_durably(disk, name, bytes) {
        // This is what the spare is kept for.
        Err(error) if error.is_full() && disk.remove(SPARE_NAME).is_ok() => {
            write_durably(disk, name, bytes)
        }
        written => written,
    }
}

/// Writes a file and syncs it.
pub(crate) fn write_durably(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let file = disk.create(name).map_err(|source| failed(disk, Action::Create, name, source))?;
    let written = write_all(&*file, bytes, 0).map_err(|source| {
        failed(disk, Action::Write { len: bytes.len() as u64, offset: 0 }, name, source)
    });
    let written = written.and_then(|()| sync(disk, name, &*file));
    if written.is_err() {
        // On a full disk each try would leave another one. The first error is the one to tell.
        let _ = disk.remove(name);
    }
    written
}

pub(crate) fn sync(disk: &dyn Disk, name: &str, file: &dyn DiskFile) -> Result<(), DiskError> {
    file.sync().map_err(|source| failed(disk, Action::Sync, name, source))
}

/// Syncs the directory.
///
/// # Errors
///
/// If the disk fails.
pub fn sync_dir(disk: &dyn Disk) -> Result<(), DiskError> {
    disk.sync_dir().map_err(|source| failed(disk, Action::SyncDirectory, "", source))
}

pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<String>, DiskError> {
    disk.list().map_err(|source| failed(disk, Action::List, "", source))
}

/// As [`list`], with dropped segments as well.
pub(crate) fn list_segments(dir: &LogDir) -> Result<Vec<String>, DiskError> {
    dir.list_segments().map_err(|source| failed(&**dir, Action::List, "", source))
}

/// The names of the segments whose bodies are only in an archive.
pub(crate) fn list_dropped(dir: &LogDir) -> Result<Vec<String>, DiskError> {
    dir.dropped().map_err(|source| failed(&**dir, Action::List, "", source))
}

/// Renames a segment, or its stub.
pub(crate) fn rename_segment(dir: &LogDir, from: &str, to: &str) -> Result<(), DiskError> {
    dir.rename_segment(from, to).map_err(|source| failed(&**dir, Action::Rename, from, source))
}

/// Removes a segment, or its stub.
pub(crate) fn remove_segment(dir: &LogDir, name: &str) -> Result<(), DiskError> {
    dir.remove_segment(name).map_err(|source| failed(&**dir, Action::Remove, name, source))
}

pub(crate) fn rename(disk: &dyn Disk, from: &str, to: &str) -> Result<(), DiskError> {
    disk.rename(from, to).map_err(|source| failed(disk, Action::Rename, from, source))
}

pub(crate) fn remove(disk: &dyn Disk, name: &str) -> Result<(), DiskError> {
    disk.remove(name).map_err(|source| failed(disk, Action::Remove, name, source))
}

/// The error of an operation on a file.
pub fn failed(disk: &dyn Disk, action: Action, name: &str, source: io::Error) -> DiskError {
    DiskError::new(action, disk.path(name), source)
}

pub(crate) fn write_all(file: &dyn DiskFile, bytes: &[u8], mut offset: u64) -> io::Result<()> {
    for chunk in bytes.chunks(WRITE_LEN_MAX) {
        file.write_at(chunk, offset)?;
        offset += chunk.len() as u64;
    }
    Ok(())
}

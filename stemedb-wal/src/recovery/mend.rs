//! Puts the end of the log in order, so that the next batch can be appended behind it.

use super::{
    Remark,
    survey::{Found, failed},
    tail::{Rest, Tail, all_zero},
};
use crate::{
    disk::{Disk, DiskFile},
    error::{Action, DiskError},
    log::{SPARE_NAME, write_all},
};

/// Names of what was replaced begin so.
const ASIDE_PREFIX: &str = "aside-";

/// Rewrites what is past the last mark, keeps a copy of what is cut, cuts it, and syncs.
///
/// After a failed sync, reads show what the disk may not hold: only bytes that are written and
/// synced again are known to be there. The sync comes even when there is nothing to cut: the
/// process before may have cut the file and died. Returns the file's length.
pub(crate) fn mend(
    disk: &dyn Disk,
    last: &Found,
    (bytes, base): (&[u8], u64),
    tail: &Tail,
    marked: u64,
    remarks: &mut Vec<Remark>,
) -> Result<u64, DiskError> {
    let end = tail.reached.offset;
    let in_bytes = |offset: u64| usize::try_from(offset.saturating_sub(base)).unwrap_or(usize::MAX);
    let rest = bytes.get(in_bytes(end)..).unwrap_or_default();
    let path = disk.path(&last.name);
    match tail.rest {
        Rest::Clean => {}
        Rest::Footer => remarks.push(Remark::UnfinishedSeal { path }),
        Rest::Torn => {
            let zeros = rest.rchunks(4096).take_while(|chunk| all_zero(chunk)).map(<[u8]>::len);
            let torn = rest.get(..rest.len() - zeros.sum::<usize>()).unwrap_or_default();
            let aside = set_aside_bytes(disk, &format!("tail-of-{}", last.name), torn)?;
            let (offset, len) = (end, torn.len() as u64);
            let index = tail.reached.next_index;
            remarks.push(Remark::TornTail { path, offset, len, index, aside: disk.path(&aside) });
        }
    }
    let unproven = marked.saturating_sub(last.header.first_position).clamp(base, end);
    let accepted = bytes.get(in_bytes(unproven)..in_bytes(end)).unwrap_or_default();
    let file = &*last.file;
    write_all(file, accepted, unproven).map_err(|source| {
        let action = Action::Write { len: accepted.len() as u64, offset: unproven };
        failed(disk, action, &last.name, source)
    })?;
    let mut len = last.len;
    if tail.rest != Rest::Clean {
        len = end;
        file.set_len(len)
            .map_err(|source| failed(disk, Action::Cut { len }, &last.name, source))?;
    }
    sync(disk, &last.name, file)?;
    sync_dir(disk)?;
    Ok(len)
}

/// Removes temporary files and sets aside segments of other generations.
pub(crate) fn tidy(
    disk: &dyn Disk,
    temporary: &[String],
    superseded: &[String],
    remarks: &mut Vec<Remark>,
) -> Result<(), DiskError> {
    for name in temporary {
        disk.remove(name).map_err(|source| failed(disk, Action::Remove, name, source))?;
        if name != SPARE_NAME {
            remarks.push(Remark::Leftover { path: disk.path(name) });
        }
    }
    for name in superseded {
        let aside = aside_name(disk, name)?;
        disk.rename(name, &aside).map_err(|source| failed(disk, Action::Rename, name, source))?;
        remarks.push(Remark::SetAside { path: disk.path(name), aside: disk.path(&aside) });
    }
    if superseded.is_empty() { Ok(()) } else { sync_dir(disk) }
}

/// The next free name for something that is set aside.
///
/// # Errors
///
/// If the directory can't be listed.
pub fn aside_name(disk: &dyn Disk, what: &str) -> Result<String, DiskError> {
    let names = disk.list().map_err(|source| failed(disk, Action::List, "", source))?;
    let numbers = names
        .iter()
        .filter_map(|name| name.strip_prefix(ASIDE_PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
    let number = numbers.max().map_or(1, |last| last.saturating_add(1));
    Ok(format!("{ASIDE_PREFIX}{number:04}-{what}"))
}

/// Writes a copy of bytes that are about to go, durably. Returns its name.
pub(crate) fn set_aside_bytes(
    disk: &dyn Disk,
    what: &str,
    bytes: &[u8],
) -> Result<String, DiskError> {
    let name = aside_name(disk, what)?;
    let temporary = format!("{name}.tmp");
    let written = match write_durably(disk, &temporary, bytes) {
        Err(error) if error.is_full() && disk.remove(SPARE_NAME).is_ok() => {
            // This is what the spare is kept for.
            write_durably(disk, &temporary, bytes)
        }
        written => written,
    };
    let renamed = written.and_then(|()| {
        let renamed = disk.rename(&temporary, &name);
        renamed.map_err(|source| failed(disk, Action::Rename, &temporary, source))
    });
    renamed.inspect_err(|_| {
        // A full disk must not keep a part of each try.
        let _ = disk.remove(&temporary);
    })?;
    sync_dir(disk)?;
    Ok(name)
}

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

//! Puts a compressed segment in the place of a sealed one.
//!
//! It is written beside the plain one, synced, read back and compared, and renamed over it. After a
//! crash at any point one of the two is there, whole, under the one name.

use std::io;

use super::{Compression, check_segment, pack::pack};
use crate::{
    disk::Disk,
    error::{Action, DiskError},
    files,
    internal::in_memory,
    log::{LogReader, handles::SegmentBytes},
    remote::{LogDir, Opened},
    scan::file::SegmentFile,
};

impl LogReader {
    /// Compresses a sealed segment. How many bytes of the disk that frees once nobody has the
    /// former file open; `None` if nothing was done: it is compressed already, or only in an
    /// archive, or would hardly be shorter, or is damaged, which a check tells, or `goes_on` said
    /// no meanwhile.
    ///
    /// Appends and reads go on meanwhile; a segment is not compressed while it is healed or
    /// dropped. O(bytes of the segment) time and memory.
    ///
    /// # Errors
    ///
    /// If the disk fails, or has not the room for two segments more. The segment is then as it was,
    /// or compressed if only the last sync failed.
    pub fn compress_sealed(
        &self,
        name: &str,
        compression: Compression,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<u64>, DiskError> {
        let Compression::Zstd { level } = compression else { return Ok(None) };
        let shared = self.shared();
        let _one_at_a_time = shared.healing();
        let disk = &*shared.disk;
        let segments = shared.segments();
        let found = segments.windows(2).find_map(|pair| {
            let [segment, next] = pair else { return None };
            (segment.name == name).then_some((segment, next.header))
        });
        let Some((segment, next)) = found else {
            let gone = io::ErrorKind::NotFound.into();
            return Err(files::failed(disk, Action::Open, name, gone));
        };
        let file = segment.on(disk);
        if !segment.file.is_plain().map_err(|source| file.failed(Action::Open, source))? {
            return Ok(None);
        }
        let plain = file.read_all(next.first_position - segment.header.first_position)?;
        let whole = check_segment(&plain).ok().filter(|found| {
            found.header == segment.header && found.trailer_sum == next.previous_sum
        });
        let Some(whole) = whole else { return Ok(None) };
        let failed = |action, source| files::failed(disk, action, name, source);
        let packed = pack(&plain, &whole, level, goes_on);
        let Some(packed) = packed.map_err(|source| failed(Action::Create, source))? else {
            return Ok(None);
        };
        // No append is to find the disk full because of this one.
        let needed = (packed.len() + 2 * plain.len()) as u64;
        if disk.available().map_err(|source| failed(Action::Create, source))? < needed {
            return Err(failed(Action::Create, io::ErrorKind::StorageFull.into()));
        }
        put(shared.handles.dir(), name, &plain, &packed)?;
        // From here on it is in place, durable or not.
        let synced = files::sync_dir(disk);
        segment.file.release();
        synced?;
        Ok(Some((plain.len() - packed.len()) as u64))
    }
}

/// Writes the compressed segment and renames it over the plain one. If it fails, only that is left.
fn put(dir: &LogDir, name: &str, plain: &[u8], packed: &[u8]) -> Result<(), DiskError> {
    let disk: &dyn Disk = &**dir;
    let temporary = format!("{name}.tmp");
    let write = || {
        files::write_durably(disk, &temporary, packed)?;
        if !reads_back(dir, &temporary, plain)? {
            let other = io::Error::new(io::ErrorKind::InvalidData, "it is not what was written");
            let action = Action::Read { len: packed.len() as u64, offset: 0 };
            return Err(files::failed(disk, action, &temporary, other));
        }
        files::rename(disk, &temporary, name)
    };
    write().inspect_err(|_| {
        // What cannot be removed now is removed at the next opening.
        let _ = disk.remove(&temporary);
    })
}

/// Whether a file is whole, and shows these bytes.
fn reads_back(dir: &LogDir, name: &str, plain: &[u8]) -> Result<bool, DiskError> {
    let disk: &dyn Disk = &**dir;
    let failed = |source| files::failed(disk, Action::Open, name, source);
    let opened = dir.open_segment(name).map_err(failed)?;
    if !matches!(opened, Opened::Compressed(_)) || !opened.is_intact().map_err(failed)? {
        return Ok(false);
    }
    let bytes = SegmentBytes::Open(opened);
    let file = SegmentFile { disk, name, file: &bytes };
    let len = plain.len() as u64;
    Ok(in_memory(file.len()?) == plain.len() && file.read_all(len)? == plain)
}

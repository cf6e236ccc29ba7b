//! A file that is open.

use super::{Bytes, DiskFile, Displaced, Mapped, lock::flock};
use crate::internal::{filled, in_memory};
#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::{
    fs::{FallocateFlags, FlockOperation},
    io::{Errno, retry_on_intr},
};
use std::{
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::Arc,
};

/// How many zeros are written at once where room cannot be reserved.
const ZEROS_LEN: usize = 1 << 20;

/// How many parts one call writes: systems take no more.
const PARTS_MAX: usize = 1024;

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
}

impl OpenFile {
    pub(super) fn new(file: File) -> Self {
        Self { file }
    }

    /// Extends the file by zeros, which take room on every file system, or leaves it as it was.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_LEN];
        let mut at = from;
        while at < to {
            let len = (to - at).min(ZEROS_LEN as u64);
            if let Err(error) = self.write_at(filled(&zeros, in_memory(len)), at) {
                // The first error is the one that says why.
                let _ = self.file.set_len(from);
                return Err(error);
            }
            at += len;
        }
        Ok(())
    }
}

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(at) = offset.checked_add(done as u64).filter(|at| i64::try_from(*at).is_ok())
            else {
                break;
            };
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn map(&self) -> Option<Arc<dyn Bytes>> {
        // Segments of a large log would take all addresses that there are with 32 bits.
        if cfg!(not(target_pointer_width = "64")) {
            return None;
        }
        Mapped::for_random_reads(&self.file).map(|mapped| mapped as _)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_parts_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let (mut parts, mut offset) = (parts, offset);
        // Empty ones in front go.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let next = parts.get(..PARTS_MAX).unwrap_or(parts);
            let written = retry_on_intr(|| rustix::io::pwritev(&self.file, next, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            offset += written as u64;
            IoSlice::advance_slices(&mut parts, written);
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // The length is passed on as a signed number.
        if i64::try_from(len).is_err() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len == 0 {
            return Ok(());
        }
        let flags = FallocateFlags::empty();
        match retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, 0, len)) {
            Ok(()) => Ok(()),
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
            // Whatever the file system has against it: it need not know how.
            Err(_) => self.write_zeros(self.len()?, len),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn lock(&self) -> io::Result<()> {
        flock(&self.file, FlockOperation::NonBlockingLockExclusive)
    }

    fn unlock(&self) -> io::Result<()> {
        flock(&self.file, FlockOperation::NonBlockingUnlock)
    }

    fn is_locked(&self) -> io::Result<bool> {
        match flock(&self.file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => self.unlock().map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn check_named(&self) -> io::Result<()> {
        if link_count(&self.file)? == 0 { Err(Displaced::FileGone.into()) } else { Ok(()) }
    }
}

/// How many names a file has.
///
/// Asks for nothing else. Where file systems keep multigrain timestamps (Linux 6.13,
/// `Documentation/filesystems/multigrain-ts.rst`), a look at the times of a file makes its next
/// write change them, and the sync behind that writes the inode as well: 137 µs in place of 100.
fn link_count(file: &File) -> io::Result<u64> {
    #[cfg(target_os = "linux")]
    match retry_on_intr(|| statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK)) {
        Ok(stat) => return Ok(stat.stx_nlink.into()),
        // Kernels before 4.11, and sandboxes that do not know the call.
        Err(Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(file.metadata()?.nlink())
}

//! Files mapped into memory, read by copying: here and in the guard is all `unsafe` that touches
//! memory of others.

use super::Bytes;
use memmap2::{Advice, Mmap};
use std::{
    fs::File,
    io, ptr,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

mod guard;

use self::guard::Guarded;

/// How many bytes a line of the processor's caches has, or a part of one.
const LINE_LEN: usize = 64;

/// The bytes of a file, where the kernel keeps them.
///
/// No reference to them ever exists: they are copied out, and only then is it known whether they
/// were the file's. So it does no harm if somebody writes to the file or cuts it.
#[derive(Debug)]
pub(super) struct Mapped {
    // Dropped in this order: the guard lets go of the range before it is unmapped.
    guarded: Guarded,
    map: Mmap,
}

impl Mapped {
    /// Maps the whole of `file`. `None` if the system or the file system does not map it, or no
    /// more maps can be guarded: it can be read with calls all the same.
    #[expect(unsafe_code, reason = "mapping a file is unsafe in any case: see SAFETY")]
    pub(super) fn new(file: &File) -> Option<Arc<Self>> {
        // SAFETY: A map is dangerous because its bytes may change, or be gone, while safe code has
        // a reference to them. No such reference is made: see `copy`.
        let map = unsafe { Mmap::map(file) }.ok()?;
        let guarded = Guarded::new(map.as_ptr().addr(), map.len())?;
        Some(Arc::new(Self { guarded, map }))
    }

    /// As [`new`](Self::new), to be read here and there: a page that is not in memory is read
    /// alone, and not with many others around it.
    pub(super) fn for_random_reads(file: &File) -> Option<Arc<Self>> {
        let mapped = Self::new(file)?;
        // A hint, which a system may ignore.
        let _ = mapped.map.advise(Advice::Random);
        Some(mapped)
    }

    /// The one way to the bytes. What they were is only known once [`Guarded::failed`] was asked.
    #[expect(unsafe_code, reason = "bytes that may change are only read by address: see SAFETY")]
    fn copy(&self, offset: usize, buffer: &mut [u8]) -> Option<()> {
        let end = offset.checked_add(buffer.len())?;
        if end > self.map.len() {
            return None;
        }
        // SAFETY: The range lies in the map, which lives as long as `self`, and the buffer is
        // somebody else's memory. Any bytes are valid ones. A page that can't be read raises
        // SIGBUS, which the guard answers with a page of zeros: this then goes on, and the guard
        // knows.
        unsafe {
            let from = self.map.as_ptr().add(offset);
            ptr::copy_nonoverlapping(from, buffer.as_mut_ptr(), buffer.len());
        }
        Some(())
    }
}

impl Bytes for Mapped {
    fn len(&self) -> usize {
        self.map.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        self.copy(offset, buffer).ok_or(io::ErrorKind::UnexpectedEof)?;
        // The bytes come before the question whether they were the file's: for the compiler, and
        // for a page that another thread's failure has replaced.
        fence(Ordering::Acquire);
        if self.guarded.failed() {
            return Err(io::Error::other("the disk cannot read a page of the mapped file"));
        }
        Ok(())
    }

    fn touch(&self, offset: usize, len: usize) -> u64 {
        let mut sum = 0;
        let end = offset.saturating_add(len).min(self.map.len());
        for line in (offset..end).step_by(LINE_LEN) {
            let mut byte = [0];
            // Whether it was the file's does not matter: nothing follows from it.
            if self.copy(line, &mut byte).is_some() {
                sum += u64::from(byte[0]);
            }
        }
        sum
    }
}

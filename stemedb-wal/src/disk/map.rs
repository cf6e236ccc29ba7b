//! Files mapped into memory: the one place with `unsafe`.

use super::Bytes;
use memmap2::Mmap;
use std::{fs::File, io, sync::Arc};

/// The bytes of a file, where the kernel keeps them.
#[derive(Debug)]
pub(super) struct Mapped(Mmap);

impl Mapped {
    /// Maps the whole of `file`, which nobody may write or cut from now on.
    #[expect(unsafe_code, reason = "mapping a file is unsafe whoever does it: see SAFETY")]
    pub(super) fn new(file: &File) -> io::Result<Arc<Self>> {
        // SAFETY: The bytes must not change while the map lives. Only files that are complete are
        // mapped (restart checkpoints, under their final names): this crate replaces and removes
        // such files, which leaves their bytes to the map, and never writes to them again. The
        // lock of the directory, which whoever maps holds, keeps other processes of this kind
        // away. Whoever else cuts the file makes later reads raise SIGBUS, which ends the process
        // without an undefined value; on disks where that can happen files are loaded instead.
        unsafe { Mmap::map(file) }.map(|map| Arc::new(Self(map)))
    }
}

impl Bytes for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

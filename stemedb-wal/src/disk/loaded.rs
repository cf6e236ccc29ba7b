//! Bytes read into memory, where a file is not mapped.

use super::{Bytes, DiskFile};
use rkyv::util::AlignedVec;
use std::{io, sync::Arc};

/// The bytes of a whole file, read into memory at an address that is a multiple of 16.
#[derive(Debug)]
pub(super) struct Loaded(AlignedVec<16>);

impl Loaded {
    /// Reads all of `file`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the file is cut while it is read.
    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Arc<Self>> {
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if len > AlignedVec::<16>::MAX_CAPACITY {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Without any capacity it would sit at an odd address.
        let mut bytes = AlignedVec::with_capacity(len.max(1));
        bytes.resize(len, 0);
        if file.read_at(&mut bytes, 0)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Arc::new(Self(bytes)))
    }
}

impl Bytes for Loaded {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

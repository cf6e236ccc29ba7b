//! Bytes read into memory, where a file is not mapped.

use super::{Bytes, DiskFile};
use std::{io, sync::Arc};

/// The bytes of a whole file, read into memory.
#[derive(Debug)]
pub struct Loaded(Vec<u8>);

impl Loaded {
    /// Reads all of `file`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the file is cut while it is read.
    pub fn read(file: &dyn DiskFile) -> io::Result<Arc<Self>> {
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(len, 0);
        if file.read_at(&mut bytes, 0)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Arc::new(Self(bytes)))
    }
}

impl Bytes for Loaded {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        let bytes = self.0.get(offset..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The bytes of a file, read with a call whenever some are wanted.
#[derive(Debug)]
pub(crate) struct ReadWhenWanted {
    file: Arc<dyn DiskFile>,
    len: usize,
}

impl ReadWhenWanted {
    /// The bytes of `file`, which nobody writes any more.
    ///
    /// # Errors
    ///
    /// If its length can't be asked for.
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> io::Result<Arc<Self>> {
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(Arc::new(Self { file, len }))
    }
}

impl Bytes for ReadWhenWanted {
    fn len(&self) -> usize {
        self.len
    }

    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        if self.file.read_at(buffer, offset as u64)? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

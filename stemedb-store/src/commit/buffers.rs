//! Memory for bodies on their way to the log, which a long load uses again and again: memory that
//! is fresh from the system costs more than the copy into it.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex},
};

use super::lock;

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

/// So many are kept: what waits in the queue, and what is written.
const KEPT_MAX: usize = 12;

/// Room for bodies, which is kept when it is not needed any more.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Option<Arc<Buffers>>,
}

impl Buffers {
    /// An empty buffer with room for `len` bytes.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let kept = lock(&self.free).pop();
        let mut bytes = kept.unwrap_or_default();
        bytes.clear();
        bytes.reserve(len);
        Buffer { bytes, home: Some(Arc::clone(self)) }
    }

    /// Gives the memory of all that are not in use back to the system.
    pub(super) fn clear(&self) {
        let kept = std::mem::take(&mut *lock(&self.free));
        drop(kept);
    }

    fn keep(&self, bytes: Vec<u8>) {
        let mut free = lock(&self.free);
        if free.len() < KEPT_MAX {
            free.push(bytes);
        }
    }
}

impl Buffer {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.keep(std::mem::take(&mut self.bytes));
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_not_too_many_are_kept() {
        let buffers = Arc::<Buffers>::default();
        let mut first = buffers.take(1000);
        first.extend(b"some bytes");
        let place = first.as_ptr();
        drop(first);
        let again = buffers.take(1000);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        let many: Vec<Buffer> = (0..2 * KEPT_MAX).map(|_| buffers.take(10)).collect();
        drop((again, many));
        assert_eq!(lock(&buffers.free).len(), KEPT_MAX);
        buffers.clear();
        assert!(lock(&buffers.free).is_empty());
        // One that was made without them is nobody's to keep.
        drop(Buffer::default());
        assert!(lock(&buffers.free).is_empty());
    }
}

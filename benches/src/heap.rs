//! Counts the bytes on the heap, only while somebody asks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

/// The system's allocator; counts while [`grown_by`] runs.
///
/// Counting is off otherwise: a shared counter would slow two threads that allocate.
#[derive(Debug)]
pub(crate) struct CountingAllocator;

static COUNTS: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    if COUNTS.load(Relaxed) {
        BYTES.fetch_add(bytes, Relaxed);
    }
}

/// What glibc's malloc takes for a request: 8 bytes in front, rounded up to 16, 32 at least.
fn taken(len: usize) -> isize {
    ((len + 8).next_multiple_of(16).max(32)).cast_signed()
}

// SAFETY: every call is passed on to `System` unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(taken(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(taken(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-taken(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count(taken(len) - taken(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, len) }
    }
}

/// What `make` returns, and by how many bytes the heap grew meanwhile, the allocator's own rounding
/// included.
pub(crate) fn grown_by<T>(make: impl FnOnce() -> T) -> (T, isize) {
    BYTES.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let kept = make();
    COUNTS.store(false, Relaxed);
    (kept, BYTES.load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_stays_and_not_what_was_freed() {
        const KEPT: isize = 1 << 22;
        let (kept, bytes) = grown_by(|| {
            drop(vec![1_u8; 1 << 24]);
            vec![1_u8; 1 << 22]
        });
        assert_eq!(kept.len(), 1 << 22);
        // Other tests allocate at the same time.
        assert!((bytes - KEPT).abs() < KEPT / 8, "{bytes}");
    }
}

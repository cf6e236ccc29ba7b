//! Counts the bytes on the heap, only while somebody asks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// The system's allocator; counts while [`grown_by`] or a [`Meter`] asks for it.
///
/// Counting is off otherwise: a shared counter would slow two threads that allocate.
#[derive(Debug)]
pub(crate) struct CountingAllocator;

/// Which counter counts now; none if there is no such.
static COUNTS: AtomicUsize = AtomicUsize::new(usize::MAX);
/// The bytes of each counter, and the most that they were.
static BYTES: [[AtomicIsize; 2]; 3] = [const { [const { AtomicIsize::new(0) }; 2] }; 3];

fn count(bytes: isize) {
    if let Some([now, most]) = BYTES.get(COUNTS.load(Relaxed)) {
        let before = now.fetch_add(bytes, Relaxed);
        if bytes > 0 {
            most.fetch_max(before + bytes, Relaxed);
        }
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
    let meter = Meter::new(0);
    let kept = meter.during(make);
    (kept, BYTES[0][0].load(Relaxed))
}

/// Counts the heap over several calls.
#[derive(Debug)]
pub(crate) struct Meter(usize);

impl Meter {
    /// One of three, from zero. [`grown_by`] uses the first.
    pub(crate) fn new(number: usize) -> Self {
        BYTES[number].iter().for_each(|bytes| bytes.store(0, Relaxed));
        Self(number)
    }

    /// Counts what `call` takes and frees. Not inside another count.
    pub(crate) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        COUNTS.store(self.0, Relaxed);
        let given = call();
        COUNTS.store(usize::MAX, Relaxed);
        given
    }

    /// The most bytes that the heap had grown by at any moment of any call so far.
    pub(crate) fn most(&self) -> isize {
        BYTES[self.0][1].load(Relaxed)
    }
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

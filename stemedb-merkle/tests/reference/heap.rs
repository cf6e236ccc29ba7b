//! Heap bytes that a thread holds, and held at most.
#![allow(dead_code, reason = "each crate's tests use a part")]
#![expect(unsafe_code, reason = "there is no other way to see what is allocated")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Bytes held now, and the most since the last call of [`begin`].
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, with a count for each thread.
pub(crate) struct Counting;

// SAFETY: each call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, layout.size());
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        note(len, layout.size());
        unsafe { System.realloc(block, layout, len) }
    }
}

fn note(taken: usize, given: usize) {
    // Nothing is counted while a thread ends.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now.saturating_add_unsigned(taken);
        held.set((now.saturating_sub_unsigned(given), most.max(now)));
    });
}

/// Counts from here on.
pub(crate) fn begin() {
    HELD.set((0, 0));
}

/// Bytes held beyond those held at [`begin`].
pub(crate) fn held() -> usize {
    usize::try_from(HELD.get().0).unwrap_or(0)
}

/// The most bytes held since [`begin`] beyond those held then.
pub(crate) fn most() -> usize {
    HELD.get().1.unsigned_abs()
}

//! What reads allocate, and how often a body is copied on its way to the disk.
#![expect(unsafe_code, reason = "there is no other way to see what is allocated")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

use stemedb_store::{AssertionId, Options, Store};

use crate::reference::random::noise;

/// How long a body is whose copies are counted: nothing else is about as long.
const BODY_LEN: usize = 3_456_789;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Blocks that can hold such a body, and not much more, of all threads.
static COPIES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts.
struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

// SAFETY: each call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        note(len);
        unsafe { System.realloc(block, layout, len) }
    }
}

fn note(len: usize) {
    // Nothing is counted while a thread ends.
    let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
    if (BODY_LEN..BODY_LEN + 4096).contains(&len) {
        COPIES.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many blocks this thread takes for something.
fn allocations<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.get();
    let result = work();
    (ALLOCATED.get() - before, result)
}

fn id(body: &[u8]) -> AssertionId {
    AssertionId(*blake3::hash(body).as_bytes())
}

/// Of what is not folded yet, of what is in the trees, and of what is in the checkpoint; of the
/// open segment and of sealed ones.
#[test]
fn a_get_allocates_the_body_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options::default().segment_len(64 << 10).threads(false);
    let bodies: Vec<Vec<u8>> = (0..1000).map(|n| noise(n, 300)).collect();
    let get_all = |store: &Store, what: &str| {
        for body in &bodies {
            let id = id(body);
            // The file of its segment is opened once.
            store.get(&id).unwrap();
            let (count, found) = allocations(|| store.get(&id).unwrap());
            assert_eq!(found.as_ref(), Some(body));
            assert_eq!(count, 1, "{what}");
        }
        let missing = id(b"missing");
        assert_eq!(allocations(|| store.get(&missing).unwrap()), (0, None), "{what}");
    };
    let store = Store::open(dir.path(), options()).unwrap();
    store.append_batch(&bodies).unwrap();
    get_all(&store, "recent");
    store.root().unwrap();
    get_all(&store, "in the trees");
    store.checkpoint().unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    get_all(&store, "in the checkpoint");
    // Long ones need a second read.
    let long = noise(5000, 70_000);
    store.append(&long).unwrap();
    let (count, found) = allocations(|| store.get(&id(&long)).unwrap());
    assert_eq!((count, found), (1, Some(long)));
}

/// A block of the length of a body is a copy of it: on a disk there is one at most.
#[test]
fn a_body_is_copied_once_at_most() {
    let dir = tempfile::tempdir().unwrap();
    for threads in [false, true] {
        let dir = dir.path().join(threads.to_string());
        let store = Store::open(&dir, Options::default().threads(threads)).unwrap();
        let bodies: Vec<Vec<u8>> = (0..4).map(|n| noise(n, BODY_LEN)).collect();
        let copies = |append: &dyn Fn()| {
            let before = COPIES.load(Ordering::Relaxed);
            append();
            COPIES.load(Ordering::Relaxed) - before
        };
        assert_eq!(copies(&|| _ = store.append(&bodies[0]).unwrap()), 1, "{threads}");
        assert_eq!(copies(&|| _ = store.append_batch([&bodies[1]]).unwrap()), 1, "{threads}");
        // Through the queue, where there is one.
        assert_eq!(copies(&|| _ = store.submit([&bodies[2]]).wait().unwrap()), 1, "{threads}");
        for body in bodies.iter().take(3) {
            assert_eq!(store.get(&id(body)).unwrap().as_ref(), Some(body));
        }
        // A body that is handed over is not copied at all.
        let handed = bodies[3].clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let before = COPIES.load(Ordering::Relaxed);
        runtime.block_on(store.append_async(handed)).unwrap();
        assert_eq!(COPIES.load(Ordering::Relaxed) - before, 0, "{threads}");
        store.close().unwrap();
    }
}

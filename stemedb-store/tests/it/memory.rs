//! What reads allocate, and how often a body is copied on its way to the disk.
#![expect(unsafe_code, reason = "there is no other way to see what is allocated")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    process::Command,
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

/// Bytes that are allocated, by all threads, and the most that there were.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static LIVE_MAX: AtomicUsize = AtomicUsize::new(0);

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
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        note(len);
        unsafe { System.realloc(block, layout, len) }
    }
}

fn note(len: usize) {
    // Nothing is counted while a thread ends.
    let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
    let live = LIVE.fetch_add(len, Ordering::Relaxed) + len;
    LIVE_MAX.fetch_max(live, Ordering::Relaxed);
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
        // A long one is written from where it is.
        assert_eq!(copies(&|| _ = store.append(&bodies[0]).unwrap()), 0, "{threads}");
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

/// The memory that a record takes until a restart checkpoint covers it, and how many there can be
/// of these, in a process of its own.
#[test]
fn records_between_checkpoints_take_little_memory() {
    let exe = std::env::current_exe().unwrap();
    let name = "memory::records_of_a_large_store_take_little_memory";
    let run = Command::new(exe)
        .args(["--ignored", "--exact", "--nocapture", name])
        .env("STEMEDB_HEAP_RECORDS", "100000")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "takes minutes: .ci/long runs it; a smaller one is run by the test above"]
fn records_of_a_large_store_take_little_memory() {
    let held = std::env::var("STEMEDB_HEAP_RECORDS").map_or(4_000_000, |len| len.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let append = |store: &Store, records: std::ops::Range<u64>| {
        for first in records.clone().step_by(5_000) {
            let last = (first + 5_000).min(records.end);
            store.append_batch((first..last).map(|n| noise(n, 32))).unwrap();
            // Nothing waits for a fold: how much that is changes from moment to moment.
            store.root().unwrap();
        }
    };
    let live = || LIVE.load(Ordering::Relaxed);
    // Bytes of one more record, in the tree that a checkpoint is below.
    let options = Options::default().checkpoint_every(u64::MAX);
    let store = Store::open(dir.path(), options).unwrap();
    append(&store, 0..held);
    store.checkpoint().unwrap();
    let before = live();
    append(&store, held..held + held / 4);
    let each = (live() - before) as u64 / (held / 4);
    println!("{held} records: {each} bytes for one more");
    assert!(each < 128, "{each} bytes a record");
    store.close().unwrap();
    // And of all that come before a checkpoint covers them: appends wait for it.
    let options = Options::default().checkpoint_every(held / 64);
    let store = Store::open(dir.path(), options).unwrap();
    let before = live();
    LIVE_MAX.store(before, Ordering::Relaxed);
    append(&store, 2 * held..3 * held);
    let most = LIVE_MAX.load(Ordering::Relaxed) - before;
    println!("{most} bytes at most");
    let lag_max = (held / 16).max(1 << 18) + 2 * held / 16;
    // Twice: those that came while the checkpoint was written, and what the tree before it holds.
    assert!(most as u64 <= 2 * 150 * lag_max + (64 << 20), "{most} bytes");
    store.close().unwrap();
}

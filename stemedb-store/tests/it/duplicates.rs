//! Appends of what the restart checkpoint has.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use stemedb_store::{Options, Store, store::ENVIRONMENT};
use stemedb_wal::disk::{Bytes, DirLock, Disk, DiskFile, MemoryDisk};

/// A disk that counts the writer's reads of mapped files.
#[derive(Debug)]
struct Watched {
    disk: MemoryDisk,
    reads: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct WatchedBytes {
    bytes: Arc<dyn Bytes>,
    reads: Arc<AtomicUsize>,
}

impl Bytes for WatchedBytes {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: usize) -> io::Result<()> {
        if thread::current().name() == Some("stemedb-writer") {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.bytes.read_at(buffer, offset)
    }
}

impl Disk for Watched {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.disk.lock()
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        let bytes = self.disk.map(name, in_place)?;
        Ok(Arc::new(WatchedBytes { bytes, reads: Arc::clone(&self.reads) }))
    }

    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}

fn bodies(from: u64, to: u64) -> impl Iterator<Item = [u8; 8]> {
    (from..to).map(u64::to_le_bytes)
}

/// Where a body is held, and that the checkpoint has none, was read before the writer's lock was
/// taken; it is read again where another checkpoint took its place meanwhile.
#[test]
fn the_writer_reads_nothing_of_the_checkpoint() {
    let reads = Arc::new(AtomicUsize::new(0));
    let disk = Arc::new(Watched { disk: MemoryDisk::new(), reads: Arc::clone(&reads) });
    let open = || Store::open_on(disk.clone(), ENVIRONMENT, Options::default()).unwrap();
    let store = open();
    let first = store.append_batch(bodies(0, 20_000)).unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    let store = open();
    reads.store(0, Ordering::SeqCst);
    let again = store.submit(bodies(0, 20_000)).wait().unwrap();
    assert_eq!(reads.load(Ordering::SeqCst), 0, "reads of held bodies");
    assert!(again.iter().all(|receipt| receipt.duplicate));
    assert!(again.iter().zip(&first).all(|(again, first)| again.position == first.position));
    let new = store.submit(bodies(20_000, 30_000)).wait().unwrap();
    assert!(new.iter().all(|receipt| !receipt.duplicate));
    assert_eq!(reads.load(Ordering::SeqCst), 0, "reads of what is new");
    store.close().unwrap();
}

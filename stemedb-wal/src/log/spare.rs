//! Prepares the next segment's file while the present one fills.
//!
//! A commit into bytes that are on the disk already, as zeros, costs about half of one into bytes
//! that were only reserved: the file system need not write down that they are now in use. So where
//! many small commits are made the spare is filled with zeros, and the log moves on to it as soon
//! as it is ready if its present segment is not. Where few large ones are made, that would only
//! double the writing.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::{
    background::lower_priority,
    disk::{Disk, DiskFile, SPARE_NAME},
    internal::{filled, in_memory},
    log::{Spares, segments::Segment},
};

const FILL_LEN: usize = 1 << 20;

/// After so many syncs of a segment, zeros are worth writing.
const SYNCS_WORTH_ZEROS: u32 = 32;

/// A file that can become a segment: zeros, or empty.
#[derive(Debug)]
pub(crate) struct SpareFile {
    pub(crate) file: Arc<dyn DiskFile>,
    /// How long it is; 0 if it was just made.
    pub(crate) len: u64,
    /// Whether its zeros are on the disk.
    pub(crate) filled: bool,
}

/// The spare of a log.
#[derive(Debug)]
pub(crate) struct Spare {
    disk: Arc<dyn Disk>,
    worker: Option<Worker>,
    ordered: bool,
    ready: Option<io::Result<SpareFile>>,
}

#[derive(Debug)]
struct Worker {
    orders: Option<SyncSender<Order>>,
    done: Receiver<io::Result<SpareFile>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Order {
    len: u64,
    zeros: bool,
    /// The segment before it, which is sealed when the spare is taken.
    open: Arc<Segment>,
}

impl Spare {
    pub(crate) fn new(disk: Arc<dyn Disk>, spares: Spares) -> Self {
        let worker = match spares {
            Spares::Background => Worker::start(Arc::clone(&disk)),
            Spares::None => None,
        };
        Self { disk, worker, ordered: false, ready: None }
    }

    /// Has a spare prepared once a quarter of the open segment is used, or it was synced often: a
    /// store that is hardly used needs none.
    pub(crate) fn expect_use(
        &mut self,
        open: &Arc<Segment>,
        used: u64,
        segment_len: u64,
        syncs: u32,
    ) {
        let zeros = syncs >= SYNCS_WORTH_ZEROS;
        if self.ordered || (used < segment_len / 4 && !zeros) {
            return;
        }
        if let Some(orders) = self.worker.as_ref().and_then(|worker| worker.orders.as_ref()) {
            // The channel has room for the only order. Without the thread no spare is made.
            let order = Order { len: segment_len, zeros, open: Arc::clone(open) };
            self.ordered = orders.try_send(order).is_ok();
        }
    }

    /// Whether a spare filled with zeros is ready.
    pub(crate) fn is_filled(&mut self) -> bool {
        if self.ordered && self.ready.is_none() {
            self.ready = self.worker.as_ref().and_then(|worker| worker.done.try_recv().ok());
        }
        matches!(&self.ready, Some(Ok(spare)) if spare.filled)
    }

    /// Stops the thread and removes the spare: a log that is closed needs none to be opened.
    pub(crate) fn discard(&mut self) {
        if let Some(worker) = self.worker.take() {
            drop(worker);
            // Opening removes it as well.
            let _ = self.disk.remove(SPARE_NAME);
        }
    }

    /// The file for the next segment, under [`SPARE_NAME`]: the spare, or a new one.
    pub(crate) fn take(&mut self) -> io::Result<SpareFile> {
        let ready = self.ready.take().or_else(|| {
            // Nearly done is better than starting again, and both use the same name.
            let worker = self.worker.as_ref().filter(|_| self.ordered)?;
            worker.done.recv().ok()
        });
        self.ordered = false;
        match ready {
            Some(Ok(spare)) => Ok(spare),
            // A spare that could not be made is no error as long as a file can be.
            Some(Err(_)) | None => Ok(SpareFile::new(fresh(&*self.disk)?)),
        }
    }
}

impl SpareFile {
    /// An empty file.
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, len: 0, filled: false }
    }
}

impl Worker {
    fn start(disk: Arc<dyn Disk>) -> Option<Self> {
        let (orders, inbox) = sync_channel::<Order>(1);
        let (outbox, done) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let work = move || {
            lower_priority();
            for order in inbox {
                order.open.prepare_footer(&*disk);
                if outbox.send(prepare(&*disk, &order, &stopped)).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("stemedb-spare".into()).spawn(work).ok()?;
        Some(Self { orders: Some(orders), done, stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and has then been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

/// A new, empty file under the spare's name. One that is there is removed and not written over: its
/// old bytes could come back with a power cut.
pub(crate) fn fresh(disk: &dyn Disk) -> io::Result<Arc<dyn DiskFile>> {
    match disk.remove(SPARE_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.create(SPARE_NAME)
}

fn prepare(disk: &dyn Disk, order: &Order, stop: &AtomicBool) -> io::Result<SpareFile> {
    let file = fresh(disk)?;
    file.allocate(order.len)?;
    if order.zeros {
        let zeros = vec![0; FILL_LEN];
        let mut offset = 0;
        while offset < order.len {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = (order.len - offset).min(FILL_LEN as u64);
            file.write_at(filled(&zeros, in_memory(len)), offset)?;
            offset += len;
        }
    }
    file.sync()?;
    Ok(SpareFile { file, len: order.len, filled: order.zeros })
}

//! Group commit reduced to its bones: a queue, one writer thread, one file, one sync a round.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::Failure;
use crate::body::{self, BODY_LEN};
use crate::contest::Sample;
use crate::limit::raw_file::RawLog;
use crate::tasks;

type Waiting = (Vec<u8>, oneshot::Sender<()>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// A file that many append to and one thread syncs.
#[derive(Debug)]
struct GroupCommit {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Result<(), Failure>>>,
}

impl GroupCommit {
    fn create(dir: &Path) -> Result<Self, Failure> {
        let mut log = RawLog::create(dir)?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let writer = std::thread::spawn(move || write(&theirs, &mut log));
        Ok(Self { shared, writer: Some(writer) })
    }

    fn append(&self, body: Vec<u8>) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push((body, done));
        let first = queue.waiting.len() == 1;
        drop(queue);
        if first {
            self.shared.filled.notify_one();
        }
        wait
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.filled.notify_one();
        if let Some(writer) = self.writer.take() {
            // The appenders have seen its failure already: their channels closed.
            let _ = writer.join();
        }
    }
}

/// Takes all that wait, writes each body behind its length and checksum, syncs, acknowledges.
fn write(shared: &Shared, log: &mut RawLog) -> Result<(), Failure> {
    let mut taken: Vec<Waiting> = Vec::new();
    let mut bytes = Vec::new();
    loop {
        {
            let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            while queue.waiting.is_empty() {
                if queue.closed {
                    return Ok(());
                }
                queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut queue.waiting, &mut taken);
        }
        bytes.clear();
        for (body, _) in &taken {
            bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
            bytes.extend_from_slice(body);
        }
        log.write(&bytes)?;
        log.sync()?;
        for (_, done) in taken.drain(..) {
            // An appender that gave up needs no answer.
            let _ = done.send(());
        }
    }
}

/// 64 tasks that append through it.
pub(crate) fn appenders(dir: &Path, span: Duration) -> Result<Sample, Failure> {
    let group = Arc::new(GroupCommit::create(dir)?);
    tasks::async_appenders(span, move |number| {
        let group = Arc::clone(&group);
        async move {
            let mut body = vec![0; BODY_LEN];
            body::fill(number, &mut body);
            group.append(body).await.map_err(|_| "the raw writer failed".into())
        }
    })
}

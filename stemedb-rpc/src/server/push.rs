//! Taking in the parts of a push.
//!
//! ```text
//!   messages -> [read] -> waiting -> [one thread a push: put bodies together, append] -> answer
//! ```
//!
//! Parts are read while those before them are written to the disk, as far as they come to
//! [`push_pending_max`](ServerLimits::push_pending_max) bytes; then reading waits, and with it the
//! client. What has come meanwhile is written together. However many parts there are, a push has
//! one thread at most, and all pushes have [`push_threads_max`](ServerLimits::push_threads_max).

use std::{mem, net::IpAddr, sync::Arc, time::Duration};

use stemedb_sync::{
    MemoryBudget,
    memory::Reservation,
    message::{Request, Response},
};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};
use tonic::{Status, Streaming};

use super::blocking::for_peer;
use crate::{
    Malformed, Reason, ResponderService,
    limits::{PART_LEN_MAX, ServerLimits},
    proto::v1::PushRequest,
    reason::{malformed, refusal_status},
};

/// How often it is looked whether the same push, that came before, has been answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Parts that are read ahead of the disk: short ones take more than their bytes.
const PARTS_MAX: usize = 1_024;

/// Bytes that a part takes beside its own, about.
const PART_LEN: usize = 256;

/// State that all pushes of a server share, and the address of one.
#[derive(Debug)]
pub(super) struct Pushes {
    pub(super) responder: Arc<ResponderService>,
    pub(super) memory: MemoryBudget,
    pub(super) threads: Arc<Semaphore>,
    pub(super) limits: Arc<ServerLimits>,
    pub(super) from: IpAddr,
}

/// Takes in a push, and answers it once all of it is durable.
pub(super) async fn run(
    pushes: Pushes,
    mut messages: Streaming<PushRequest>,
) -> Result<Response, Status> {
    let limits = Arc::clone(&pushes.limits);
    let mut push = Push { pushes, waiting: Waiting::default(), running: None, running_len: 0 };
    let mut last = None;
    let mut waited = Duration::ZERO;
    loop {
        if push.running.is_none() && !push.waiting.parts.is_empty() {
            push.begin();
        }
        let reads = last.is_none() && push.has_room(&limits);
        tokio::select! {
            message = timeout(limits.idle_time_max, messages.message()), if reads => {
                let message = message.map_err(|_| Reason::Stalled)??;
                let message = message.ok_or(Malformed::new("last", "must be in the last part"));
                let message = message.map_err(malformed)?;
                // What follows the last part is not read.
                last = message.last.then(|| message.clone());
                push.read(message)?;
            }
            answer = ended(&mut push.running), if push.running.is_some() => {
                (push.running, push.running_len) = (None, 0);
                if let Some(answer) = answer? {
                    return Ok(answer);
                }
            }
            // The initiator waited for too long and sent the push again while it is being appended.
            () = sleep(LOOK_INTERVAL), if last.is_some() && push.is_idle() => {
                waited += LOOK_INTERVAL;
                if waited >= limits.idle_time_max {
                    return Err(Reason::Stalled.into());
                }
                if let Some(last) = last.clone() {
                    push.read(last)?;
                }
            }
        }
    }
}

type Appending = JoinHandle<Result<Option<Response>, Status>>;

/// One push.
struct Push {
    pushes: Pushes,
    waiting: Waiting,
    running: Option<Appending>,
    /// Bytes of the parts that are being appended.
    running_len: usize,
}

/// Parts that were read.
#[derive(Default)]
struct Waiting {
    parts: Vec<PushRequest>,
    len: usize,
    held: Vec<Reservation>,
}

impl Push {
    fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.parts.is_empty()
    }

    /// Whether more is read now.
    fn has_room(&self, limits: &ServerLimits) -> bool {
        let Waiting { parts, len, .. } = &self.waiting;
        let full = parts.len() >= PARTS_MAX || len + self.running_len >= limits.push_pending_max;
        self.is_idle() || !full
    }

    /// Takes in a part; it counts with its length after decompression.
    fn read(&mut self, part: PushRequest) -> Result<(), Status> {
        // One that says more is refused before it is expanded.
        let expanded = (part.len as usize).min(PART_LEN_MAX);
        let len = part.bytes.len() + expanded + PART_LEN;
        let held = self.pushes.memory.reserve(len);
        let held = held.map_err(|exhausted| refusal_status(exhausted.into()))?;
        self.waiting.len += len;
        self.waiting.held.push(held);
        self.waiting.parts.push(part);
        Ok(())
    }

    /// Begins to append what was read.
    fn begin(&mut self) {
        let Waiting { parts, len, held } = mem::take(&mut self.waiting);
        let (responder, threads) =
            (Arc::clone(&self.pushes.responder), Arc::clone(&self.pushes.threads));
        let from = self.pushes.from;
        self.running_len = len;
        self.running = Some(tokio::spawn(async move {
            if let Some(time) = responder.push_hold() {
                sleep(time).await;
            }
            let thread = threads.acquire_owned().await.map_err(|_| Reason::Failed)?;
            let receiving = Arc::clone(&responder);
            let taken = for_peer(move || {
                let parts = parts.into_iter().map(Request::try_from);
                let parts = parts.collect::<Result<_, _>>().map_err(malformed)?;
                receiving.take(parts, from).map_err(refusal_status)
            });
            let taken = taken.await??;
            let appended = spawn_blocking(move || {
                let (_thread, _held) = (thread, held);
                responder.append(taken).map_err(refusal_status)
            });
            appended.await.map_err(|_| Reason::Failed)?
        }));
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // What waits for a thread need not get one.
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// Waits until what is being appended is.
async fn ended(running: &mut Option<Appending>) -> Result<Option<Response>, Status> {
    match running {
        Some(running) => running.await.map_err(|_| Reason::Failed)?,
        None => Ok(None),
    }
}

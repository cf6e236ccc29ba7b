//! Appending a stream of bodies.
//!
//! ```text
//!   messages -> [read: put bodies together, submit] -> pending -> [wait, acknowledge] -> answers
//! ```
//!
//! Reading is at most [`PENDING_MAX`] messages ahead of the disk, and waits for it through the
//! bounded queue in between; so the client waits for the disk, too. All batches together hold at
//! most [`batches_pending_max`](crate::ServerLimits::batches_pending_max) bytes of bodies and
//! receipts and one more body, and those of one client wait for each other.

use std::{mem, sync::Arc, time::Duration};

use stemedb_store::{Pending, Store, store::uptime};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::timeout,
};
use tonic::{Status, Streaming};

use super::{
    answers::Answering,
    blocking::blocking,
    budget::{Held, Share},
};
use crate::{
    Failure, Malformed, Reason, check,
    limits::BODIES_PER_MESSAGE_MAX,
    observer::Observer,
    proto::v1::{AppendBatchRequest, AppendBatchResponse},
};

/// Messages whose bodies wait to be durable.
const PENDING_MAX: usize = 4;

/// Bytes that a receipt takes, about.
const RECEIPT_LEN: usize = 128;

/// Reads messages, appends their bodies, and answers each once that is durable.
pub(super) async fn run(
    store: Arc<Store>,
    observer: Observer,
    messages: Streaming<AppendBatchRequest>,
    answering: Answering<AppendBatchResponse>,
    budget: Share,
    time_max: Duration,
) {
    let (sender, pending) = mpsc::channel(PENDING_MAX);
    let read = async {
        let result = read(store, messages, &sender, &budget, time_max).await;
        drop(sender);
        result
    };
    let (read, acknowledged) = tokio::join!(read, acknowledge(pending, &observer, &answering));
    // What came before the fault is acknowledged first.
    if let (Err(status), true) = (read, acknowledged) {
        answering.send(Err(status)).await;
    }
}

/// Appends under way.
struct Submitted {
    pending: Pending,
    count: usize,
    began: Duration,
    held: Held,
}

async fn read(
    store: Arc<Store>,
    mut messages: Streaming<AppendBatchRequest>,
    pending: &Sender<Submitted>,
    budget: &Share,
    time_max: Duration,
) -> Result<(), Status> {
    let wait = async |held: &mut Held, len| {
        timeout(time_max, budget.hold(held, len)).await.map_err(|_| Reason::Stalled)
    };
    // Of the unfinished body.
    let mut held = Held::default();
    let mut parts = Parts { body_len_max: store.body_len_max(), unfinished: None };
    loop {
        let message = tokio::select! {
            // The other half told the client why.
            () = pending.closed() => return Ok(()),
            message = timeout(time_max, messages.message()) => {
                message.map_err(|_| Reason::Stalled)??
            }
        };
        let Some(message) = message else { return parts.end().map_err(Status::from) };
        let len: usize = message.bodies.iter().map(Vec::len).sum();
        let last = message.bodies.last().filter(|_| message.continues).map_or(0, Vec::len);
        check::compare(&message.check, || check::of_message(&message))?;
        let bodies = parts.take(message)?;
        let ending = if bodies.is_empty() {
            Held::default()
        } else {
            // Nothing is held of a body that begins while others wait to be taken in.
            let mut ending = mem::take(&mut held);
            wait(&mut ending, len - last + bodies.len() * RECEIPT_LEN).await?;
            ending
        };
        let (store, count, began) = (Arc::clone(&store), bodies.len(), uptime());
        let submitted = blocking(move || Ok(store.submit(bodies))).await?;
        let submitted = Submitted { pending: submitted, count, began, held: ending };
        if pending.send(submitted).await.is_err() {
            return Ok(());
        }
        if last > 0 {
            wait(&mut held, last).await?;
        }
    }
}

/// Answers in order; false if there is nobody left to answer.
async fn acknowledge(
    mut submitted: Receiver<Submitted>,
    observer: &Observer,
    answering: &Answering<AppendBatchResponse>,
) -> bool {
    while let Some(Submitted { pending, count, began, mut held }) = submitted.recv().await {
        let observer = observer.clone();
        let wait = move || {
            let ended = pending.wait();
            observer.appended(began, count, ended.as_deref());
            ended.map_err(Failure::from)
        };
        let answer = blocking(wait).await;
        held.keep(answer.as_ref().map_or(0, |receipts| receipts.len() * RECEIPT_LEN));
        let answer = answer.map(|receipts| AppendBatchResponse {
            receipts: receipts.into_iter().map(Into::into).collect(),
        });
        let failed = answer.is_err();
        if !answering.send_kept(answer, Some(Arc::new(held))).await || failed {
            return false;
        }
    }
    true
}

/// Puts bodies together from messages.
struct Parts {
    body_len_max: usize,
    /// The beginning of a body that goes on in the next message.
    unfinished: Option<Vec<u8>>,
}

impl Parts {
    /// The bodies that end in a message.
    fn take(&mut self, message: AppendBatchRequest) -> Result<Vec<Vec<u8>>, Status> {
        let AppendBatchRequest { mut bodies, continues, .. } = message;
        if bodies.len() > BODIES_PER_MESSAGE_MAX {
            return Err(Malformed::new("bodies", "must be at most 4,096").into());
        }
        if let Some(begun) = self.unfinished.take() {
            let Some(first) = bodies.first_mut() else {
                return Err(Malformed::new("bodies", "must go on with the unfinished body").into());
            };
            if begun.len() + first.len() > self.body_len_max {
                return Err(Reason::TooLarge.into());
            }
            let rest = mem::replace(first, begun);
            first.extend_from_slice(&rest);
        }
        if bodies.iter().any(|body| body.len() > self.body_len_max) {
            return Err(Reason::TooLarge.into());
        }
        if continues {
            let last = bodies.pop().ok_or(Malformed::new("continues", "must follow a body"))?;
            self.unfinished = Some(last);
        }
        Ok(bodies)
    }

    fn end(&self) -> Result<(), Malformed> {
        match self.unfinished {
            None => Ok(()),
            Some(_) => Err(Malformed::new("continues", "must not be in the last message")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bodies: &[&str], continues: bool) -> AppendBatchRequest {
        let bodies = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();
        AppendBatchRequest { bodies, continues, check: Vec::new() }
    }

    #[test]
    fn bodies_are_put_together() {
        let mut parts = Parts { body_len_max: 6, unfinished: None };
        assert_eq!(parts.take(message(&["a", "b"], false)).unwrap(), [b"a", b"b"]);
        assert_eq!(parts.take(message(&["c", "de"], true)).unwrap(), [b"c"]);
        assert!(parts.end().is_err());
        assert_eq!(parts.take(message(&["f"], true)).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(parts.take(message(&["ghi", ""], false)).unwrap(), [&b"defghi"[..], b""]);
        assert!(parts.end().is_ok());
    }

    #[test]
    fn too_much_and_too_little_is_refused() {
        let mut parts = Parts { body_len_max: 3, unfinished: None };
        assert!(parts.take(message(&["abcd"], false)).is_err());
        assert!(parts.take(message(&[], true)).is_err());
        assert!(parts.take(message(&["ab"], true)).is_ok());
        assert!(parts.take(message(&["cd"], true)).is_err());
        assert!(parts.take(message(&["ab"], true)).is_ok());
        assert!(parts.take(message(&[], false)).is_err());
        assert!(parts.take(message(&vec!["a"; BODIES_PER_MESSAGE_MAX + 1], false)).is_err());
    }
}

//! An append that a task waits for.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Pending, Receipt, Shared, Submission,
    queue::{Admission, Request},
    slot::{self, Receipts},
};
use stemedb_wal::error::AppendError;

/// An append under way; see [`Committer::append_async`](super::Committer::append_async).
#[derive(Debug)]
#[must_use = "nothing is appended before it is polled"]
pub(crate) struct AppendFuture {
    state: FutureState,
    /// Its number among those who wait for room in the queue.
    waiting: Option<u64>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum FutureState {
    Unqueued(Submission<'static>),
    Queued(Pending),
    Done,
}

impl AppendFuture {
    pub(super) fn new(shared: Arc<Shared>, bodies: Submission<'static>) -> Self {
        Self { state: FutureState::Unqueued(bodies), waiting: None, shared }
    }
}

impl Drop for AppendFuture {
    fn drop(&mut self) {
        if let Some(number) = self.waiting {
            self.shared.queue.forget(number);
        }
    }
}

// Nothing in it is ever pinned.
impl Unpin for AppendFuture {}

impl Future for AppendFuture {
    type Output = Result<Receipt, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let FutureState::Unqueued(bodies) = &mut self.state {
            let bodies = std::mem::take(bodies);
            if !self.shared.threads {
                self.state = FutureState::Done;
                let receipts = self.shared.commit_alone(bodies);
                let receipts = receipts.break_value().unwrap_or(Err(AppendError::Closed));
                return Poll::Ready(receipts.and_then(Receipts::into_one));
            }
            let (ticket, pending) = slot::pair();
            let request = Request::Append(bodies, ticket);
            match self.shared.queue.try_push(request, self.waiting, context.waker()) {
                Admission::Queued => {
                    self.waiting = None;
                    self.state = FutureState::Queued(pending);
                }
                Admission::Full(Request::Append(bodies, ticket), number) => {
                    ticket.withdraw();
                    self.waiting = Some(number);
                    self.state = FutureState::Unqueued(bodies);
                    return Poll::Pending;
                }
                Admission::Full(Request::Call(_), _) => {}
            }
        }
        let FutureState::Queued(pending) = &mut self.state else {
            return Poll::Ready(Err(AppendError::Closed));
        };
        let done = pending.poll_receipts(context);
        if done.is_ready() {
            self.state = FutureState::Done;
        }
        done.map(|receipts| receipts.and_then(Receipts::into_one))
    }
}

//! Bodies that a task waits to have queued.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Pending, Shared, Submission,
    queue::{Admission, Request},
    slot,
};

/// Bodies on their way into the queue, which has a limit; what comes of it is their receipts to
/// come. They are queued at the first poll that finds room.
#[derive(Debug)]
#[must_use = "nothing is appended before it is polled"]
pub(crate) struct Enqueue {
    /// `None` once they are queued.
    bodies: Option<Submission<'static>>,
    /// Its number among those who wait for room in the queue.
    waiting: Option<u64>,
    shared: Arc<Shared>,
}

impl Enqueue {
    pub(super) fn new(shared: Arc<Shared>, bodies: Submission<'static>) -> Self {
        Self { bodies: Some(bodies), waiting: None, shared }
    }
}

impl Drop for Enqueue {
    fn drop(&mut self) {
        if let Some(number) = self.waiting {
            self.shared.queue.forget(number);
        }
    }
}

// Nothing in it is ever pinned.
impl Unpin for Enqueue {}

impl Future for Enqueue {
    type Output = Pending;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Pending> {
        // A ticket that is dropped says that the store is closed.
        let (ticket, pending) = slot::pair();
        let Some(bodies) = self.bodies.take() else { return Poll::Ready(pending) };
        if !self.shared.threads {
            if let Some(receipts) = self.shared.commit_alone(bodies).break_value() {
                ticket.complete(receipts);
            }
            return Poll::Ready(pending);
        }
        let request = Request::Append(bodies, ticket);
        if let Admission::Full(Request::Append(bodies, ticket), number) =
            self.shared.queue.try_push(request, self.waiting, context.waker())
        {
            ticket.withdraw();
            (self.bodies, self.waiting) = (Some(bodies), Some(number));
            return Poll::Pending;
        }
        self.waiting = None;
        Poll::Ready(pending)
    }
}

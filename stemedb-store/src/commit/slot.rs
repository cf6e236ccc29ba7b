//! Where a result is left for the one who waits for it, be it a thread or a task.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use super::Receipt;
use stemedb_wal::error::AppendError;

/// The receipts of one request.
#[derive(Debug)]
pub(crate) enum Receipts {
    One(Receipt),
    Many(Vec<Receipt>),
}

impl Receipts {
    pub(super) fn into_one(self) -> Result<Receipt, AppendError> {
        match self {
            Self::One(receipt) => Ok(receipt),
            // A request of one body gets one receipt.
            Self::Many(receipts) => receipts.first().copied().ok_or(AppendError::Closed),
        }
    }

    pub(super) fn into_vec(self) -> Vec<Receipt> {
        match self {
            Self::One(receipt) => vec![receipt],
            Self::Many(receipts) => receipts,
        }
    }
}

type Outcome = Result<Receipts, AppendError>;

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    result: Option<Outcome>,
    waker: Option<Waker>,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The duty to leave a result. Dropped without one, it says that the writer is gone.
#[derive(Debug)]
pub(crate) struct Ticket {
    slot: Option<Arc<Slot>>,
}

/// Bodies that were queued, and their receipts to come: a future, or something to wait for.
///
/// Dropping it does not take the bodies back.
#[must_use = "without waiting there is no telling whether the bodies are durable"]
pub(crate) struct Pending {
    slot: Arc<Slot>,
}

/// A place for one result, from both sides.
pub(crate) fn pair() -> (Ticket, Pending) {
    let slot = Arc::<Slot>::default();
    (Ticket { slot: Some(Arc::clone(&slot)) }, Pending { slot })
}

impl Ticket {
    pub(crate) fn complete(mut self, result: Outcome) {
        self.leave(result);
    }

    /// Gives the duty up: nobody will look.
    pub(crate) fn withdraw(mut self) {
        self.slot = None;
    }

    fn leave(&mut self, result: Outcome) {
        let Some(slot) = self.slot.take() else { return };
        let waker = {
            let mut state = slot.state();
            state.result = Some(result);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave(Err(AppendError::Closed));
    }
}

impl Pending {
    /// Waits until all bodies are durable. Their receipts come in the order of the bodies.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub(crate) fn wait(self) -> Result<Vec<Receipt>, AppendError> {
        self.wait_receipts().map(Receipts::into_vec)
    }

    pub(super) fn wait_receipts(mut self) -> Outcome {
        thread_local! {
            static UNPARK: Waker = Waker::from(Arc::new(Unpark(thread::current())));
        }
        UNPARK.with(|waker| {
            let mut context = Context::from_waker(waker);
            loop {
                if let Poll::Ready(result) = self.poll_receipts(&mut context) {
                    return result;
                }
                // May return early; the loop asks again.
                thread::park();
            }
        })
    }

    /// The receipt of a request of one body.
    pub(super) async fn one(mut self) -> Result<Receipt, AppendError> {
        poll_fn(|context| self.poll_receipts(context)).await.and_then(Receipts::into_one)
    }

    pub(super) fn poll_receipts(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.slot.state();
        if let Some(result) = state.result.take() {
            return Poll::Ready(result);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Future for Pending {
    type Output = Result<Vec<Receipt>, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_receipts(context).map(|result| result.map(Receipts::into_vec))
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("done", &self.slot.state().result.is_some()).finish()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

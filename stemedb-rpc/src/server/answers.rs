//! Streams of answers, fed by a task of their own.

use std::{
    any::Any,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::timeout,
};
use tokio_stream::Stream;
use tonic::{Response, Status};

use super::gate::CallPermit;

/// Messages that wait for a client to take them.
const AHEAD: usize = 2;

/// Messages that were made and are not taken yet: one is on its way besides.
pub(super) const UNTAKEN_MAX: usize = AHEAD + 1;

/// Memory that is held for a message until the client has taken it.
pub(super) type Kept = Option<Arc<dyn Any + Send + Sync>>;

struct Message<T> {
    answer: Result<T, Status>,
    kept: Kept,
}

/// A stream of answers.
pub(crate) struct Answers<T> {
    messages: Receiver<Message<T>>,
    /// Of the message that is on its way.
    kept: Kept,
}

/// Sink of a task for its answers.
pub(super) struct Answering<T> {
    messages: Sender<Message<T>>,
    /// How long the client may take for one.
    time_max: Duration,
}

/// Room for one message.
pub(super) struct Room<'a, T>(mpsc::Permit<'a, Message<T>>);

/// Answers with what a task sends. The call counts as running until that ends.
pub(super) fn answers<T, F>(
    permit: Option<CallPermit>,
    time_max: Duration,
    task: impl FnOnce(Answering<T>) -> F,
) -> Response<Answers<T>>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    let feeding = task(Answering { messages: sender, time_max });
    tokio::spawn(async move {
        let _permit = permit;
        feeding.await;
    });
    Response::new(Answers { messages: receiver, kept: None })
}

impl<T> Answering<T> {
    /// Waits until there is room for a message; `None` if the client is gone, or makes none in
    /// time.
    pub(super) async fn room(&self) -> Option<Room<'_, T>> {
        timeout(self.time_max, self.messages.reserve()).await.ok()?.ok().map(Room)
    }

    /// Hands an answer to the client; false if it is gone, or does not take it in time.
    pub(super) async fn send(&self, answer: Result<T, Status>) -> bool {
        self.send_kept(answer, None).await
    }

    /// The same, of an answer for which something is held until it is taken.
    pub(super) async fn send_kept(&self, answer: Result<T, Status>, kept: Kept) -> bool {
        let room = self.room().await;
        let has_room = room.is_some();
        if let Some(room) = room {
            room.send(answer, kept);
        }
        has_room
    }

    /// Ready once the client is gone.
    pub(super) async fn closed(&self) {
        self.messages.closed().await;
    }
}

impl<T> Room<'_, T> {
    pub(super) fn send(self, answer: Result<T, Status>, kept: Kept) {
        self.0.send(Message { answer, kept });
    }
}

impl<T> Stream for Answers<T> {
    type Item = Result<T, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Status>>> {
        // The next message is asked for once the one before is on the wire.
        self.kept = None;
        let message = ready!(self.messages.poll_recv(context));
        Poll::Ready(message.map(|Message { answer, kept }| {
            self.kept = kept;
            answer
        }))
    }
}

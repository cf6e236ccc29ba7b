//! Appending many bodies.

use core::time::Duration;

use stemedb_store::Receipt;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{CallError, Client, connector::Link};
use crate::{
    check,
    limits::BODIES_PER_MESSAGE_MAX,
    proto::v1::{AppendBatchRequest, AppendBatchResponse},
};

/// Bytes of bodies in one message, about.
const MESSAGE_LEN_AIM: usize = 1 << 20;
/// Messages that wait for the connection.
const AHEAD: usize = 2;

/// The sending half of a batch; dropping it ends the batch.
#[derive(Debug)]
pub struct BatchSender {
    messages: Sender<AppendBatchRequest>,
    time_max: Duration,
}

/// The receiving half of a batch.
#[derive(Debug)]
pub struct BatchReceipts {
    answers: Streaming<AppendBatchResponse>,
    link: Link,
}

impl Client {
    /// Begins to append many bodies.
    ///
    /// The two halves must be used at the same time: the server acknowledges while it takes more,
    /// and takes no more while nobody reads what it acknowledges.
    ///
    /// # Errors
    ///
    /// If the server can't be reached or does not let the client in.
    pub async fn append_batch(&self) -> Result<(BatchSender, BatchReceipts), CallError> {
        let (messages, receiver) = mpsc::channel(AHEAD);
        let time_max = self.options.idle_time_max;
        let (sender, kept_alive) = mpsc::channel(1);
        tokio::spawn(keep_alive(receiver, sender, time_max / 3));
        let mut store = self.store.clone();
        let call = store.append_batch(ReceiverStream::new(kept_alive));
        let answers = self.answered(timeout(self.options.call_time_max, call).await)?;
        Ok((BatchSender { messages, time_max }, BatchReceipts { answers, link: self.link.clone() }))
    }
}

impl BatchSender {
    /// Sends bodies. Waits while the server has enough to do.
    ///
    /// # Errors
    ///
    /// If the server takes no more; [`BatchReceipts::next`] says why.
    pub async fn send(&mut self, bodies: Vec<Vec<u8>>) -> Result<(), CallError> {
        for message in messages(bodies) {
            let sent = timeout(self.time_max, self.messages.send(message)).await;
            sent.map_err(|_| CallError::Stalled)?.map_err(|_| CallError::Stalled)?;
        }
        Ok(())
    }
}

impl BatchReceipts {
    /// The receipts of the next bodies, in the order in which they were sent: they are durable.
    /// `None` once all that was sent is acknowledged and the sending half is dropped.
    ///
    /// # Errors
    ///
    /// If the server took no more, or the connection broke. What was not acknowledged may or may
    /// not be durable: send it again.
    pub async fn next(&mut self) -> Option<Result<Vec<Receipt>, CallError>> {
        loop {
            let answer = match self.answers.message().await {
                Ok(answer) => answer?,
                Err(status) => return Some(Err(CallError::of(status, &self.link))),
            };
            if !answer.receipts.is_empty() {
                let receipts = answer.receipts.into_iter().map(Receipt::try_from);
                return Some(receipts.collect::<Result<_, _>>().map_err(CallError::from));
            }
        }
    }
}

/// Hands messages on, and an empty one where there was none for a while: the server's timeout is
/// for programs that hang, not for those that have nothing to append.
async fn keep_alive(
    mut messages: Receiver<AppendBatchRequest>,
    sender: Sender<AppendBatchRequest>,
    pause: Duration,
) {
    // The next message must go on with the body that is under way.
    let mut continues = false;
    loop {
        let message = match timeout(pause, messages.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(_) if continues => continue,
            Err(_) => AppendBatchRequest::default(),
        };
        continues = message.continues;
        if sender.send(message).await.is_err() {
            return;
        }
    }
}

/// Bodies as messages: several short ones in each, and parts of long ones.
fn messages(bodies: Vec<Vec<u8>>) -> impl Iterator<Item = AppendBatchRequest> {
    let mut bodies = bodies.into_iter();
    let mut left: Option<Vec<u8>> = None;
    std::iter::from_fn(move || {
        let mut message = AppendBatchRequest::default();
        let mut len = 0;
        while let Some(mut body) = left.take().or_else(|| bodies.next()) {
            if len > 0 && len + body.len() > MESSAGE_LEN_AIM {
                left = Some(body);
                break;
            }
            if body.len() > MESSAGE_LEN_AIM {
                left = Some(body.split_off(MESSAGE_LEN_AIM));
                message.continues = true;
                message.bodies.push(body);
                break;
            }
            len += body.len();
            message.bodies.push(body);
            if message.bodies.len() == BODIES_PER_MESSAGE_MAX {
                break;
            }
        }
        message.check = check::of_message(&message);
        (!message.bodies.is_empty()).then_some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_is_too_long_and_nothing_is_lost() {
        let lens = [0, 1, MESSAGE_LEN_AIM - 1, 2, MESSAGE_LEN_AIM, MESSAGE_LEN_AIM + 1, 3]
            .into_iter()
            .chain(std::iter::repeat_n(1, 2 * BODIES_PER_MESSAGE_MAX))
            .chain([3 * MESSAGE_LEN_AIM, 0]);
        let bodies: Vec<_> = (0_u8..=255).cycle().zip(lens).map(|(b, len)| vec![b; len]).collect();
        let mut back: Vec<Vec<u8>> = Vec::new();
        let mut continues = false;
        for message in messages(bodies.clone()) {
            assert!(message.bodies.len() <= BODIES_PER_MESSAGE_MAX);
            assert!(message.bodies.iter().map(Vec::len).sum::<usize>() <= MESSAGE_LEN_AIM);
            for body in message.bodies {
                if continues {
                    back.last_mut().unwrap().extend(body);
                } else {
                    back.push(body);
                }
                continues = false;
            }
            continues = message.continues;
        }
        assert!(!continues && back == bodies);
        assert_eq!(messages(Vec::new()).count(), 0);
    }
}

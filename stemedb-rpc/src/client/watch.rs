//! Following a log from afar.

use std::collections::VecDeque;

use backon::Retryable as _;
use tokio::time::timeout;
use tonic::Streaming;

use super::{CallError, Client, pauses};
use crate::{
    Malformed,
    backend::Entry,
    proto::v1::{WatchRequest, WatchResponse},
};

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Watched {
    /// The index of the first entry.
    pub from: u64,
    /// Whether bodies are wanted, but for long ones: those are asked for with [`Client::get`], and
    /// none is checked here.
    pub bodies: bool,
    /// Whether to end where the log ends now.
    pub stop_at_end: bool,
}

/// The entries of a log far away, and each new one once it is durable there.
///
/// When the connection breaks or the server stops, it is tried again from where it was.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    wanted: Watched,
    answers: Option<Streaming<WatchResponse>>,
    ready: VecDeque<Entry>,
    ended: bool,
}

impl Client {
    /// Follows the log of the store there.
    pub fn watch(&self, wanted: Watched) -> Watch {
        let (client, ready) = (self.clone(), VecDeque::new());
        Watch { client, wanted, answers: None, ready, ended: false }
    }
}

impl Watch {
    /// The index of the entry that comes next.
    pub fn position(&self) -> u64 {
        self.wanted.from - self.ready.len() as u64
    }

    /// The next entry; waits until there is one. `None` at the end, or after an error.
    ///
    /// # Errors
    ///
    /// If the server can't be reached any more, or breaks the protocol.
    pub async fn next(&mut self) -> Option<Result<Entry, CallError>> {
        while self.ready.is_empty() && !self.ended {
            match self.more().await {
                Ok(more) => self.ended = !more,
                // What may pass is tried again with the next call, or ends that.
                Err(error) if error.may_pass() && self.answers.take().is_some() => {}
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }

    /// Waits for the next message; false if there is none.
    async fn more(&mut self) -> Result<bool, CallError> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => none.insert(call(&self.client, self.wanted).await?),
        };
        let Some(message) = answers.message().await? else { return Ok(false) };
        for entry in message.entries {
            let entry = Entry::try_from(entry)?;
            if entry.index != self.wanted.from {
                return Err(Malformed::new("entries", "must be in order and without gaps").into());
            }
            let next = self.wanted.from.checked_add(1);
            self.wanted.from = next.ok_or(Malformed::new("entries", "must have an index"))?;
            self.ready.push_back(entry);
        }
        Ok(true)
    }
}

async fn call(client: &Client, wanted: Watched) -> Result<Streaming<WatchResponse>, CallError> {
    let Watched { from, bodies, stop_at_end } = wanted;
    let once = || async {
        let mut store = client.store.clone();
        let call = store.watch(WatchRequest { from, bodies, stop_at_end });
        let answers = timeout(client.options.call_time_max, call).await;
        Ok(answers.map_err(|_| CallError::Stalled)??.into_inner())
    };
    once.retry(pauses(&client.options)).when(CallError::may_pass).await
}

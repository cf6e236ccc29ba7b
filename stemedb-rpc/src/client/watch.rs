//! Following the log of a store on another machine.

use std::{collections::VecDeque, pin::Pin};

use backon::{BackoffBuilder as _, ExponentialBackoff, Retryable as _};
use stemedb_store::{AssertionId, Entry, LogId, LogIndex, ResumePoint, Timestamp};
use tokio::time::{Sleep, sleep, timeout};
use tonic::Streaming;

use super::{CallError, Client, ClientOptions, pauses};
use crate::{
    Malformed, Reason,
    proto::v1::{WatchRequest, WatchResponse},
};

/// Part of a log that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Watched {
    /// The index of the first entry, where no earlier watch goes on.
    pub from: LogIndex,
    /// Whether bodies are wanted, but for long ones: those are asked for with [`Client::get`], and
    /// none is checked here.
    pub bodies: bool,
    /// Whether to end where the log ends now.
    pub stop_at_end: bool,
    /// The [end](Watch::resume_point) of an earlier watch, to go on from there: of another log the
    /// watch ends with [`Reason::OtherLog`]. `None` to take the log that is there.
    pub after: Option<ResumePoint>,
}

/// The entries of a log far away, and each new one once it is durable there.
///
/// When the connection breaks or the server stops, it is tried again from where it was: once the
/// server has answered, without end, with pauses that grow to
/// [`watch_pause_max`](ClientOptions::watch_pause_max). Until then, and where the watch is to
/// [stop at the end](Watched::stop_at_end), as often as other calls.
///
/// Where the log there is another one by then, because its store was restored from a copy or
/// replaced, the watch ends with [`Reason::OtherLog`]: nothing is left out in silence.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    wanted: Watched,
    answers: Option<Streaming<WatchResponse>>,
    /// Whether the server has answered, ever.
    begun: bool,
    /// The pauses to come, until there is an entry again.
    pauses: ExponentialBackoff,
    /// The pause before the next call. Kept here, so that it goes on when who waits for an entry
    /// gives up and waits again.
    pause: Option<Pin<Box<Sleep>>>,
    ready: VecDeque<(Entry, Option<Vec<u8>>)>,
    /// Time and id of the entry that was given last, by this watch or the one that it goes on from.
    given: Option<(Timestamp, AssertionId)>,
    ended: bool,
}

impl Client {
    /// Follows the log of the store there.
    pub fn watch(&self, wanted: Watched) -> Watch {
        let from = wanted.after.map_or(wanted.from, |after| after.next);
        Watch {
            client: self.clone(),
            wanted: Watched { from, ..wanted },
            answers: None,
            begun: false,
            pauses: pauses_of(wanted, &self.options),
            pause: None,
            ready: VecDeque::new(),
            given: wanted.after.and_then(|after| after.last),
            ended: false,
        }
    }
}

impl Watch {
    /// The index of the entry that comes next.
    pub fn position(&self) -> LogIndex {
        LogIndex(self.wanted.from.get() - self.ready.len() as u64)
    }

    /// Place of the watch, for another one to go on from here; `None` until the server has
    /// answered.
    pub fn resume_point(&self) -> Option<ResumePoint> {
        let (next, last) = (self.position(), self.given);
        self.wanted.after.map(|after| ResumePoint { next, last, ..after })
    }

    /// The next entry, and its body where that is wanted and not too long; waits until there is
    /// one. `None` at the end, or after an error.
    ///
    /// # Errors
    ///
    /// If the server can't be reached to begin with, refuses for good, has another log than
    /// before ([`Reason::OtherLog`]), or breaks the protocol.
    pub async fn next(&mut self) -> Option<Result<(Entry, Option<Vec<u8>>), CallError>> {
        while self.ready.is_empty() && !self.ended {
            match self.more().await {
                Ok(true) if self.ready.is_empty() => {}
                Ok(true) => self.pauses = pauses_of(self.wanted, &self.client.options),
                Ok(false) if self.wanted.stop_at_end => self.ended = true,
                // A log does not end, so this was the connection; without an end there is a pause.
                Ok(false) => drop(self.rest()),
                Err(error) if self.begun && passes(&error) && self.rest() => {}
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let (entry, body) = self.ready.pop_front()?;
        self.given = Some((entry.time, entry.id));
        Some(Ok((entry, body)))
    }

    /// Waits for the next message; false if there is none.
    async fn more(&mut self) -> Result<bool, CallError> {
        if let Some(pause) = &mut self.pause {
            pause.as_mut().await;
            self.pause = None;
        }
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => {
                let answers = if self.begun {
                    call(&self.client, self.wanted).await?
                } else {
                    let once = || call(&self.client, self.wanted);
                    once.retry(pauses(&self.client.options)).when(CallError::may_pass).await?
                };
                self.begun = true;
                none.insert(answers)
            }
        };
        let answer = answers.message().await;
        let answer = answer.map_err(|status| CallError::of(status, &self.client.link));
        let Some(message) = answer? else { return Ok(false) };
        if let Some(log) = message.log {
            let LogId { node, epoch } = log.try_into()?;
            match self.wanted.after {
                Some(after) if (after.node, after.epoch) != (node, epoch) => {
                    return Err(Malformed::new("log", "must be the one that was asked for").into());
                }
                Some(_) => {}
                None => {
                    let next = self.wanted.from;
                    self.wanted.after = Some(ResumePoint { node, epoch, next, last: None });
                }
            }
        }
        let Some(after) = &mut self.wanted.after else {
            return Err(Malformed::missing("log").into());
        };
        for entry in message.entries {
            let (entry, body) = entry.try_into()?;
            if entry.index != self.wanted.from {
                return Err(Malformed::new("entries", "must be in order and without gaps").into());
            }
            let next = self.wanted.from.checked_add(1);
            self.wanted.from = next.ok_or(Malformed::new("entries", "must have an index"))?;
            after.last = Some((entry.time, entry.id));
            self.ready.push_back((entry, body));
        }
        Ok(true)
    }

    /// Gives up the call, and makes a pause before the next one. False if there is to be none.
    fn rest(&mut self) -> bool {
        self.answers = None;
        self.pause = self.pauses.next().map(|pause| Box::pin(sleep(pause)));
        self.pause.is_some()
    }
}

async fn call(client: &Client, wanted: Watched) -> Result<Streaming<WatchResponse>, CallError> {
    let Watched { from, bodies, stop_at_end, after } = wanted;
    let mut store = client.store.clone();
    let call = store.watch(WatchRequest {
        from: from.get(),
        bodies,
        stop_at_end,
        after: after.map(Into::into),
    });
    client.answered(timeout(client.options.call_time_max, call).await)
}

/// Whether a server that has answered before may answer again. Unlike a single call, a watch also
/// waits for one that hangs.
fn passes(error: &CallError) -> bool {
    let stalled = matches!(error, CallError::Stalled) || error.reason() == Some(Reason::Stalled);
    stalled || error.may_pass()
}

/// Pauses between calls: as of any call for a watch that ends, without end for one that follows.
/// With what chance adds to it, no pause is longer than allowed.
fn pauses_of(wanted: Watched, options: &ClientOptions) -> ExponentialBackoff {
    let pauses = pauses(options);
    if wanted.stop_at_end {
        return pauses.build();
    }
    pauses.with_max_delay(options.watch_pause_max / 2).without_max_times().build()
}

//! Stream of answers that is asked for again where it broke.

use std::future::Future;

use backon::{BackoffBuilder as _, ExponentialBackoff};
use tokio::time::{sleep, timeout};
use tonic::{Response, Status, Streaming};

use super::{CallError, Client, pauses};

/// Stream of answers to one call, which is made again when the connection breaks or the server
/// stops: as often as other calls are, counted from the last answer that brought something.
#[derive(Debug)]
pub(super) struct Resumed<T> {
    pub(super) client: Client,
    answers: Option<Streaming<T>>,
    /// Pauses to come, until there is an answer again.
    pauses: ExponentialBackoff,
    /// Whether the call was made again since this was asked last.
    called_again: bool,
}

impl<T> Resumed<T> {
    pub(super) fn new(client: &Client) -> Self {
        let pauses = pauses(&client.options).build();
        Self { client: client.clone(), answers: None, pauses, called_again: false }
    }

    /// Makes the call, if none is under way.
    pub(super) async fn begin<F>(&mut self, call: impl Fn() -> F) -> Result<(), CallError>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        while self.answers.is_none() {
            let made = timeout(self.client.options.call_time_max, call()).await;
            match self.client.answered(made) {
                Ok(answers) => self.answers = Some(answers),
                Err(error) => self.rest(error).await?,
            }
        }
        Ok(())
    }

    /// The next answer; `None` at the end.
    pub(super) async fn next<F>(&mut self, call: impl Fn() -> F) -> Result<Option<T>, CallError>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        loop {
            self.begin(&call).await?;
            let Some(answers) = &mut self.answers else { continue };
            let answer = timeout(self.client.options.idle_time_max, answers.message()).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => CallError::of(status, &self.client.link),
                Err(_) => CallError::Stalled,
            };
            self.answers = None;
            self.called_again = true;
            self.rest(error).await?;
        }
    }

    /// Whether the call was made again since this was asked last.
    pub(super) fn take_called_again(&mut self) -> bool {
        std::mem::take(&mut self.called_again)
    }

    /// Notes that an answer brought something.
    pub(super) fn note_progress(&mut self) {
        self.pauses = pauses(&self.client.options).build();
    }

    /// Makes a pause before the next call; gives the error back if there is to be none.
    async fn rest(&mut self, error: CallError) -> Result<(), CallError> {
        let pause = if error.may_pass() { self.pauses.next() } else { None };
        sleep(pause.ok_or(error)?).await;
        Ok(())
    }
}

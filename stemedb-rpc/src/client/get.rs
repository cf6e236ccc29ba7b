//! Getting a body, in parts where it is long.

use std::time::Duration;

use backon::{BackoffBuilder as _, Retryable as _};
use stemedb_store::{AssertionId, Entry};
use stemedb_sync::Keys;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use super::{CallError, Client, connector::Link, pauses};
use crate::{Malformed, Reason, Which, proto::v1};

impl Client {
    /// The entry and the body of an assertion; `None` if the server says that its store does not
    /// hold it.
    ///
    /// With the keys of the cluster the body is checked against its id, and no wrong one is given.
    /// A program that has none must not take the body for what it asked for.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with another body.
    pub async fn get(
        &self,
        which: &Which,
        keys: Option<&Keys>,
    ) -> Result<Option<(Entry, Vec<u8>)>, CallError> {
        let Some((entry, mut parts)) = self.begin(which, 0).await? else { return Ok(None) };
        self.fits(which, &entry)?;
        let same = Which::Id(entry.id);
        let mut body = Vec::new();
        let mut pauses = pauses(&self.options).build();
        loop {
            match parts.append_to(&mut body, &entry, self.options.idle_time_max).await {
                Ok(()) => break,
                // What was cut goes on where it was.
                Err(error) if error.may_pass() => {
                    let Some(pause) = pauses.next() else { return Err(error) };
                    sleep(pause).await;
                    let (again, rest) = self
                        .begin(&same, body.len() as u64)
                        .await?
                        .ok_or(Malformed::new("entry", "must stay where it is"))?;
                    if again.id != entry.id {
                        return Err(Malformed::new("entry", "must be the same again").into());
                    }
                    parts = rest;
                }
                Err(error) => return Err(error),
            }
        }
        match keys {
            Some(keys) if AssertionId(keys.id(&body)) != entry.id => {
                Err(CallError::WrongBody { id: entry.id })
            }
            _ => Ok(Some((entry, body))),
        }
    }

    /// The entry, and the parts of its body from an offset on.
    async fn begin(&self, which: &Which, offset: u64) -> Result<Option<(Entry, Parts)>, CallError> {
        let request = v1::GetRequest { which: Some(which.into()), offset };
        let once = || async {
            let mut store = self.store.clone();
            let call = timeout(self.options.call_time_max, store.get(request.clone())).await;
            let mut answers = self.answered(call)?;
            let first = timeout(self.options.call_time_max, answers.message()).await;
            let first = first.map_err(|_| CallError::Stalled)?;
            let first = first.map_err(|status| CallError::of(status, &self.link))?;
            Ok((first.ok_or(Malformed::missing("entry"))?, answers))
        };
        let answer = once.retry(pauses(&self.options)).when(CallError::may_pass).await;
        let (v1::GetResponse { entry, part }, answers) = match answer {
            Err(CallError::Refused { reason: Reason::NotFound, .. }) => return Ok(None),
            answer => answer?,
        };
        let (entry, _) = entry.ok_or(Malformed::missing("entry"))?.try_into()?;
        Ok(Some((entry, Parts { first: Some(part), answers, link: self.link.clone() })))
    }

    /// Whether an entry is the one asked for, and not too long.
    pub(super) fn fits(&self, which: &Which, entry: &Entry) -> Result<(), CallError> {
        let asked_for = match which {
            Which::Id(id) => entry.id == *id,
            Which::Prefix(prefix) => entry.id.to_string().starts_with(prefix),
            Which::Index(index) => entry.index == *index,
        };
        if !asked_for {
            return Err(Malformed::new("entry", "must be the one asked for").into());
        }
        if entry.len > self.options.body_len_max as u64 {
            return Err(Malformed::new("entry.len", "must be within the client's limit").into());
        }
        Ok(())
    }
}

/// The parts of a body that are still to come.
struct Parts {
    first: Option<Vec<u8>>,
    answers: Streaming<v1::GetResponse>,
    link: Link,
}

impl Parts {
    /// Reads them to the end of the body. What came before an error stays.
    async fn append_to(
        &mut self,
        body: &mut Vec<u8>,
        entry: &Entry,
        idle_time_max: Duration,
    ) -> Result<(), CallError> {
        loop {
            let part = if let Some(first) = self.first.take() {
                first
            } else {
                let answer = timeout(idle_time_max, self.answers.message()).await;
                let answer = answer.map_err(|_| CallError::Stalled)?;
                let answer = answer.map_err(|status| CallError::of(status, &self.link))?;
                let Some(answer) = answer else { break };
                answer.part
            };
            if (body.len() + part.len()) as u64 > entry.len {
                return Err(Malformed::new("part", "must end with the body").into());
            }
            body.extend_from_slice(&part);
        }
        if body.len() as u64 == entry.len {
            Ok(())
        } else {
            Err(Malformed::new("part", "must end with the body").into())
        }
    }
}

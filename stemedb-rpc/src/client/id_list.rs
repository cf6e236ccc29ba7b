//! List of the ids that the store there holds.

use std::collections::VecDeque;

use stemedb_store::AssertionId;
use tonic::{Response, Status, Streaming};

use super::{CallError, Client, Store, resumed::Resumed};
use crate::{Malformed, proto::v1};

/// The ids that a store there holds, sorted. Goes on behind the last one when the connection
/// breaks.
#[derive(Debug)]
pub struct IdList {
    answers: Resumed<v1::ListIdsResponse>,
    ready: VecDeque<AssertionId>,
    /// The last one that came.
    last: Option<AssertionId>,
}

impl IdList {
    pub(super) fn new(client: &Client) -> Self {
        Self { answers: Resumed::new(client), ready: VecDeque::new(), last: None }
    }

    pub(super) async fn begin(&mut self) -> Result<(), CallError> {
        let (store, last) = (self.answers.client.store.clone(), self.last);
        self.answers.begin(|| call(store.clone(), last)).await
    }

    /// The next id; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the connection breaks and can't be made again, or the server breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<AssertionId>, CallError> {
        if self.ready.is_empty() {
            let (store, last) = (self.answers.client.store.clone(), self.last);
            let Some(message) = self.answers.next(|| call(store.clone(), last)).await? else {
                return Ok(None);
            };
            self.take(message.try_into()?)?;
            self.answers.note_progress();
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, ids: Vec<AssertionId>) -> Result<(), Malformed> {
        if self.last.is_some_and(|last| ids.first().is_none_or(|first| *first <= last)) {
            return Err(Malformed::new("ids", "must ascend"));
        }
        self.last = ids.last().copied();
        self.ready.extend(ids);
        Ok(())
    }
}

async fn call(
    mut store: Store,
    last: Option<AssertionId>,
) -> Result<Response<Streaming<v1::ListIdsResponse>>, Status> {
    let after = last.map(|last| last.0.to_vec());
    store.list_ids(v1::ListIdsRequest { after }).await
}

//! Taking in the parts of a push.
//!
//! ```text
//!   messages -> [take: put bodies together, in order] -> appends, several at once -> answer
//! ```
//!
//! Parts are read while those before them are written to the disk, as far as they come to
//! [`push_pending_max`](ServerLimits::push_pending_max) bytes; then reading waits, and with it the
//! client.

use std::{sync::Arc, time::Duration};

use stemedb_sync::message::{Refusal, Request, Response};
use tokio::{
    task::{JoinError, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use tonic::{Status, Streaming};

use super::replication::malformed;
use crate::{
    Reason, convert::Malformed, limits::ServerLimits, proto::v1::PushRequest,
    reason::refusal_status, replica::Replica,
};

/// How often it is looked whether the same push, that came before, has been answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Takes in a push, and answers it once all of it is durable.
pub(super) async fn run<R: Replica>(
    replica: Arc<R>,
    mut messages: Streaming<PushRequest>,
    limits: &ServerLimits,
) -> Result<Response, Status> {
    let mut appends = Appends::default();
    let last = loop {
        let message = timeout(limits.idle_time_max, messages.message());
        let message = message.await.map_err(|_| Reason::Stalled)??;
        let message = message.ok_or(Malformed::new("last", "must be in the last part"));
        let message = message.map_err(malformed)?;
        // What follows the last part is not read.
        let last = message.last.then(|| message.clone());
        appends.take(&replica, message, limits.push_pending_max).await?;
        if let Some(last) = last {
            break last;
        }
    };
    let mut waited = Duration::ZERO;
    loop {
        while appends.next().await? {}
        if let Some(answer) = appends.answer.take() {
            return Ok(answer);
        }
        // The initiator lost its patience and sent the push again while it is being appended.
        if waited >= limits.idle_time_max {
            return Err(Reason::Stalled.into());
        }
        sleep(LOOK_INTERVAL).await;
        waited += LOOK_INTERVAL;
        appends.take(&replica, last.clone(), limits.push_pending_max).await?;
    }
}

/// Parts that are being appended.
#[derive(Default)]
struct Appends {
    running: JoinSet<Result<Appended, Refusal>>,
    /// How many bytes they have together.
    pending: usize,
    answer: Option<Response>,
}

/// A part that is dealt with: its length, and the answer to the push if that was all.
type Appended = (usize, Option<Response>);

impl Appends {
    /// Takes in a part and begins to append it, once it fits in beside the others.
    async fn take<R: Replica>(
        &mut self,
        replica: &Arc<R>,
        message: PushRequest,
        pending_max: usize,
    ) -> Result<(), Status> {
        let expanded = usize::try_from(message.len).unwrap_or(usize::MAX);
        let len = message.bytes.len().max(expanded);
        while self.pending.saturating_add(len) > pending_max && self.next().await? {}
        let replica = Arc::clone(replica);
        let taken = spawn_blocking(move || {
            let part = Request::try_from(message).map_err(malformed)?;
            replica.push(part).map_err(refusal_status)
        });
        let append = taken.await.map_err(failed)??;
        self.pending = self.pending.saturating_add(len);
        self.running.spawn_blocking(move || append().map(|answer| (len, answer)));
        Ok(())
    }

    /// Waits until a part is dealt with; false if there is none.
    async fn next(&mut self) -> Result<bool, Status> {
        let Some(done) = self.running.join_next().await else { return Ok(false) };
        let (len, answer) = done.map_err(failed)?.map_err(refusal_status)?;
        self.pending -= len;
        self.answer = answer.or_else(|| self.answer.take());
        Ok(true)
    }
}

fn failed(_: JoinError) -> Status {
    Reason::Failed.into()
}

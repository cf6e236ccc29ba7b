//! The store service.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::timeout};
use tonic::{Request, Response, Status, Streaming};

use super::{
    answers::{Answering, Answers, UNTAKEN_MAX, answers},
    batch,
    budget::{Budget, Share},
    connection::Caller,
    gate::CallPermit,
    phase::{Phase, Phases},
};
use crate::{
    Reason,
    backend::{Backend, EntriesWanted, Entry, Failure, WatchedLog, Which},
    check,
    convert::store::{id, proof_message},
    limits::{PART_LEN_MAX, ServerLimits},
    proto::v1::{self, store_service_server},
};

/// How much of the log goes into one message.
const WATCHED: EntriesWanted =
    EntriesWanted { entries_max: 1024, body_len_max: Some(256 << 10), bytes_aim: 512 << 10 };

/// Bytes that an entry takes beside its body, about.
const ENTRY_LEN: usize = 256;

/// The store service over a store.
#[derive(Debug)]
pub(crate) struct StoreService<B> {
    pub(crate) backend: Arc<B>,
    /// What batches hold.
    pub(crate) batches: Budget,
    /// What answers hold.
    pub(crate) reads: Budget,
    pub(crate) limits: Arc<ServerLimits>,
    pub(crate) phases: Phases,
}

/// Does what may read from a disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Status> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(Status::from),
        Err(_) => Err(Reason::Failed.into()),
    }
}

/// A budget as the one who calls sees it.
fn share<T>(budget: &Budget, request: &Request<T>) -> Result<Share, Status> {
    // Every connection of the listener has a caller.
    let caller = request.extensions().get::<Caller>().ok_or(Reason::Failed)?;
    Ok(budget.share(caller.address(), caller.connection()))
}

#[tonic::async_trait]
impl<B: Backend> store_service_server::StoreService for StoreService<B> {
    type AppendBatchStream = Answers<v1::AppendBatchResponse>;
    type GetStream = Answers<v1::GetResponse>;
    type WatchStream = Answers<v1::WatchResponse>;

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let v1::AppendRequest { body, check } = request.into_inner();
        if body.len() > self.backend.body_len_max() {
            return Err(Reason::TooLarge.into());
        }
        check::compare(&check, || check::of_body(&body))?;
        let receipt = self.backend.append(body).await?;
        Ok(Response::new(v1::AppendResponse { receipt: Some(receipt.into()) }))
    }

    async fn append_batch(
        &self,
        mut request: Request<Streaming<v1::AppendBatchRequest>>,
    ) -> Result<Response<Self::AppendBatchStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let backend = Arc::clone(&self.backend);
        let budget = share(&self.batches, &request)?;
        let time_max = self.limits.idle_time_max;
        let messages = request.into_inner();
        Ok(answers(permit, time_max, move |answering| async move {
            batch::run(backend, messages, answering, budget, time_max).await;
        }))
    }

    async fn get(
        &self,
        mut request: Request<v1::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let share = share(&self.reads, &request)?;
        let v1::GetRequest { which, offset } = request.into_inner();
        let which = Which::try_from(which)?;
        let backend = Arc::clone(&self.backend);
        let entry = blocking(move || backend.find(&which)).await?;
        // The whole body, and copies of parts of it that are not taken yet.
        let len = usize::try_from(entry.len).unwrap_or(usize::MAX);
        let copied = len.min(UNTAKEN_MAX * PART_LEN_MAX);
        let held = share.reserve(len.saturating_add(copied)).await;
        let backend = Arc::clone(&self.backend);
        // What is held goes along: the body is read to its end although nobody may wait any more.
        let (entry, body, held) =
            blocking(move || backend.body(&entry).map(|body| (entry, body, held))).await?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            let held = Arc::new(held);
            let rest = body.get(offset..).unwrap_or_default();
            let (first, later) = rest.split_at_checked(PART_LEN_MAX).unwrap_or((rest, &[]));
            let mut entry = Some(entry.into());
            for part in std::iter::once(first).chain(later.chunks(PART_LEN_MAX)) {
                let Some(room) = answering.room().await else { return };
                let answer = v1::GetResponse { entry: entry.take(), part: part.to_vec() };
                room.send(Ok(answer), Some(held.clone()));
            }
        }))
    }

    async fn head(
        &self,
        _request: Request<v1::HeadRequest>,
    ) -> Result<Response<v1::HeadResponse>, Status> {
        let backend = Arc::clone(&self.backend);
        let head = blocking(move || backend.head()).await?;
        Ok(Response::new(head.into()))
    }

    async fn prove(
        &self,
        request: Request<v1::ProveRequest>,
    ) -> Result<Response<v1::ProveResponse>, Status> {
        let id = id("id", &request.into_inner().id)?;
        let backend = Arc::clone(&self.backend);
        let (proof, set_root) = blocking(move || backend.prove(&id)).await?;
        Ok(Response::new(proof_message(&proof, &set_root)))
    }

    async fn watch(
        &self,
        mut request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let share = share(&self.reads, &request)?;
        let request = request.into_inner();
        let backend = Arc::clone(&self.backend);
        let phases = self.phases.clone();
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            tokio::select! {
                biased;
                () = answering.closed() => {}
                () = phases.reached(Phase::Draining) => {
                    answering.send(Err(Reason::Stopping.into())).await;
                }
                ended = follow(backend, request, &answering, &share, time_max) => {
                    if let Err(status) = ended {
                        answering.send(Err(status)).await;
                    }
                }
            }
        }))
    }
}

/// Sends the log's entries from an index on. Ends when they are wanted no more.
async fn follow<B: Backend>(
    backend: Arc<B>,
    request: v1::WatchRequest,
    answering: &Answering<v1::WatchResponse>,
    share: &Share,
    time_max: Duration,
) -> Result<(), Status> {
    let body_len_max = WATCHED.body_len_max.filter(|_| request.bodies);
    let wanted = EntriesWanted { body_len_max, ..WATCHED };
    // The last body may begin where the aim is reached all but for a byte.
    let bodies_len_max = body_len_max.map_or(0, |last| WATCHED.bytes_aim + last);
    let len_max = bodies_len_max + WATCHED.entries_max * ENTRY_LEN;
    let mut next = request.from;
    let log = backend.log_id();
    if let Some(after) = request.after.map(WatchedLog::try_from).transpose()? {
        let reader = Arc::clone(&backend);
        if !blocking(move || after.is_of(&*reader, next)).await? {
            return Err(Reason::OtherLog.into());
        }
    }
    let hello = v1::WatchResponse { entries: Vec::new(), log: Some(log.into()) };
    if !answering.send(Ok(hello)).await {
        return Ok(());
    }
    loop {
        let held = timeout(time_max, share.reserve(len_max)).await.map_err(|_| Reason::Stalled)?;
        let reader = Arc::clone(&backend);
        let read = move || reader.entries(next, &wanted).map(|entries| (entries, held));
        let (entries, mut held) = blocking(read).await?;
        if let Some(last) = entries.last() {
            next = last.index.saturating_add(1);
            held.keep(entries.iter().map(len_of).sum());
            let entries = entries.into_iter().map(v1::Entry::from).collect();
            let answer = v1::WatchResponse { entries, log: None };
            if !answering.send_kept(Ok(answer), Some(Arc::new(held))).await {
                return Ok(());
            }
            continue;
        }
        drop(held);
        if request.stop_at_end {
            return Ok(());
        }
        if !backend.grown(next).await {
            return Err(Reason::Stopping.into());
        }
    }
}

/// Bytes that an entry takes, about.
fn len_of(entry: &Entry) -> usize {
    ENTRY_LEN + entry.body.as_ref().map_or(0, Vec::len)
}

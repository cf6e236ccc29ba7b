//! The store service.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{self, Sender},
    task::spawn_blocking,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    batch,
    budget::Budget,
    connection::Caller,
    gate::CallPermit,
    phase::{Phase, Phases},
};
use crate::{
    Reason,
    backend::{Backend, EntriesWanted, Failure, WatchedLog, Which},
    check,
    convert::store::{id, proof_message},
    limits::{PART_LEN_MAX, ServerLimits},
    proto::v1::{self, store_server},
};

/// How much of the log goes into one message.
const WATCHED: EntriesWanted =
    EntriesWanted { entries_max: 1024, body_len_max: Some(256 << 10), bytes_aim: 512 << 10 };

/// Messages that wait for a client to take them.
pub(super) const AHEAD: usize = 2;

/// A stream of answers, fed by a task of its own.
pub(super) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// The store service over a store.
#[derive(Debug)]
pub(crate) struct StoreService<B> {
    pub(crate) backend: Arc<B>,
    pub(crate) budget: Budget,
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

/// Hands an answer to the client; false if it is gone, or does not take it in time.
pub(super) async fn hand_on<T>(sender: &Sender<T>, answer: T, time_max: Duration) -> bool {
    matches!(timeout(time_max, sender.send(answer)).await, Ok(Ok(())))
}

/// Answers with what a task sends. The call counts as running until that ends.
pub(super) fn answers<T, F>(
    permit: Option<CallPermit>,
    task: impl FnOnce(Sender<Result<T, Status>>) -> F,
) -> Response<Answers<T>>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    let feeding = task(sender);
    tokio::spawn(async move {
        let _permit = permit;
        feeding.await;
    });
    Response::new(ReceiverStream::new(receiver))
}

#[tonic::async_trait]
impl<B: Backend> store_server::Store for StoreService<B> {
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
        let caller = request.extensions().get::<Caller>().ok_or(Reason::Failed)?;
        let budget = self.budget.share(caller.address(), caller.connection());
        let limits = Arc::clone(&self.limits);
        let messages = request.into_inner();
        Ok(answers(permit, move |sender| async move {
            batch::run(backend, messages, sender, budget, &limits).await;
        }))
    }

    async fn get(
        &self,
        mut request: Request<v1::GetRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let v1::GetRequest { which, offset } = request.into_inner();
        let which = Which::try_from(which)?;
        let backend = Arc::clone(&self.backend);
        let (entry, body) = blocking(move || backend.get(&which)).await?;
        let time_max = self.limits.idle_time_max;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(answers(permit, move |sender| async move {
            let rest = body.get(offset..).unwrap_or_default();
            let (first, later) = rest.split_at_checked(PART_LEN_MAX).unwrap_or((rest, &[]));
            let mut answer = v1::GetResponse { entry: Some(entry.into()), part: first.to_vec() };
            for part in later.chunks(PART_LEN_MAX) {
                if !hand_on(&sender, Ok(answer), time_max).await {
                    return;
                }
                answer = v1::GetResponse { entry: None, part: part.to_vec() };
            }
            hand_on(&sender, Ok(answer), time_max).await;
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
        let request = request.into_inner();
        let backend = Arc::clone(&self.backend);
        let phases = self.phases.clone();
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, move |sender| async move {
            tokio::select! {
                biased;
                () = sender.closed() => {}
                () = phases.reached(Phase::Draining) => {
                    hand_on(&sender, Err(Reason::Stopping.into()), time_max).await;
                }
                ended = follow(backend, request, &sender, time_max) => {
                    if let Err(status) = ended {
                        hand_on(&sender, Err(status), time_max).await;
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
    sender: &Sender<Result<v1::WatchResponse, Status>>,
    time_max: Duration,
) -> Result<(), Status> {
    let body_len_max = WATCHED.body_len_max.filter(|_| request.bodies);
    let wanted = EntriesWanted { body_len_max, ..WATCHED };
    let mut next = request.from;
    let log = backend.log_id();
    if let Some(after) = request.after.map(WatchedLog::try_from).transpose()? {
        let reader = Arc::clone(&backend);
        if !blocking(move || after.is_of(&*reader, next)).await? {
            return Err(Reason::OtherLog.into());
        }
    }
    let hello = v1::WatchResponse { entries: Vec::new(), log: Some(log.into()) };
    if !hand_on(sender, Ok(hello), time_max).await {
        return Ok(());
    }
    loop {
        let reader = Arc::clone(&backend);
        let entries = blocking(move || reader.entries(next, &wanted)).await?;
        if let Some(last) = entries.last() {
            next = last.index.saturating_add(1);
            let entries = entries.into_iter().map(v1::Entry::from).collect();
            let answer = v1::WatchResponse { entries, log: None };
            if !hand_on(sender, Ok(answer), time_max).await {
                return Ok(());
            }
        } else if request.stop_at_end {
            return Ok(());
        } else if !backend.grown(next).await {
            return Err(Reason::Stopping.into());
        }
    }
}

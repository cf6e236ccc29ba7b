//! The store service.

use std::{future::Future, sync::Arc, time::Duration};

use stemedb_store::{Entry, LogIndex, LogSize, Proven, Store, store::uptime};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{
    answers::{Answering, Answers, UNTAKEN_MAX, answers},
    batch,
    blocking::blocking,
    budget::{Budget, Share},
    connection::Caller,
    gate::CallPermit,
    list,
    phase::{Phase, Phases},
};
use crate::{
    Failure, Reason, Which, check,
    convert::store::{id, proof_message, resume_point},
    history::{Grown, Included},
    limits::{PART_LEN_MAX, ServerLimits},
    observer::Observer,
    proto::v1::{self, store_service_server},
};

/// Entries in one message of a watch.
const ENTRIES_MAX: usize = 1024;
/// The longest body that a watch gives.
const WATCHED_LEN_MAX: usize = 256 << 10;
/// No more entries go into a message once their bodies come to so many bytes.
const BYTES_AIM: usize = 512 << 10;

/// Bytes that an entry takes beside its body, about.
const ENTRY_LEN: usize = 256;

/// The store service over a store.
#[derive(Debug)]
pub(crate) struct StoreService {
    pub(crate) store: Arc<Store>,
    pub(crate) observer: Observer,
    /// Budget of batches.
    pub(crate) batches: Budget,
    /// Budget of answers.
    pub(crate) reads: Budget,
    pub(crate) limits: Arc<ServerLimits>,
    pub(crate) phases: Phases,
}

/// A budget as the one who calls sees it.
fn share<T>(budget: &Budget, request: &Request<T>) -> Result<Share, Status> {
    // Every connection of the listener has a caller.
    let caller = request.extensions().get::<Caller>().ok_or(Reason::Failed)?;
    Ok(budget.share(caller.address(), caller.connection()))
}

#[tonic::async_trait]
impl store_service_server::StoreService for StoreService {
    type AppendBatchStream = Answers<v1::AppendBatchResponse>;
    type GetStream = Answers<v1::GetResponse>;
    type WatchStream = Answers<v1::WatchResponse>;
    type ListIdsStream = Answers<v1::ListIdsResponse>;
    type ListEntriesStream = Answers<v1::ListEntriesResponse>;

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let v1::AppendRequest { body, check } = request.into_inner();
        if body.len() > self.store.body_len_max() {
            return Err(Reason::TooLarge.into());
        }
        check::compare(&check, || check::of_body(&body))?;
        let began = uptime();
        let receipt = self.store.append_async(body).await;
        self.observer.appended(began, 1, receipt.as_ref().map(std::slice::from_ref));
        let receipt = receipt.map_err(Failure::from)?;
        Ok(Response::new(v1::AppendResponse { receipt: Some(receipt.into()) }))
    }

    async fn append_batch(
        &self,
        mut request: Request<Streaming<v1::AppendBatchRequest>>,
    ) -> Result<Response<Self::AppendBatchStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let (store, observer) = (Arc::clone(&self.store), self.observer.clone());
        let budget = share(&self.batches, &request)?;
        let time_max = self.limits.idle_time_max;
        let messages = request.into_inner();
        Ok(answers(permit, time_max, move |answering| async move {
            batch::run(store, observer, messages, answering, budget, time_max).await;
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
        let (store, observer) = (Arc::clone(&self.store), self.observer.clone());
        let find = move || {
            let began = uptime();
            let found = which.find(&store);
            // One that is found is told of once its body is read.
            if found.is_err() {
                observer.got(began, &found);
            }
            found
        };
        let entry = blocking(find).await?;
        // The whole body, and copies of parts of it that are not taken yet.
        let len = usize::try_from(entry.len).unwrap_or(usize::MAX);
        let copied = len.min(UNTAKEN_MAX * PART_LEN_MAX);
        let held = share.reserve(len.saturating_add(copied)).await;
        let (store, observer) = (Arc::clone(&self.store), self.observer.clone());
        // What is held goes along: the body is read to its end although nobody may wait any more.
        let read = move || {
            let began = uptime();
            let body = store.body_of(entry.index, entry.time, &entry.id).map_err(Failure::from);
            observer.got(began, &body);
            Ok((body?, held))
        };
        let (body, held) = blocking(read).await?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            let held = Arc::new(held);
            let rest = body.get(offset..).unwrap_or_default();
            let (first, later) = rest.split_at_checked(PART_LEN_MAX).unwrap_or((rest, &[]));
            let mut entry = Some((entry, None).into());
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
        let store = Arc::clone(&self.store);
        let head = blocking(move || Ok(store.head()?)).await?;
        Ok(Response::new(head.into()))
    }

    async fn prove(
        &self,
        request: Request<v1::ProveRequest>,
    ) -> Result<Response<v1::ProveResponse>, Status> {
        let id = id("id", &request.into_inner().id)?;
        let store = Arc::clone(&self.store);
        let Proven { proof, head } = blocking(move || Ok(store.prove(&id)?)).await?;
        Ok(Response::new(proof_message(&proof, &head.set_root)))
    }

    async fn find(
        &self,
        request: Request<v1::FindRequest>,
    ) -> Result<Response<v1::FindResponse>, Status> {
        let which = Which::try_from(request.into_inner().which)?;
        let store = Arc::clone(&self.store);
        let entry = blocking(move || which.find(&store)).await?;
        Ok(Response::new(v1::FindResponse { entry: Some((entry, None).into()) }))
    }

    async fn list_ids(
        &self,
        mut request: Request<v1::ListIdsRequest>,
    ) -> Result<Response<Self::ListIdsStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let share = share(&self.reads, &request)?;
        let (store, request) = (Arc::clone(&self.store), request.into_inner());
        let phases = self.phases.clone();
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            let listed = list::ids(store, request, &answering, &share, time_max);
            until_draining(phases, &answering, listed).await;
        }))
    }

    async fn list_entries(
        &self,
        mut request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<Self::ListEntriesStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let share = share(&self.reads, &request)?;
        let (store, request) = (Arc::clone(&self.store), request.into_inner());
        let phases = self.phases.clone();
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            let listed = list::entries(store, request, &answering, &share, time_max);
            until_draining(phases, &answering, listed).await;
        }))
    }

    async fn stats(
        &self,
        _request: Request<v1::StatsRequest>,
    ) -> Result<Response<v1::StatsResponse>, Status> {
        let store = Arc::clone(&self.store);
        let stats = blocking(move || Ok(store.stats()?)).await?;
        Ok(Response::new(stats.into()))
    }

    async fn prove_inclusion(
        &self,
        request: Request<v1::ProveInclusionRequest>,
    ) -> Result<Response<v1::ProveInclusionResponse>, Status> {
        let v1::ProveInclusionRequest { index, size } = request.into_inner();
        let store = Arc::clone(&self.store);
        let size = size.map(LogSize);
        let included = blocking(move || Included::of(&store, LogIndex(index), size)).await?;
        Ok(Response::new(included.into()))
    }

    async fn prove_consistency(
        &self,
        request: Request<v1::ProveConsistencyRequest>,
    ) -> Result<Response<v1::ProveConsistencyResponse>, Status> {
        let v1::ProveConsistencyRequest { old_size, new_size } = request.into_inner();
        let store = Arc::clone(&self.store);
        let new_size = new_size.map(LogSize);
        let grown = blocking(move || Grown::of(&store, LogSize(old_size), new_size)).await?;
        Ok(Response::new(grown.into()))
    }

    async fn watch(
        &self,
        mut request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permit = request.extensions_mut().remove::<CallPermit>();
        let share = share(&self.reads, &request)?;
        let request = request.into_inner();
        let store = Arc::clone(&self.store);
        let phases = self.phases.clone();
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            let followed = follow(store, request, &answering, &share, time_max);
            until_draining(phases, &answering, followed).await;
        }))
    }
}

/// Feeds a stream until it ends or fails, the client is gone, or the server drains: a client goes
/// on elsewhere then.
async fn until_draining<T>(
    phases: Phases,
    answering: &Answering<T>,
    feeding: impl Future<Output = Result<(), Status>>,
) {
    tokio::select! {
        biased;
        () = answering.closed() => {}
        () = phases.reached(Phase::Draining) => {
            answering.send(Err(Reason::Stopping.into())).await;
        }
        ended = feeding => {
            if let Err(status) = ended {
                answering.send(Err(status)).await;
            }
        }
    }
}

/// Sends the log's entries from an index on. Ends when they are wanted no more.
async fn follow(
    store: Arc<Store>,
    request: v1::WatchRequest,
    answering: &Answering<v1::WatchResponse>,
    share: &Share,
    time_max: Duration,
) -> Result<(), Status> {
    let bodies = request.bodies;
    // The last body may begin where the aim is reached all but for a byte.
    let bodies_len_max = if bodies { BYTES_AIM + WATCHED_LEN_MAX } else { 0 };
    let len_max = bodies_len_max + ENTRIES_MAX * ENTRY_LEN;
    let mut next = LogIndex(request.from);
    let log = store.log_id();
    if let Some(after) = request.after {
        let point = resume_point(after, next)?;
        let reader = Arc::clone(&store);
        blocking(move || Ok(reader.resume_watch(&point).map(drop)?)).await?;
    }
    let mut growth = store.growth();
    let hello = v1::WatchResponse { entries: Vec::new(), log: Some(log.into()) };
    if !answering.send(Ok(hello)).await {
        return Ok(());
    }
    loop {
        let held = timeout(time_max, share.reserve(len_max)).await.map_err(|_| Reason::Stalled)?;
        let reader = Arc::clone(&store);
        let read = move || entries(&reader, next, bodies).map(|entries| (entries, held));
        let (entries, mut held) = blocking(read).await?;
        if !entries.is_empty() {
            next += entries.len() as u64;
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
        if growth.wait_for(|size| size.has(next)).await.is_err() {
            return Err(Reason::Stopping.into());
        }
    }
}

/// Entries for one message, in order and without gaps, with those bodies that are not too long.
fn entries(
    store: &Store,
    from: LogIndex,
    bodies: bool,
) -> Result<Vec<(Entry, Option<Vec<u8>>)>, Failure> {
    if !bodies {
        let entries = store.range(from..).take(ENTRIES_MAX);
        return entries.map(|entry| Ok((entry?, None))).collect();
    }
    let mut entries = Vec::new();
    let mut bytes = 0;
    // Not the rest of a log that is long: more is read ahead of who goes through more of it.
    let to = from.checked_add(ENTRIES_MAX as u64).unwrap_or(from);
    for record in store.records(from..to, WATCHED_LEN_MAX).ahead(BYTES_AIM) {
        let (entry, body) = match record {
            // It is told of once those before it are sent.
            Err(_) if !entries.is_empty() => break,
            record => record?,
        };
        bytes += body.as_ref().map_or(0, prost::bytes::Bytes::len);
        entries.push((entry, body.map(Vec::from)));
        if bytes >= BYTES_AIM {
            break;
        }
    }
    Ok(entries)
}

/// Bytes that an entry takes, about.
fn len_of((_, body): &(Entry, Option<Vec<u8>>)) -> usize {
    ENTRY_LEN + body.as_ref().map_or(0, Vec::len)
}

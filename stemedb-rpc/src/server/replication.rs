//! The replication service: messages in, messages out. What they mean is decided elsewhere.

use std::{net::IpAddr, sync::Arc};

use prost::Message;
use stemedb_sync::{
    MemoryBudget,
    memory::Exhausted,
    message::{Answer, Echo, Refusal, Request, Response},
};
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};
use tonic::{Request as Call, Response as Reply, Status, Streaming};

use super::{
    answers::{Answers, answers},
    connection::Caller,
    gate::CallPermit,
    push::{self, Pushes},
};
use crate::{
    Reason,
    convert::{Malformed, replication::answers::bodies_message},
    limits::ServerLimits,
    proto::v1::{self, replication_server},
    reason::refusal_status,
    replica::Replica,
    shrink::Shrinker,
};

/// The replication service over a replica.
#[derive(Debug)]
pub(crate) struct ReplicationService<R> {
    pub(crate) replica: Arc<R>,
    pub(crate) limits: Arc<ServerLimits>,
    pub(crate) memory: MemoryBudget,
    /// The threads that take in pushes.
    pub(crate) pushes: Arc<Semaphore>,
}

impl<R: Replica> ReplicationService<R> {
    /// Answers a request that has at most one answer.
    async fn answer(&self, request: Request, from: IpAddr) -> Result<Option<Response>, Status> {
        let replica = Arc::clone(&self.replica);
        let answered = spawn_blocking(move || {
            let mut answer = None;
            replica.answer(request, from, &mut |response| answer.replace(response).is_none())?;
            Ok(answer)
        });
        match answered.await {
            Ok(answer) => answer.map_err(refusal_status),
            Err(_) => Err(Reason::Failed.into()),
        }
    }

    /// Answers a call that has one request and one answer, of a certain kind.
    async fn unary<M, A, N>(
        &self,
        call: Call<M>,
        kind: impl FnOnce(Answer) -> Option<A>,
    ) -> Result<Reply<N>, Status>
    where
        M: Message,
        Request: TryFrom<M, Error = Malformed>,
        N: From<(Echo, A)>,
    {
        let from = address_of(&call)?;
        let message = call.into_inner();
        let mut held = self.memory.reserve(message.encoded_len()).map_err(exhausted)?;
        let request = Request::try_from(message).map_err(malformed)?;
        let response = self.answer(request, from).await?;
        let len = response.as_ref().map_or(0, |response| response.answer.list_len());
        held.resize(len).map_err(exhausted)?;
        let mut reply = reply(response, kind)?;
        if len > 0 {
            // Held until the client has taken it in.
            reply.extensions_mut().insert(Arc::new(held));
        }
        Ok(reply)
    }

    /// Answers a call that has one request and many answers.
    fn bodies<M>(
        &self,
        mut call: Call<M>,
        zstd: bool,
    ) -> Result<Reply<Answers<v1::BodiesResponse>>, Status>
    where
        Request: TryFrom<M, Error = Malformed>,
    {
        let permit = call.extensions_mut().remove::<CallPermit>();
        let from = address_of(&call)?;
        let request = Request::try_from(call.into_inner()).map_err(malformed)?;
        let replica = Arc::clone(&self.replica);
        let time_max = self.limits.idle_time_max;
        Ok(answers(permit, time_max, move |answering| async move {
            let answering = Arc::new(answering);
            let parts = Arc::clone(&answering);
            let answered = spawn_blocking(move || {
                let mut shrinker = zstd.then(Shrinker::default);
                let runtime = Handle::current();
                replica.answer(request, from, &mut |Response { echo, answer }| {
                    let Answer::Bodies(bodies) = answer else { return false };
                    let message = bodies_message(echo, bodies, shrinker.as_mut());
                    runtime.block_on(parts.send(Ok(message)))
                })
            });
            let status = match answered.await {
                Ok(Ok(())) => return,
                Ok(Err(refusal)) => refusal_status(refusal),
                Err(_) => Reason::Failed.into(),
            };
            answering.send(Err(status)).await;
        }))
    }
}

/// Where a call comes from.
fn address_of<M>(call: &Call<M>) -> Result<IpAddr, Status> {
    // Every connection of the listener has a caller.
    Ok(call.extensions().get::<Caller>().ok_or(Reason::Failed)?.address())
}

fn exhausted(exhausted: Exhausted) -> Status {
    refusal_status(exhausted.into())
}

pub(super) fn malformed(error: Malformed) -> Status {
    let mut status = refusal_status(Refusal::Malformed);
    status = Status::with_metadata(status.code(), error.to_string(), status.metadata().clone());
    status
}

/// An answer of the kind that a call has.
fn reply<A, N: From<(Echo, A)>>(
    response: Option<Response>,
    kind: impl FnOnce(Answer) -> Option<A>,
) -> Result<Reply<N>, Status> {
    let answer = response
        .and_then(|Response { echo, answer }| kind(answer).map(|answer| N::from((echo, answer))));
    answer.map(Reply::new).ok_or_else(|| Reason::Failed.into())
}

/// Takes an answer of one kind apart.
macro_rules! only {
    ($kind:ident) => {
        |answer| match answer {
            Answer::$kind(answer) => Some(answer),
            _ => None,
        }
    };
}

#[tonic::async_trait]
impl<R: Replica> replication_server::Replication for ReplicationService<R> {
    type FetchStream = Answers<v1::BodiesResponse>;
    type TailStream = Answers<v1::BodiesResponse>;

    async fn hello(
        &self,
        call: Call<v1::HelloRequest>,
    ) -> Result<Reply<v1::HelloResponse>, Status> {
        self.unary(call, only!(Welcome)).await
    }

    async fn symbols(
        &self,
        call: Call<v1::SymbolsRequest>,
    ) -> Result<Reply<v1::SymbolsResponse>, Status> {
        self.unary(call, only!(Symbols)).await
    }

    async fn ids(&self, call: Call<v1::IdsRequest>) -> Result<Reply<v1::IdsResponse>, Status> {
        self.unary(call, only!(Ids)).await
    }

    async fn descend(
        &self,
        call: Call<v1::DescendRequest>,
    ) -> Result<Reply<v1::DescendResponse>, Status> {
        self.unary(call, only!(Subtrees)).await
    }

    async fn fetch(
        &self,
        call: Call<v1::FetchRequest>,
    ) -> Result<Reply<Self::FetchStream>, Status> {
        let zstd = call.get_ref().zstd;
        self.bodies(call, zstd)
    }

    async fn tail(&self, call: Call<v1::TailRequest>) -> Result<Reply<Self::TailStream>, Status> {
        let zstd = call.get_ref().zstd;
        self.bodies(call, zstd)
    }

    async fn push(
        &self,
        call: Call<Streaming<v1::PushRequest>>,
    ) -> Result<Reply<v1::PushResponse>, Status> {
        let pushes = Pushes {
            replica: Arc::clone(&self.replica),
            memory: self.memory.clone(),
            threads: Arc::clone(&self.pushes),
            limits: Arc::clone(&self.limits),
            from: address_of(&call)?,
        };
        let response = push::run(pushes, call.into_inner()).await?;
        reply(Some(response), only!(Pushed))
    }

    async fn finish(
        &self,
        call: Call<v1::FinishRequest>,
    ) -> Result<Reply<v1::FinishResponse>, Status> {
        self.unary(call, only!(Finished)).await
    }

    async fn leave(
        &self,
        call: Call<v1::LeaveRequest>,
    ) -> Result<Reply<v1::LeaveResponse>, Status> {
        self.unary(call, |answer| matches!(answer, Answer::Left).then_some(())).await
    }
}

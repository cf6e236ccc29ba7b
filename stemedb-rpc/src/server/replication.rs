//! The replication service: messages in, messages out. What they mean is decided elsewhere.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message;
use stemedb_sync::{
    MemoryBudget,
    memory::Exhausted,
    message::{Answer, Echo, Refusal, Request, Response},
};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tonic::{Request as Call, Response as Reply, Status, Streaming};

use super::{
    answers::{Answering, Answers, answers},
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
    replica::{BodyParts, Replica, Said},
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
        match off_thread(move || replica.answer(request, from)).await?.map_err(refusal_status)? {
            Said::Nothing => Ok(None),
            Said::Answer(response) => Ok(Some(response)),
            Said::Bodies(_) => Err(Reason::Failed.into()),
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
            let answered = async {
                let said = off_thread(move || replica.answer(request, from)).await?;
                let Said::Bodies(parts) = said.map_err(refusal_status)? else {
                    return Err(Reason::Failed.into());
                };
                hand_on(parts, zstd, &answering).await
            };
            if let Err(status) = answered.await {
                answering.send(Err(status)).await;
            }
        }))
    }
}

/// Hands parts on. Each is made once there is room for it: waiting for the initiator takes no
/// thread.
async fn hand_on(
    parts: BodyParts,
    zstd: bool,
    answering: &Answering<v1::BodiesResponse>,
) -> Result<(), Status> {
    let shrinker = zstd.then(Shrinker::default);
    // What they hold is held until the last of them is taken.
    let making = Arc::new(Mutex::new((parts, shrinker)));
    while let Some(room) = answering.room().await {
        let maker = Arc::clone(&making);
        let made = off_thread(move || {
            // Nobody else has it now, and one that gave up left no part behind.
            let (parts, shrinker) = &mut *maker.lock().unwrap_or_else(PoisonError::into_inner);
            let Response { echo, answer } = match parts.next()? {
                Ok(response) => response,
                Err(refusal) => return Some(Err(refusal_status(refusal))),
            };
            Some(match answer {
                Answer::Bodies(bodies) => Ok(bodies_message(echo, bodies, shrinker.as_mut())),
                _ => Err(Reason::Failed.into()),
            })
        });
        match made.await? {
            Some(Ok(message)) => room.send(Ok(message), Some(making.clone())),
            Some(Err(status)) => {
                room.send(Err(status), None);
                return Ok(());
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Does what may read from a disk.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    spawn_blocking(work).await.map_err(|_| Reason::Failed.into())
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

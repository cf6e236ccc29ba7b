//! The replication service: messages in, messages out. What they mean is decided elsewhere.

use std::{
    iter,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use prost::Message;
use stemedb_sync::{
    MemoryBudget,
    memory::Exhausted,
    message::{Answer, Ask, Echo, Refusal, Request, Response},
    responder::Reply as Answered,
};
use tokio::sync::Semaphore;
use tonic::{Request as Call, Response as Reply, Status, Streaming};

use super::{
    answers::{Answering, Answers, answers},
    blocking::{for_peer, off_thread},
    connection::Caller,
    gate::CallPermit,
    push::{self, Pushes},
    rejection::{Rejection, Rejections},
};
use crate::{
    Malformed, Reason, ResponderService,
    compress::PartCompressor,
    convert::replication::answers::bodies_message,
    limits::ServerLimits,
    proto::v1::{self, replication_service_server},
    reason::{malformed, refusal_status},
};

/// The replication service over a responder.
#[derive(Debug)]
pub(crate) struct ReplicationService {
    pub(crate) responder: Arc<ResponderService>,
    pub(crate) limits: Arc<ServerLimits>,
    pub(crate) memory: MemoryBudget,
    /// The threads that take in pushes.
    pub(crate) pushes: Arc<Semaphore>,
    pub(crate) rejections: Rejections,
}

impl ReplicationService {
    /// Answers a request that has at most one answer.
    async fn answer(&self, request: Request, from: IpAddr) -> Result<Option<Response>, Status> {
        let responder = Arc::clone(&self.responder);
        fold(&responder, &request).await?;
        let answered = for_peer(move || responder.answer(request, from)).await?;
        match answered.map_err(refusal_status)? {
            Answered::Answer(response) => Ok(Some(response)),
            _ => Err(Reason::Failed.into()),
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
    fn parts<M, N>(
        &self,
        mut call: Call<M>,
        mut message: impl FnMut(Response) -> Option<N> + Send + 'static,
    ) -> Result<Reply<Answers<N>>, Status>
    where
        Request: TryFrom<M, Error = Malformed>,
        N: Send + 'static,
    {
        let permit = call.extensions_mut().remove::<CallPermit>();
        let from = address_of(&call)?;
        let request = Request::try_from(call.into_inner()).map_err(malformed)?;
        let responder = Arc::clone(&self.responder);
        let (time_max, rejections) = (self.limits.idle_time_max, self.rejections.clone());
        Ok(answers(permit, time_max, move |answering| async move {
            let answered = async {
                let asked = Arc::clone(&responder);
                fold(&asked, &request).await?;
                let answered = for_peer(move || asked.answer(request, from)).await?;
                if matches!(answered, Err(Refusal::Secret)) {
                    let detail = "a session of another cluster secret, or only one side has any";
                    rejections.note(Some(from), Rejection::Secret, detail);
                }
                let (mut one, mut stream) = match answered.map_err(refusal_status)? {
                    Answered::Answer(answer) => (Some(Ok(answer)), None),
                    Answered::Stream(stream) => (None, Some(stream)),
                    _ => return Err(Reason::Failed.into()),
                };
                let parts = iter::from_fn(move || {
                    one.take().or_else(|| stream.as_mut()?.next(responder.store()))
                });
                let messages = parts.map(move |part| {
                    let answer = part.map_err(refusal_status)?;
                    message(answer).ok_or_else(|| Reason::Failed.into())
                });
                send(messages, &answering).await
            };
            if let Err(status) = answered.await {
                answering.send(Err(status)).await;
            }
        }))
    }
}

/// Folds what was appended last into the trees, if a request needs all of it there. Others wait for
/// them as well, so that no thread that gives way must do it.
async fn fold(responder: &Arc<ResponderService>, request: &Request) -> Result<(), Status> {
    if !matches!(request.ask, Ask::Hello(_) | Ask::Finish(_)) {
        return Ok(());
    }
    let responder = Arc::clone(responder);
    // What goes wrong is told by the answer.
    off_thread(move || drop(responder.store().store().head())).await
}

/// Sends messages. Each is made once there is room for it: waiting for the initiator takes no
/// thread.
async fn send<N: Send + 'static>(
    messages: impl Iterator<Item = Result<N, Status>> + Send + 'static,
    answering: &Answering<N>,
) -> Result<(), Status> {
    // What they hold is held until the last of them is taken.
    let making = Arc::new(Mutex::new(messages));
    while let Some(room) = answering.room().await {
        let maker = Arc::clone(&making);
        // Nobody else has it now, and one that gave up left no part behind.
        let made = for_peer(move || maker.lock().unwrap_or_else(PoisonError::into_inner).next());
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

/// Makes messages of bodies, compressed if the initiator takes that.
fn bodies_messages(zstd: bool) -> impl FnMut(Response) -> Option<v1::BodiesResponse> + Send {
    let mut compressor = zstd.then(PartCompressor::default);
    move |Response { echo, answer }| match answer {
        Answer::Bodies(bodies) => Some(bodies_message(echo, bodies, compressor.as_mut())),
        _ => None,
    }
}

/// Makes a message of a part of the first answer of a session.
fn hello_message(Response { echo, answer }: Response) -> Option<v1::HelloResponse> {
    match answer {
        Answer::Welcome(welcome) => Some((echo, welcome).into()),
        Answer::Symbols(symbols) => Some((echo, symbols).into()),
        _ => None,
    }
}

fn symbols_message(Response { echo, answer }: Response) -> Option<v1::SymbolsResponse> {
    match answer {
        Answer::Symbols(symbols) => Some((echo, symbols).into()),
        _ => None,
    }
}

/// Address that a call comes from.
fn address_of<M>(call: &Call<M>) -> Result<IpAddr, Status> {
    // Every connection of the listener has a caller.
    Ok(call.extensions().get::<Caller>().ok_or(Reason::Failed)?.address())
}

fn exhausted(exhausted: Exhausted) -> Status {
    refusal_status(exhausted.into())
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
impl replication_service_server::ReplicationService for ReplicationService {
    type HelloStream = Answers<v1::HelloResponse>;
    type SymbolsStream = Answers<v1::SymbolsResponse>;
    type FetchStream = Answers<v1::BodiesResponse>;
    type TailStream = Answers<v1::BodiesResponse>;

    async fn hello(
        &self,
        call: Call<v1::HelloRequest>,
    ) -> Result<Reply<Self::HelloStream>, Status> {
        self.parts(call, hello_message)
    }

    async fn symbols(
        &self,
        call: Call<v1::SymbolsRequest>,
    ) -> Result<Reply<Self::SymbolsStream>, Status> {
        self.parts(call, symbols_message)
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
        self.parts(call, bodies_messages(zstd))
    }

    async fn tail(&self, call: Call<v1::TailRequest>) -> Result<Reply<Self::TailStream>, Status> {
        let zstd = call.get_ref().zstd;
        self.parts(call, bodies_messages(zstd))
    }

    async fn push(
        &self,
        call: Call<Streaming<v1::PushRequest>>,
    ) -> Result<Reply<v1::PushResponse>, Status> {
        let pushes = Pushes {
            responder: Arc::clone(&self.responder),
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

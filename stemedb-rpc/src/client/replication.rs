//! The calls of a session, and what they cost.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use prost::Message;
use stemedb_sync::message::{Ask, Envelope, Push, Request, Response};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status, Streaming};

use super::{CallError, Client};
use crate::{
    beside::beside,
    convert::{Malformed, replication::asks::push_message},
    proto::v1,
    reason::reason_word,
    shrink::{Part, Shrinker},
};

/// What gRPC puts before each message: whether it is compressed, and its length.
const PREFIX_LEN: usize = 5;

/// Bytes that a message takes on the wire, without what HTTP/2 adds.
pub(crate) fn wire_len(message: &impl Message) -> u64 {
    (message.encoded_len() + PREFIX_LEN) as u64
}

/// Bytes of messages with the 5 that gRPC puts before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Traffic {
    /// From the initiator.
    pub sent: u64,
    /// To the initiator.
    pub received: u64,
}

/// An answer that comes in parts.
#[derive(Debug)]
pub struct BodiesAnswer {
    parts: Streaming<v1::BodiesResponse>,
    time_max: core::time::Duration,
}

impl BodiesAnswer {
    /// The next part, and how many bytes it took; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the responder does not go on, or breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<(Response, u64)>, CallError> {
        let message = timeout(self.time_max, self.parts.message()).await;
        let message = message.map_err(|_| CallError::Stalled)?.map_err(failed)?;
        let Some(message) = message else { return Ok(None) };
        let received = wire_len(&message);
        let response = if message.len == 0 {
            Response::try_from(message)
        } else {
            beside(move || Response::try_from(message)).await
        };
        Ok(Some((response?, received)))
    }
}

/// The fault of an answer that is too long. Requests are within all limits, so if anything is too
/// long, it is that.
fn too_long(status: &Status) -> Option<CallError> {
    let is_so = status.code() == Code::OutOfRange && reason_word(status).is_none();
    is_so.then(|| Malformed::new("message", "must be at most 4 MiB").into())
}

fn failed(status: Status) -> CallError {
    too_long(&status).unwrap_or_else(|| status.into())
}

/// Calls with one request and one answer, and counts them.
macro_rules! unary {
    ($client:ident, $traffic:ident, $call:ident, $message:expr) => {{
        let message = $message;
        $traffic.sent += wire_len(&message);
        let mut replication = $client.replication.clone();
        let answer = timeout($client.options.call_time_max, replication.$call(message)).await;
        if let Ok(Err(status)) = &answer
            && let Some(fault) = too_long(status)
        {
            return Err(fault);
        }
        let message = $client.answered(answer)?;
        $traffic.received += wire_len(&message);
        Ok(Response::try_from(message)?)
    }};
}

/// Compresses a part if that may help.
async fn shrink(shrinker: &Arc<Mutex<Shrinker>>, bytes: Vec<u8>) -> Part {
    let tries = lock(shrinker).would_try(bytes.len());
    if !tries {
        return lock(shrinker).shrink(bytes);
    }
    let shrinker = Arc::clone(shrinker);
    beside(move || lock(&shrinker).shrink(bytes)).await
}

fn lock(shrinker: &Mutex<Shrinker>) -> MutexGuard<'_, Shrinker> {
    // It may be used after a panic: at worst it tries once more, or not.
    shrinker.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Asks for what has one answer. Not tried again: that is up to the session.
    ///
    /// # Errors
    ///
    /// If the responder refuses or does not answer, and for requests for bodies and pushes.
    pub async fn ask(
        &self,
        request: Request,
        traffic: &mut Traffic,
    ) -> Result<Response, CallError> {
        let Request { envelope, ask } = request;
        match ask {
            Ask::Hello(ask) => {
                unary!(self, traffic, hello, v1::HelloRequest::from((envelope, ask)))
            }
            Ask::Symbols(ask) => {
                unary!(self, traffic, symbols, v1::SymbolsRequest::from((envelope, ask)))
            }
            Ask::Ids(ask) => unary!(self, traffic, ids, v1::IdsRequest::from((envelope, ask))),
            Ask::Descend(ask) => {
                unary!(self, traffic, descend, v1::DescendRequest::from((envelope, ask)))
            }
            Ask::Finish(ask) => {
                unary!(self, traffic, finish, v1::FinishRequest::from((envelope, ask)))
            }
            Ask::Leave => unary!(self, traffic, leave, v1::LeaveRequest::from(envelope)),
            Ask::Fetch(_) | Ask::Tail(_) | Ask::Push(_) => {
                Err(Malformed::new("ask", "must be one that has one answer").into())
            }
        }
    }

    /// Asks for bodies.
    ///
    /// # Errors
    ///
    /// If the responder refuses or does not answer, and for other requests.
    pub async fn ask_bodies(
        &self,
        request: Request,
        traffic: &mut Traffic,
    ) -> Result<BodiesAnswer, CallError> {
        let Request { envelope, ask } = request;
        let mut replication = self.replication.clone();
        let time_max = self.options.call_time_max;
        let parts = match ask {
            Ask::Fetch(ask) => {
                let message = v1::FetchRequest::from((envelope, ask));
                traffic.sent += wire_len(&message);
                timeout(time_max, replication.fetch(message)).await
            }
            Ask::Tail(ask) => {
                let message = v1::TailRequest::from((envelope, ask));
                traffic.sent += wire_len(&message);
                timeout(time_max, replication.tail(message)).await
            }
            _ => return Err(Malformed::new("ask", "must be one for bodies").into()),
        };
        let parts = self.answered(parts)?;
        Ok(BodiesAnswer { parts, time_max: self.options.idle_time_max })
    }

    /// Sends the parts of one push, the last of which says so, and waits for the answer.
    ///
    /// # Errors
    ///
    /// If the responder refuses or does not answer.
    pub async fn push(
        &self,
        parts: impl Stream<Item = (Envelope, Push)> + Send + Unpin + 'static,
        traffic: &mut Traffic,
    ) -> Result<Response, CallError> {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let shrinker = Arc::new(Mutex::new(Shrinker::default()));
        let messages = parts.then(move |(envelope, Push { part, bytes, last })| {
            let (shrinker, counter) = (Arc::clone(&shrinker), Arc::clone(&counter));
            async move {
                let bytes = shrink(&shrinker, bytes).await;
                let message = push_message(envelope, part, bytes, last);
                counter.fetch_add(wire_len(&message), Ordering::Relaxed);
                message
            }
        });
        let mut replication = self.replication.clone();
        let answer = replication.push(messages).await;
        traffic.sent += sent.load(Ordering::Relaxed);
        let message = self.answered(Ok(answer))?;
        traffic.received += wire_len(&message);
        Ok(Response::try_from(message)?)
    }
}

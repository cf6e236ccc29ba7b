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
    Malformed,
    compress::{Part, PartCompressor},
    computing::compute,
    convert::replication::asks::push_message,
    proto::v1,
    reason::is_explained,
};

/// Bytes that gRPC puts before each message: whether it is compressed, and its length.
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

/// An answer that comes in parts. One that is dropped is cut.
#[derive(Debug)]
pub struct AnswerParts {
    parts: Parts,
    time_max: core::time::Duration,
}

#[derive(Debug)]
enum Parts {
    Hello(Streaming<v1::HelloResponse>),
    Symbols(Streaming<v1::SymbolsResponse>),
    Bodies(Streaming<v1::BodiesResponse>),
}

impl AnswerParts {
    /// The next part, and how many bytes it took; `None` at the end. Parts of a kind that this
    /// version does not know are skipped.
    ///
    /// # Errors
    ///
    /// If the responder does not go on, or breaks the protocol.
    pub async fn next(&mut self) -> Result<Option<(Response, u64)>, CallError> {
        let mut skipped = 0;
        loop {
            let next = timeout(self.time_max, self.parts.next()).await;
            let Some((response, received)) = next.map_err(|_| CallError::Stalled)?? else {
                return Ok(None);
            };
            skipped += received;
            if let Some(response) = response {
                return Ok(Some((response, skipped)));
            }
        }
    }
}

impl Parts {
    async fn next(&mut self) -> Result<Option<(Option<Response>, u64)>, CallError> {
        Ok(match self {
            Self::Hello(parts) => match parts.message().await.map_err(failed)? {
                Some(message) => {
                    let received = wire_len(&message);
                    Some((message.known()?, received))
                }
                None => None,
            },
            Self::Symbols(parts) => match parts.message().await.map_err(failed)? {
                Some(message) => {
                    let received = wire_len(&message);
                    Some((Some(message.try_into()?), received))
                }
                None => None,
            },
            Self::Bodies(parts) => match parts.message().await.map_err(failed)? {
                Some(message) => {
                    let received = wire_len(&message);
                    let response = if message.len == 0 {
                        Response::try_from(message)
                    } else {
                        compute(move || Response::try_from(message)).await
                    };
                    Some((Some(response?), received))
                }
                None => None,
            },
        })
    }
}

/// The fault of an answer that is too long. Requests are within all limits, so if anything is too
/// long, it is that.
fn too_long(status: &Status) -> Option<CallError> {
    let is_so = status.code() == Code::OutOfRange && !is_explained(status);
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
async fn compress(compressor: &Arc<Mutex<PartCompressor>>, bytes: Vec<u8>) -> Part {
    let tries = lock(compressor).would_try(bytes.len());
    if !tries {
        return lock(compressor).compress(bytes);
    }
    let compressor = Arc::clone(compressor);
    compute(move || lock(&compressor).compress(bytes)).await
}

fn lock(compressor: &Mutex<PartCompressor>) -> MutexGuard<'_, PartCompressor> {
    // It may be used after a panic: at worst it tries once more, or not.
    compressor.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Asks for what has one answer. Not tried again: that is up to the session.
    ///
    /// # Errors
    ///
    /// If the responder refuses or does not answer, and for requests that have another answer.
    pub async fn ask(
        &self,
        request: Request,
        traffic: &mut Traffic,
    ) -> Result<Response, CallError> {
        let Request { envelope, ask } = request;
        match ask {
            Ask::Ids(ask) => unary!(self, traffic, ids, v1::IdsRequest::from((envelope, ask))),
            Ask::Descend(ask) => {
                unary!(self, traffic, descend, v1::DescendRequest::from((envelope, ask)))
            }
            Ask::Finish(ask) => {
                unary!(self, traffic, finish, v1::FinishRequest::from((envelope, ask)))
            }
            Ask::Leave => unary!(self, traffic, leave, v1::LeaveRequest::from(envelope)),
            Ask::Hello(_) | Ask::Symbols(_) | Ask::Fetch(_) | Ask::Tail(_) | Ask::Push(_) => {
                Err(Malformed::new("ask", "must be one that has one answer").into())
            }
        }
    }

    /// Asks for what has an answer of several parts.
    ///
    /// # Errors
    ///
    /// If the responder refuses or does not answer, and for other requests.
    pub async fn ask_parts(
        &self,
        request: Request,
        traffic: &mut Traffic,
    ) -> Result<AnswerParts, CallError> {
        /// Makes a call, and counts it.
        macro_rules! parts {
            ($kind:ident, $call:ident, $message:expr) => {{
                let message = $message;
                traffic.sent += wire_len(&message);
                let mut replication = self.replication.clone();
                let parts = timeout(self.options.call_time_max, replication.$call(message)).await;
                Parts::$kind(self.answered(parts)?)
            }};
        }
        let Request { envelope, ask } = request;
        let parts = match ask {
            Ask::Hello(ask) => parts!(Hello, hello, v1::HelloRequest::from((envelope, ask))),
            Ask::Symbols(ask) => {
                parts!(Symbols, symbols, v1::SymbolsRequest::from((envelope, ask)))
            }
            Ask::Fetch(ask) => parts!(Bodies, fetch, v1::FetchRequest::from((envelope, ask))),
            Ask::Tail(ask) => parts!(Bodies, tail, v1::TailRequest::from((envelope, ask))),
            _ => {
                let rule = "must be one that has an answer of several parts";
                return Err(Malformed::new("ask", rule).into());
            }
        };
        Ok(AnswerParts { parts, time_max: self.options.idle_time_max })
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
        let compressor = Arc::new(Mutex::new(PartCompressor::default()));
        let messages = parts.then(move |(envelope, Push { part, bytes, last })| {
            let (compressor, counter) = (Arc::clone(&compressor), Arc::clone(&counter));
            async move {
                let bytes = compress(&compressor, bytes).await;
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

//! How long messages are on the wire, for those who drive a session without one.

use stemedb_sync::message::{Answer, Ask, Push, Request, Response};

use crate::{
    client::replication::wire_len,
    compress::Part,
    convert::replication::{answers::bodies_message, asks::push_message},
    proto::v1,
};

/// Bytes of a request as gRPC carries it: encoded, with the five bytes that stand before it and
/// without what HTTP/2 adds. Bodies count as if they did not compress.
pub fn request_len(request: &Request) -> u64 {
    let Request { envelope, ask } = request.clone();
    match ask {
        Ask::Hello(ask) => wire_len(&v1::HelloRequest::from((envelope, ask))),
        Ask::Symbols(ask) => wire_len(&v1::SymbolsRequest::from((envelope, ask))),
        Ask::Ids(ask) => wire_len(&v1::IdsRequest::from((envelope, ask))),
        Ask::Descend(ask) => wire_len(&v1::DescendRequest::from((envelope, ask))),
        Ask::Fetch(ask) => wire_len(&v1::FetchRequest::from((envelope, ask))),
        Ask::Tail(ask) => wire_len(&v1::TailRequest::from((envelope, ask))),
        Ask::Push(Push { part, bytes, last }) => {
            wire_len(&push_message(envelope, part, Part { bytes, len: 0 }, last))
        }
        Ask::Finish(ask) => wire_len(&v1::FinishRequest::from((envelope, ask))),
        Ask::Leave => wire_len(&v1::LeaveRequest::from(envelope)),
    }
}

/// Bytes of a response, counted like those of [a request](request_len).
pub fn response_len(response: &Response) -> u64 {
    let Response { echo, answer } = response.clone();
    match answer {
        Answer::Welcome(answer) => wire_len(&v1::HelloResponse::from((echo, answer))),
        // Those behind a welcome take some bytes more.
        Answer::Symbols(answer) => wire_len(&v1::SymbolsResponse::from((echo, answer))),
        Answer::Ids(answer) => wire_len(&v1::IdsResponse::from((echo, answer))),
        Answer::Subtrees(answer) => wire_len(&v1::DescendResponse::from((echo, answer))),
        Answer::Bodies(answer) => wire_len(&bodies_message(echo, answer, None)),
        Answer::Pushed(answer) => wire_len(&v1::PushResponse::from((echo, answer))),
        Answer::Finished(answer) => wire_len(&v1::FinishResponse::from((echo, answer))),
        Answer::Left => wire_len(&v1::LeaveResponse::from((echo, ()))),
    }
}

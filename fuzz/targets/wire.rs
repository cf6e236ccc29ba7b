//! Messages of all services as protobuf: decoded, and made into what the project works with.

use prost::Message;
use stemedb::{AssertionId, Entry, Head, Receipt, Stats};
use stemedb_merkle::{Root, SetProof};
use stemedb_rpc::{
    Control, Controlled, Status, Which,
    history::{Grown, Included},
    limits::PART_LEN_MAX,
    proto::v1,
};
use stemedb_sync::message::{Answer, Ask, Request, Response};

use super::responder::{Opened, check_replies};

/// The bytes as a message of this type.
fn message<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    M::decode(bytes).ok()
}

/// A request: which call it is of, then the message.
pub(crate) fn request(bytes: &[u8]) -> Option<Request> {
    let (call, bytes) = bytes.split_first()?;
    match call % 9 {
        0 => message::<v1::HelloRequest>(bytes)?.try_into(),
        1 => message::<v1::SymbolsRequest>(bytes)?.try_into(),
        2 => message::<v1::IdsRequest>(bytes)?.try_into(),
        3 => message::<v1::DescendRequest>(bytes)?.try_into(),
        4 => message::<v1::FetchRequest>(bytes)?.try_into(),
        5 => message::<v1::TailRequest>(bytes)?.try_into(),
        6 => message::<v1::PushRequest>(bytes)?.try_into(),
        7 => message::<v1::FinishRequest>(bytes)?.try_into(),
        _ => message::<v1::LeaveRequest>(bytes)?.try_into(),
    }
    .ok()
}

/// The other way: what [`request`] takes.
pub(crate) fn request_bytes(Request { envelope, ask }: Request) -> Vec<u8> {
    let (call, message) = match ask {
        Ask::Hello(ask) => (0, v1::HelloRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Symbols(ask) => (1, v1::SymbolsRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Ids(ask) => (2, v1::IdsRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Descend(ask) => (3, v1::DescendRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Fetch(ask) => (4, v1::FetchRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Tail(ask) => (5, v1::TailRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Push(ask) => {
            let (envelope, len) = (Some(envelope.into()), 0);
            let (part, bytes, last) = (ask.part, ask.bytes, ask.last);
            (6, v1::PushRequest { envelope, part, bytes, len, last }.encode_to_vec())
        }
        Ask::Finish(ask) => (7, v1::FinishRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Leave => (8, v1::LeaveRequest::from(envelope).encode_to_vec()),
    };
    [&[call], &message[..]].concat()
}

/// A request, as a responder gets it: from anybody, and from within a session.
pub(crate) fn requests(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    if let Ask::Push(push) = &request.ask {
        assert!(push.bytes.len() <= PART_LEN_MAX.max(bytes.len()));
    }
    assert_eq!(self::request(&request_bytes(request.clone())), Some(request.clone()));
    let mut opened = Opened::small();
    check_replies(&mut opened.peer, request.clone());
    let mut request = request;
    request.envelope.session = opened.envelope.session;
    request.envelope.snapshot = opened.envelope.snapshot;
    check_replies(&mut opened.peer, opened.key.seal_request(request));
}

/// A response: which call it is of, then the message.
pub(crate) fn response(bytes: &[u8]) -> Option<Response> {
    let (call, bytes) = bytes.split_first()?;
    match call % 8 {
        0 => message::<v1::Welcome>(bytes)?.try_into(),
        1 => message::<v1::SymbolsResponse>(bytes)?.try_into(),
        2 => message::<v1::IdsResponse>(bytes)?.try_into(),
        3 => message::<v1::DescendResponse>(bytes)?.try_into(),
        4 => message::<v1::BodiesResponse>(bytes)?.try_into(),
        5 => message::<v1::PushResponse>(bytes)?.try_into(),
        6 => message::<v1::FinishResponse>(bytes)?.try_into(),
        _ => message::<v1::LeaveResponse>(bytes)?.try_into(),
    }
    .ok()
}

/// The other way.
pub(crate) fn response_bytes(Response { echo, answer }: Response) -> Vec<u8> {
    let (call, message) = match answer {
        Answer::Welcome(answer) => (0, v1::Welcome::from((echo, answer)).encode_to_vec()),
        Answer::Symbols(answer) => (1, v1::SymbolsResponse::from((echo, answer)).encode_to_vec()),
        Answer::Ids(answer) => (2, v1::IdsResponse::from((echo, answer)).encode_to_vec()),
        Answer::Subtrees(answer) => (3, v1::DescendResponse::from((echo, answer)).encode_to_vec()),
        Answer::Bodies(answer) => {
            let (echo, len) = (Some(echo.into()), 0);
            let (part, bytes) = (answer.part, answer.bytes);
            let end = answer.end.map(|end| v1::BodiesEnd { processed: end.processed });
            (4, v1::BodiesResponse { echo, part, bytes, len, end }.encode_to_vec())
        }
        Answer::Pushed(answer) => (5, v1::PushResponse::from((echo, answer)).encode_to_vec()),
        Answer::Finished(answer) => (6, v1::FinishResponse::from((echo, answer)).encode_to_vec()),
        Answer::Left => (7, v1::LeaveResponse::from((echo, ())).encode_to_vec()),
    };
    [&[call], &message[..]].concat()
}

/// A response, as an initiator gets it.
pub(crate) fn responses(bytes: &[u8]) {
    let Some(response) = response(bytes) else { return };
    assert!(response.answer.list_len() <= PART_LEN_MAX.max(bytes.len()));
    assert_eq!(self::response(&response_bytes(response.clone())), Some(response));
}

/// Messages of the store service: which, then the message.
pub(crate) fn store_messages(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 8 {
        0 => drop(message::<v1::AppendRequest>(bytes)),
        1 => drop(message::<v1::AppendBatchRequest>(bytes)),
        2 => {
            let Some(message) = message::<v1::AppendBatchResponse>(bytes) else { return };
            for receipt in message.receipts {
                if let Ok(read) = Receipt::try_from(receipt.clone()) {
                    assert_eq!(v1::Receipt::from(read), receipt);
                }
            }
        }
        3 => {
            let Some(v1::GetRequest { which, .. }) = message(bytes) else { return };
            if let Ok(read) = Which::try_from(which.clone()) {
                assert_eq!(which, Some((&read).into()));
            }
        }
        4 => {
            let Some(v1::GetResponse { entry: Some(entry), .. }) = message(bytes) else { return };
            self::entry(&entry);
        }
        5 => {
            let Some(head) = message::<v1::HeadResponse>(bytes) else { return };
            if let Ok(read) = Head::try_from(head.clone()) {
                assert_eq!(v1::HeadResponse::from(read), head);
            }
        }
        6 => {
            let Some(message) = message::<v1::ProveResponse>(bytes) else { return };
            if let Ok((proof, root)) = <(SetProof, Root)>::try_from(message) {
                let _ = proof.verify(&root);
            }
        }
        _ => {
            let Some(message) = message::<v1::WatchResponse>(bytes) else { return };
            message.entries.iter().for_each(entry);
        }
    }
}

fn entry(entry: &v1::Entry) {
    if let Ok((read, body)) = <(Entry, Option<Vec<u8>>)>::try_from(entry.clone()) {
        assert!(body.as_ref().is_none_or(|body| body.len() as u64 == read.len));
        assert_eq!(v1::Entry::from((read, body)), *entry);
    }
}

/// Messages of the store service about lists, sizes and history: which, then the message.
pub(crate) fn store_lists(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 9 {
        0 => {
            let Some(v1::FindRequest { which }) = message(bytes) else { return };
            if let Ok(read) = Which::try_from(which.clone()) {
                assert_eq!(which, Some((&read).into()));
            }
        }
        1 => drop(message::<v1::ListIdsRequest>(bytes)),
        2 => {
            let Some(message) = message::<v1::ListIdsResponse>(bytes) else { return };
            let len = message.ids.len();
            if let Ok(ids) = <Vec<AssertionId>>::try_from(message) {
                assert!(!ids.is_empty() && 32 * ids.len() == len && ids.is_sorted());
            }
        }
        3 => drop(message::<v1::ListEntriesRequest>(bytes)),
        4 => {
            let Some(message) = message::<v1::ListEntriesResponse>(bytes) else { return };
            message.entries.iter().for_each(entry);
        }
        5 => {
            let Some(message) = message::<v1::StatsResponse>(bytes) else { return };
            if let Ok(stats) = Stats::try_from(message) {
                let again = v1::StatsResponse::from(stats);
                let stats = Stats::try_from(again.clone());
                assert_eq!(stats.map(v1::StatsResponse::from).ok(), Some(again));
            }
        }
        6 => {
            let Some(message) = message::<v1::ProveInclusionResponse>(bytes) else { return };
            if let Ok(included) = Included::try_from(message) {
                let _ = included.verify();
                let again = v1::ProveInclusionResponse::from(included.clone());
                assert_eq!(Included::try_from(again).ok(), Some(included));
            }
        }
        7 => {
            let Some(message) = message::<v1::ProveConsistencyResponse>(bytes) else { return };
            if let Ok(grown) = Grown::try_from(message) {
                let _ = grown.verify();
                let again = v1::ProveConsistencyResponse::from(grown.clone());
                assert_eq!(Grown::try_from(again).ok(), Some(grown));
            }
        }
        _ => {
            let _ = message::<v1::ProveInclusionRequest>(bytes);
            let _ = message::<v1::ProveConsistencyRequest>(bytes);
        }
    }
}

/// Messages of the node service: which, then the message.
pub(crate) fn node_messages(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 5 {
        0 => {
            let Some(message) = message::<v1::ControlRequest>(bytes) else { return };
            if let Ok(control) = Control::try_from(message) {
                let again = v1::ControlRequest::from(control.clone());
                assert_eq!(Control::try_from(again).ok(), Some(control));
            }
        }
        1 => {
            let Some(message) = message::<v1::ControlResponse>(bytes) else { return };
            let done = Controlled::from(message);
            assert!(!done.to_string().is_empty());
            assert_eq!(Controlled::from(v1::ControlResponse::from(done.clone())), done);
        }
        2 => {
            let Some(message) = message::<v1::StatusResponse>(bytes) else { return };
            let again = v1::StatusResponse::from(Status::from(message));
            // By their bytes: a time may be no number, which is not equal to itself.
            let bytes = again.encode_to_vec();
            assert_eq!(v1::StatusResponse::from(Status::from(again)).encode_to_vec(), bytes);
        }
        3 => drop(message::<v1::CellsResponse>(bytes)),
        _ => drop(message::<v1::GossipRequest>(bytes)),
    }
}

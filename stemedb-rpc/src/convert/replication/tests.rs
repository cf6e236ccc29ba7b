use stemedb_merkle::Root;
use stemedb_sync::message::{
    Answer, Ask, AskIds, AskSymbols, Bodies, BodiesEnd, CursorState, Descend, Fetch, Finish,
    Finished, Hello, Ids, Push, Pushed, Request, Response, Subtrees, Symbols, Tail, Wanted,
    Welcome,
};

use super::*;
use crate::compress::{Part, PartCompressor};
use prost::Message;

const ENVELOPE: Envelope = Envelope { session: [1; 16], snapshot: 2, request: 3, mac: [4; 16] };
const ECHO: Echo = Echo { session: [1; 16], snapshot: 2, request: 3, mac: [5; 16] };
const SET: SetHead = SetHead { count: 5, root: Root([6; 32]) };
const LOG: TreeHead = TreeHead { size: LogSize(7), root: Root([8; 32]) };

fn hello(cursor: Option<Cursor>) -> Hello {
    let (version, node, epoch, proof) = (1, [9; 16], 10, [11; 16]);
    Hello { version, node, epoch, proof, set: SET, time: 12, cursor, symbols: 64 }
}

fn welcome(set: Option<SetHead>) -> Welcome {
    Welcome {
        version: 1,
        node: [13; 16],
        epoch: 14,
        nonce: if set.is_some() { [15; 16] } else { [0; 16] },
        proof: [16; 16],
        set,
        log: LOG,
        time: 17,
        cursor: CursorState::Rewritten,
        symbols: 18,
    }
}

/// Encodes and decodes.
fn travel<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn requests_come_back_as_they_were() {
    let cursor = Cursor { epoch: 19, size: 20, root: [21; 16] };
    macro_rules! check {
        ($kind:ident, $message:ty, $ask:expr) => {
            for envelope in [ENVELOPE, Envelope { mac: [0; 16], ..ENVELOPE }] {
                let message = travel(&<$message>::from((envelope, $ask)));
                let request = Request::try_from(message.clone()).unwrap();
                assert_eq!(request, Request { envelope, ask: Ask::$kind($ask) });
                let bare = <$message>::default();
                assert!(Request::try_from(bare).is_err());
                let mut short = message;
                short.envelope.as_mut().unwrap().session.pop();
                assert!(Request::try_from(short).is_err());
            }
        };
    }
    check!(Hello, v1::HelloRequest, hello(None));
    check!(Hello, v1::HelloRequest, hello(Some(cursor)));
    check!(Symbols, v1::SymbolsRequest, AskSymbols { from: 1, count: 2 });
    check!(Ids, v1::IdsRequest, AskIds { prefixes: vec![1; 32] });
    check!(Descend, v1::DescendRequest, Descend { nodes: vec![1; 3], levels: 2, leaf_ids: 8 });
    check!(Fetch, v1::FetchRequest, Fetch { wanted: Wanted::Ids(vec![1; 64]) });
    check!(Fetch, v1::FetchRequest, Fetch { wanted: Wanted::Prefixes(vec![1; 64]) });
    check!(Tail, v1::TailRequest, Tail { from: 1, count: u64::MAX });
    check!(Finish, v1::FinishRequest, Finish { set: None, now: None });
    check!(Finish, v1::FinishRequest, Finish { set: Some(SET), now: None });
    check!(Finish, v1::FinishRequest, Finish { set: None, now: Some(SET) });

    let message = travel(&v1::LeaveRequest::from(ENVELOPE));
    let leave = Request { envelope: ENVELOPE, ask: Ask::Leave };
    assert_eq!(Request::try_from(message).unwrap(), leave);
    assert!(Request::try_from(v1::LeaveRequest::default()).is_err());

    let mut levels =
        v1::DescendRequest::from((ENVELOPE, Descend { nodes: Vec::new(), levels: 1, leaf_ids: 0 }));
    levels.levels = 256;
    assert!(Request::try_from(levels).is_err());
}

#[test]
fn parts_of_a_push_come_back_as_they_were() {
    for bytes in [vec![], vec![1; 10], vec![2; 100_000]] {
        for last in [false, true] {
            let part = PartCompressor::default().compress(bytes.clone());
            let message = travel(&asks::push_message(ENVELOPE, 5, part, last));
            let ask = Ask::Push(Push { part: 5, bytes: bytes.clone(), last });
            assert_eq!(Request::try_from(message).unwrap(), Request { envelope: ENVELOPE, ask });
        }
    }
    let bomb = Part { bytes: vec![1; 10], len: 1 << 31 };
    assert!(Request::try_from(asks::push_message(ENVELOPE, 0, bomb, true)).is_err());
}

#[test]
fn answers_come_back_as_they_were() {
    macro_rules! check {
        ($kind:ident, $message:ty, $answer:expr) => {
            let message = travel(&<$message>::from((ECHO, $answer)));
            let response = Response::try_from(message.clone()).unwrap();
            assert_eq!(response, Response { echo: ECHO, answer: Answer::$kind($answer) });
            assert!(Response::try_from(<$message>::default()).is_err());
            let mut short = message;
            short.echo.as_mut().unwrap().session.push(0);
            assert!(Response::try_from(short).is_err());
        };
    }
    let symbols = |last| Symbols { from: 7, symbols: vec![1; 30], last };
    check!(Welcome, v1::Welcome, welcome(None));
    check!(Welcome, v1::Welcome, welcome(Some(SET)));
    check!(Symbols, v1::SymbolsResponse, symbols(false));
    check!(Symbols, v1::SymbolsResponse, symbols(true));
    check!(Ids, v1::IdsResponse, Ids { suffixes: vec![1; 32] });
    check!(Subtrees, v1::DescendResponse, Subtrees { subtrees: vec![1; 32] });
    check!(Pushed, v1::PushResponse, Pushed { appended: 1, duplicates: 2 });
    check!(Finished, v1::FinishResponse, Finished { checked: true, set: SET, log: LOG });

    let message = travel(&v1::LeaveResponse::from((ECHO, ())));
    let left = Response { echo: ECHO, answer: Answer::Left };
    assert_eq!(Response::try_from(message).unwrap(), left);
    assert!(Response::try_from(v1::LeaveResponse::default()).is_err());

    // What a later version may say is no violation.
    assert_eq!(v1::HelloResponse::default().known(), Ok(None));
    let mut later = v1::Welcome::from((ECHO, welcome(None)));
    later.cursor = 3;
    let Answer::Welcome(read) = Response::try_from(later).unwrap().answer else { panic!() };
    assert_eq!(read.cursor, CursorState::Unknown(3));
}

#[test]
fn bodies_come_back_as_they_were() {
    for bytes in [vec![], vec![1; 10], vec![2; 100_000]] {
        for end in [None, Some(BodiesEnd { processed: 3 })] {
            for zstd in [false, true] {
                let bodies = Bodies { part: 4, bytes: bytes.clone(), end };
                let mut compressor = zstd.then(PartCompressor::default);
                let message = answers::bodies_message(ECHO, bodies.clone(), compressor.as_mut());
                assert_eq!(message.len > 0, zstd && bytes.len() == 100_000);
                let response = Response::try_from(travel(&message)).unwrap();
                assert_eq!(response, Response { echo: ECHO, answer: Answer::Bodies(bodies) });
            }
        }
    }
}

/// The first exchange of two stores that hold the same: the figure that the protocol promises.
#[test]
fn equal_sets_cost_less_than_300_bytes() {
    let large = u64::from(u32::MAX);
    let set = SetHead { count: large, root: Root([255; 32]) };
    let log = TreeHead { size: LogSize(large), root: Root([255; 32]) };
    let cursor = Some(Cursor { epoch: 1, size: large, root: [255; 16] });
    let hello = Hello { set, cursor, time: u64::MAX, epoch: 1, ..hello(None) };
    let envelope = Envelope { snapshot: 0, request: 1, mac: [0; 16], ..ENVELOPE };
    let echo = Echo { snapshot: 0, request: 1, mac: [0; 16], ..ECHO };
    let welcome = Welcome {
        log,
        epoch: 1,
        time: u64::MAX,
        cursor: CursorState::Good,
        symbols: 0,
        ..welcome(None)
    };
    let asked = v1::HelloRequest::from((envelope, hello)).encoded_len() + 5;
    let answered = v1::HelloResponse::from((echo, welcome)).encoded_len() + 5;
    assert!(asked + answered < 300, "{asked} + {answered}");
}

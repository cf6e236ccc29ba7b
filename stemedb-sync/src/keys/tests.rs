use super::*;
use crate::message::{
    Answer, Ask, AskIds, AskSymbols, Bodies, BodiesEnd, CursorState, Descend, Envelope, Fetch,
    Finish, Finished, Ids, Push, Pushed, Request, Response, Subtrees, Symbols, Tail, Wanted,
};
use stemedb_merkle::{
    Root,
    history::{LogSize, TreeHead},
};

fn hello() -> Hello {
    Hello {
        version: 1,
        node: [1; 16],
        epoch: 2,
        proof: [0; 16],
        set: SetHead { count: 3, root: Root([4; 32]) },
        time: 5,
        cursor: Some(Cursor { epoch: 6, size: 7, root: [8; 16] }),
        symbols: 9,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: [1; 16],
        epoch: 2,
        nonce: [3; 16],
        proof: [0; 16],
        set: Some(SetHead { count: 4, root: Root([5; 32]) }),
        log: TreeHead { size: LogSize(6), root: Root([7; 32]) },
        time: 8,
        cursor: CursorState::Good,
        symbols: 9,
    }
}

#[test]
fn ids_are_those_of_the_specification() {
    assert_eq!(Keys::new(None).id(b"body"), *blake3::hash(b"body").as_bytes());
    let secret = [7; 16];
    let key = derive("assertion id", &secret);
    assert_eq!(Keys::new(Some(&secret)).id(b"body"), *blake3::keyed_hash(&key, b"body").as_bytes());
}

#[test]
fn the_proof_of_hello_covers_every_field_and_the_secret() {
    let keys = Keys::new(Some(&[1; 16]));
    let session = [1; 16];
    let proof = keys.initiator_proof(&session, &hello());
    let mut changed: Vec<Hello> = (0..9).map(|_| hello()).collect();
    changed[0].version += 1;
    changed[1].node[15] ^= 1;
    changed[2].epoch += 1;
    changed[3].set.count += 1;
    changed[4].set.root.0[31] ^= 1;
    changed[5].time += 1;
    changed[6].cursor = None;
    changed[7].cursor.as_mut().unwrap().root[15] ^= 1;
    changed[8].symbols += 1;
    for hello in changed {
        assert_ne!(keys.initiator_proof(&session, &hello), proof, "{hello:?}");
    }
    assert_ne!(keys.initiator_proof(&[2; 16], &hello()), proof);
    assert_ne!(Keys::new(Some(&[2; 16])).initiator_proof(&session, &hello()), proof);
    assert_ne!(Keys::new(None).initiator_proof(&session, &hello()), proof);
}

#[test]
fn the_proof_of_welcome_covers_every_field() {
    let keys = Keys::new(None);
    let echo = Echo { session: [1; 16], snapshot: 2, request: 1, mac: [0; 16] };
    let proof = keys.responder_proof(&echo, &hello(), &welcome());
    let mut changed: Vec<Welcome> = (0..11).map(|_| welcome()).collect();
    changed[0].version += 1;
    changed[1].node[0] ^= 1;
    changed[2].epoch += 1;
    changed[3].nonce[3] ^= 1;
    changed[4].set = None;
    changed[5].set.as_mut().unwrap().root.0[0] ^= 1;
    changed[6].log.size.0 += 1;
    changed[7].log.root.0[9] ^= 1;
    changed[8].time += 1;
    changed[9].cursor = CursorState::Rewritten;
    changed[10].symbols = 0;
    for welcome in changed {
        assert_ne!(keys.responder_proof(&echo, &hello(), &welcome), proof, "{welcome:?}");
    }
    let other = Hello { proof: [1; 16], ..hello() };
    assert_ne!(keys.responder_proof(&echo, &other, &welcome()), proof);
    let other = Echo { snapshot: 3, ..echo };
    assert_ne!(keys.responder_proof(&other, &hello(), &welcome()), proof);
}

/// Requests of which no two are the same but for what one field of them says.
fn requests() -> Vec<Request> {
    let set = SetHead { count: 1, root: Root([2; 32]) };
    let bytes = || vec![1, 2, 3];
    let asks = [
        Ask::Symbols(AskSymbols { from: 1, count: 2 }),
        Ask::Symbols(AskSymbols { from: 2, count: 1 }),
        Ask::Ids(AskIds { prefixes: bytes() }),
        Ask::Ids(AskIds { prefixes: vec![1, 2, 3, 0] }),
        Ask::Descend(Descend { nodes: bytes(), levels: 1, leaf_ids: 2 }),
        Ask::Descend(Descend { nodes: bytes(), levels: 2, leaf_ids: 2 }),
        Ask::Descend(Descend { nodes: bytes(), levels: 1, leaf_ids: 1 }),
        Ask::Fetch(Fetch { wanted: Wanted::Ids(bytes()) }),
        Ask::Fetch(Fetch { wanted: Wanted::Prefixes(bytes()) }),
        Ask::Fetch(Fetch { wanted: Wanted::Prefixes(vec![1, 2, 3, 0]) }),
        Ask::Tail(Tail { from: 1, count: 2 }),
        Ask::Tail(Tail { from: 2, count: 1 }),
        Ask::Push(Push { part: 0, bytes: bytes(), last: false }),
        Ask::Push(Push { part: 1, bytes: bytes(), last: false }),
        Ask::Push(Push { part: 0, bytes: bytes(), last: true }),
        Ask::Push(Push { part: 0, bytes: vec![1, 2, 2], last: false }),
        Ask::Finish(Finish { set: None, now: None }),
        Ask::Finish(Finish { set: Some(set), now: None }),
        Ask::Finish(Finish { set: None, now: Some(set) }),
        Ask::Finish(Finish { set: Some(set), now: Some(set) }),
        Ask::Finish(Finish { set: Some(SetHead { count: 2, ..set }), now: None }),
        Ask::Leave,
    ];
    let envelope = Envelope { session: [1; 16], snapshot: 2, request: 3, mac: [0; 16] };
    let others = [Envelope { snapshot: 3, ..envelope }, Envelope { request: 4, ..envelope }];
    let leaving = others.map(|envelope| Request { envelope, ask: Ask::Leave });
    asks.map(|ask| Request { envelope, ask }).into_iter().chain(leaving).collect()
}

fn responses() -> Vec<Response> {
    let set = SetHead { count: 1, root: Root([2; 32]) };
    let log = TreeHead { size: LogSize(3), root: Root([4; 32]) };
    let finished = Finished { checked: true, set, log };
    let bodies = Bodies { part: 0, bytes: vec![1, 2, 3], end: None };
    let answers = [
        Answer::Symbols(Symbols { from: 0, symbols: vec![1, 2, 3], last: false }),
        Answer::Symbols(Symbols { from: 1, symbols: vec![1, 2, 3], last: false }),
        Answer::Symbols(Symbols { from: 0, symbols: vec![1, 2, 3], last: true }),
        Answer::Ids(Ids { suffixes: vec![1, 2, 3] }),
        Answer::Ids(Ids { suffixes: vec![1, 2, 2] }),
        Answer::Subtrees(Subtrees { subtrees: vec![1, 2, 3] }),
        Answer::Bodies(Bodies { part: 1, ..bodies.clone() }),
        Answer::Bodies(Bodies { bytes: vec![1, 2, 2], ..bodies.clone() }),
        Answer::Bodies(Bodies { end: Some(BodiesEnd { processed: 1 }), ..bodies.clone() }),
        Answer::Bodies(Bodies { end: Some(BodiesEnd { processed: 2 }), ..bodies.clone() }),
        Answer::Bodies(bodies),
        Answer::Pushed(Pushed { appended: 1, duplicates: 2 }),
        Answer::Pushed(Pushed { appended: 2, duplicates: 1 }),
        Answer::Finished(Finished { checked: false, ..finished }),
        Answer::Finished(Finished { log: TreeHead { size: LogSize(4), ..log }, ..finished }),
        Answer::Finished(Finished { set: SetHead { count: 2, ..set }, ..finished }),
        Answer::Finished(finished),
        Answer::Left,
    ];
    let echo = Echo { session: [1; 16], snapshot: 2, request: 3, mac: [0; 16] };
    let others = [Echo { snapshot: 3, ..echo }, Echo { request: 4, ..echo }];
    let left = others.map(|echo| Response { echo, answer: Answer::Left });
    answers.map(|answer| Response { echo, answer }).into_iter().chain(left).collect()
}

#[test]
fn the_mac_covers_every_field_of_a_message() {
    let key = Keys::new(None).session_key(&[1; 16], &[2; 16]);
    let requests = requests().into_iter().map(|request| key.request_mac(&request));
    let macs: Vec<_> =
        requests.chain(responses().iter().map(|response| key.response_mac(response))).collect();
    for (place, mac) in macs.iter().enumerate() {
        let found = macs.iter().position(|other| other == mac);
        assert_eq!(found, Some(place), "two messages have one MAC");
    }
}

#[test]
fn a_session_key_depends_on_both_sides_and_the_secret() {
    let keys = Keys::new(None);
    let mac = |keys: &Keys, session, nonce| {
        keys.session_key(&[session; 16], &[nonce; 16]).request_mac(&requests()[0])
    };
    let one = mac(&keys, 1, 2);
    assert_eq!(mac(&keys, 1, 2), one);
    assert_ne!(mac(&keys, 1, 3), one);
    assert_ne!(mac(&keys, 4, 2), one);
    assert_ne!(mac(&Keys::new(Some(&[7; 16])), 1, 2), one);
    assert_eq!(format!("{:?}", keys.session_key(&[1; 16], &[2; 16])), "SessionKey(..)");
    assert!(same(&[1; 16], &[1; 16]));
    assert!(!same(&[1; 16], &core::array::from_fn(|at| u8::from(at != 15))));
}

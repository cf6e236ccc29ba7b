//! Peers that lie, each in a way of its own: the session ends with blame, in bounded time and
//! memory, and the store holds nothing that was not written.
#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

mod model;

use std::time::Duration;

use model::{Opened, Peer, Random, Store, config, run};
use stemedb_sync::{
    Blame, Config, Ending, Limits, Output, Report, Session, Source,
    codec::{
        bodies,
        prefixes::{self, Prefix},
        subtrees::{Below, Place},
    },
    message::{
        Answer, Ask, AskIds, AskSymbols, Bodies, BodiesEnd, CursorState, Descend, Envelope, Fetch,
        Finished, Push, Refusal, Request, Response, SetHead, Tail, Wanted,
    },
    report::Layer,
    responder::Arrival,
    symbols::{CheckKey, Indices, decode, encode},
};

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

fn stores() -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, None, 256), Store::new(2, None, 256));
    one.append((0..1000).map(body).collect());
    other.append((0..980).chain(2000..2030).map(body).collect());
    (one, other)
}

/// Runs a session against a peer whose answers are changed on their way out, and checks that what
/// ours holds afterwards are bodies that somebody wrote.
fn against(
    without: &[Layer],
    limits: &Limits,
    mut lie: impl FnMut(&Request, Response) -> Vec<Response>,
) -> Report {
    let (mut one, other) = stores();
    let mut peer = Peer::new(other, limits.clone());
    let config = Config { without: without.to_vec(), ..config(&one, limits) };
    let mut messages = 0;
    let report = run(&mut one, config, |request| {
        messages += 1;
        assert!(messages < 20_000, "the session goes on and on");
        let answers = peer.answer(request.clone());
        let lies = answers.into_iter().flat_map(|answer| match answer {
            Ok(response) => lie(&request, response).into_iter().map(Ok).collect(),
            Err(refusal) => vec![Err(refusal)],
        });
        lies.collect()
    });
    intact(&one);
    assert_eq!(peer.responder.sessions(), 0, "the peer was not told that the session is over");
    report
}

fn intact(store: &Store) {
    let written: Vec<Vec<u8>> = (0..1000).chain(2000..2030).map(body).collect();
    assert!(store.bodies.iter().all(|body| written.contains(body)));
    assert!(store.bodies.len() >= 1000);
    for (id, place) in &store.places {
        assert_eq!(store.identity.keys.id(&store.bodies[*place]), *id);
    }
}

fn descent(lie: impl FnMut(&Request, &mut Vec<u8>)) -> Ending {
    let mut lie = lie;
    let report = against(&[Layer::Symbols], &Limits::default(), |request, mut response| {
        if let Answer::Subtrees(subtrees) = &mut response.answer {
            lie(request, &mut subtrees.subtrees);
        }
        vec![response]
    });
    report.ending
}

fn fetch(mut lie: impl FnMut(&mut Bodies)) -> Report {
    against(&[], &Limits::default(), |request, mut response| {
        if let (Ask::Fetch(_), Answer::Bodies(bodies)) = (&request.ask, &mut response.answer) {
            lie(bodies);
        }
        vec![response]
    })
}

/// Changes the welcome of a peer that has the secret.
fn welcome(change: impl Fn(&mut stemedb_sync::message::Welcome)) -> Report {
    let keys = stemedb_sync::Keys::new(None);
    against(&[], &Limits::default(), |request, mut response| {
        if let (Ask::Hello(hello), Answer::Welcome(welcome)) = (&request.ask, &mut response.answer)
        {
            change(welcome);
            welcome.proof = keys.responder_proof(&response.echo, hello, welcome);
        }
        vec![response]
    })
}

#[test]
fn an_honest_peer_is_not_blamed() {
    for without in [&[][..], &[Layer::Symbols]] {
        let report = against(without, &Limits::default(), |_, response| vec![response]);
        assert_eq!(report.ending, Ending::Complete);
        assert!(report.equal);
    }
}

#[test]
fn wrong_children_for_the_hash_asked_about() {
    let ending = descent(|_, bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(ending, Ending::Blamed(Blame::Hash));
}

#[test]
fn hashes_of_another_snapshot() {
    let mut other = Store::new(3, None, 256);
    other.append((0..980).chain(2000..2029).map(body).collect());
    let ending = descent(|request, bytes| {
        let Ask::Descend(descend) = &request.ask else { return };
        bytes.clear();
        for prefix in prefixes::read(&descend.nodes, 1000).unwrap() {
            let ids: Vec<_> = other.places.keys().filter(|id| prefix.holds(id)).copied().collect();
            let place = |index| {
                let place = prefix.below(descend.levels.into(), index);
                let mut below: Vec<_> = ids.iter().filter(|id| place.holds(id)).copied().collect();
                below.sort_unstable();
                match below[..] {
                    [] => Place::Empty,
                    [id] => Place::One(id),
                    _ => Place::Many(
                        stemedb_merkle::set::Summary::of(&below, place.depth().into()).hash(),
                    ),
                }
            };
            let places = (0..1 << descend.levels).map(place).collect();
            Below::Places(places).write(&prefix, bytes);
        }
    });
    assert_eq!(ending, Ending::Blamed(Blame::Hash));
    // And one that says so.
    let report = against(&[Layer::Symbols], &Limits::default(), |request, mut response| {
        if matches!(request.ask, Ask::Descend(_)) {
            response.echo.snapshot += 1;
        }
        vec![response]
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::Snapshot));
}

/// A peer that announced the root of a tree that has no end: one path of hashes, each of which it
/// can open, down to the last bit.
#[test]
fn endless_depth() {
    use stemedb_merkle::set::{Summary, root};
    let mut hashes = vec![[7; 32]];
    for _ in 0..256 {
        let below = Summary::Many(*hashes.last().unwrap());
        hashes.push(Summary::join(below, Summary::Empty).hash());
    }
    hashes.reverse();
    let top = SetHead { count: 5000, root: root(5000, &hashes[0]) };
    let (mut one, other) = stores();
    let keys = other.identity.keys.clone();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = Config { without: vec![Layer::Symbols], ..config(&one, &limits) };
    let mut rounds = 0;
    let report = run(&mut one, config, |request| {
        let Ask::Descend(descend) = &request.ask else {
            let mut answers = peer.answer(request.clone());
            if let (Ask::Hello(hello), Ok(response)) = (&request.ask, &mut answers[0])
                && let Answer::Welcome(welcome) = &mut response.answer
            {
                welcome.set = Some(top);
                welcome.proof = keys.responder_proof(&response.echo, hello, welcome);
            }
            return answers;
        };
        rounds += 1;
        let mut subtrees = Vec::new();
        for prefix in prefixes::read(&descend.nodes, 1000).unwrap() {
            let levels = stemedb_sync::codec::subtrees::levels_below(&prefix, descend.levels);
            let mut places = vec![Place::Empty; 1 << levels];
            places[0] = Place::Many(hashes[usize::from(prefix.depth() + levels)]);
            Below::Places(places).write(&prefix, &mut subtrees);
        }
        let answer = Answer::Subtrees(stemedb_sync::message::Subtrees { subtrees });
        vec![Ok(Response { echo: request.envelope.echo(), answer })]
    });
    intact(&one);
    assert_eq!(report.ending, Ending::Blamed(Blame::Depth));
    assert!(rounds <= 128, "{rounds}");
}

#[test]
fn empty_answers() {
    assert_eq!(descent(|_, bytes| bytes.clear()), Ending::Blamed(Blame::Empty));
    let report = fetch(|bodies| {
        *bodies = Bodies { part: 0, bytes: Vec::new(), end: Some(BodiesEnd { dealt: 0 }) };
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::Empty));
    let report = fetch(|bodies| *bodies = Bodies { part: 0, bytes: Vec::new(), end: None });
    assert_eq!(report.ending, Ending::Blamed(Blame::Empty));
    // All dealt with, nothing given: nobody can tell that from a disk that lost them.
    let report = fetch(|bodies| bodies.bytes.clear());
    assert_eq!((report.ending, report.withheld), (Ending::Incomplete, 30));
}

#[test]
fn duplicate_bodies() {
    let report = fetch(|bodies| bodies.bytes = bodies.bytes.repeat(2));
    assert_eq!(report.ending, Ending::Blamed(Blame::BodyTwice));
}

#[test]
fn unsolicited_bodies() {
    let report = fetch(|bodies| bodies::write(b"what nobody asked for", &mut bodies.bytes));
    assert_eq!(report.ending, Ending::Blamed(Blame::Body));
    assert_eq!(report.fetched, 0);
}

#[test]
fn bodies_that_do_not_hash_to_their_id() {
    let report = fetch(|bodies| *bodies.bytes.last_mut().unwrap() ^= 0x80);
    assert_eq!(report.ending, Ending::Blamed(Blame::Body));
}

#[test]
fn bodies_of_the_log_that_are_not_in_its_set() {
    let (mut one, other) = (Store::new(1, None, 256), stores().1);
    one.append((0..980).map(body).collect());
    let limits = Limits::default();
    let cursor = stemedb_sync::report::PeerCursor {
        node: other.identity.node,
        epoch: 1,
        size: 980,
        root: other.history.head_at(stemedb_merkle::history::TreeSize(980)).unwrap().root,
    };
    let mut peer = Peer::new(other, limits.clone());
    let config = Config { cursor: Some(cursor), ..config(&one, &limits) };
    let report = run(&mut one, config, |request| {
        let mut answers = peer.answer(request.clone());
        if let Some(Ok(response)) = answers.first_mut()
            && let Answer::Bodies(bodies) = &mut response.answer
        {
            *bodies.bytes.last_mut().unwrap() ^= 1;
        }
        answers
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::Body));
    assert_eq!(peer.store.bodies.len(), 1010, "it does not get its own lie back");
}

/// A later version may say more of a cursor than this one understands.
#[test]
fn an_unknown_state_of_the_cursor_is_no_breach() {
    for number in [3, 77, u8::MAX] {
        let report = welcome(|welcome| welcome.cursor = CursorState::from_number(number));
        assert_eq!(report.ending, Ending::Complete, "{number}");
        assert!(report.equal && !report.peer_rewritten, "{number}");
    }
}

#[test]
fn counts_of_2_to_the_63() {
    let huge = 1 << 63;
    let report = welcome(|welcome| welcome.set.as_mut().unwrap().count = huge);
    assert_eq!(report.ending, Ending::Blamed(Blame::Count(huge)));
    let report = welcome(|welcome| welcome.log.size = huge);
    assert_eq!(report.ending, Ending::Blamed(Blame::Count(huge)));
    let ending = descent(|_, bytes| {
        *bytes = vec![1];
        stemedb_sync::codec::varint::write(huge, bytes);
    });
    assert!(matches!(ending, Ending::Blamed(Blame::Malformed(_))), "{ending:?}");
    let report = fetch(|bodies| {
        bodies.bytes.clear();
        stemedb_sync::codec::varint::write(huge, &mut bodies.bytes);
    });
    assert!(matches!(report.ending, Ending::Blamed(Blame::Malformed(_))), "{:?}", report.ending);
    let report = fetch(|bodies| bodies.end = Some(BodiesEnd { dealt: huge }));
    assert_eq!(report.ending, Ending::Blamed(Blame::Surplus));
}

#[test]
fn a_count_that_is_not_that_of_the_root() {
    for count in [0, 1, 1009, 1011, 1 << 39] {
        let report = welcome(|welcome| welcome.set.as_mut().unwrap().count = count);
        assert!(matches!(report.ending, Ending::Blamed(_)), "{count}: {:?}", report.ending);
        assert!(!report.confirmed && !report.equal, "{count}");
    }
}

/// It says that it took all bodies, and holds at the end no more than it did before, or less.
#[test]
fn bodies_that_are_acknowledged_and_dropped() {
    let finish = |change: fn(&mut Finished)| {
        against(&[], &Limits::default(), |_, mut response| {
            if let Answer::Finished(finished) = &mut response.answer {
                change(finished);
            }
            vec![response]
        })
    };
    let honest = finish(|_| {});
    assert!(honest.equal && honest.confirmed && honest.pushed > 0, "{honest:?}");
    for dropped in [
        finish(|finished| finished.set.count -= 1),
        finish(|finished| finished.set.root[0] ^= 1),
        finish(|finished| finished.set.count = 0),
        finish(|finished| finished.log.size = 0),
    ] {
        assert_eq!(dropped.ending, Ending::Blamed(Blame::Shrunk));
        assert!(!dropped.equal);
    }
    // It may hold more by now; but that it has all of this, nobody says then.
    let unchecked = finish(|finished| {
        finished.set.count += 1;
        finished.set.root[0] ^= 1;
        finished.checked = false;
    });
    assert_eq!((unchecked.ending, unchecked.equal), (Ending::Complete, false));
}

#[test]
fn an_initiator_that_says_no_ids_and_another_root() {
    let (one, other) = stores();
    let mut peer = Peer::new(other, Limits::default());
    let config = config(&one, &Limits::default());
    let keys = config.identity.keys.clone();
    let mut session = Session::new(config, one.pin().unwrap(), 1, Duration::ZERO);
    let Some(Output::Send(mut request)) = session.next(Duration::ZERO) else { unreachable!() };
    let Ask::Hello(hello) = &mut request.ask else { unreachable!() };
    hello.set.count = 0;
    hello.proof = keys.initiator_proof(&request.envelope.session, hello);
    assert!(matches!(peer.answer(request)[..], [Err(Refusal::Malformed)]));
}

#[test]
fn frames_over_the_limit() {
    let limits = Limits { message_len_max: 10_000, ..Limits::default() };
    let report = against(&[], &limits, |request, mut response| {
        if let (Ask::Fetch(_), Answer::Bodies(bodies)) = (&request.ask, &mut response.answer) {
            bodies.bytes.resize(10_001, 0);
        }
        vec![response]
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::TooLarge));
}

#[test]
fn symbols_that_never_peel() {
    let mut random = Random(5);
    let report = against(&[], &Limits::default(), |_, mut response| {
        let bytes = match &mut response.answer {
            Answer::Welcome(welcome) => &mut welcome.symbols,
            Answer::Symbols(symbols) => &mut symbols.symbols,
            _ => return vec![response],
        };
        // The sums and checks are anything, the counts stay.
        for symbol in bytes.chunks_mut(26) {
            symbol[0] = random.bytes::<1>()[0];
        }
        vec![response]
    });
    assert_eq!(report.layers.last().unwrap().layer, Layer::Descent);
    assert_eq!(report.ending, Ending::Complete);
    assert!(report.equal && report.rounds < 30, "{}", report.rounds);
}

/// Two ids of one front, as 2^64 hashes find them: their sums and checks cancel wherever they are,
/// so that they never part.
#[test]
fn crafted_cancelling_ids() {
    let key = CheckKey::new(stemedb_sync::Keys::new(None).symbol_key());
    let n = stores().1.bodies.len() as u64;
    let report = against(&[], &Limits::default(), |request, mut response| {
        let (from, bytes) = match (&request.ask, &mut response.answer) {
            (Ask::Hello(_), Answer::Welcome(welcome)) => (0, &mut welcome.symbols),
            (Ask::Symbols(ask), Answer::Symbols(symbols)) => (ask.from, &mut symbols.symbols),
            _ => return vec![response],
        };
        let mut symbols = decode(bytes, from, n, 100_000).unwrap();
        for (index, symbol) in (from..).zip(&mut symbols) {
            let held = Indices::new(key.check(7)).take_while(|held| *held <= index).last();
            symbol.count += if held == Some(index) { 2 } else { 0 };
        }
        *bytes = encode(&symbols, from, n);
        vec![response]
    });
    assert_eq!(report.layers.last().unwrap().layer, Layer::Descent);
    assert_eq!(report.ending, Ending::Complete);
    assert!(report.equal && report.rounds < 30, "{}", report.rounds);
}

#[test]
fn halves_of_ids_that_do_not_exist() {
    let report = against(&[], &Limits::default(), |_, mut response| {
        if let Answer::Ids(ids) = &mut response.answer {
            ids.backs[3] ^= 1;
        }
        vec![response]
    });
    assert_eq!(report.layers.last().unwrap().layer, Layer::Descent);
    assert!(report.equal, "one round is lost, and descent settles it");
    let report = against(&[], &Limits::default(), |_, mut response| {
        if let Answer::Ids(ids) = &mut response.answer {
            ids.backs.pop();
        }
        vec![response]
    });
    assert!(matches!(report.ending, Ending::Blamed(Blame::Malformed(_))));
}

#[test]
fn reordered_replies() {
    // Answers that carry each other's numbers.
    let limits = Limits { nodes_per_message_max: 3, ..Limits::default() };
    let mut held: Option<Response> = None;
    let report = against(&[Layer::Symbols], &limits, |request, mut response| {
        if !matches!(request.ask, Ask::Descend(_)) {
            return vec![response];
        }
        let Some(mut before) = held.take() else {
            held = Some(response);
            return Vec::new();
        };
        std::mem::swap(&mut before.echo, &mut response.echo);
        vec![response, before]
    });
    assert!(
        matches!(report.ending, Ending::Blamed(Blame::Hash | Blame::Malformed(_))),
        "{:?}",
        report.ending
    );
    let report = against(&[], &Limits::default(), |request, mut response| {
        let late = !matches!(request.ask, Ask::Hello(_) | Ask::Leave);
        response.echo.request += if late { 100 } else { 0 };
        vec![response]
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::Unasked));
    let report = against(&[], &Limits::default(), |request, response| {
        if matches!(request.ask, Ask::Hello(_)) {
            return vec![response];
        }
        let set = SetHead { count: 0, root: [0; 32] };
        let log = stemedb_sync::message::LogHead { size: 0, root: [0; 32] };
        let finished = Finished { checked: true, set, log };
        vec![Response { echo: response.echo, answer: Answer::Finished(finished) }]
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::Kind));
}

#[test]
fn a_peer_that_goes_silent() {
    let report = against(&[], &Limits::default(), |request, response| {
        if request.envelope.request < 2 { vec![response] } else { Vec::new() }
    });
    assert_eq!(report.ending, Ending::Silent);
    assert_eq!(report.repeats, 4);
}

/// The first byte of an answer comes each time it is asked for, and never more of it.
#[test]
fn a_stalled_stream_is_not_waited_for_again_and_again() {
    for without in [&[][..], &[Layer::Symbols]] {
        let report = against(without, &Limits::default(), |request, mut response| {
            if let (Ask::Fetch(_), Answer::Bodies(bodies)) = (&request.ask, &mut response.answer) {
                bodies.bytes.truncate(1);
                bodies.end = None;
            }
            vec![response]
        });
        assert_eq!(report.ending, Ending::Silent);
        assert_eq!((report.repeats, report.fetched), (4, 0));
    }
}

#[test]
fn a_peer_that_always_loses_its_snapshot() {
    let (mut one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let report = run(&mut one, config, |request| match request.ask {
        Ask::Hello(_) => peer.answer(request),
        _ => vec![Err(Refusal::SnapshotGone)],
    });
    assert_eq!(report.ending, Ending::Limit(stemedb_sync::report::Limited::Restarts));
    assert_eq!(report.restarts, limits.restarts_max);
}

#[test]
fn another_secret() {
    let secrets: [Option<&[u8]>; 3] = [None, Some(&[1; 16]), Some(&[2; 16])];
    for mine in secrets {
        for theirs in secrets.into_iter().filter(|theirs| *theirs != mine) {
            let (mut one, mut other) = (Store::new(1, mine, 64), Store::new(2, theirs, 64));
            one.write(b"one");
            other.write(b"other");
            let limits = Limits::default();
            // The responder tells nothing but that.
            let mut peer = Peer::new(other, limits.clone());
            let base = config(&one, &limits);
            let report = run(&mut one, base.clone(), |request| peer.answer(request));
            assert_eq!(report.ending, Ending::Refused(Refusal::Secret));
            assert_eq!(report.peer, None);
            // One that answers all the same is found out before it is told anything more.
            let mine_too = stemedb_sync::Keys::new(mine);
            let report = run(&mut one, base, |mut request| {
                assert!(matches!(request.ask, Ask::Hello(_)));
                if let Ask::Hello(hello) = &mut request.ask {
                    let keys = &peer.store.identity.keys;
                    hello.proof = keys.initiator_proof(&request.envelope.session, hello);
                    assert_ne!(
                        hello.proof,
                        mine_too.initiator_proof(&request.envelope.session, hello)
                    );
                }
                peer.answer(request)
            });
            assert_eq!(report.ending, Ending::Blamed(Blame::Secret));
            assert_eq!(one.bodies.len(), 1);
        }
    }
}

#[test]
fn a_store_that_is_itself() {
    let (mut one, _) = stores();
    let (mut again, _) = stores();
    again.write(b"more");
    let limits = Limits::default();
    let mut peer = Peer::new(again, limits.clone());
    let config = config(&one, &limits);
    let report = run(&mut one, config, |request| peer.answer(request));
    assert_eq!(report.ending, Ending::Refused(Refusal::Itself));
}

/// A session that was listened to is played back to the responder later.
#[test]
fn a_replayed_session() {
    let (mut one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let mut heard = Vec::new();
    let report = run(&mut one, config, |request| {
        heard.push(request.clone());
        peer.answer(request)
    });
    assert!(report.equal && heard.len() > 3);
    peer.responder.forget();
    peer.store.write(b"later");
    let size = peer.store.bodies.len();
    for (place, request) in heard.into_iter().enumerate() {
        let answers = peer.answer(request);
        match place {
            0 => assert!(matches!(answers[0], Ok(Response { answer: Answer::Welcome(_), .. }))),
            _ => assert_eq!(answers, [Err(Refusal::Token)]),
        }
    }
    assert_eq!(peer.store.bodies.len(), size);
}

/// And one that was listened to is played back to an initiator.
#[test]
fn a_replayed_responder() {
    let (mut one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let first = config(&one, &limits);
    let mut said = Vec::new();
    run(&mut one, first, |request| {
        let answers = peer.answer(request);
        said.extend(answers.iter().filter_map(|answer| answer.clone().ok()));
        answers
    });
    let second = config(&one, &limits);
    let mut renumbered = said.clone();
    let report = run(&mut one, second.clone(), |_| said.drain(..).map(Ok).collect());
    assert_eq!(report.ending, Ending::Silent, "answers to another session are none");
    let report = run(&mut one, second, |request| {
        for response in &mut renumbered {
            response.echo.session = request.envelope.session;
        }
        renumbered.drain(..).map(Ok).collect()
    });
    assert_eq!(report.ending, Ending::Blamed(Blame::Secret));
}

fn sessions(sessions_max: usize, sessions_per_peer_max: usize) -> Limits {
    Limits { sessions_max, sessions_per_peer_max, ..Limits::default() }
}

/// Requests that no session makes.
#[test]
fn hostile_requests_are_refused() {
    let (one, other) = stores();
    let limits = Limits { ids_kept_max: 2000, ..sessions(3, 2) };
    let mut peer = Peer::new(other, limits.clone());
    let open = |node: u8, seed: u8, peer: &mut Peer| {
        let mut config = Config { seed: [seed; 32], ..config(&one, &limits) };
        config.identity.node = [node; 16];
        Opened::new(peer, &one, config)
    };
    let opened = open(1, 1, &mut peer).unwrap();
    let ask = |peer: &mut Peer, ask: Ask| match &peer.answer(opened.request(2, ask))[0] {
        Ok(_) => None,
        Err(refusal) => Some(*refusal),
    };
    let listed = |request, from, count| {
        Ask::Fetch(Fetch { wanted: Wanted::Listed { request, from, count } })
    };
    let nodes = prefixes::write(&[Prefix::TOP]);
    for (hostile, refusal) in [
        (Ask::Symbols(AskSymbols { from: u32::MAX, count: u32::MAX }), Refusal::OverLimit),
        (Ask::Symbols(AskSymbols { from: 0, count: 0 }), Refusal::Malformed),
        (Ask::Ids(AskIds { fronts: vec![1; 17] }), Refusal::Malformed),
        (Ask::Ids(AskIds { fronts: vec![1; 16] }), Refusal::Unknown),
        (Ask::Ids(AskIds { fronts: vec![1; 32] }), Refusal::Malformed),
        (Ask::Descend(Descend { nodes: vec![], levels: 1, few: 1 }), Refusal::Malformed),
        (Ask::Descend(Descend { nodes: vec![0xff; 9], levels: 1, few: 1 }), Refusal::Malformed),
        (Ask::Descend(Descend { nodes: nodes.clone(), levels: 0, few: 1 }), Refusal::Malformed),
        (Ask::Descend(Descend { nodes: nodes.clone(), levels: 9, few: 1 }), Refusal::Malformed),
        (listed(7, 0, 1), Refusal::Unknown),
        (listed(u64::MAX, u32::MAX, u32::MAX), Refusal::Unknown),
        (Ask::Fetch(Fetch { wanted: Wanted::Ids(vec![]) }), Refusal::Malformed),
        (Ask::Fetch(Fetch { wanted: Wanted::Ids(vec![0; 33]) }), Refusal::Malformed),
        (Ask::Tail(Tail { from: u64::MAX, count: u64::MAX }), Refusal::Unknown),
        (Ask::Tail(Tail { from: 0, count: 0 }), Refusal::Malformed),
        (
            Ask::Push(Push { part: 0, bytes: vec![0; limits.part_len_max + 1], last: false }),
            Refusal::TooLarge,
        ),
        (Ask::Push(Push { part: 0, bytes: vec![0xff; 10], last: true }), Refusal::Malformed),
        (Ask::Push(Push { part: 0, bytes: vec![5, 1], last: true }), Refusal::Malformed),
    ] {
        assert_eq!(ask(&mut peer, hostile.clone()), Some(refusal), "{hostile:?}");
    }
    let whole = Ask::Descend(Descend { nodes, levels: 8, few: u32::MAX });
    assert_eq!(ask(&mut peer, whole), None, "more than is granted is not refused");
    // Another MAC, another snapshot, another session.
    let ask = Ask::Symbols(AskSymbols { from: 0, count: 1 });
    let mut wrong = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = opened.envelope;
        change(&mut envelope);
        peer.answer(opened.sealed(envelope, ask.clone()))[0].clone().err()
    };
    assert_eq!(wrong(&|envelope| envelope.snapshot += 1), Some(Refusal::SnapshotGone));
    assert_eq!(wrong(&|envelope| envelope.session[0] ^= 1), Some(Refusal::SnapshotGone));
    let mut changed = opened.request(2, ask.clone());
    changed.envelope.mac[0] ^= 1;
    assert_eq!(peer.answer(changed), [Err(Refusal::Token)]);
    // As many sessions as there may be.
    for seed in 2..20 {
        open(1, seed, &mut peer).unwrap();
    }
    assert_eq!(peer.responder.sessions(), 2, "those of one peer give way to its own");
    let refused = (20..40).filter_map(|n| open(n, n, &mut peer).err()).collect::<Vec<_>>();
    assert!(refused.iter().all(|refusal| *refusal == Refusal::Busy) && !refused.is_empty());
    // They do not last for ever.
    peer.now = limits.idle_time_max * 2;
    assert!(open(50, 50, &mut peer).is_ok());
    assert_eq!(peer.responder.sessions(), 1);
    let arrival = Arrival { now: peer.now, time: 0, nonce: [1; 16], from: peer.from };
    let late = peer.responder.answer(opened.request(2, ask), &peer.store, arrival);
    assert!(matches!(late, Err(Refusal::SnapshotGone)));
}

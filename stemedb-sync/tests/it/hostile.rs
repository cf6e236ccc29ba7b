//! Peers that lie, each in a way of its own: the session ends with a protocol violation, in bounded
//! time and memory, and the store holds nothing that was not written.
#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::time::Duration;

use crate::model::{Peer, Random, Store, config, run};
use stemedb_merkle::{
    Root,
    history::{LogSize, TreeHead},
};
use stemedb_sync::{
    Direction, Ending, Limits, Output, ProtocolViolation, Report, Session, Source,
    codec::{
        bodies::{self, AbsentReason},
        prefixes,
        subtrees::{Below, Place},
    },
    message::{
        Answer, Ask, Bodies, BodiesEnd, CursorState, Finished, Ids, Refusal, Request, Response,
        SetHead, Wanted,
    },
    report::Layer,
    symbols::{CheckKey, Indices, decode, encode},
};

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

pub(crate) fn stores() -> (Store, Store) {
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
    lie: impl FnMut(&Request, Response) -> Vec<Response>,
) -> Report {
    against_in(Direction::Both, without, limits, lie)
}

/// The same, of a session in one direction.
fn against_in(
    direction: Direction,
    without: &[Layer],
    limits: &Limits,
    mut lie: impl FnMut(&Request, Response) -> Vec<Response>,
) -> Report {
    let (mut one, other) = stores();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, limits).direction(direction).without(without.to_vec());
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
    assert_eq!(ending, Ending::ProtocolViolation(ProtocolViolation::Hash));
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
    assert_eq!(ending, Ending::ProtocolViolation(ProtocolViolation::Hash));
    // And one that says so.
    let report = against(&[Layer::Symbols], &Limits::default(), |request, mut response| {
        if matches!(request.ask, Ask::Descend(_)) {
            response.echo.snapshot += 1;
        }
        vec![response]
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Snapshot));
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
    let config = config(&one, &limits).without(vec![Layer::Symbols]);
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
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Depth));
    assert!(rounds <= 128, "{rounds}");
}

#[test]
fn empty_answers() {
    assert_eq!(
        descent(|_, bytes| bytes.clear()),
        Ending::ProtocolViolation(ProtocolViolation::Empty)
    );
    let report = fetch(|bodies| {
        *bodies = Bodies { part: 0, bytes: Vec::new(), end: Some(BodiesEnd { processed: 0 }) };
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Empty));
    let report = fetch(|bodies| *bodies = Bodies { part: 0, bytes: Vec::new(), end: None });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Empty));
    // All processed, nothing given, and not said of which there is nothing.
    let report = fetch(|bodies| bodies.bytes.clear());
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::ItemCount));
    // Said of others than those asked for.
    let report = fetch(|bodies| {
        bodies.bytes.clear();
        bodies::write_absent(&[7; 32], AbsentReason::Missing, &mut bodies.bytes);
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Body));
}

#[test]
fn duplicate_bodies() {
    let report = fetch(|bodies| bodies.bytes = bodies.bytes.repeat(2));
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::BodyTwice));
    // The last one again, right behind itself.
    let report = fetch(|bodies| bodies.bytes.extend_from_within(bodies.bytes.len() - 10..));
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::BodyTwice));
}

/// Several ids may have one prefix, but not any number of them, and not in any order.
#[test]
fn made_up_ids_of_one_prefix() {
    let with = |last_bytes: &[u8]| {
        let report = against(&[], &Limits::default(), |request, mut response| {
            if let (Ask::Fetch(fetch), Answer::Bodies(bodies)) =
                (&request.ask, &mut response.answer)
                && let Wanted::Prefixes(prefixes) = &fetch.wanted
            {
                bodies.bytes.clear();
                for prefix in prefixes.chunks(8) {
                    for last in last_bytes {
                        let mut id = [0; 32];
                        id[..8].copy_from_slice(prefix);
                        id[31] = *last;
                        bodies::write_absent(&id, AbsentReason::Missing, &mut bodies.bytes);
                    }
                }
            }
            vec![response]
        });
        (report.ending, report.equal)
    };
    for last_bytes in [&[1, 2, 3, 4, 5][..], &[2, 1], &[1, 1], &[1, 3, 2]] {
        let ending = Ending::ProtocolViolation(ProtocolViolation::BodyTwice);
        assert_eq!(with(last_bytes), (ending, false), "{last_bytes:?}");
    }
    // That these are not ids of the peer comes out in the check, and costs a session.
    for last_bytes in [&[1, 2, 3, 4][..], &[1]] {
        assert_eq!(with(last_bytes), (Ending::Complete, true), "{last_bytes:?}");
    }
}

#[test]
fn unsolicited_bodies() {
    let report = fetch(|bodies| bodies::write(b"what nobody asked for", &mut bodies.bytes));
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Body));
    assert_eq!(report.fetched, 0);
}

#[test]
fn bodies_that_do_not_hash_to_their_id() {
    let report = fetch(|bodies| *bodies.bytes.last_mut().unwrap() ^= 0x80);
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Body));
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
        root: other.history.head_at(LogSize(980)).unwrap().root,
    };
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).cursor(Some(cursor));
    let report = run(&mut one, config, |request| {
        let mut answers = peer.answer(request.clone());
        if let Some(Ok(response)) = answers.first_mut()
            && let Answer::Bodies(bodies) = &mut response.answer
        {
            *bodies.bytes.last_mut().unwrap() ^= 1;
        }
        answers
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Body));
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
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Count(huge)));
    let report = welcome(|welcome| welcome.log.size.0 = huge);
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Count(huge)));
    let ending = descent(|_, bytes| {
        *bytes = vec![1];
        stemedb_sync::codec::varint::write(huge, bytes);
    });
    assert!(
        matches!(ending, Ending::ProtocolViolation(ProtocolViolation::Malformed(_))),
        "{ending:?}"
    );
    let report = fetch(|bodies| {
        bodies.bytes.clear();
        stemedb_sync::codec::varint::write(huge, &mut bodies.bytes);
    });
    assert!(
        matches!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Malformed(_))),
        "{:?}",
        report.ending
    );
    let report = fetch(|bodies| bodies.end = Some(BodiesEnd { processed: huge }));
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Surplus));
}

#[test]
fn a_count_that_is_not_that_of_the_root() {
    for count in [0, 1, 1009, 1011, 1 << 39] {
        let report = welcome(|welcome| welcome.set.as_mut().unwrap().count = count);
        assert!(
            matches!(report.ending, Ending::ProtocolViolation(_)),
            "{count}: {:?}",
            report.ending
        );
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
        finish(|finished| finished.set.root.0[0] ^= 1),
        finish(|finished| finished.set.count = 0),
        finish(|finished| finished.log.size.0 = 0),
    ] {
        assert_eq!(dropped.ending, Ending::ProtocolViolation(ProtocolViolation::Shrunk));
        assert!(!dropped.equal);
    }
    // It may hold more by now; but that it has all of this, nobody says then.
    let unchecked = finish(|finished| {
        finished.set.count += 1;
        finished.set.root.0[0] ^= 1;
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
    let limits = Limits::default().message_len_max(10_000);
    let report = against(&[], &limits, |request, mut response| {
        if let (Ask::Fetch(_), Answer::Bodies(bodies)) = (&request.ask, &mut response.answer) {
            bodies.bytes.resize(10_001, 0);
        }
        vec![response]
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::TooLarge));
}

#[test]
fn symbols_that_never_peel() {
    let mut random = Random(5);
    let report = against(&[], &Limits::default(), |_, mut response| {
        let bytes = match &mut response.answer {
            Answer::Symbols(symbols) => &mut symbols.symbols,
            _ => return vec![response],
        };
        // The sums and checks are anything, the counts stay.
        for symbol in bytes.chunks_mut(14) {
            symbol[0] = random.bytes::<1>()[0];
        }
        vec![response]
    });
    assert_eq!(report.layers.last().unwrap().layer, Layer::Descent);
    assert_eq!(report.ending, Ending::Complete);
    assert!(report.equal && report.rounds < 30, "{}", report.rounds);
}

/// Two ids of one prefix, as 2^32 hashes find them: their sums and checks cancel wherever they are,
/// so that they never part.
#[test]
fn crafted_cancelling_ids() {
    let key = CheckKey::new(stemedb_sync::Keys::new(None).symbol_key());
    let n = stores().1.bodies.len() as u64;
    let report = against(&[], &Limits::default(), |request, mut response| {
        let (from, bytes) = match (&request.ask, &mut response.answer) {
            (_, Answer::Symbols(symbols)) => (symbols.from, &mut symbols.symbols),
            _ => return vec![response],
        };
        let mut symbols = decode(bytes, from, n, 100_000).unwrap();
        for (index, symbol) in (from..).zip(&mut symbols) {
            let held = Indices::new(key.hash(7)).take_while(|held| *held <= index).last();
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
fn suffixes_of_ids_that_do_not_exist() {
    let plan = |lie: fn(&mut Ids)| {
        let lie = |_: &Request, mut response: Response| {
            if let Answer::Ids(ids) = &mut response.answer {
                lie(ids);
            }
            vec![response]
        };
        against_in(Direction::Neither, &[], &Limits::default(), lie)
    };
    let report = plan(|_| {});
    assert_eq!(report.layers.last().unwrap().layer, Layer::Symbols);
    let found = report.found.unwrap();
    let report = plan(|ids| ids.suffixes[3] ^= 1);
    assert_eq!(report.layers.last().unwrap().layer, Layer::Descent);
    assert_eq!(report.found, Some(found), "one round is lost, and descent settles it");
    let report = plan(|ids| {
        ids.suffixes.pop();
    });
    assert!(matches!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Malformed(_))));
}

#[test]
fn reordered_replies() {
    // Answers that carry each other's numbers.
    let limits = Limits::default().nodes_per_message_max(3);
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
        matches!(
            report.ending,
            Ending::ProtocolViolation(ProtocolViolation::Hash | ProtocolViolation::Malformed(_))
        ),
        "{:?}",
        report.ending
    );
    let report = against(&[], &Limits::default(), |request, mut response| {
        let late = !matches!(request.ask, Ask::Hello(_) | Ask::Leave);
        response.echo.request += if late { 100 } else { 0 };
        vec![response]
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Unasked));
    let report = against(&[], &Limits::default(), |request, response| {
        if matches!(request.ask, Ask::Hello(_)) {
            return vec![response];
        }
        let set = SetHead { count: 0, root: Root::default() };
        let log = TreeHead { size: LogSize(0), root: Root::default() };
        let finished = Finished { checked: true, set, log };
        vec![Response { echo: response.echo, answer: Answer::Finished(finished) }]
    });
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Kind));
}

#[test]
fn a_peer_that_goes_silent() {
    // What differs is found with the first answer: then there are a fetch and a push.
    for (without, requests) in [(&[][..], 2), (&[Layer::Symbols], 1)] {
        let report = against(without, &Limits::default(), |request, response| {
            if request.envelope.request < 2 { vec![response] } else { Vec::new() }
        });
        assert_eq!(report.ending, Ending::Silent);
        assert_eq!(report.repeats, 4 * requests);
    }
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
            assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Secret));
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
    assert_eq!(report.ending, Ending::ProtocolViolation(ProtocolViolation::Secret));
}

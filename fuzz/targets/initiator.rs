//! A session, answered by a peer that has the secret and may do as it likes.

use std::{collections::VecDeque, time::Duration};

use stemedb_merkle::Root;
use stemedb_sync::{
    Config, Direction, Output, Session,
    codec::{ids, prefixes},
    message::{
        Answer, Ask, Bodies, BodiesEnd, Echo, Finished, Ids, Pushed, Refusal, Request, Response,
        Subtrees, Symbols, Wanted,
    },
    report::{Ending, Layer, PeerCursor, Report},
};

use super::{
    model::{Peer, Store},
    responder::{body, craft, limits},
    script::Script,
};

/// The wall clock of both.
const TIME: u64 = 1 << 40;

/// A session that has taken so many steps does not end.
const STEPS_MAX: u32 = 20_000;

/// What has been said of one request and not been heard yet.
type Heard = (Request, Vec<Result<Response, Refusal>>);

/// The peer: a real one, and what the script makes of its answers.
struct Liar {
    peer: Peer,
    /// Answers kept back.
    late: VecDeque<Heard>,
    lied: bool,
}

impl Liar {
    fn answer(&mut self, script: &mut Script<'_>, request: &Request) -> Vec<Heard> {
        let mut honest = self.peer.answer(request.clone());
        // Honest more often than not: there is little to see behind a lie that is noticed.
        let choice = script.below(32);
        self.lied |= choice >= 20;
        // Of several parts the last, most likely: what it says of all of them matters.
        let behind = usize::from(script.byte()) / 8 % honest.len().max(1);
        let one = honest.iter_mut().rev().nth(behind).and_then(|said| said.as_mut().ok());
        match (choice, one) {
            (0..16, _) => {}
            (16 | 17, _) => honest.extend(honest.clone()),
            (18 | 19, _) => {
                self.late.push_back((request.clone(), honest));
                return Vec::new();
            }
            (20, _) => return Vec::new(),
            (21, _) => {
                let refusal = Refusal::from_code(u32::from(script.below(14)) + 1);
                honest = refusal.map(Err).into_iter().collect();
            }
            (22..26, Some(said)) => change_list(script, said),
            (26..29, Some(said)) => change_fields(script, said),
            (29, _) => {
                let answer = other_answer(script);
                honest = vec![Ok(Response { echo: request.envelope.echo(), answer })];
            }
            (30, Some(said)) => change_echo(script, &mut said.echo),
            _ => honest.reverse(),
        }
        // A welcome means nothing without its proof.
        for said in honest.iter_mut().flatten() {
            if let (Ask::Hello(hello), Answer::Welcome(welcome)) = (&request.ask, &mut said.answer)
            {
                let keys = &self.peer.store.identity.keys;
                welcome.proof = keys.responder_proof(&said.echo, hello, welcome);
            }
        }
        let mut heard = vec![(request.clone(), honest)];
        if script.below(2) == 0 {
            heard.extend(self.late.pop_front());
        }
        heard
    }
}

fn list_of(answer: &mut Answer) -> Option<&mut Vec<u8>> {
    match answer {
        Answer::Symbols(symbols) => Some(&mut symbols.symbols),
        Answer::Ids(ids) => Some(&mut ids.suffixes),
        Answer::Subtrees(subtrees) => Some(&mut subtrees.subtrees),
        Answer::Bodies(bodies) => Some(&mut bodies.bytes),
        _ => None,
    }
}

fn change_list(script: &mut Script<'_>, said: &mut Response) {
    if let Some(list) = list_of(&mut said.answer) {
        script.change(list);
    }
}

fn change_fields(script: &mut Script<'_>, said: &mut Response) {
    match &mut said.answer {
        Answer::Welcome(welcome) => match script.below(7) {
            0 => welcome.set = None,
            1 => welcome.set.iter_mut().for_each(|set| set.count = script.number()),
            2 => welcome.set.iter_mut().for_each(|set| set.root = Root(script.array())),
            3 => welcome.log.size.0 = script.number(),
            4 => welcome.time = script.number(),
            5 => welcome.symbols = script.number32(),
            _ => said.echo.snapshot = script.number(),
        },
        Answer::Symbols(symbols) => match script.below(2) {
            0 => symbols.from = script.number32(),
            _ => symbols.last = !symbols.last,
        },
        Answer::Bodies(bodies) => match script.below(3) {
            0 => bodies.part = script.number32(),
            1 => bodies.end = Some(BodiesEnd { processed: script.number() }),
            _ => bodies.end = None,
        },
        Answer::Pushed(pushed) => {
            *pushed = Pushed { appended: script.number(), duplicates: script.number() };
        }
        Answer::Finished(Finished { checked, set, log }) => {
            (*checked, set.count, log.size.0) = (!*checked, script.number(), script.number());
        }
        _ => {}
    }
}

fn other_answer(script: &mut Script<'_>) -> Answer {
    let bytes = script.bytes().to_vec();
    match script.below(6) {
        0 => {
            let last = script.below(2) == 0;
            Answer::Symbols(Symbols { from: script.number32(), symbols: bytes, last })
        }
        1 => Answer::Ids(Ids { suffixes: bytes }),
        2 => Answer::Subtrees(Subtrees { subtrees: bytes }),
        3 => Answer::Pushed(Pushed { appended: script.number(), duplicates: 0 }),
        4 => Answer::Left,
        _ => {
            let end = Some(BodiesEnd { processed: script.number() });
            Answer::Bodies(Bodies { part: script.number32(), bytes, end })
        }
    }
}

fn change_echo(script: &mut Script<'_>, echo: &mut Echo) {
    match script.below(3) {
        0 => echo.session = script.array(),
        1 => echo.snapshot = script.number(),
        _ => echo.request = script.number(),
    }
}

/// What a session asks keeps to its limits.
fn check_request(request: &Request) {
    let limits = limits();
    match &request.ask {
        Ask::Symbols(ask) => {
            assert!(ask.count <= limits.symbols_per_request_max);
            assert!(ask.from + ask.count <= limits.symbols_max);
        }
        Ask::Ids(ask) => {
            ids::read_prefixes(&ask.prefixes, limits.ids_per_message_max).unwrap();
        }
        Ask::Descend(ask) => {
            assert!((1..=8).contains(&ask.levels));
            let nodes = prefixes::read(&ask.nodes, limits.nodes_per_message_max).unwrap();
            assert!(!nodes.is_empty());
        }
        Ask::Fetch(fetch) => match &fetch.wanted {
            Wanted::Ids(ids) => {
                let ids = ids::read_ids(ids, limits.ids_per_message_max).unwrap();
                assert!(!ids.is_empty());
            }
            Wanted::Prefixes(prefixes) => {
                let max = limits.ids_per_message_max;
                assert!(!ids::read_prefixes(prefixes, max).unwrap().is_empty());
            }
        },
        Ask::Tail(tail) => assert!((1..=limits.entries_per_message_max).contains(&tail.count)),
        Ask::Push(push) => assert!(push.bytes.len() <= limits.part_len_max),
        _ => {}
    }
}

/// Runs a session until it ends.
fn run(store: &mut Store, config: Config, liar: &mut Liar, script: &mut Script<'_>) -> Report {
    let mut now = Duration::ZERO;
    let mut session = Session::new(config, store.now(), TIME, now);
    for _ in 0..STEPS_MAX {
        let Some(output) = session.next(now) else {
            now = now.max(session.due().unwrap());
            liar.peer.now = now;
            session.tick(now);
            continue;
        };
        match output {
            Output::Done(report) => return *report,
            Output::Pin { .. } => session.pinned(store.now(), TIME, now),
            Output::Append(append) => {
                assert!(append.iter().all(|(_, body)| body.len() <= limits().body_len_max));
                let taken = store.append(append.iter().map(|(_, body)| body.to_vec()).collect());
                let held = taken.iter().filter(|(_, new)| !new).count();
                session.appended(append.number, held as u64);
            }
            Output::Read(read) => {
                let enough = usize::from(script.below(8)) + 1;
                let ids = read.ids.iter().take(enough);
                let bodies: Vec<_> = ids
                    .map(|id| store.places.get(id).map(|place| store.bodies[*place].clone()))
                    .collect();
                session.read(read.number, &bodies, now);
            }
            Output::Send(request) => {
                check_request(&request);
                session.sent(request.ask.kind(), 100);
                for (request, replies) in liar.answer(script, &request) {
                    for reply in replies {
                        match reply {
                            Ok(said) => {
                                // It has the key, so what it makes up has its MAC.
                                let said = match session.key() {
                                    Some(key) => key.seal_response(said),
                                    None => said,
                                };
                                let len = said.answer.list_len() as u64 + 50;
                                session.receive(said, len, now);
                            }
                            Err(refusal) => session.refused(&request.envelope, refusal, now),
                        }
                    }
                }
            }
        }
    }
    panic!("the session does not end: {:?}", session.report());
}

/// What the two hold, how the session is set up, then what the peer makes of each request.
///
/// However it lies, the session ends, asks within its limits, and says that both hold the same only
/// if its own side holds what it says.
pub(crate) fn initiator(bytes: &[u8]) {
    let mut script = Script(bytes);
    let [common, mine, theirs] = [50, 40, 40].map(|most| u64::from(script.below(most)));
    let (crafted, kind) = (script.below(20), script.byte());
    let secret = (kind & 1 == 1).then_some(&[7; 16][..]);
    let sketch_len = |bit: u8| if kind & bit == 0 { 64 } else { 0 };
    let mut store = Store::new(1, secret, sketch_len(2));
    let mut other = Store::new(2, secret, sketch_len(4));
    store.append((0..common).chain(1_000..1_000 + mine).map(body).collect());
    other.append((0..common).chain(2_000..2_000 + theirs).map(body).collect());
    craft(&mut other, if kind & 8 == 0 { 0 } else { crafted });
    craft(&mut store, if kind & 16 == 0 { 0 } else { crafted / 2 });
    let without = match kind >> 5 & 3 {
        0 => vec![],
        1 => vec![Layer::Symbols],
        2 => vec![Layer::Bulk, Layer::Cursor],
        _ => vec![Layer::Symbols, Layer::Bulk],
    };
    let log = other.now().log;
    let cursor = (kind >> 7 == 1).then(|| {
        let size = log.size.0.saturating_sub(u64::from(script.below(50)));
        let root = stemedb_sync::Source::log_root_at(&other, size).unwrap().unwrap_or_default();
        PeerCursor { node: [2; 16], epoch: 1, size, root }
    });
    let direction = match script.below(4) {
        0 => Direction::Pull,
        1 => Direction::Push,
        3 => Direction::Neither,
        _ => Direction::Both,
    };
    let identity = store.identity.clone();
    let config = Config::new(identity, [5; 32])
        .limits(limits())
        .direction(direction)
        .cursor(cursor)
        .without(without);
    let mut liar = Liar { peer: Peer::new(other, limits()), late: VecDeque::new(), lied: false };
    let report = run(&mut store, config, &mut liar, &mut script);
    assert!(report.rounds <= limits().rounds_max);
    assert!(report.restarts <= limits().restarts_max);
    for (id, place) in &store.places {
        assert_eq!(store.identity.keys.id(&store.bodies[*place]), *id);
    }
    if report.equal {
        assert!(report.checked);
        assert_eq!(report.set, Some(store.now().set()));
        assert!(report.ending == Ending::Complete || report.confirmed || liar.lied);
        if !liar.lied {
            assert_eq!(store.tree.root(), liar.peer.store.tree.root());
        }
    }
    if !liar.lied {
        let blamed = matches!(report.ending, Ending::ProtocolViolation(_));
        assert!(!blamed, "an honest peer is blamed: {report:?}");
    }
}

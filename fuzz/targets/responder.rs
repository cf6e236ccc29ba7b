//! A responder, asked whatever an initiator that has the secret can think of.

use std::time::Duration;

use stemedb_merkle::{Hash, MerkleTree, Root, set::Entry};
use stemedb_sync::{
    Keys, Limits, Source as _,
    codec::{
        ids::PREFIX_LEN,
        prefixes::{self, Prefix},
    },
    keys::SessionKey,
    message::{
        Answer, Ask, AskIds, AskSymbols, Cursor, Descend, Envelope, Fetch, Finish, Hello, Push,
        Refusal, Request, Response, SetHead, Tail, VERSION, Wanted, Welcome,
    },
    symbols::ENCODED_LEN_MAX,
};

use super::{
    model::{Peer, Store},
    script::Script,
};

/// Limits that a few hundred bytes of script come up against.
pub(crate) fn limits() -> Limits {
    Limits::default()
        .message_len_max(8 << 10)
        .part_len_max(256)
        .answer_len_aim(2 << 10)
        .body_len_max(4 << 10)
        .symbols_per_request_max(200)
        .symbols_max(1 << 10)
        .symbols_first(40)
        .ids_per_message_max(64)
        .nodes_per_message_max(64)
        .leaf_ids_max(64)
        .entries_per_message_max(16)
        .rounds_max(200)
        .reconcile_bytes_max(4 << 20)
        .tries_max(3)
        .restarts_max(2)
        .sessions_max(3)
        .sessions_per_peer_max(2)
        .ids_kept_max(256)
}

/// A body that stores have in common, or one of them has.
pub(crate) fn body(n: u64) -> Vec<u8> {
    format!("assertion {n} {}", "x".repeat((n % 7) as usize * 40)).into_bytes()
}

/// Puts ids that are no hashes of anything into a store's tree: they share their first bits.
pub(crate) fn craft(store: &mut Store, count: u8) {
    let id = |n: u8| -> Hash {
        std::array::from_fn(|place| if place == 31 - usize::from(n % 4) * 8 { n } else { 0xa5 })
    };
    let entries: Vec<Entry> =
        (1..=count).map(|n| Entry { id: id(n), position: 1 << 20 | u64::from(n) }).collect();
    // Two of one id are one.
    let mut tree = MerkleTree::new();
    let held: Vec<Entry> = store.tree.iter().map(Result::unwrap).collect();
    tree.insert_batch(&held).unwrap();
    tree.insert_batch(&entries).unwrap();
    if let Some(sketch) = &mut store.sketch {
        for entry in &entries {
            sketch.insert(&entry.id);
        }
    }
    store.tree = tree;
}

/// A responder with a session.
pub(crate) struct Opened {
    pub(crate) peer: Peer,
    pub(crate) envelope: Envelope,
    pub(crate) key: SessionKey,
}

impl Opened {
    /// With few bodies and no symbols kept.
    pub(crate) fn small() -> Self {
        let mut store = Store::new(2, None, 0);
        store.append((0..5).map(body).collect());
        let mut peer = Peer::new(store, limits());
        let (envelope, hello) =
            hello(&Keys::new(None), [1; 16], [1; 16], SetHead { count: 1, root: Root::default() });
        let welcome = peer.answer(Request { envelope, ask: Ask::Hello(hello) });
        let (envelope, key) = next(&Keys::new(None), envelope, &welcome).unwrap();
        Self { peer, envelope, key }
    }
}

/// The first request of a session.
fn hello(keys: &Keys, session: [u8; 16], node: [u8; 16], set: SetHead) -> (Envelope, Hello) {
    let envelope = Envelope { session, snapshot: 0, request: 1, mac: [0; 16] };
    let mut hello = Hello {
        version: VERSION,
        node,
        epoch: 1,
        proof: [0; 16],
        set,
        time: 1 << 40,
        cursor: None,
        symbols: 8,
    };
    hello.proof = keys.initiator_proof(&session, &hello);
    (envelope, hello)
}

/// What goes with the requests that follow a welcome.
fn next(
    keys: &Keys,
    envelope: Envelope,
    replies: &[Result<Response, Refusal>],
) -> Option<(Envelope, SessionKey)> {
    let [Ok(Response { echo, answer: Answer::Welcome(Welcome { nonce, .. }) }), ..] = replies
    else {
        return None;
    };
    let key = keys.session_key(&envelope.session, nonce);
    Some((Envelope { snapshot: echo.snapshot, request: 2, ..envelope }, key))
}

/// Has a request answered, and looks at what comes.
pub(crate) fn check_replies(peer: &mut Peer, request: Request) -> Vec<Result<Response, Refusal>> {
    let limits = peer.responder.limits().clone();
    let repeatable =
        matches!(request.ask, Ask::Symbols(_) | Ask::Ids(_) | Ask::Descend(_) | Ask::Finish(_));
    let replies = peer.answer(request.clone());
    for (place, reply) in replies.iter().enumerate() {
        let Ok(Response { echo, answer }) = reply else { continue };
        let same = echo.session == request.envelope.session
            && echo.request == request.envelope.request
            && (matches!(request.ask, Ask::Hello(_)) || echo.snapshot == request.envelope.snapshot);
        assert!(same, "{echo:?} to {request:?}");
        assert!(answer.list_len() <= limits.message_len_max);
        if let Answer::Bodies(bodies) = answer {
            assert!(bodies.bytes.len() <= limits.part_len_max);
            assert_eq!(bodies.part as usize, place);
            assert_eq!(bodies.end.is_some(), place + 1 == replies.len());
            assert!(!bodies.bytes.is_empty() || bodies.end.is_some());
            assert!(bodies.end.is_none_or(|end| end.processed > 0));
        }
    }
    let made: usize = replies.iter().flatten().map(|reply| reply.answer.list_len()).sum();
    let symbols = limits.symbols_max as usize * ENCODED_LEN_MAX;
    let bodies = limits.answer_len_aim + limits.body_len_max + 10;
    assert!(made <= limits.message_len_max + symbols.max(bodies));
    assert!(peer.responder.sessions() <= limits.sessions_max);
    if repeatable {
        let again = peer.answer(request);
        // Symbols may be used up by that.
        assert!(again == replies || again.last() == Some(&Err(Refusal::OverLimit)));
    }
    replies
}

/// The sessions of the script: three, of two nodes.
struct Asking {
    keys: Keys,
    sessions: [(Envelope, SessionKey); 3],
}

impl Asking {
    fn request(&mut self, script: &mut Script<'_>, peer: &mut Peer) -> Option<Request> {
        let which = usize::from(script.below(3));
        let call = script.below(13);
        let ask = match call {
            0 | 1 => {
                let (session, node) = ([which as u8 + 1; 16], [which as u8 % 2 + 3; 16]);
                let mut set = SetHead { count: script.number(), root: Root(script.array()) };
                if call == 1 {
                    set = peer.store.now().set();
                }
                let (envelope, mut hello) = hello(&self.keys, session, node, set);
                hello.symbols = script.number32();
                if script.below(2) == 1 {
                    let (epoch, size) = (u64::from(script.below(3)), script.number());
                    let root = peer.store.log_root_at(size).unwrap().unwrap_or_default();
                    hello.cursor =
                        Some(Cursor { epoch, size, root: *root.0.first_chunk().unwrap() });
                }
                hello.proof = self.keys.initiator_proof(&session, &hello);
                let replies = check_replies(peer, Request { envelope, ask: Ask::Hello(hello) });
                if let Some(session) = next(&self.keys, envelope, &replies) {
                    self.sessions[which] = session;
                }
                return None;
            }
            2 => Ask::Symbols(AskSymbols { from: script.number32(), count: script.number32() }),
            3 => Ask::Ids(AskIds { prefixes: prefixes_of_ids(script, peer) }),
            4 => {
                let depth = u16::from(script.byte()) + u16::from(script.below(2));
                let mut found: Vec<Prefix> =
                    ids(script, peer).iter().map(|id| Prefix::of(id, depth)).collect();
                found.dedup();
                let mut nodes = prefixes::write(&found);
                maybe_change(script, &mut nodes);
                Ask::Descend(Descend {
                    nodes,
                    levels: script.below(10),
                    leaf_ids: script.number32(),
                })
            }
            5 => {
                let wanted = Wanted::Prefixes(prefixes_of_ids(script, peer));
                Ask::Fetch(Fetch { wanted })
            }
            6 => {
                let mut wanted = ids(script, peer).concat();
                maybe_change(script, &mut wanted);
                Ask::Fetch(Fetch { wanted: Wanted::Ids(wanted) })
            }
            7 => Ask::Tail(Tail { from: script.number(), count: script.number() }),
            8 | 9 => {
                let mut bytes = Vec::new();
                for n in 0..script.below(4) {
                    let body = body(100 + u64::from(script.byte() % 16) + u64::from(n));
                    stemedb_sync::codec::bodies::write(&body, &mut bytes);
                }
                maybe_change(script, &mut bytes);
                let (part, last) = (u32::from(script.below(4)), script.below(2) == 0);
                Ask::Push(Push { part, bytes, last })
            }
            10 => {
                let mut set = || {
                    let set = SetHead { count: script.number(), root: Root([script.byte(); 32]) };
                    (script.below(2) == 0).then_some(set)
                };
                Ask::Finish(Finish { set: set(), now: set() })
            }
            11 => Ask::Leave,
            _ => {
                match script.below(4) {
                    0 => peer.responder.forget(),
                    1 => peer.store.write(&body(1000 + u64::from(script.byte()))),
                    _ => peer.now += Duration::from_secs(script.byte().into()),
                }
                peer.responder.expire(peer.now);
                return None;
            }
        };
        let (mut envelope, key) = self.sessions[which].clone();
        envelope.request = u64::from(script.below(16)) + 1;
        match script.below(32) {
            0 => {
                // Anybody's.
                envelope.mac = script.array();
                return Some(Request { envelope, ask });
            }
            1 => envelope.snapshot = script.number(),
            2 => envelope.session = script.array(),
            3 => envelope.request = script.number(),
            _ => {}
        }
        Some(key.seal_request(Request { envelope, ask }))
    }
}

/// Some ids of the store, ascending.
fn ids(script: &mut Script<'_>, peer: &Peer) -> Vec<Hash> {
    let (from, step) = (usize::from(script.byte()), usize::from(script.below(8)) + 1);
    let count = usize::from(script.byte());
    let all = peer.store.tree.iter().map(|entry| entry.unwrap().id);
    all.skip(from % 64).step_by(step).take(count).collect()
}

/// What some ids of the store begin with, perhaps changed.
fn prefixes_of_ids(script: &mut Script<'_>, peer: &Peer) -> Vec<u8> {
    let ids = ids(script, peer);
    let mut prefixes: Vec<u8> =
        ids.iter().flat_map(|id| *id.first_chunk::<PREFIX_LEN>().unwrap()).collect();
    maybe_change(script, &mut prefixes);
    prefixes
}

fn maybe_change(script: &mut Script<'_>, list: &mut Vec<u8>) {
    if script.below(3) == 0 {
        script.change(list);
    }
}

/// How many ids share their first bits, whether there is a secret and a sketch, then requests.
pub(crate) fn responder(bytes: &[u8]) {
    let mut script = Script(bytes);
    let crafted = script.below(40);
    let kind = script.byte();
    let secret = (kind & 1 == 1).then_some(&[7; 16][..]);
    let mut store = Store::new(2, secret, if kind & 2 == 0 { 64 } else { 0 });
    store.append((0..40).map(body).collect());
    craft(&mut store, crafted);
    let held = store.bodies.len();
    let mut peer = Peer::new(store, limits());
    let nowhere = Envelope { session: [9; 16], snapshot: 1, request: 1, mac: [0; 16] };
    let keys = Keys::new(secret);
    let key = keys.session_key(&[9; 16], &[9; 16]);
    let sessions = std::array::from_fn(|_| (nowhere, key.clone()));
    let mut asking = Asking { keys, sessions };
    while !script.is_over() {
        if let Some(request) = asking.request(&mut script, &mut peer) {
            check_replies(&mut peer, request);
        }
    }
    // Nothing that it held is lost, and each body is under its id.
    assert!(peer.store.bodies.len() >= held);
    for (id, place) in &peer.store.places {
        assert_eq!(peer.store.identity.keys.id(&peer.store.bodies[*place]), *id);
    }
}

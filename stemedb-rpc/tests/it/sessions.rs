//! The replication calls, message by message.

use std::time::Duration;

use stemedb_merkle::Root;
use stemedb_rpc::{CallError, Client, ServerOptions, client::Traffic};
use stemedb_sync::{
    Keys,
    codec::{
        bodies::{Item, ItemReader, PartWriter},
        ids,
        prefixes::{self, Prefix},
    },
    keys::SessionKey,
    message::{
        Answer, Ask, AskIds, AskSymbols, Bodies, BodiesEnd, Descend, Echo, Envelope, Fetch, Finish,
        Hello, Push, Pushed, Refusal, Request, Response, SetHead, Tail, Wanted,
    },
};

use super::{
    stores::{TestStore, body},
    world::{Environment, run, until},
};

/// The first request of a session with a number for a name, of a node of the same name.
pub(crate) fn hello(keys: &Keys, name: u8, symbols: u32) -> Request {
    let (session, node) = ([name; 16], [name; 16]);
    let envelope = Envelope { session, snapshot: 0, request: 1, mac: [0; 16] };
    let set = SetHead { count: 1, root: Root([2; 32]) };
    let (version, epoch, proof, time, cursor) = (1, 2, [0; 16], 4, None);
    let mut hello = Hello { version, node, epoch, proof, set, time, cursor, symbols };
    hello.proof = keys.initiator_proof(&session, &hello);
    Request { envelope, ask: Ask::Hello(hello) }
}

/// A session that is open.
pub(crate) struct Opened {
    key: SessionKey,
    envelope: Envelope,
}

impl Opened {
    pub(crate) async fn new(client: &Client, keys: &Keys, name: u8) -> Self {
        let parts = ask(client, hello(keys, name, 0), &mut Traffic::default()).await.unwrap();
        Self::by(keys, &parts[0])
    }

    fn by(keys: &Keys, Response { echo, answer }: &Response) -> Self {
        let Answer::Welcome(welcome) = answer else { panic!("{answer:?}") };
        let key = keys.session_key(&echo.session, &welcome.nonce);
        let (session, snapshot) = (echo.session, echo.snapshot);
        Self { key, envelope: Envelope { session, snapshot, request: 1, mac: [0; 16] } }
    }

    /// The next request.
    pub(crate) fn request(&mut self, ask: Ask) -> Request {
        self.envelope.request += 1;
        self.seal(ask)
    }

    /// The next push, in parts.
    pub(crate) fn push(&mut self, parts: Vec<Vec<u8>>) -> Vec<(Envelope, Push)> {
        self.envelope.request += 1;
        let count = parts.len();
        let parts = (0..).zip(parts).map(|(part, bytes)| {
            let push = Push { part, bytes, last: part as usize + 1 == count };
            (self.seal(Ask::Push(push.clone())).envelope, push)
        });
        parts.collect()
    }

    fn seal(&self, ask: Ask) -> Request {
        self.key.seal_request(Request { envelope: self.envelope, ask })
    }
}

/// Asks, and takes in all parts of the answer.
pub(crate) async fn ask(
    client: &Client,
    request: Request,
    traffic: &mut Traffic,
) -> Result<Vec<Response>, CallError> {
    let in_parts =
        matches!(request.ask, Ask::Hello(_) | Ask::Symbols(_) | Ask::Fetch(_) | Ask::Tail(_));
    if !in_parts {
        return Ok(vec![client.ask(request, traffic).await?]);
    }
    let mut answer = client.ask_parts(request, traffic).await?;
    let mut parts = Vec::new();
    while let Some((part, received)) = answer.next().await? {
        traffic.received += received;
        parts.push(part);
    }
    Ok(parts)
}

const COUNT: usize = 20_000;
const LONG: usize = 256 << 10;

/// A long body, which can be compressed or not.
fn long_body(n: u8, noisy: bool) -> Vec<u8> {
    let mut body = vec![n; LONG];
    if noisy {
        blake3::Hasher::new().update(&[n]).finalize_xof().fill(&mut body);
    }
    body
}

#[test]
fn every_request_arrives_and_so_does_its_answer() {
    run(async {
        let store = TestStore::of(None, 0..COUNT as u64);
        let keys = store.keys();
        let world = Environment::with(ServerOptions::default(), store).await;
        let client = world.client().await;
        let mut traffic = Traffic::default();
        let request = hello(&keys, 1, 0);
        let envelope = request.envelope;
        let responses = ask(&client, request, &mut traffic).await.unwrap();
        assert!(traffic.sent + traffic.received < 300, "{traffic:?}");
        assert_eq!((responses.len(), responses[0].echo.request), (1, envelope.request));

        let responses = ask(&client, hello(&keys, 2, 64), &mut traffic).await.unwrap();
        let Answer::Welcome(welcome) = &responses[0].answer else { panic!() };
        let parts = responses[1..].iter().map(|response| match &response.answer {
            Answer::Symbols(symbols) => (symbols.from, symbols.last),
            answer => panic!("{answer:?}"),
        });
        let expected = [(0, false), (16, false), (32, false), (48, true)];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
        assert_eq!(welcome.symbols, 64);
        let mut session = Opened::by(&keys, &responses[0]);

        let mut ids: Vec<_> = (0..COUNT as u64).map(|n| world.store.id(&body(n)).0).collect();
        ids.sort_unstable();
        let prefixes: Vec<_> = ids.iter().map(ids::prefix).collect();
        let prefixes = ids::write_prefixes(&prefixes);
        let nodes = (0..1_u16 << 12).map(|n| {
            let mut bits = [0; 32];
            bits[..2].copy_from_slice(&(n << 4).to_be_bytes());
            Prefix::of(&bits, 12)
        });
        let nodes = prefixes::write(&nodes.collect::<Vec<_>>());
        for wanted in [
            Ask::Symbols(AskSymbols { from: 64, count: 65_536 }),
            Ask::Ids(AskIds { prefixes }),
            Ask::Descend(Descend { nodes, levels: 8, leaf_ids: 1 }),
            Ask::Finish(Finish { set: None, now: None }),
            Ask::Leave,
        ] {
            let request = session.request(wanted);
            let responses = ask(&client, request.clone(), &mut traffic).await.unwrap();
            let response = &responses[0];
            assert_eq!(Echo { mac: [0; 16], ..response.echo }, request.envelope.echo());
            assert!(session.key.admits_response(response), "{:?}", request.ask.kind());
            let same = match (&request.ask, &response.answer) {
                (Ask::Symbols(_), Answer::Symbols(answer)) => {
                    (answer.from, answer.last) == (64, false) && responses.len() > 8
                }
                (Ask::Ids(ask), Answer::Ids(answer)) => {
                    let (prefixes, rest) = ask.prefixes.as_chunks();
                    assert!(rest.is_empty());
                    ids::join(prefixes, &answer.suffixes).unwrap() == ids
                }
                (Ask::Descend(_), Answer::Subtrees(answer)) => answer.subtrees.len() > 24 * COUNT,
                (Ask::Finish(_), Answer::Finished(answer)) => {
                    answer.set.root == world.store.root() && !answer.checked
                }
                (Ask::Leave, Answer::Left) => true,
                _ => false,
            };
            assert!(same, "{:?}", request.ask.kind());
        }
        world.end().await;
    });
}

#[test]
fn bodies_come_in_parts_and_compressed_where_that_helps() {
    run(async {
        let store = TestStore::new();
        let bodies = |noisy| (0..12).map(move |n| long_body(n, noisy));
        store.take(bodies(false).chain(bodies(true)).collect());
        let keys = store.keys();
        let world = Environment::with(ServerOptions::default(), store).await;
        let client = world.client().await;
        let mut session = Opened::new(&client, &keys, 1).await;
        let ids = bodies(false).flat_map(|body| world.store.id(&body).0).collect();
        let fetch = Ask::Fetch(Fetch { wanted: Wanted::Ids(ids) });
        let tail = Ask::Tail(Tail { from: 12, count: 12 });
        for (wanted, noisy) in [(fetch, false), (tail, true)] {
            let mut traffic = Traffic::default();
            let request = session.request(wanted);
            let responses = ask(&client, request, &mut traffic).await.unwrap();
            assert!(responses.len() >= 12, "{}", responses.len());
            let (mut reader, mut items) = (ItemReader::default(), Vec::new());
            for (place, response) in (0..).zip(&responses) {
                assert!(session.key.admits_response(response));
                let Answer::Bodies(Bodies { part, bytes, end }) = &response.answer else {
                    panic!()
                };
                let is_last = place as usize + 1 == responses.len();
                assert_eq!((*part, end.is_some()), (place, is_last));
                assert!(end.is_none_or(|BodiesEnd { processed }| processed == 12));
                items.extend(reader.push(bytes, LONG).unwrap());
            }
            let right: Vec<_> = bodies(noisy).map(Item::Body).collect();
            assert!(items == right);
            let raw = 12 * LONG as u64;
            assert_eq!(traffic.received > raw, noisy, "{traffic:?}");
            assert!(noisy || traffic.received < raw / 10, "{traffic:?}");
        }
        world.end().await;
    });
}

#[test]
fn a_push_is_answered_once_it_is_whole() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        // A store that holds nothing opens a session with one that holds something.
        let mut session = Opened::new(&client, &world.store.keys(), 1).await;
        let mut parts = PartWriter::new(LONG);
        (0..20).for_each(|n| parts.push(&long_body(n, true)));
        let parts = session.push(parts.finish());
        let envelope = parts[0].0;
        let mut traffic = Traffic::default();
        let response = client.push(tokio_stream::iter(parts), &mut traffic).await.unwrap();
        assert_eq!(Echo { mac: [0; 16], ..response.echo }, envelope.echo());
        assert_eq!(response.answer, Answer::Pushed(Pushed { appended: 20, duplicates: 0 }));
        assert!(session.key.admits_response(&response));
        assert!(traffic.sent > 20 * LONG as u64);
        assert_eq!(world.store.len(), 20);

        // A push that ends before its last part.
        let mut parts = session.push(vec![Vec::new(), Vec::new()]);
        parts.pop();
        let refused = client.push(tokio_stream::iter(parts), &mut traffic).await.unwrap_err();
        assert!(matches!(refused, CallError::Refusal(Refusal::Malformed)), "{refused:?}");
        world.end().await;
    });
}

#[test]
fn refusals_arrive_whatever_was_asked() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let keys = world.store.keys();
        let refusal = |error: CallError| match error {
            CallError::Refusal(refusal) => refusal,
            error => panic!("{error:?}"),
        };
        let mut traffic = Traffic::default();
        let mut unproven = hello(&keys, 1, 0);
        unproven.envelope.session[0] ^= 1;
        let refused = ask(&client, unproven, &mut traffic).await.unwrap_err();
        assert_eq!(refusal(refused), Refusal::Secret);
        let mut session = Opened::new(&client, &keys, 1).await;
        session.envelope.session[0] ^= 1;
        let tail = session.request(Ask::Tail(Tail { from: 0, count: 1 }));
        let mut answer = client.ask_parts(tail, &mut traffic).await.unwrap();
        assert_eq!(refusal(answer.next().await.unwrap_err()), Refusal::SnapshotGone);
        let descend = Descend { nodes: vec![0], levels: 1, leaf_ids: 1 };
        let refused = client.ask(session.request(Ask::Descend(descend)), &mut traffic).await;
        assert_eq!(refusal(refused.unwrap_err()), Refusal::SnapshotGone);
        let parts = tokio_stream::iter(session.push(vec![Vec::new()]));
        let refused = client.push(parts, &mut traffic).await.unwrap_err();
        assert_eq!(refusal(refused), Refusal::SnapshotGone);
        world.end().await;
    });
}

/// A client that asks for bodies and never reads them holds a call for as long as its patience is
/// set, and nobody else is kept waiting.
#[test]
fn an_initiator_that_does_not_read_is_left() {
    run(async {
        let mut options = ServerOptions::default();
        options.limits.idle_time_max = Duration::from_millis(200);
        options.limits.stream_window = 64 << 10;
        options.limits.connection_window = 64 << 10;
        let store = TestStore::new();
        store.take((0..16).map(|n| long_body(n, true)).collect());
        let world = Environment::with(options, store).await;
        let lazy = world.client().await;
        let mut session = Opened::new(&lazy, &world.store.keys(), 1).await;
        let before = world.memory.used();
        let mut traffic = Traffic::default();
        let mut answers = Vec::new();
        for _ in 0..4 {
            let tail = session.request(Ask::Tail(Tail { from: 0, count: 16 }));
            answers.push(lazy.ask_parts(tail, &mut traffic).await.unwrap());
        }
        let other = world.client().await;
        other.head().await.unwrap();
        until(|| world.memory.used() > before).await;
        until(|| world.memory.used() == before).await;
        drop(answers);
        world.end().await;
    });
}

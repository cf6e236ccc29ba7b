//! The replication calls, over a responder that makes things up.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stemedb_rpc::{CallError, Client, Replica, ServerOptions, client::Traffic, replica::Said};
use stemedb_sync::message::{
    Answer, Ask, AskIds, AskSymbols, Bodies, BodiesEnd, CursorState, Descend, Envelope, Fetch,
    Finish, Finished, Hello, Ids, LogHead, Push, Pushed, Refusal, Request, Response, SetHead,
    Subtrees, Symbols, Tail, Wanted, Welcome,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::world::{Environment, run, until};

/// Answers everything with something of the right kind, and remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    pub asked: Mutex<Vec<Request>>,
    pub sessions: AtomicUsize,
    /// Answers to requests for bodies that have ended.
    pub ended: Arc<AtomicUsize>,
}

/// Counts once it is dropped.
struct Given(Arc<AtomicUsize>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const SET: SetHead = SetHead { count: 1, root: [2; 32] };
const LOG: LogHead = LogHead { size: 3, root: [4; 32] };
/// A session that is refused.
const STRANGER: [u8; 16] = [0xbb; 16];
/// The only proof that is taken.
const PROOF: [u8; 16] = [3; 16];
const PARTS: u32 = 20;
const PART_SYMBOLS: u32 = 8_192;
const PART_LEN: usize = 256 << 10;

impl Replica for Echoes {
    fn answer(&self, request: Request, _from: IpAddr) -> Result<Said, Refusal> {
        self.asked.lock().unwrap().push(request.clone());
        let Request { envelope, ask } = request;
        if envelope.session == STRANGER {
            return Err(Refusal::SnapshotGone);
        }
        if matches!(&ask, Ask::Hello(hello) if hello.proof != PROOF) {
            return Err(Refusal::Secret);
        }
        let echo = envelope.echo();
        let answer = match ask {
            Ask::Hello(hello) => Answer::Welcome(Welcome {
                version: 1,
                node: [5; 16],
                epoch: 6,
                nonce: [7; 16],
                proof: [8; 16],
                set: (hello.symbols > 0).then_some(SET),
                log: LOG,
                time: 9,
                cursor: CursorState::None,
                symbols: hello.symbols,
            }),
            Ask::Symbols(AskSymbols { from, count }) => {
                let parts = (0..count).step_by(PART_SYMBOLS as usize).map(move |at| {
                    let len = PART_SYMBOLS.min(count - at);
                    let symbols = vec![2; len as usize * 25];
                    let part = Symbols { from: from + at, symbols, last: at + len == count };
                    Ok(Response { echo, answer: Answer::Symbols(part) })
                });
                return Ok(Said::Parts(Box::new(parts)));
            }
            Ask::Ids(ask) => Answer::Ids(Ids { suffixes: ask.prefixes }),
            Ask::Descend(ask) => Answer::Subtrees(Subtrees { subtrees: ask.nodes }),
            Ask::Fetch(_) | Ask::Tail(_) => {
                let noisy = matches!(ask, Ask::Tail(_));
                let given = Given(Arc::clone(&self.ended));
                let parts = (0..PARTS).map(move |part| {
                    let _given = &given;
                    let end = (part + 1 == PARTS).then_some(BodiesEnd { processed: 1 });
                    let bodies = Bodies { part, bytes: bytes(noisy), end };
                    Ok(Response { echo, answer: Answer::Bodies(bodies) })
                });
                return Ok(Said::Parts(Box::new(parts)));
            }
            Ask::Push(Push { last: false, .. }) => return Ok(Said::Nothing),
            Ask::Push(push) => Answer::Pushed(Pushed { appended: push.part.into(), duplicates: 0 }),
            Ask::Finish(_) => Answer::Finished(Finished { checked: true, set: SET, log: LOG }),
            Ask::Leave => Answer::Left,
        };
        Ok(Said::Answer(Response { echo, answer }))
    }

    fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}

fn bytes(noisy: bool) -> Vec<u8> {
    let mut bytes = vec![0; PART_LEN];
    if noisy {
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    }
    bytes
}

pub(crate) fn request(number: u64, ask: Ask) -> Request {
    let envelope = Envelope { session: [1; 16], snapshot: 2, request: number, mac: [3; 16] };
    Request { envelope, ask }
}

pub(crate) fn hello(symbols: u32) -> Ask {
    let (version, node, epoch, proof) = (1, [1; 16], 2, PROOF);
    Ask::Hello(Hello { version, node, epoch, proof, set: SET, time: 4, cursor: None, symbols })
}

/// Asks, and takes in all parts of the answer.
pub(crate) async fn ask(
    client: &Client,
    request: Request,
    traffic: &mut Traffic,
) -> Result<Vec<Response>, CallError> {
    if !matches!(request.ask, Ask::Hello(_) | Ask::Symbols(_)) {
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

#[test]
fn every_request_arrives_and_so_does_its_answer() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let asks = [
            hello(0),
            hello(64),
            Ask::Symbols(AskSymbols { from: 64, count: 65_536 }),
            Ask::Ids(AskIds { prefixes: vec![1; 65_536 * 8] }),
            Ask::Descend(Descend { nodes: vec![1; 2 << 20], levels: 8, leaf_ids: 1 }),
            Ask::Finish(Finish { set: Some(SET) }),
            Ask::Leave,
        ];
        let mut numbers = 1..;
        let mut requests = Vec::new();
        for wanted in asks {
            let request = request(numbers.next().unwrap(), wanted);
            let mut traffic = Traffic::default();
            let responses = ask(&client, request.clone(), &mut traffic).await.unwrap();
            let response = &responses[0];
            assert_eq!(response.echo, request.envelope.echo());
            let same = match (&request.ask, &response.answer) {
                (Ask::Hello(ask), Answer::Welcome(answer)) => answer.symbols == ask.symbols,
                (Ask::Symbols(_), Answer::Symbols(answer)) => {
                    (answer.from, answer.last) == (64, false) && responses.len() == 8
                }
                (Ask::Ids(ask), Answer::Ids(answer)) => answer.suffixes == ask.prefixes,
                (Ask::Descend(ask), Answer::Subtrees(answer)) => answer.subtrees == ask.nodes,
                (Ask::Finish(_), Answer::Finished(answer)) => answer.checked,
                (Ask::Leave, Answer::Left) => true,
                _ => false,
            };
            assert!(same, "{:?}", request.ask.kind());
            if request.ask == hello(0) {
                assert!(traffic.sent + traffic.received < 300, "{traffic:?}");
            }
            requests.push(request);
        }
        assert_eq!(*world.echoes.asked.lock().unwrap(), requests);
        world.end().await;
    });
}

#[test]
fn bodies_come_in_parts_and_compressed_where_that_helps() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let fetch = Ask::Fetch(Fetch { wanted: Wanted::Ids(vec![1; 32]) });
        let tail = Ask::Tail(Tail { from: 0, count: 100 });
        for (ask, noisy) in [(fetch, false), (tail, true)] {
            let mut traffic = Traffic::default();
            let mut answer = client.ask_parts(request(1, ask), &mut traffic).await.unwrap();
            let mut parts = 0;
            let mut ended = false;
            while let Some((response, received)) = answer.next().await.unwrap() {
                let Answer::Bodies(bodies) = response.answer else { panic!() };
                assert_eq!((bodies.part, ended), (parts, false));
                assert!(bodies.bytes == bytes(noisy));
                parts += 1;
                ended = bodies.end.is_some();
                traffic.received += received;
            }
            assert_eq!((parts, ended), (PARTS, true));
            let raw = u64::from(PARTS) * PART_LEN as u64;
            assert_eq!(traffic.received > raw, noisy, "{traffic:?}");
        }
        world.end().await;
    });
}

#[test]
fn a_push_is_answered_once_it_is_whole() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let (parts, receiver) = mpsc::channel(1);
        let mut traffic = Traffic::default();
        let envelope = request(7, hello(0)).envelope;
        let pushing = client.push(ReceiverStream::new(receiver), &mut traffic);
        let sending = async {
            for part in 0..PARTS {
                let last = part + 1 == PARTS;
                let push = Push { part, bytes: bytes(true), last };
                parts.send((envelope, push)).await.unwrap();
            }
        };
        let (response, ()) = tokio::join!(pushing, sending);
        let answer = Answer::Pushed(Pushed { appended: u64::from(PARTS) - 1, duplicates: 0 });
        assert_eq!(response.unwrap(), Response { echo: envelope.echo(), answer });
        assert!(traffic.sent > u64::from(PARTS) * PART_LEN as u64);
        assert_eq!(world.echoes.asked.lock().unwrap().len(), PARTS as usize);

        // A push that ends before its last part.
        let (parts, receiver) = mpsc::channel(1);
        parts.send((envelope, Push { part: 0, bytes: Vec::new(), last: false })).await.unwrap();
        drop(parts);
        let refused = client.push(ReceiverStream::new(receiver), &mut traffic).await.unwrap_err();
        assert!(matches!(refused, CallError::Refusal(Refusal::Malformed)), "{refused:?}");
        world.end().await;
    });
}

#[test]
fn refusals_arrive_whatever_was_asked() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let gone = |error: CallError| matches!(error, CallError::Refusal(Refusal::SnapshotGone));
        let stranger = |ask| {
            let mut request = request(1, ask);
            request.envelope.session = STRANGER;
            request
        };
        let mut traffic = Traffic::default();
        assert!(gone(ask(&client, stranger(hello(0)), &mut traffic).await.unwrap_err()));
        let tail = stranger(Ask::Tail(Tail { from: 0, count: 1 }));
        let mut answer = client.ask_parts(tail, &mut traffic).await.unwrap();
        assert!(gone(answer.next().await.unwrap_err()));
        let (parts, receiver) = mpsc::channel(1);
        let envelope = stranger(hello(0)).envelope;
        let push = Push { part: 0, bytes: Vec::new(), last: true };
        parts.send((envelope, push)).await.unwrap();
        assert!(gone(client.push(ReceiverStream::new(receiver), &mut traffic).await.unwrap_err()));
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
        let world = Environment::new(options).await;
        let lazy = world.client().await;
        let tail = request(1, Ask::Tail(Tail { from: 0, count: 1 }));
        let mut traffic = Traffic::default();
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(lazy.ask_parts(tail.clone(), &mut traffic).await.unwrap());
        }
        let other = world.client().await;
        other.head().await.unwrap();
        until(|| world.echoes.ended.load(Ordering::Relaxed) == 4).await;
        drop(answers);
        world.end().await;
    });
}

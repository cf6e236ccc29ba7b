//! Servers that break the protocol where only the wire shows it, against a session of ours: it ends
//! with blame or a clear word, in bounded time, and the store is as it was.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use stemedb_rpc::{
    Client, ClientOptions, PeerStore, ResponderService,
    proto::v1::{self, replication_service_server},
    reason::refusal_status,
    sync::Synced,
};
use stemedb_sync::{
    Ending, Keys, Limits, MemoryBudget, ProtocolViolation,
    keys::SessionKey,
    message::{Answer, Ask, Bodies, BodiesEnd, Echo, Request, Response},
    report::{Layer, Limited},
    responder::Reply as Answered,
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_stream::{StreamExt as _, iter};
use tonic::{
    Request as Call, Response as Reply, Status, Streaming,
    transport::server::{Server, TcpIncoming},
};

use super::{
    meeting::{config, sync},
    stores::TestStore,
    world::run,
};

/// What a server does to answers of bodies, or to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Nothing: the control.
    Honest,
    /// It sends a few bytes that expand to many more than they say.
    Bomb,
    /// It says of a few bytes that they expand to more than is allowed.
    LargeBomb,
    /// It sends a message over the limit.
    Long,
    /// It sends one byte, and then nothing any more.
    Stall,
    /// It sends a byte now and then, of a body that has millions.
    Drip,
    /// It sends more of an answer than there is.
    Surplus,
    /// It never answers the first request.
    Mute,
}

/// Made once, as it takes longer than a call may.
static BOMB: LazyLock<Vec<u8>> =
    LazyLock::new(|| zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap());

struct Hostile {
    responder: Arc<ResponderService>,
    store: PeerStore,
    keys: Keys,
    /// Of the last session.
    key: Mutex<Option<SessionKey>>,
    how: How,
}

impl Hostile {
    fn answers(&self, request: Request) -> Result<Vec<Response>, Status> {
        let from = Ipv4Addr::LOCALHOST.into();
        if let Ask::Push(_) = request.ask {
            let answer = self.responder.push(vec![request], from).map_err(refusal_status)?;
            return Ok(answer.into_iter().collect());
        }
        let answers = match self.responder.answer(request, from).map_err(refusal_status)? {
            Answered::Answer(answer) => vec![answer],
            Answered::Stream(mut parts) => std::iter::from_fn(|| parts.next(&self.store))
                .collect::<Result<_, _>>()
                .map_err(refusal_status)?,
            _ => Vec::new(),
        };
        for Response { echo, answer } in &answers {
            if let Answer::Welcome(welcome) = answer {
                let key = self.keys.session_key(&echo.session, &welcome.nonce);
                *self.key.lock().unwrap() = Some(key);
            }
        }
        Ok(answers)
    }

    /// A part of an answer, with its MAC.
    fn part(&self, echo: Echo, bodies: Bodies) -> v1::BodiesResponse {
        let response = Response { echo, answer: Answer::Bodies(bodies) };
        let key = self.key.lock().unwrap();
        let Response { echo, answer } = key.as_ref().unwrap().seal_response(response);
        let Answer::Bodies(Bodies { part, bytes, end }) = answer else { panic!() };
        let end = end.map(|BodiesEnd { processed }| v1::BodiesEnd { processed });
        v1::BodiesResponse { echo: Some(echo.into()), part, bytes, len: 0, end }
    }

    fn bodies(&self, request: Request) -> Result<Reply<Parts>, Status> {
        let echo = request.envelope.echo();
        let answers = self.answers(request)?;
        let said = answers.iter().map(|Response { answer, .. }| match answer {
            Answer::Bodies(bodies) => bodies.clone(),
            _ => panic!(),
        });
        let said: Vec<Bodies> = said.collect();
        let parts = said.iter().map(|bodies| self.part(echo, bodies.clone()));
        let mut parts: Vec<_> = parts.collect();
        let first = &mut parts[0];
        match self.how {
            How::Honest | How::Mute => {}
            How::Bomb | How::LargeBomb => {
                first.bytes.clone_from(&BOMB);
                first.len = if self.how == How::Bomb { 2 << 20 } else { u32::MAX };
            }
            How::Long => first.bytes.resize(5 << 20, 0),
            How::Stall => {
                let bytes = said[0].bytes[..1].to_vec();
                let part = self.part(echo, Bodies { part: 0, bytes, end: None });
                let stalled = iter([Ok(part)]).chain(tokio_stream::pending());
                return Ok(Reply::new(Box::pin(stalled)));
            }
            How::Drip => {
                let key = self.key.lock().unwrap().clone().unwrap();
                // One more than the length of a body of 16 MiB less two, and its first bytes.
                let bytes = [0xff, 0xff, 0xff, 7].into_iter().chain(std::iter::repeat(0));
                let parts = (0..).zip(bytes).map(move |(part, byte)| {
                    let answer = Answer::Bodies(Bodies { part, bytes: vec![byte], end: None });
                    let Response { echo, .. } = key.seal_response(Response { echo, answer });
                    let (echo, bytes) = (Some(echo.into()), vec![byte]);
                    Ok(v1::BodiesResponse { echo, part, bytes, ..Default::default() })
                });
                let dripping = iter(parts).then(|part| async {
                    sleep(Duration::from_millis(20)).await;
                    part
                });
                return Ok(Reply::new(Box::pin(dripping)));
            }
            How::Surplus => {
                let again = Bodies { part: 1, ..said[0].clone() };
                *first = self.part(echo, Bodies { end: None, ..said[0].clone() });
                parts.push(self.part(echo, again));
            }
        }
        Ok(Reply::new(Box::pin(iter(parts.into_iter().map(Ok)))))
    }
}

/// Asks the honest responder, and takes the answer of the right kind.
macro_rules! honest {
    ($self:ident, $call:ident, $kind:ident) => {{
        let request = Request::try_from($call.into_inner()).unwrap();
        let Response { echo, answer } = $self.answers(request)?.remove(0);
        let Answer::$kind(answer) = answer else { panic!() };
        Ok(Reply::new((echo, answer).into()))
    }};
}

type Stream<M> = Pin<Box<dyn tokio_stream::Stream<Item = Result<M, Status>> + Send>>;
type Parts = Stream<v1::BodiesResponse>;

#[tonic::async_trait]
impl replication_service_server::ReplicationService for Hostile {
    type HelloStream = Stream<v1::HelloResponse>;
    type SymbolsStream = Stream<v1::SymbolsResponse>;
    type FetchStream = Parts;
    type TailStream = Parts;

    async fn hello(
        &self,
        call: Call<v1::HelloRequest>,
    ) -> Result<Reply<Self::HelloStream>, Status> {
        if self.how == How::Mute {
            std::future::pending::<()>().await;
        }
        let answers = self.answers(Request::try_from(call.into_inner()).unwrap())?;
        // What no version knows yet, in front of each part.
        let parts = answers.into_iter().flat_map(|Response { echo, answer }| {
            let known = match answer {
                Answer::Welcome(welcome) => (echo, welcome).into(),
                Answer::Symbols(symbols) => (echo, symbols).into(),
                _ => panic!(),
            };
            [Ok(v1::HelloResponse { part: None }), Ok(known)]
        });
        Ok(Reply::new(Box::pin(iter(parts))))
    }

    async fn symbols(
        &self,
        call: Call<v1::SymbolsRequest>,
    ) -> Result<Reply<Self::SymbolsStream>, Status> {
        let answers = self.answers(Request::try_from(call.into_inner()).unwrap())?;
        let parts = answers.into_iter().map(|Response { echo, answer }| match answer {
            Answer::Symbols(symbols) => Ok((echo, symbols).into()),
            _ => panic!(),
        });
        Ok(Reply::new(Box::pin(iter(parts))))
    }

    async fn ids(&self, call: Call<v1::IdsRequest>) -> Result<Reply<v1::IdsResponse>, Status> {
        honest!(self, call, Ids)
    }

    async fn descend(
        &self,
        call: Call<v1::DescendRequest>,
    ) -> Result<Reply<v1::DescendResponse>, Status> {
        honest!(self, call, Subtrees)
    }

    async fn fetch(&self, call: Call<v1::FetchRequest>) -> Result<Reply<Parts>, Status> {
        self.bodies(Request::try_from(call.into_inner()).unwrap())
    }

    async fn tail(&self, call: Call<v1::TailRequest>) -> Result<Reply<Parts>, Status> {
        self.bodies(Request::try_from(call.into_inner()).unwrap())
    }

    async fn push(
        &self,
        call: Call<Streaming<v1::PushRequest>>,
    ) -> Result<Reply<v1::PushResponse>, Status> {
        let mut parts = call.into_inner();
        while let Some(part) = parts.message().await? {
            let request = Request::try_from(part).unwrap();
            if let Some(Response { echo, answer: Answer::Pushed(pushed) }) =
                self.answers(request)?.pop()
            {
                return Ok(Reply::new((echo, pushed).into()));
            }
        }
        panic!("a push has a last part");
    }

    async fn finish(
        &self,
        call: Call<v1::FinishRequest>,
    ) -> Result<Reply<v1::FinishResponse>, Status> {
        honest!(self, call, Finished)
    }

    async fn leave(
        &self,
        call: Call<v1::LeaveRequest>,
    ) -> Result<Reply<v1::LeaveResponse>, Status> {
        let request = Request::try_from(call.into_inner()).unwrap();
        let echo = self.answers(request)?.remove(0).echo;
        Ok(Reply::new((echo, ()).into()))
    }
}

fn serve(theirs: &TestStore, how: How) -> (SocketAddr, JoinHandle<()>) {
    let service = replication_service_server::ReplicationServiceServer::new(Hostile {
        responder: theirs.responder(Limits::default(), MemoryBudget::default()),
        store: theirs.peer_store(),
        keys: theirs.keys(),
        key: Mutex::default(),
        how,
    });
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    let served = Server::builder().add_service(service).serve_with_incoming(incoming);
    (address, tokio::spawn(async move { served.await.unwrap() }))
}

/// A session with such a server, by id or by its log.
async fn meet(how: How, by_id: bool) -> Synced {
    let mine = TestStore::of(None, if by_id { 0..100 } else { 0..0 });
    let theirs = TestStore::of(None, 50..200);
    LazyLock::force(&BOMB);
    let before = (mine.len(), mine.root());
    let (address, server) = serve(&theirs, how);
    let options = ClientOptions::default()
        .idle_time_max(Duration::from_millis(300))
        .call_time_max(Duration::from_millis(300));
    let client = Client::connect(&address.into(), options).await.unwrap();
    let mut config = config(&mine).without(vec![Layer::Bulk]);
    if !by_id {
        config.without.clear();
    }
    config.limits.answer_time_max = Duration::from_millis(400);
    config.limits.session_time_max = Duration::from_secs(8);
    config.limits.leave_time_max = Duration::from_millis(300);
    let synced = sync(&client, &mine, config).await;
    server.abort();
    if how == How::Honest {
        assert_eq!(mine.root(), theirs.root());
    } else if how == How::Surplus {
        // What came before the fault was right, and stays.
        assert_eq!(mine.len(), 200);
    } else {
        assert_eq!((mine.len(), mine.root()), before, "{how:?}: {synced:?}");
    }
    synced
}

async fn ending(how: How) -> Ending {
    let endings = [meet(how, true).await.report.ending, meet(how, false).await.report.ending];
    assert_eq!(endings[0], endings[1], "{how:?}");
    endings[0]
}

#[test]
fn an_honest_server_is_not_blamed() {
    run(async { assert_eq!(ending(How::Honest).await, Ending::Complete) });
}

#[test]
fn frames_over_the_limit() {
    run(async {
        assert_eq!(ending(How::Long).await, Ending::ProtocolViolation(ProtocolViolation::Message));
    });
}

#[test]
fn compressed_bombs() {
    run(async {
        // It may have been changed on its way, so it is asked for again until patience ends.
        assert_eq!(ending(How::Bomb).await, Ending::Silent);
        assert_eq!(
            ending(How::LargeBomb).await,
            Ending::ProtocolViolation(ProtocolViolation::Message)
        );
    });
}

#[test]
fn stalled_streams() {
    run(async {
        assert_eq!(ending(How::Stall).await, Ending::Silent);
        assert_eq!(ending(How::Mute).await, Ending::Silent);
    });
}

#[test]
fn a_stream_that_drips_ends_with_the_time_of_the_session() {
    run(async { assert_eq!(meet(How::Drip, true).await.report.ending, TIME_IS_OVER) });
}

const TIME_IS_OVER: Ending = Ending::Limit(Limited::Time);

#[test]
fn bodies_that_come_once_more() {
    run(async {
        let by_id = meet(How::Surplus, true).await.report.ending;
        assert_eq!(by_id, Ending::ProtocolViolation(ProtocolViolation::BodyTwice));
    });
}

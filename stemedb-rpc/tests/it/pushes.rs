//! What pushes and sessions may take of a server: threads and memory.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use prost::Message as _;
use stemedb_rpc::{
    CallError, Client, ClientOptions, Replica, Server, ServerLimits, ServerOptions,
    client::Traffic,
    proto::v1::{self, replication_service_client::ReplicationServiceClient},
    reason::refusal_of,
    replica::Said,
};
use stemedb_sync::{
    MemoryBudget,
    message::{Answer, Ask, Descend, Push, Pushed, Refusal, Request, Response, Subtrees},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::oneshot};
use tonic::{Code, transport::Channel};

use super::{
    rude::{call, frame},
    sessions::request,
    world::{run, until},
};

/// Takes its time for each call, and counts.
#[derive(Debug, Default)]
struct Slow {
    /// Calls that take in parts, and how many there were of them at most at the same time.
    calls: AtomicUsize,
    running: AtomicUsize,
    running_max: AtomicUsize,
    parts: AtomicUsize,
}

impl Replica for Slow {
    fn answer(&self, request: Request, _from: IpAddr) -> Result<Said, Refusal> {
        let echo = request.envelope.echo();
        let Ask::Descend(ask) = request.ask else { return Err(Refusal::Malformed) };
        let subtrees = vec![2; ask.leaf_ids as usize * 25];
        Ok(Said::Answer(Response { echo, answer: Answer::Subtrees(Subtrees { subtrees }) }))
    }

    fn push(&self, parts: Vec<Request>, _from: IpAddr) -> Result<Option<Response>, Refusal> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.running_max.fetch_max(running, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let before = self.parts.fetch_add(parts.len(), Ordering::Relaxed);
        thread::sleep(Duration::from_millis(5));
        self.running.fetch_sub(1, Ordering::Relaxed);
        let appended = (before + parts.len()) as u64;
        let last = parts.last().filter(|last| matches!(&last.ask, Ask::Push(push) if push.last));
        Ok(last.map(|last| {
            let answer = Answer::Pushed(Pushed { appended, duplicates: 0 });
            Response { echo: last.envelope.echo(), answer }
        }))
    }

    fn sessions(&self) -> usize {
        0
    }
}

struct Served {
    slow: Arc<Slow>,
    memory: MemoryBudget,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
}

async fn serve(limits: ServerLimits) -> Served {
    let options = ServerOptions { limits, ..ServerOptions::default() };
    let server = Server::bind(([127, 0, 0, 1], 0).into(), options).await.unwrap();
    let (address, memory) = (server.address(), server.memory());
    let slow = Arc::new(Slow::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let backend = Arc::new(super::memory::Memory::default());
    let serving = server.serve(backend, Arc::clone(&slow), async {
        let _stopped = stopped.await;
    });
    tokio::spawn(serving);
    Served { slow, memory, address, stop }
}

impl Served {
    async fn client(&self) -> Client {
        let options = ClientOptions { retries_max: 0, ..ClientOptions::default() };
        Client::connect(&self.address.into(), options).await.unwrap()
    }

    async fn push(&self, number: u64, parts: u32) -> Result<Response, CallError> {
        let envelope = request(number, Ask::Leave).envelope;
        let parts = (0..parts)
            .map(move |part| (envelope, Push { part, bytes: vec![0; 9], last: part + 1 == parts }));
        self.client().await.push(tokio_stream::iter(parts), &mut Traffic::default()).await
    }
}

#[test]
fn a_push_has_one_thread_however_many_parts_it_has() {
    run(async {
        let served = serve(ServerLimits::default()).await;
        let response = served.push(1, 5_000).await.unwrap();
        let answer = Answer::Pushed(Pushed { appended: 5_000, duplicates: 0 });
        assert_eq!(response.answer, answer);
        assert_eq!(served.slow.running_max.load(Ordering::Relaxed), 1);
        let calls = served.slow.calls.load(Ordering::Relaxed);
        assert!(calls < 500, "what waits is taken in together: {calls} calls for 5,000 parts");
        assert_eq!(served.memory.used(), 0);
        drop(served.stop);
    });
}

#[test]
fn all_pushes_have_a_few_threads() {
    run(async {
        let limits = ServerLimits { push_threads_max: 3, ..Default::default() };
        let served = Arc::new(serve(limits).await);
        let mut pushes = tokio::task::JoinSet::new();
        for number in 0..20 {
            let served = Arc::clone(&served);
            pushes.spawn(async move { served.push(number, 50).await });
        }
        while let Some(pushed) = pushes.join_next().await {
            pushed.unwrap().unwrap();
        }
        assert!(served.slow.running_max.load(Ordering::Relaxed) <= 3);
        assert_eq!(served.slow.parts.load(Ordering::Relaxed), 20 * 50);
    });
}

/// Parts that are small on the wire and not in memory.
#[test]
fn parts_count_with_their_length_after_decompression() {
    run(async {
        let limits = ServerLimits { sessions_memory_max: 1 << 20, ..Default::default() };
        let served = serve(limits).await;
        let channel = Channel::from_shared(format!("http://{}", served.address)).unwrap();
        let mut client = ReplicationServiceClient::new(channel.connect().await.unwrap());
        let part = |len: u32| {
            let envelope = Some(v1::Envelope { session: vec![1; 16], ..Default::default() });
            let bytes = zstd::bulk::compress(&vec![0; len as usize], 1).unwrap();
            v1::PushRequest { envelope, bytes, len, part: 0, last: true }
        };
        let refused = client.push(tokio_stream::iter([part(2 << 20)])).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(refusal_of(&refused), Some(Refusal::Memory), "{refused}");
        assert!(CallError::from(refused).may_pass(), "it is tried again later");
        client.push(tokio_stream::iter([part(256 << 10)])).await.unwrap();
        assert_eq!(served.memory.used(), 0);
        drop(served.stop);
    });
}

/// A client that asks for long answers and never reads them.
#[test]
fn an_answer_that_is_not_taken_in_counts() {
    run(async {
        let limits = ServerLimits { sessions_memory_max: 8 << 20, ..Default::default() };
        let served = serve(limits).await;
        let count = 131_072;
        let envelope = Some(v1::Envelope { session: vec![1; 16], ..Default::default() });
        let asked = Descend { nodes: vec![0], levels: 1, leaf_ids: count };
        let Descend { nodes, levels, leaf_ids } = asked.clone();
        let message = v1::DescendRequest { envelope, nodes, levels: levels.into(), leaf_ids };
        let message = message.encode_to_vec();
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        let message = [&[0][..], &len, &message].concat();
        let mut lazy = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            stream.write_all(&call("/stemedb.v1.ReplicationService/Descend")).await.unwrap();
            stream.write_all(&frame(0, 1, 1, &message)).await.unwrap();
            lazy.push(stream);
        }
        let len = count as usize * 25;
        until(|| served.memory.max() - served.memory.used() < len).await;
        let wanted = request(1, Ask::Descend(asked));
        let other = served.client().await;
        let refused = other.ask(wanted.clone(), &mut Traffic::default()).await.unwrap_err();
        assert!(matches!(refused, CallError::Refusal(Refusal::Memory)), "{refused:?}");
        // What belongs to a call ends with it.
        drop(lazy);
        until(|| served.memory.used() == 0).await;
        other.ask(wanted, &mut Traffic::default()).await.unwrap();
        drop(served.stop);
    });
}

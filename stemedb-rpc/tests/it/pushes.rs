//! What pushes and sessions may take of a server: threads and memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use prost::Message as _;
use stemedb_rpc::{
    CallError, ClientOptions, ServerLimits, ServerOptions,
    client::Traffic,
    proto::v1::{self, replication_service_client::ReplicationServiceClient},
    reason::refusal_of,
};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{Environment as StoreEnvironment, store::ENVIRONMENT};
use stemedb_sync::{
    codec::{
        bodies,
        prefixes::{self, Prefix},
    },
    message::{Answer, Ask, Descend, Pushed, Refusal, Response},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tonic::{Code, transport::Channel};

use super::{
    rude::{call, frame},
    sessions::Opened,
    stores::{TestStore, body},
    world::{Environment, run, until},
};

/// Threads that take in parts, and how many there were of them at most at the same time. Each part
/// is given a random number, which is where they are counted.
static RUNNING: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
static RUNNING_MAX: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

fn counted_entropy<const TEST: usize>(bytes: &mut [u8]) -> io::Result<()> {
    let running = RUNNING[TEST].fetch_add(1, Ordering::Relaxed) + 1;
    RUNNING_MAX[TEST].fetch_max(running, Ordering::Relaxed);
    thread::sleep(Duration::from_micros(50));
    RUNNING[TEST].fetch_sub(1, Ordering::Relaxed);
    (ENVIRONMENT.entropy)(bytes)
}

async fn serve<const TEST: usize>(limits: ServerLimits) -> Environment {
    let environment = StoreEnvironment { entropy: counted_entropy::<TEST>, ..ENVIRONMENT };
    let store = TestStore::within(environment, FaultyDisk::new(1), None);
    store.slow_down(Duration::from_millis(5));
    Environment::with(options(limits), store).await
}

fn options(limits: ServerLimits) -> ServerOptions {
    ServerOptions::default().limits(limits)
}

/// Pushes bodies, a part each, in a session with a number for a name.
async fn push(world: &Environment, name: u8, count: u64) -> Result<Response, CallError> {
    let hasty = ClientOptions::default().retries_max(0);
    let client = world.client_with(hasty).await?;
    let mut session = Opened::new(&client, &world.store.keys(), name).await;
    let parts = (0..count).map(|n| {
        let mut part = Vec::new();
        bodies::write(&body((u64::from(name) << 32) + n), &mut part);
        part
    });
    let parts = session.push(parts.collect());
    client.push(tokio_stream::iter(parts), &mut Traffic::default()).await
}

#[test]
fn a_push_has_one_thread_however_many_parts_it_has() {
    run(async {
        let world = serve::<0>(ServerLimits::default()).await;
        RUNNING_MAX[0].store(0, Ordering::Relaxed);
        let response = push(&world, 1, 5_000).await.unwrap();
        let answer = Answer::Pushed(Pushed { appended: 5_000, duplicates: 0 });
        assert_eq!(response.answer, answer);
        assert_eq!(RUNNING_MAX[0].load(Ordering::Relaxed), 1);
        let appends = world.store.seen.peer_appends.load(Ordering::Relaxed);
        assert!(appends < 500, "what waits is taken in together: {appends} for 5,000 parts");
        world.end().await;
    });
}

#[test]
fn all_pushes_have_a_few_threads() {
    run(async {
        let limits = ServerLimits::default().push_threads_max(3);
        let world = Arc::new(serve::<1>(limits).await);
        let mut sessions = tokio::task::JoinSet::new();
        for name in 1..=20 {
            let world = Arc::clone(&world);
            sessions.spawn(async move { push(&world, name, 50).await });
        }
        // Sessions are opened on threads of their own.
        until(|| world.sessions() == 20).await;
        RUNNING_MAX[1].store(0, Ordering::Relaxed);
        while let Some(pushed) = sessions.join_next().await {
            pushed.unwrap().unwrap();
        }
        let running = RUNNING_MAX[1].load(Ordering::Relaxed);
        assert!((1..=3).contains(&running), "{running}");
        assert_eq!(world.store.len(), 20 * 50);
    });
}

/// Parts that are small on the wire and not in memory.
#[test]
fn parts_count_with_their_length_after_decompression() {
    run(async {
        let limits = ServerLimits::default().sessions_memory_max(1 << 20);
        let world = Environment::new(options(limits)).await;
        let opening = world.client().await;
        let mut session = Opened::new(&opening, &world.store.keys(), 1).await;
        let before = world.memory.used();
        let channel = Channel::from_shared(format!("http://{}", world.address)).unwrap();
        let mut client = ReplicationServiceClient::new(channel.connect().await.unwrap());
        let mut part = |len: usize| {
            let mut raw = Vec::new();
            bodies::write(&vec![0; len], &mut raw);
            let (envelope, push) = session.push(vec![raw]).remove(0);
            let bytes = zstd::bulk::compress(&push.bytes, 1).unwrap();
            let len = u32::try_from(push.bytes.len()).unwrap();
            v1::PushRequest { envelope: Some(envelope.into()), bytes, len, part: 0, last: true }
        };
        let refused = client.push(tokio_stream::iter([part(1 << 20)])).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert_eq!(refusal_of(&refused), Some(Refusal::Memory), "{refused}");
        assert!(CallError::from(refused).may_pass(), "it is tried again later");
        client.push(tokio_stream::iter([part(200 << 10)])).await.unwrap();
        // The session keeps the id.
        assert!(world.memory.used() - before < 100, "{} {before}", world.memory.used());
        drop(client);
        world.end().await;
    });
}

/// A client that asks for long answers and never reads them.
#[test]
fn an_answer_that_is_not_taken_in_counts() {
    run(async {
        let limits = ServerLimits::default().sessions_memory_max(4 << 20);
        let world = Environment::with(options(limits), TestStore::of(None, 0..50_000)).await;
        let hasty = ClientOptions::default().retries_max(0);
        let other = world.client_with(hasty).await.unwrap();
        let mut session = Opened::new(&other, &world.store.keys(), 1).await;
        let before = world.memory.used();
        // So many below each that all ids are listed.
        let node = |first| Prefix::of(&[first; 32], 8);
        let nodes = prefixes::write(&(0..=255).map(node).collect::<Vec<_>>());
        let asked = Descend { nodes, levels: 8, leaf_ids: 4_096 };
        let wanted = session.request(Ask::Descend(asked.clone()));
        let answer = other.ask(wanted.clone(), &mut Traffic::default()).await.unwrap().answer;
        let Answer::Subtrees(subtrees) = answer else { panic!() };
        let len = subtrees.subtrees.len();
        assert!(len > 1 << 20, "{len}");
        until(|| world.memory.used() == before).await;

        let message = v1::DescendRequest::from((wanted.envelope, asked)).encode_to_vec();
        let message_len = u32::try_from(message.len()).unwrap().to_be_bytes();
        let message = [&[0][..], &message_len, &message].concat();
        let mut lazy = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(&call("/stemedb.v1.ReplicationService/Descend")).await.unwrap();
            stream.write_all(&frame(0, 1, 1, &message)).await.unwrap();
            lazy.push(stream);
        }
        until(|| world.memory.max() - world.memory.used() < len).await;
        let refused = other.ask(wanted.clone(), &mut Traffic::default()).await.unwrap_err();
        assert!(matches!(refused, CallError::Refusal(Refusal::Memory)), "{refused:?}");
        // What belongs to a call ends with it.
        drop(lazy);
        until(|| world.memory.used() == before).await;
        other.ask(wanted, &mut Traffic::default()).await.unwrap();
        drop(other);
        world.end().await;
    });
}

//! Clients that ask for much and take none of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prost::Message;
use stemedb_rpc::{
    Client, ClientOptions, Reason, ServerLimits, ServerOptions, Which as Named,
    client::Traffic,
    proto::v1::{self, get_request::Which, store_service_client::StoreServiceClient},
};
use stemedb_store::LogIndex;
use stemedb_sync::message::{Ask, Tail};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use super::{
    rude::{PREFACE, call, frame},
    sessions::{Opened, ask, hello},
    stores::TestStore,
    world::{Environment, TIME_MAX, run, run_on, until},
};

/// The least that an address has of the budget for answers, and half of it a connection.
const ADDRESS: usize = 16 << 20;

fn options(idle_time_max: Duration) -> ServerOptions {
    let reads_pending_max = 2 * ADDRESS;
    let limits =
        ServerLimits::default().reads_pending_max(reads_pending_max).idle_time_max(idle_time_max);
    ServerOptions::default().limits(limits)
}

/// A store with some bodies of one length.
fn bodies(count: u8, len: usize) -> Arc<TestStore> {
    let store = TestStore::new();
    store.take((0..count).map(|n| vec![n; len]).collect());
    store
}

fn get(index: u64) -> v1::GetRequest {
    v1::GetRequest { which: Some(Which::Index(index)), offset: 0 }
}

/// Makes a call from 127.0.0.x several times on each of some connections, and reads nothing.
async fn unread(
    server: SocketAddr,
    from: u8,
    path: &str,
    message: &impl Message,
    connections: usize,
    calls: u32,
) -> Vec<TcpStream> {
    let message = message.encode_to_vec();
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let message = [&[0][..], &len, &message].concat();
    let begin = call(path);
    let (start, headers) = begin.split_at(PREFACE.len() + 9);
    let mut streams = Vec::new();
    for _ in 0..connections {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, from], 0).into()).unwrap();
        // The system takes little in for the client, too.
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let mut stream = socket.connect(server).await.unwrap();
        stream.write_all(start).await.unwrap();
        for number in 0..calls {
            let number = 2 * number + 1;
            let mut headers = headers.to_vec();
            headers[5..9].copy_from_slice(&number.to_be_bytes());
            stream.write_all(&headers).await.unwrap();
            stream.write_all(&frame(0, 1, number, &message)).await.unwrap();
        }
        streams.push(stream);
    }
    streams
}

async fn get_here(client: &Client, index: u64) -> usize {
    client.get(&Named::Index(LogIndex(index)), None).await.unwrap().unwrap().1.len()
}

/// A client at another address.
async fn elsewhere(world: &Environment) -> StoreServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", world.address)).unwrap();
    let endpoint = endpoint.local_address(Some([127, 0, 0, 2].into()));
    StoreServiceClient::new(endpoint.connect().await.unwrap()).max_decoding_message_size(4 << 20)
}

/// Watches from another address to the end, and gives how many entries came.
async fn watched_elsewhere(world: &Environment, watch: v1::WatchRequest) -> usize {
    let watch = v1::WatchRequest { stop_at_end: true, ..watch };
    let mut entries = elsewhere(world).await.watch(watch).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(some) = entries.message().await.unwrap() {
        count += some.entries.len();
    }
    count
}

/// Gets a body from another address, and gives its length; `None` if that takes long.
async fn get_elsewhere(world: &Environment, index: u64) -> Option<usize> {
    let get = async {
        let mut parts = elsewhere(world).await.get(get(index)).await.unwrap().into_inner();
        let mut len = 0;
        while let Some(part) = parts.message().await.unwrap() {
            len += part.part.len();
        }
        len
    };
    timeout(Duration::from_secs(2), get).await.ok()
}

/// Waits until a number that grows from 0 grows no more, and gives it.
async fn settled(number: impl Fn() -> usize) -> usize {
    let mut before = 0;
    loop {
        sleep(Duration::from_millis(300)).await;
        let now = number();
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

#[test]
fn bodies_that_nobody_takes_stay_within_a_budget() {
    run(async {
        let world = Environment::with(options(Duration::from_secs(30)), bodies(2, 2 << 20)).await;
        let lazy = unread(world.address, 1, "/stemedb.v1.StoreService/Get", &get(0), 4, 31).await;
        let given = settled(|| world.store.gets()).await * (2 << 20);
        assert!(given <= ADDRESS, "{given} bytes are held for one address");
        assert_eq!(get_elsewhere(&world, 1).await, Some(2 << 20));
        // What belongs to a call ends with it.
        drop(lazy);
        let client = world.client().await;
        timeout(Duration::from_secs(5), get_here(&client, 1)).await.unwrap();
        world.end().await;
    });
}

/// Their calls end, and make room for others of the same address.
#[test]
fn what_nobody_takes_for_long_is_given_up() {
    run(async {
        let world =
            Environment::with(options(Duration::from_millis(200)), bodies(1, 4 << 20)).await;
        let lazy = unread(world.address, 1, "/stemedb.v1.StoreService/Get", &get(0), 4, 8).await;
        // More bodies than are held at once.
        until(|| world.store.gets() == 32).await;
        drop(lazy);
        world.end().await;
    });
}

#[test]
fn a_body_that_is_longer_than_a_share_is_given() {
    run(async {
        let mut options = options(Duration::from_secs(30));
        options.limits.reads_pending_max = 4 << 20;
        let world = Environment::with(options, bodies(2, 7 << 20)).await;
        let client = world.client().await;
        for index in [0, 1, 0] {
            assert_eq!(get_here(&client, index).await, 7 << 20);
        }
        let (one, other) = tokio::join!(get_here(&client, 0), get_elsewhere(&world, 1));
        assert_eq!((one, other), (7 << 20, Some(7 << 20)));
        world.end().await;
    });
}

#[test]
fn entries_that_nobody_takes_stay_within_a_budget() {
    run(async {
        let world =
            Environment::with(options(Duration::from_secs(30)), bodies(40, 250 << 10)).await;
        let watch = v1::WatchRequest { bodies: true, ..Default::default() };
        let lazy = unread(world.address, 1, "/stemedb.v1.StoreService/Watch", &watch, 4, 20).await;
        let given = settled(|| world.store.bytes_in_blocks()).await;
        // Two blocks of 512 KiB are read for three bodies that are held.
        assert!(given <= ADDRESS * 3 / 2, "{given} bytes are read for one address");
        assert_eq!(get_elsewhere(&world, 1).await, Some(250 << 10));
        assert_eq!(watched_elsewhere(&world, watch).await, 40);
        drop(lazy);
        world.end().await;
    });
}

/// Peers at two addresses that take all calls that peers may make, on a server with few threads.
#[test]
fn slow_peers_take_no_calls_and_no_threads_from_clients() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
    run_on(runtime, TIME_MAX, async {
        let mut options = options(Duration::from_secs(30));
        options.limits.calls_max = 4;
        options.limits.peer_calls_max = 8;
        options.limits.peer_calls_per_address_max = 4;
        let world = Environment::with(options, bodies(5, 1 << 20)).await;
        let client = world.client().await;
        let keys = world.store.keys();
        let tail = Tail { from: 0, count: 5 };
        let request = Opened::new(&client, &keys, 1).await.request(Ask::Tail(tail));
        // Compressed, all of it would fit into what a client takes in without reading.
        let tail =
            v1::TailRequest { zstd: false, ..v1::TailRequest::from((request.envelope, tail)) };
        let hasty = ClientOptions::default().retries_max(0);
        let peer = world.client_with(hasty).await.unwrap();
        let path = "/stemedb.v1.ReplicationService/Tail";
        let (mut lazy, mut number) = (Vec::new(), 1);
        // One more is refused once each of the eight has read its body. A call that came while one
        // of ours was not quite over was refused: others follow, and those over the limits do no
        // harm.
        let busy = loop {
            for from in [2, 3] {
                lazy.push(unread(world.address, from, path, &tail, 1, 2).await);
            }
            sleep(Duration::from_millis(20)).await;
            number += 1;
            let asked = ask(&peer, hello(&keys, number, 0), &mut Traffic::default()).await;
            match asked {
                Err(error) if world.store.reads_of(1 << 20) >= 8 => break error,
                Err(error) => assert_eq!(error.reason(), Some(Reason::Busy), "{error}"),
                Ok(_) => {}
            }
        };
        assert_eq!(busy.reason(), Some(Reason::Busy), "{busy}");
        for _ in 0..10 {
            timeout(Duration::from_secs(2), client.head()).await.unwrap().unwrap();
        }
        drop((lazy, client, peer));
        world.end().await;
    });
}

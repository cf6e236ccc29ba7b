//! Clients that do what they should not.

use std::{io, time::Duration};

use stemedb_rpc::{
    ClientOptions, Reason, ServerLimits, ServerOptions,
    proto::v1::{
        self, replication_service_client::ReplicationServiceClient,
        store_service_client::StoreServiceClient,
    },
    reason::reason_of,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Streaming, transport::Channel};

use super::{
    stores::TestStore,
    world::{Environment, run},
};

fn limits(limits: ServerLimits) -> ServerOptions {
    ServerOptions::default().limits(limits)
}

/// Reads until the server closes the connection.
async fn closed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.map(|_| bytes)
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The beginning of a connection, and the headers of a call.
pub(crate) fn call(path: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        // A literal without indexing, with a name of its own, and no Huffman coding.
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend_from_slice(text.as_bytes());
        }
    }
    [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, &headers)].concat()
}

/// Reads until call 1 has ended with a status: headers of it that end the stream.
async fn ended(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.windows(6).any(|window| window == [1, 5, 0, 0, 0, 1]) {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
}

#[test]
fn garbage_on_the_port_ends_that_connection_only() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let mut noise = vec![0; 10_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let inputs = [
            noise,
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![0; 10_000],
            vec![255; 10_000],
            [PREFACE, &[255; 1000]].concat(),
            [PREFACE, &frame(4, 0, 0, &[]), &frame(0, 0, 1, b"data without headers")].concat(),
            [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, &[255; 100])].concat(),
        ];
        for input in inputs {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            // The server may have hung up before it is all written.
            let _written = stream.write_all(&input).await;
            let _shut = stream.shutdown().await;
            let _read = timeout(Duration::from_secs(10), closed(&mut stream)).await.unwrap();
        }
        world.client().await.head().await.unwrap();
        world.end().await;
    });
}

#[test]
fn a_connection_on_which_nothing_is_asked_is_cut() {
    run(async {
        let first_call_time_max = Duration::from_millis(200);
        let keepalive_interval = Duration::from_secs(1);
        let options = limits(
            ServerLimits::default()
                .first_call_time_max(first_call_time_max)
                .keepalive_interval(keepalive_interval),
        );
        let world = Environment::new(options).await;
        let client = world.client().await;
        client.head().await.unwrap();
        for greeting in [&[][..], PREFACE, &PREFACE[..10]] {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(greeting).await.unwrap();
            let _ended = closed(&mut stream).await;
        }
        // One that was used lives on.
        client.head().await.unwrap();
        world.end().await;
    });
}

/// The length of a message is announced and the message never comes: whether the call has one
/// message or many.
#[test]
fn a_message_that_never_comes_is_not_waited_for() {
    run(async {
        let call_time_max = Duration::from_millis(300);
        let idle_time_max = Duration::from_millis(300);
        let options = limits(
            ServerLimits::default()
                .call_time_max(call_time_max)
                .idle_time_max(idle_time_max)
                .calls_max(2),
        );
        let world = Environment::new(options).await;
        let mut streams = Vec::new();
        for path in [
            "/stemedb.v1.StoreService/Append",
            "/stemedb.v1.StoreService/AppendBatch",
            "/stemedb.v1.ReplicationService/Push",
        ] {
            let announced = [&[0][..], &(2_u32 << 20).to_be_bytes(), b"the beginning"].concat();
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(&call(path)).await.unwrap();
            stream.write_all(&frame(0, 0, 1, &announced)).await.unwrap();
            streams.push(stream);
        }
        // All calls that clients may make are taken, until they are given up.
        let options = ClientOptions::default().retries_max(0);
        let client = world.client_with(options).await.unwrap();
        loop {
            match client.head().await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.reason(), Some(Reason::Busy), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for mut stream in streams {
            ended(&mut stream).await;
        }
        assert_eq!(world.store.len(), 0);
        world.end().await;
    });
}

#[test]
fn lengths_over_the_limit_are_refused_before_anything_is_read() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        for path in ["Store/Append", "Replication/Hello", "Replication/Fetch", "Replication/Push"] {
            for len in [u32::MAX, (4 << 20) + 1] {
                let announced = [&[0][..], &len.to_be_bytes(), b"the beginning"].concat();
                let mut stream = TcpStream::connect(world.address).await.unwrap();
                stream.write_all(&call(&format!("/stemedb.v1.{path}"))).await.unwrap();
                stream.write_all(&frame(0, 0, 1, &announced)).await.unwrap();
                ended(&mut stream).await;
            }
        }
        assert_eq!((world.store.len(), world.sessions()), (0, 0));
        world.end().await;
    });
}

/// Messages that gRPC is to expand, and parts that the server is to.
#[test]
fn compressed_bombs_are_not_expanded() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap();
        let len = u32::try_from(bomb.len()).unwrap();
        let announced = [&[1][..], &len.to_be_bytes(), &bomb].concat();
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(&call("/stemedb.v1.ReplicationService/Push")).await.unwrap();
        stream.write_all(&frame(0, 0, 1, &announced)).await.unwrap();
        ended(&mut stream).await;

        let channel = Channel::from_shared(format!("http://{}", world.address)).unwrap();
        let mut client = ReplicationServiceClient::new(channel.connect().await.unwrap());
        for len in [1, 2 << 20, (2 << 20) + 1, u32::MAX] {
            let envelope = Some(v1::Envelope { session: vec![1; 16], ..Default::default() });
            let part = v1::PushRequest { envelope, bytes: bomb.clone(), len, part: 0, last: true };
            let refused = client.push(tokio_stream::iter([part])).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        }
        assert_eq!((world.store.len(), world.sessions()), (0, 0));
        drop((client, stream));
        world.end().await;
    });
}

#[test]
fn more_calls_than_allowed_are_refused_as_busy() {
    run(async {
        let store = TestStore::slow(Duration::from_millis(500));
        let options = limits(ServerLimits::default().calls_max(4));
        let world = Environment::with(options, store).await;
        let options = ClientOptions::default().retries_max(0);
        let client = world.client_with(options).await.unwrap();
        let calls: Vec<_> = (0..10_u8)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.append(vec![n]).await })
            })
            .collect();
        let mut busy = 0;
        for call in calls {
            if let Err(error) = call.await.unwrap() {
                assert_eq!(error.reason(), Some(Reason::Busy), "{error}");
                busy += 1;
            }
        }
        assert_eq!(busy, 6);
        // Trying again helps.
        let patient = world.client().await;
        patient.append(b"later".to_vec()).await.unwrap();
        world.end().await;
    });
}

/// The beginning of a body that is longer than all that the batches of a client may hold together.
#[test]
fn batches_wait_for_the_bodies_of_the_same_client_only() {
    run(async {
        let options = limits(ServerLimits::default().batches_pending_max(1 << 20));
        let world = Environment::new(options).await;
        let channel = Channel::from_shared(format!("http://{}", world.address)).unwrap();
        let mut store = StoreServiceClient::new(channel.connect().await.unwrap());
        let (messages, receiver) = tokio::sync::mpsc::channel(1);
        let begin = v1::AppendBatchRequest {
            bodies: vec![vec![1; 2 << 20]],
            continues: true,
            check: vec![],
        };
        messages.send(begin).await.unwrap();
        let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = store.append_batch(receiver).await.unwrap().into_inner();
        // Each message is answered, and this one has been read then.
        assert!(answers.message().await.unwrap().unwrap().receipts.is_empty());

        // On the same connection.
        let another =
            v1::AppendBatchRequest { bodies: vec![b"another".to_vec()], ..Default::default() };
        let another = tokio_stream::iter([another]);
        let mut same = store.append_batch(another).await.unwrap().into_inner();
        assert!(timeout(Duration::from_millis(300), same.message()).await.is_err());
        assert_eq!(world.store.len(), 0);
        // On one of its own.
        let client = world.client().await;
        let (mut sender, mut receipts) = client.append_batch().await.unwrap();
        sender.send(vec![b"a third".to_vec()]).await.unwrap();
        assert_eq!(receipts.next().await.unwrap().unwrap().len(), 1);
        // What is begun can be finished, and then it is the other's turn.
        let end = v1::AppendBatchRequest { bodies: vec![vec![2; 2 << 20]], ..Default::default() };
        messages.send(end).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().receipts.len(), 1);
        assert_eq!(same.message().await.unwrap().unwrap().receipts.len(), 1);
        drop((messages, sender, answers, receipts, store, same));
        world.end().await;
    });
}

/// More unfinished bodies than fit in at once, each on a connection of its own: one connection's
/// window would be full of what waits.
#[test]
fn long_bodies_beside_each_other_are_all_finished() {
    run(async {
        let options = limits(ServerLimits::default().batches_pending_max(6 << 20));
        let world = Environment::new(options).await;
        let mut appends = Vec::new();
        for n in 0..8_u8 {
            let client = world.client().await;
            appends.push(tokio::spawn(async move { client.append(vec![n; 6 << 20]).await }));
        }
        for append in appends {
            append.await.unwrap().unwrap();
        }
        assert_eq!(world.store.len(), 8);
        world.end().await;
    });
}

/// Watches of a store in which nothing happens.
async fn watches(channel: &Channel, count: usize) -> Vec<Streaming<v1::WatchResponse>> {
    let mut store = StoreServiceClient::new(channel.clone());
    let mut watches = Vec::new();
    for _ in 0..count {
        watches.push(store.watch(v1::WatchRequest::default()).await.unwrap().into_inner());
    }
    watches
}

#[test]
fn one_address_does_not_get_all_calls() {
    run(async {
        let options = limits(ServerLimits::default().calls_max(4).calls_per_address_max(2));
        let world = Environment::new(options).await;
        let endpoint = Channel::from_shared(format!("http://{}", world.address)).unwrap();
        let here = endpoint.connect().await.unwrap();
        let running = watches(&here, 2).await;
        // On another connection, too.
        for channel in [here, endpoint.connect().await.unwrap()] {
            let refused =
                StoreServiceClient::new(channel).head(v1::HeadRequest {}).await.unwrap_err();
            assert_eq!(reason_of(&refused), Some(Reason::Busy), "{refused}");
        }
        let elsewhere = endpoint.local_address(Some([127, 0, 0, 2].into()));
        let elsewhere = elsewhere.connect().await.unwrap();
        let others = watches(&elsewhere, 2).await;
        drop(running);
        // Those that ended make room.
        world.client().await.head().await.unwrap();
        drop((others, elsewhere));
        world.end().await;
    });
}

#[test]
fn health_is_answered_by_a_server_without_room_for_calls() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    run(async {
        let world = Environment::new(limits(ServerLimits::default().calls_max(1))).await;
        let endpoint = Channel::from_shared(format!("http://{}", world.address)).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let running = watches(&channel, 1).await;
        let mut store = StoreServiceClient::new(channel.clone());
        let refused = store.head(v1::HeadRequest {}).await.unwrap_err();
        assert_eq!(reason_of(&refused), Some(Reason::Busy), "{refused}");
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        assert_eq!(answer.unwrap().into_inner().status, 1);
        drop((running, store));
        world.end().await;
    });
}

/// A well-behaved client waits for a stream of its connection to end before it begins another one.
#[test]
fn streams_over_the_limit_wait_their_turn() {
    run(async {
        let store = TestStore::slow(Duration::from_millis(100));
        let options = limits(ServerLimits::default().streams_per_connection_max(2));
        let world = Environment::with(options, store).await;
        let client = world.client().await;
        client.head().await.unwrap();
        let calls: Vec<_> = (0..8_u8)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move { client.append(vec![n]).await })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        // All eight at once would share two syncs or three.
        assert!(world.store.syncs() >= 4, "no more than two at a time: {}", world.store.syncs());
        assert_eq!(world.store.len(), 8);
        world.end().await;
    });
}

/// One that does not wait is refused, stream by stream.
#[test]
fn streams_beyond_the_limit_are_refused() {
    run(async {
        let options = limits(ServerLimits::default().streams_per_connection_max(2));
        let world = Environment::new(options).await;
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let first = call("/stemedb.v1.StoreService/AppendBatch");
        stream.write_all(&first).await.unwrap();
        let headers = &first[PREFACE.len() + 9..];
        for number in [3_u32, 5, 7] {
            let mut again = headers.to_vec();
            again[5..9].copy_from_slice(&number.to_be_bytes());
            stream.write_all(&again).await.unwrap();
        }
        // RST_STREAM of 5 and 7, as refused streams.
        let refused = |number: u32| frame(3, 0, number, &7_u32.to_be_bytes());
        let mut answer = Vec::new();
        let has =
            |answer: &[u8], frame: &[u8]| answer.windows(frame.len()).any(|window| window == frame);
        while !(has(&answer, &refused(5)) && has(&answer, &refused(7))) {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
        }
        assert!(!has(&answer, &refused(1)) && !has(&answer, &refused(3)));
        drop(stream);
        world.end().await;
    });
}

#[test]
fn connections_over_the_limit_wait_and_those_of_one_address_are_closed() {
    run(async {
        let options = limits(ServerLimits::default().connections_per_address_max(3));
        let world = Environment::new(options).await;
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(world.client().await);
        }
        for client in &kept {
            client.head().await.unwrap();
        }
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let _closed = timeout(Duration::from_secs(10), closed(&mut stream)).await.unwrap();
        // It is told why, and its connection does not stay.
        let hasty = ClientOptions::default().retries_max(0);
        let refused = world.client_with(hasty).await.unwrap();
        let error = refused.head().await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Busy), "{error}");
        assert!(error.to_string().contains("3 connections from this address"), "{error}");
        // More of them than are told so are closed at once.
        let mut many = Vec::new();
        for _ in 0..40 {
            many.push(TcpStream::connect(world.address).await.unwrap());
        }
        for stream in &mut many {
            let _closed = timeout(Duration::from_secs(10), closed(stream)).await.unwrap();
        }
        for client in &kept {
            client.head().await.unwrap();
        }
        kept.clear();
        // Connections end a moment after the clients.
        let again = async {
            while world.client().await.head().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(10), again).await.unwrap();
        world.end().await;

        let options = limits(ServerLimits::default().connections_max(1));
        let world = Environment::new(options).await;
        let first = world.client().await;
        first.head().await.unwrap();
        let address = world.address;
        let second = tokio::spawn(async move {
            stemedb_rpc::Client::connect(&address.into(), ClientOptions::default())
                .await
                .unwrap()
                .head()
                .await
                .unwrap();
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap();
        world.end().await;
    });
}

/// Headers of more than 8 KiB.
#[test]
fn headers_over_the_limit_are_refused() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let channel = Channel::from_shared(format!("http://{}", world.address))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut store = StoreServiceClient::new(channel);
        let mut request = tonic::Request::new(v1::HeadRequest {});
        request.metadata_mut().insert("x", "x".repeat(10_000).parse().unwrap());
        store.head(request).await.unwrap_err();
        world.client().await.head().await.unwrap();
        drop(store);
        world.end().await;
    });
}

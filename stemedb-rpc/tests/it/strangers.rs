//! Servers that are no stemedb.

use std::net::SocketAddr;

use stemedb_rpc::{
    CallError, Client, ClientOptions, PeerAddress,
    client::{Traffic, Watched},
};
use stemedb_sync::Keys;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::transport::server::{Server, TcpIncoming};

use super::{
    rude::frame,
    sessions::{ask, hello},
    world::run,
};

fn says_so(error: &CallError, peer: SocketAddr) {
    let expected = format!("there is a server at {peer}, but it is no stemedb");
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(!error.may_pass());
}

#[test]
fn a_server_of_something_else_is_distinguished_from_a_failed_call() {
    run(async {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = incoming.local_addr().unwrap();
        let (_reporter, health) = tonic_health::server::health_reporter();
        let server = Server::builder().add_service(health).serve_with_incoming(incoming);
        let server = tokio::spawn(server);
        let peer = PeerAddress::from(address);
        let client = Client::connect(&peer, ClientOptions::default()).await.unwrap();
        says_so(&client.head().await.unwrap_err(), address);
        let mut watch = client.watch(Watched::default());
        says_so(&watch.next().await.unwrap().unwrap_err(), address);
        says_so(&client.append_batch().await.unwrap_err(), address);
        let asked = ask(&client, hello(&Keys::new(None), 1, 0), &mut Traffic::default()).await;
        says_so(&asked.unwrap_err(), address);
        server.abort();
    });
}

/// One that speaks HTTP/2, and has no such page.
#[test]
fn a_web_server_is_distinguished_from_a_failed_call() {
    run(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
            let mut asked = Vec::new();
            // Headers of stream 1.
            while !asked.windows(6).any(|frame| frame[0] == 1 && frame[2..] == [0, 0, 0, 1]) {
                assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
            }
            // Status 404, by its number (13) in the table of RFC 7541, appendix A.
            stream.write_all(&frame(1, 5, 1, &[0x80 | 0x0d])).await.unwrap();
            stream.read_to_end(&mut asked).await
        });
        let peer = PeerAddress::from(address);
        let client = Client::connect(&peer, ClientOptions::default()).await.unwrap();
        says_so(&client.head().await.unwrap_err(), address);
        server.abort();
    });
}

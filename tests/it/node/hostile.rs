//! Members that do not keep to the rules, over real sockets.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use stemedb::node::status::PeerState;
use stemedb::rpc::store::peer_identity;

use ed25519_dalek::SigningKey;
use stemedb::rpc::{Client, ClientOptions};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::sleep};

use super::{
    Running, alive, dirs,
    frames::{Heard, Named, Seal, gossip, hear},
    in_step, options, until,
};

/// Two nodes that know each other, and a client of the first.
async fn two_and_a_client(dirs: &[TempDir; 2]) -> (Running, Running, Client) {
    let first = Running::start(dirs[0].path(), options()).await;
    let second = Running::start(dirs[1].path(), options().join(vec![first.peer()])).await;
    until("both are there", || alive(&first) == 1 && alive(&second) == 1).await;
    let client = Client::connect(&first.peer(), ClientOptions::default()).await.unwrap();
    (first, second, client)
}

/// Somebody who may gossip says that it is another member, and names the highest generation.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_stranger_neither_end_nor_mute_a_node() {
    let dirs = dirs();
    let (first, second, client) = two_and_a_client(&dirs).await;
    let (seal, key) = (Seal::new(None), SigningKey::from_bytes(&[7; 32]));
    let public = key.verifying_key().to_bytes();
    let stranger = Named { node: [7; 16], generation: 1, address: "127.0.0.1:9".to_owned() };
    let record = seal.record(&key, public, &stranger, 0, false);
    let join = seal.join(&key, &record, ([7; 16], 1), [1; 16]);
    let answers = client.gossip(vec![join]).await.unwrap();
    let victim = answers.iter().find_map(|frame| match hear(frame) {
        Some(Heard::JoinAck { from, key }) => Some((from, key)),
        _ => None,
    });
    let (victim, victim_key) = victim.unwrap();
    assert_eq!(victim.address, first.node.address().to_string());
    // It is the one that it asks, began in 1970, and answers what nobody asked.
    let copy = Named { address: stranger.address.clone(), ..victim.clone() };
    let copied = seal.record(&key, public, &copy, 0, false);
    let highest = Named { generation: u64::MAX - (1 << 32), ..victim.clone() };
    let forged = seal.record(&key, victim_key, &highest, u16::MAX, false);
    let updates = [0, 1, 2].map(|state| (highest.clone(), u16::MAX, state));
    let packet = gossip(&stranger, 0, &highest, &updates, &[]);
    let frames = vec![
        seal.join(&key, &copied, ([7; 16], 0), [2; 16]),
        seal.join_ack(&key, &copied, ([7; 16], 0), [1; 16]),
        seal.claim(&copied),
        seal.claim(&forged),
        seal.packet(&key, ([7; 16], 1), std::slice::from_ref(&forged), &packet),
    ];
    for _ in 0..5 {
        let _ = client.gossip(frames.clone()).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
    first.store().append(b"still heard").unwrap();
    until("one root", || in_step(&[&first, &second])).await;
    assert!(!first.ended.is_finished() && !second.ended.is_finished());
    assert!(alive(&second) == 1 && alive(&first) == 1);
    // The node has told of the second key of its id.
    let status = first.node.status();
    assert!(
        status.peers.iter().any(|peer| peer.state == PeerState::DuplicateId),
        "{:?}",
        status.peers
    );
    for node in [first, second] {
        node.end().await;
    }
}

/// Each of these joins is answered twice, as its id belongs to another key: what does not fit into
/// the answer of the call is lost, and nobody is called because a frame names an address.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_do_not_fit_are_dialled_to_nobody() {
    let dirs = dirs();
    let (first, second, client) = two_and_a_client(&dirs).await;
    let node = peer_identity(second.store()).node;
    let seal = Seal::new(None);
    let called = Arc::new(Mutex::new(BTreeSet::new()));
    let mut frames = Vec::new();
    for number in 1..=64 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let calls = Arc::clone(&called);
        tokio::spawn(async move {
            listener.accept().await.unwrap();
            calls.lock().unwrap().insert(number);
        });
        let key = SigningKey::from_bytes(&[number; 32]);
        let member = Named { node, generation: 1 << 61, address };
        let record = seal.record(&key, key.verifying_key().to_bytes(), &member, 0, false);
        frames.push(seal.join(&key, &record, ([number; 16], 1), [number; 16]));
    }
    assert_eq!(client.gossip(frames).await.unwrap().len(), 64);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*called.lock().unwrap(), BTreeSet::new());
    for node in [first, second] {
        node.end().await;
    }
}

//! Peers with the secret that open sessions under names of others.

#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::model::{Opened, Peer, Store, config};
use stemedb_sync::{
    Config, Limits,
    message::{Ask, AskSymbols, Refusal},
    responder::Outgoing,
};

fn stores() -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, None, 256), Store::new(2, None, 256));
    one.append((0..10_u8).map(|n| vec![n]).collect());
    other.append((5..15_u8).map(|n| vec![n]).collect());
    (one, other)
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// Opens a session from an address, as some node.
fn open(peer: &mut Peer, store: &Store, from: u8, node: [u8; 16]) -> Result<Opened, Refusal> {
    peer.from = address(from);
    let mut config: Config = config(store, peer.responder.limits());
    config.identity.node = node;
    Opened::new(peer, store, config)
}

fn goes_on(peer: &mut Peer, opened: &Opened, request: u64) -> bool {
    let ask = Ask::Symbols(AskSymbols { from: 0, count: 1 });
    peer.answer(opened.request(request, ask))[0].is_ok()
}

/// Two nodes begin with each other at once: the session of the one with the smaller id goes on.
#[test]
fn of_two_sessions_that_cross_one_goes_on() {
    let limits = Limits::default();
    for (name, of_peer, goes_on) in [(1, 2, true), (2, 1, false)] {
        let (mut mine, mut theirs) = (Store::new(name, None, 64), Store::new(of_peer, None, 64));
        mine.write(b"one");
        theirs.write(b"other");
        let outgoing = Outgoing::default();
        let mut peer = Peer::new(theirs, limits.clone());
        peer.responder = peer.responder.with_outgoing(outgoing.clone());
        let session = outgoing.begin(mine.identity.node);
        let opened = Opened::new(&mut peer, &mine, config(&mine, &limits));
        assert_eq!(opened.err(), (!goes_on).then_some(Refusal::BusyWithYou));
        drop(session);
        Opened::new(&mut peer, &mine, config(&mine, &limits)).unwrap();
    }
}

#[test]
fn no_address_takes_sessions_from_another() {
    let (one, other) = stores();
    let limits = Limits::default().sessions_max(12).sessions_per_address_max(4);
    let mut peer = Peer::new(other, limits.clone());
    let honest = open(&mut peer, &one, 1, [1; 16]).unwrap();

    // The name of the honest peer, as often as it takes for its oldest session to give way.
    for _ in 0..2 * limits.sessions_per_peer_max {
        open(&mut peer, &one, 2, [1; 16]).unwrap();
    }
    assert!(goes_on(&mut peer, &honest, 2));
    // Names that nobody has.
    let refused = (10..60).filter(|name| open(&mut peer, &one, 2, [*name; 16]).is_err()).count();
    assert_eq!(refused, 50, "an address has its share, whatever it says");
    assert_eq!(peer.responder.sessions(), 1 + limits.sessions_per_address_max);
    assert!(goes_on(&mut peer, &honest, 3));
    // Another honest one finds room, and old sessions of each give way to its own.
    for _ in 0..2 * limits.sessions_per_peer_max {
        // Of sessions of one moment their ids decide which is the oldest.
        peer.now += Duration::from_millis(1);
        open(&mut peer, &one, 1, [1; 16]).unwrap();
        open(&mut peer, &one, 3, [3; 16]).unwrap();
    }
    assert_eq!(peer.responder.sessions(), 12);
    assert!(!goes_on(&mut peer, &honest, 4));
}

/// Sessions that were ended are remembered for a while, by address too.
#[test]
fn what_has_ended_elsewhere_is_remembered() {
    let (one, other) = stores();
    let limits = Limits::default().sessions_max(8).sessions_per_address_max(4);
    let mut peer = Peer::new(other, limits);
    let honest = open(&mut peer, &one, 1, [1; 16]).unwrap();
    let left = peer.answer(honest.request(2, Ask::Leave)).remove(0).unwrap();
    for _ in 0..50 {
        let opened = open(&mut peer, &one, 2, [4; 16]).unwrap();
        peer.answer(opened.request(2, Ask::Leave)).remove(0).unwrap();
    }
    // One that is remembered checks the MAC, one that is forgotten has none to check.
    let mut again = honest.request(2, Ask::Leave);
    assert_eq!(peer.answer(again.clone()), [Ok(left)]);
    again.envelope.mac[0] ^= 1;
    assert_eq!(peer.answer(again), [Err(Refusal::Token)]);
}

//! A peer whose set tree is made up of hashes, without ids below.
#![expect(clippy::panic, reason = "a test that cannot go on has failed")]

use crate::model::{Peer, Store, config, run};
use stemedb_merkle::set;
use stemedb_sync::{
    Ending, Limits, ProtocolViolation, Report,
    codec::{
        prefixes::{self, Prefix},
        subtrees::{Below, Place},
    },
    message::{Answer, Ask, Request, Response, SetHead},
    report::Layer,
};

/// What a peer says that has as many subtrees as there can be at the first round, and a count.
fn broad(count: u64, places: usize) -> Report {
    let (mut one, mut other) = (Store::new(1, None, 64), Store::new(2, None, 64));
    one.append((0..100).map(|n: u64| n.to_le_bytes().to_vec()).collect());
    other.append((50..150).map(|n: u64| n.to_le_bytes().to_vec()).collect());
    let mut below = vec![Place::Empty; 128];
    for (n, place) in (1..).zip(below.iter_mut().take(places)) {
        *place = Place::Many([n; 32]);
    }
    let below = Below::Places(below);
    let root = set::root(count, &below.summary(&Prefix::TOP).hash());
    let (limits, keys) = (Limits::default(), one.identity.keys.clone());
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).without(vec![Layer::Symbols, Layer::Bulk]);
    run(&mut one, config, |request: Request| {
        let asked = request.clone();
        let mut replies = peer.answer(request);
        for Response { echo, answer } in replies.iter_mut().flatten() {
            match (&asked.ask, answer) {
                (Ask::Hello(hello), Answer::Welcome(welcome)) => {
                    welcome.set = Some(SetHead { count, root });
                    welcome.proof = keys.responder_proof(echo, hello, welcome);
                }
                (Ask::Descend(ask), Answer::Subtrees(subtrees)) => {
                    if prefixes::read(&ask.nodes, 1) == Ok(vec![Prefix::TOP]) {
                        subtrees.subtrees.clear();
                        below.write(&Prefix::TOP, &mut subtrees.subtrees);
                    }
                }
                (Ask::Leave, _) => {}
                (ask, _) => panic!("{ask:?}"),
            }
        }
        replies
    })
}

/// More subtrees of two ids or more than the count has room for are found out at once; what is in
/// bounds, at the latest when it has to be shown.
#[test]
fn more_subtrees_than_ids() {
    for (count, places, blame) in [
        (255, 128, ProtocolViolation::TooManyIds),
        (5, 3, ProtocolViolation::TooManyIds),
        (256, 128, ProtocolViolation::Hash),
        (1 << 40, 128, ProtocolViolation::Hash),
        (6, 3, ProtocolViolation::Hash),
    ] {
        let report = broad(count, places);
        assert_eq!(report.ending, Ending::ProtocolViolation(blame), "{count} {places}");
        assert!(report.rounds <= 4, "{report:?}");
    }
}

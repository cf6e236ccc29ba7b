//! What somebody gains by symbols that are made to be a burden: little.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::model::{Opened, Peer, Store, config, run};
use stemedb_merkle::{Hash, set::Entry};
use stemedb_sync::{
    Ending, Limits,
    message::{Ask, AskSymbols, Kind, Refusal},
    report::{Layer, Step, Why},
};

/// Puts an id into a store that is the hash of no body.
fn craft(store: &mut Store, id: Hash) {
    store.tree.insert_batch(&[Entry { id, position: 1 << 20 }]).unwrap();
    store.sketch.as_mut().unwrap().insert(&id);
}

/// Both stores hold one of two ids that share a prefix, and the peer both. (To find such a pair
/// takes 2^64 hashes, so these are made up.) The symbols give that prefix away, but the peer does
/// not choose between the two.
#[test]
fn ids_that_share_a_prefix_cost_a_session() {
    let (mut one, mut other) = (Store::new(1, None, 256), Store::new(2, None, 256));
    one.append((0..100).map(|n: u64| n.to_le_bytes().to_vec()).collect());
    other.append((3..110).map(|n: u64| n.to_le_bytes().to_vec()).collect());
    let pair = [[7; 32], std::array::from_fn(|place| if place < 16 { 7 } else { 8 })];
    craft(&mut one, pair[0]);
    for id in pair {
        craft(&mut other, id);
    }
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let report = run(&mut one, config, |request| peer.answer(request));
    let last = Step { layer: Layer::Descent, why: Why::OtherRoot };
    assert_eq!(report.layers.last(), Some(&last));
    assert!(report.checked, "{report:?}");
    let requests = [Kind::Hello, Kind::Ids, Kind::Fetch, Kind::Leave];
    assert_eq!(requests.map(|kind| report.traffic_of(kind).requests), [2, 0, 2, 1]);
    assert_eq!(peer.responder.sessions(), 0);
    assert_eq!((report.only_mine, report.only_theirs), (3, 11));
    // That id has no body.
    assert_eq!((report.ending, report.withheld), (Ending::Incomplete, 1));
    (0..110).for_each(|n: u64| assert!(one.holds(&one.identity.keys.id(&n.to_le_bytes()))));
}

/// Each symbol asked for is one of those that are not made yet, for which the responder goes over
/// all its ids.
#[test]
fn passes_over_all_ids_are_counted() {
    let (one, mut other) = (Store::new(1, None, 64), Store::new(2, None, 64));
    other.append((0..100).map(|n: u64| n.to_le_bytes().to_vec()).collect());
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
    let answered = (2..2_000).find_map(|request| {
        let from = if request % 2 == 0 { 1_000 } else { 100_000 };
        let ask = Ask::Symbols(AskSymbols { from, count: 1 });
        match peer.answer(opened.request(request, ask))[0] {
            Ok(_) => None,
            Err(refusal) => Some((request - 2, refusal)),
        }
    });
    assert_eq!(answered, Some((64, Refusal::OverLimit)));
}

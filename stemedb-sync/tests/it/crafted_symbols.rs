//! What somebody gains by symbols that are made to be a burden: little.

use std::ops::Range;

use crate::model::{Opened, Peer, Store, config, run};
use stemedb_merkle::{Entry, Hash};
use stemedb_sync::{
    Direction, Ending, Limits,
    codec::ids,
    message::{Answer, Ask, AskIds, AskSymbols, BodiesEnd, Fetch, Kind, Refusal, Response, Wanted},
    report::Layer,
};

/// Two bodies whose ids begin with the same 8 bytes, found by 2^31 hashes.
const PAIR: [[u8; 8]; 2] =
    [[79, 173, 15, 159, 86, 55, 140, 10], [145, 212, 32, 197, 84, 115, 195, 189]];

fn pair_ids(store: &Store) -> [Hash; 2] {
    PAIR.map(|body| store.identity.keys.id(&body))
}

/// A store of some numbers, and of those of the pair that the bits say.
fn store(node: u8, numbers: Range<u64>, pair: u8) -> Store {
    let mut store = Store::new(node, None, 256);
    store.append(numbers.map(|n| n.to_le_bytes().to_vec()).collect());
    let held = PAIR.iter().zip([1, 2]).filter(|(_, bit)| pair & bit != 0);
    store.append(held.map(|(body, _)| body.to_vec()).collect());
    store
}

#[test]
fn the_pair_shares_a_prefix() {
    let [one, other] = pair_ids(&store(1, 0..0, 0));
    assert_eq!(one[..8], other[..8]);
    assert_ne!(one[8], other[8]);
}

/// Whatever either side holds of two ids of one prefix: both sides end with all of it, nobody is
/// blamed, and descent is gone through where symbols cannot tell what differs.
#[test]
fn ids_that_share_a_prefix_end_in_equal_sets() {
    for (mine, theirs) in (0..16).map(|case| (case % 4, case / 4)) {
        for (ours, others) in [(0..100, 3..110), (0..50, 0..50), (0..50, 0..60), (0..60, 0..50)] {
            let case = format!("{mine:02b} {theirs:02b}, {ours:?} {others:?}");
            let (mut one, other) = (store(1, ours.clone(), mine), store(2, others.clone(), theirs));
            if one.tree.root() == other.tree.root() {
                continue;
            }
            let limits = Limits::default();
            let mut peer = Peer::new(other, limits.clone());
            let config = config(&one, &limits);
            let report = run(&mut one, config, |request| peer.answer(request));
            assert_eq!(report.ending, Ending::Complete, "{case}: {report:?}");
            assert!(report.equal && report.checked && report.confirmed, "{case}: {report:?}");
            assert_eq!(one.tree.root(), peer.store.tree.root(), "{case}");
            let numbers = ours.end.max(others.end) - ours.start.min(others.start);
            let pair = u64::from((mine | theirs).count_ones());
            assert_eq!(one.tree.len(), numbers + pair, "{case}");
            assert_eq!(peer.responder.sessions(), 0, "{case}");
            // One on each side cancel, two on one side never part, and of two here and one there
            // the symbols cannot say which differs: both are given.
            let others_differ = ours.end < others.end;
            let descends = match (mine, theirs) {
                (1, 2) | (2, 1) | (0, 3) | (3, 0) => true,
                (3, 1 | 2) => !others_differ,
                _ => false,
            };
            let descended = report.layers.iter().any(|step| step.layer == Layer::Descent);
            assert_eq!(descended, descends, "{case}: {report:?}");
            let fetches = report.traffic_of(Kind::Fetch).requests;
            match (mine, theirs) {
                // The body that is here already comes along.
                (1 | 2, 3) => assert_eq!((fetches, report.fetched_duplicates), (1, 1), "{case}"),
                (3, 1 | 2) => assert!(report.pushed_duplicates == u64::from(others_differ)),
                _ => assert_eq!(report.fetched_duplicates, 0, "{case}"),
            }
        }
    }
}

/// What differs is said exactly, and one direction moves what it has to.
#[test]
fn ids_that_share_a_prefix_are_told_apart_without_their_bodies() {
    for (mine, theirs) in (0..16).map(|case| (case % 4, case / 4)) {
        for direction in [Direction::Neither, Direction::Pull, Direction::Push] {
            let case = format!("{mine:02b} {theirs:02b} {direction:?}");
            let (mut one, other) = (store(1, 0..100, mine), store(2, 3..110, theirs));
            let ids = pair_ids(&one);
            let (held, there) = (one.tree.snapshot(), other.tree.snapshot());
            let limits = Limits::default();
            let mut peer = Peer::new(other, limits.clone());
            let config = config(&one, &limits).direction(direction);
            let report = run(&mut one, config, |request| peer.answer(request));
            assert_eq!(report.ending, Ending::Complete, "{case}: {report:?}");
            let only = |side: u8| ids.iter().zip([1, 2]).filter(move |(_, bit)| side & bit != 0);
            match direction {
                Direction::Neither => {
                    let found = report.found.unwrap();
                    let expect = |differ: &[Hash], side, count| {
                        assert_eq!(differ.len(), only(side).count() + count, "{case}");
                        assert!(only(side).all(|(id, _)| differ.contains(id)), "{case}");
                    };
                    expect(&found.only_mine, mine & !theirs, 3);
                    expect(&found.only_theirs, theirs & !mine, 10);
                }
                Direction::Pull => {
                    assert!(there.iter().all(|entry| one.holds(&entry.unwrap().id)), "{case}");
                }
                _ => {
                    let given = |entry: Entry| peer.store.holds(&entry.id);
                    assert!(held.iter().all(|entry| given(entry.unwrap())), "{case}");
                }
            }
        }
    }
}

/// An answer never ends between two bodies of one prefix, and counts prefixes.
#[test]
fn both_bodies_of_a_prefix_are_sent_together() {
    let (one, other) = (store(1, 0..0, 0), store(2, 0..5, 3));
    let mut prefixes: Vec<_> = other.places.keys().map(ids::prefix).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let pair = ids::prefix(&pair_ids(&one)[0]);
    let limits = Limits::default().answer_len_aim(1);
    let mut peer = Peer::new(other, limits.clone());
    let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
    for (request, prefix) in (2..).zip(&prefixes) {
        // Of all from this one on, which an answer has no room for.
        let from: Vec<_> = prefixes.iter().filter(|other| *other >= prefix).copied().collect();
        let wanted = Wanted::Prefixes(ids::write_prefixes(&from));
        let answers = peer.answer(opened.request(request, Ask::Fetch(Fetch { wanted })));
        let [Ok(Response { answer: Answer::Bodies(bodies), .. })] = &answers[..] else { panic!() };
        assert_eq!(bodies.end, Some(BodiesEnd { processed: 1 }));
        // Each has a length before it.
        assert_eq!(bodies.bytes.len(), if *prefix == pair { 18 } else { 9 });
    }
    // Whole ids of it are not given: which is asked for is not known.
    let ask = Ask::Ids(AskIds { prefixes: ids::write_prefixes(&[pair]) });
    assert!(matches!(peer.answer(opened.request(99, ask))[..], [Err(Refusal::Unknown)]));
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

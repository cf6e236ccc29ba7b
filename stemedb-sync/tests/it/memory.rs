//! What sessions make a responder hold, and what becomes of a session that it has no memory for.

use std::cell::Cell;

use crate::model::{Opened, Peer, Store, config, run};
use stemedb_sync::{
    Ending, Limits, MemoryBudget,
    codec::{ids, varint},
    message::{Ask, AskIds, AskSymbols, Fetch, Finish, Push, Refusal, Request, Response, Wanted},
    report::{Layer, Limited},
    responder::{Reply, RequestContext},
};

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

fn stores() -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, None, 256), Store::new(2, None, 256));
    one.append((0..1000).map(body).collect());
    other.append((0..980).chain(2000..2030).map(body).collect());
    (one, other)
}

/// Everything that a client can make a responder keep, from as many nodes as there may be.
#[test]
fn all_sessions_together_hold_no_more_than_the_budget() {
    let one = Store::new(1, None, 256);
    let mut other = Store::new(2, None, 256);
    other.append((0..5000).map(body).collect());
    let mut prefixes: Vec<_> = other.places.keys().map(ids::prefix).collect();
    prefixes.sort_unstable();
    let prefixes = ids::write_prefixes(&prefixes);
    let all: Vec<_> = other.places.keys().copied().collect();

    let limits = Limits::default().sessions_per_address_max(64).sessions_per_peer_max(64);
    let budget = MemoryBudget::new(4 << 20);
    let mut peer = Peer::with_memory(other, limits.clone(), budget.clone());
    let mut refused = 0;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let Ok(opened) = Opened::new(&mut peer, &one, config(&one, &limits)) else {
            refused += 1;
            continue;
        };
        // A body that is said to be long and does not come to its end, and a part that came early.
        let mut begun = Vec::new();
        varint::write(limits.body_len_max as u64, &mut begun);
        begun.resize(limits.part_len_max, 0);
        let early = vec![0; limits.part_len_max];
        let asks = [
            Ask::Ids(AskIds { prefixes: prefixes.clone() }),
            Ask::Symbols(AskSymbols { from: 0, count: 10_000 }),
            Ask::Push(Push { part: 0, bytes: begun, last: false }),
            Ask::Push(Push { part: 2, bytes: early, last: false }),
            Ask::Fetch(Fetch { wanted: Wanted::Ids(ids::write_ids(&all)) }),
            Ask::Fetch(Fetch { wanted: Wanted::Prefixes(prefixes.clone()) }),
        ];
        for (number, ask) in (2..).zip(asks) {
            let context =
                RequestContext { now: peer.now, time: 0, nonce: [1; 16], from: peer.from };
            let request = opened.request(number, ask);
            match peer.responder.answer(request, &peer.store, context) {
                // An answer that nobody takes in.
                Ok(Reply::Stream(mut stream)) => {
                    let _part = stream.next(&peer.store);
                    streams.push(stream);
                }
                Ok(_) => {}
                Err(refusal) => {
                    assert!(matches!(refusal, Refusal::Memory | Refusal::Unknown), "{refusal}");
                    refused += 1;
                }
            }
            assert!(budget.used() <= budget.max());
        }
    }
    assert!(refused > 60, "{refused}");
    assert!(budget.used() > budget.max() / 2, "{}", budget.used());
    // What belongs to a call ends with it, and what belongs to a session ends with that.
    let sessions = budget.used();
    drop(streams);
    assert!(budget.used() < sessions);
    peer.responder.expire(limits.idle_time_max * 2);
    assert_eq!(budget.used(), 0);
    Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
}

#[test]
fn bodies_that_are_being_appended_are_counted() {
    let (one, other) = stores();
    let limits = Limits::default();
    let budget = MemoryBudget::default();
    let mut peer = Peer::with_memory(other, limits.clone(), budget.clone());
    let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
    let before = budget.used();
    // Bodies of no bytes take a list each.
    let bytes = vec![1; limits.part_len_max];
    let push = opened.request(2, Ask::Push(Push { part: 0, bytes, last: true }));
    let context = RequestContext { now: peer.now, time: 0, nonce: [1; 16], from: peer.from };
    let Ok(Reply::Take(pending)) = peer.responder.answer(push, &peer.store, context) else {
        panic!("not taken")
    };
    assert!(budget.used() - before >= limits.part_len_max * size_of::<Vec<u8>>());
    drop(pending);
    assert_eq!(budget.used(), before);
}

#[test]
fn a_session_ends_in_the_budget_too() {
    let (mut one, other) = stores();
    let limits = Limits::default();
    let budget = MemoryBudget::default();
    let mut peer = Peer::with_memory(other, limits.clone(), budget.clone());
    let config = config(&one, &limits);
    let held = Cell::new(0);
    let report = run(&mut one, config, |request| {
        let answers = peer.answer(request);
        held.set(held.get().max(budget.used()));
        answers
    });
    assert_eq!(report.ending, Ending::Complete);
    assert!(held.get() > 0);
    assert_eq!(budget.used(), 0);
}

/// A peer that has no memory for so many requests of a kind.
fn starved(times: u32, is: fn(&Ask) -> bool) -> (stemedb_sync::Report, u32) {
    let (mut one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).without(vec![Layer::Bulk]);
    let mut refused = 0;
    let report = run(&mut one, config, |request: Request| {
        if is(&request.ask) && refused < times {
            refused += 1;
            return vec![Err(Refusal::Memory)];
        }
        peer.answer(request)
    });
    (report, refused)
}

#[test]
fn what_a_peer_has_no_memory_for_is_asked_again_later() {
    let kinds: [fn(&Ask) -> bool; 4] = [
        |ask| matches!(ask, Ask::Hello(_)),
        |ask| matches!(ask, Ask::Fetch(_)),
        |ask| matches!(ask, Ask::Push(_)),
        |ask| matches!(ask, Ask::Finish(Finish { .. })),
    ];
    for (kind, is) in kinds.into_iter().enumerate() {
        let (report, refused) = starved(3, is);
        assert_eq!((report.ending, refused), (Ending::Complete, 3), "{kind}");
        assert!(report.equal);
        let (report, refused) = starved(u32::MAX, is);
        assert_eq!(report.ending, Ending::Refused(Refusal::Memory), "{kind}");
        assert!(refused <= 2 * Limits::default().tries_max, "{kind}: {refused}");
    }
}

/// Its disk is full, say: what it has is fetched all the same.
#[test]
fn a_refused_push_does_not_end_the_pull() {
    for refusal in [Refusal::ReadOnly, Refusal::OverLimit, Refusal::TooLarge] {
        let (mut one, other) = stores();
        // Fetched one by one, so that the push is refused long before the last.
        let limits = Limits::default().ids_per_message_max(1).in_flight_max(1);
        let mut peer = Peer::new(other, Limits::default());
        let config = config(&one, &limits);
        let report = run(&mut one, config, |request| match request.ask {
            Ask::Push(_) => vec![Err(refusal)],
            _ => peer.answer(request),
        });
        assert_eq!(report.ending, Ending::Refused(refusal));
        assert_eq!((report.fetched, report.pushed), (30, 0));
        assert_eq!(one.bodies.len(), 1030);
        assert!(report.cursor.is_some(), "all that the peer has was read");
        assert!(!report.equal && !report.confirmed);
        assert_eq!(peer.responder.sessions(), 0);
    }
}

/// The store at hand has no room for bodies of peers.
#[test]
fn a_store_that_takes_no_bodies_still_gives_them() {
    let (mut one, other) = stores();
    one.full = true;
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let report = run(&mut one, config, |request| peer.answer(request));
    assert_eq!(report.ending, Ending::Limit(Limited::Disk));
    assert_eq!((report.fetched, report.pushed), (0, 20));
    assert_eq!((one.bodies.len(), peer.store.bodies.len()), (1000, 1030));
    assert!(!report.equal && report.cursor.is_none());
    assert_eq!(peer.responder.sessions(), 0);
}

/// Where the log is read, nothing is known that could be given.
#[test]
fn a_store_that_takes_no_bodies_reads_no_log() {
    let (mut one, other) = (Store::new(1, None, 256), stores().1);
    one.full = true;
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let mut answers = 0;
    let report = run(&mut one, config, |request| {
        answers += 1;
        peer.answer(request)
    });
    assert_eq!(report.ending, Ending::Limit(Limited::Disk));
    assert_eq!((report.fetched, one.bodies.len()), (0, 0));
    assert!(answers < 10, "{answers}");
    assert_eq!(peer.responder.sessions(), 0);
}

/// A list without ids asks for nothing.
#[test]
fn a_list_of_nothing_is_refused() {
    let (one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
    let ask = opened.request(2, Ask::Ids(AskIds { prefixes: Vec::new() }));
    let refused: Vec<Result<Response, Refusal>> = peer.answer(ask);
    assert_eq!(refused, [Err(Refusal::Malformed)]);
}

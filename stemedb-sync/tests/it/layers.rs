//! Each layer: that it is used where it should be, that it ends in equal sets, and what it costs.

use crate::model::{Peer, Random, Store, config, response_len, run};
use stemedb_merkle::history::LogSize;
use stemedb_sync::{
    Direction, Ending, Limits, Report,
    message::{Answer, Ask, Kind, Symbols},
    report::{Layer, PeerCursor},
    symbols::{Extension, FIRST_FRAME, Outcome, Peeler, decode, encode},
};

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

/// Two stores of which each has `common` bodies and `mine` or `theirs` of its own.
fn stores(common: u64, mine: u64, theirs: u64) -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, None, 4096), Store::new(2, None, 4096));
    one.append((0..common + mine).map(body).collect());
    let theirs = (0..common).chain(common + mine..common + mine + theirs);
    other.append(theirs.map(body).collect());
    (one, other)
}

fn sync(one: &mut Store, other: Store, without: &[Layer]) -> (Report, Store) {
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(one, &limits).without(without.to_vec());
    let report = run(one, config, |request| peer.answer(request));
    assert_eq!(peer.responder.sessions(), 0, "a session was left open");
    (report, peer.store)
}

fn layers(report: &Report) -> Vec<Layer> {
    report.layers.iter().map(|step| step.layer).collect()
}

#[test]
fn equal_sets_take_one_round_of_under_300_bytes() {
    let (mut one, other) = stores(1000, 0, 0);
    let (report, _) = sync(&mut one, other, &[]);
    assert_eq!(report.ending, Ending::Complete);
    assert!(report.equal && report.checked && report.confirmed);
    assert_eq!(report.rounds, 1);
    assert!(report.reconcile_bytes() < 300, "{}", report.reconcile_bytes());
    println!("d = 0: {} B", report.reconcile_bytes());
    // The same with a cursor, which makes the question longer.
    let limits = Limits::default();
    let cursor = report.cursor;
    let (_, other) = stores(1000, 0, 0);
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).cursor(cursor);
    let report = run(&mut one, config, |request| peer.answer(request));
    assert!(report.equal);
    assert!(report.reconcile_bytes() < 300, "{}", report.reconcile_bytes());
    println!("d = 0 with a cursor: {} B", report.reconcile_bytes());
}

#[test]
fn every_layer_ends_in_equal_sets() {
    use Layer::{Bulk, Cursor, Root, Symbols};
    for (common, mine, theirs) in [
        (0, 0, 1),
        (0, 1, 0),
        (0, 5, 5),
        (3, 1, 1),
        (100, 1, 0),
        (100, 0, 1),
        (1000, 50, 50),
        (1000, 500, 3),
        (3000, 0, 700),
        (100, 900, 900),
        (0, 900, 1),
        (0, 0, 3000),
        (1, 3000, 0),
    ] {
        for without in [&[][..], &[Symbols, Bulk], &[Bulk], &[Symbols]] {
            let (mut one, other) = stores(common, mine, theirs);
            let (report, other) = sync(&mut one, other, without);
            let case = format!("{common} {mine} {theirs} {without:?} {report:?}");
            assert_eq!(report.ending, Ending::Complete, "{case}");
            assert_eq!(one.tree.root(), other.tree.root(), "{case}");
            assert!(report.equal && report.checked && report.confirmed, "{case}");
            assert!(!report.peer_moved, "{case}");
            assert_eq!(report.fetched, theirs, "{case}");
            assert_eq!(report.pushed, mine, "{case}");
            assert_eq!(report.set.unwrap().root, one.tree.root(), "{case}");
            assert!(!layers(&report).iter().any(|layer| without.contains(layer)), "{case}");
            assert_eq!(layers(&report).first(), Some(&Root));
            // Nothing is left to do, and the cursor says so.
            let again = config(&one, &Limits::default()).cursor(report.cursor);
            assert_eq!(report.cursor.unwrap().size, other.bodies.len() as u64, "{case}");
            let mut peer = Peer::new(other, Limits::default());
            let report = run(&mut one, again.clone(), |request| peer.answer(request));
            assert_eq!(report.rounds, 1, "{case}");
            // The peer takes in more: its log is enough.
            peer.store.append((1_000_000..1_000_007).map(body).collect());
            let report = run(&mut one, again, |request| peer.answer(request));
            assert_eq!(layers(&report), [Root, Cursor], "{case}");
            assert_eq!((report.rounds, report.fetched), (1, 7), "{case}");
            assert_eq!(one.tree.root(), peer.store.tree.root());
        }
    }
}

#[test]
fn each_direction_alone_moves_its_bodies() {
    for without in [&[][..], &[Layer::Symbols]] {
        for direction in [Direction::Pull, Direction::Push] {
            let (mut one, other) = stores(300, 20, 30);
            let limits = Limits::default();
            let mut peer = Peer::new(other, limits.clone());
            let config = config(&one, &limits).direction(direction).without(without.to_vec());
            let report = run(&mut one, config, |request| peer.answer(request));
            assert_eq!(report.ending, Ending::Complete);
            assert!(report.checked && !report.equal);
            let pulls = direction == Direction::Pull;
            assert_eq!((report.fetched, report.pushed), if pulls { (30, 0) } else { (0, 20) });
            assert_eq!(one.tree.len(), if pulls { 350 } else { 320 });
            assert_eq!(peer.store.tree.len(), if pulls { 330 } else { 350 });
        }
    }
}

#[test]
fn a_rewritten_log_is_noticed() {
    let (mut one, other) = stores(100, 0, 5);
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let base = config(&one, &limits);
    let report = run(&mut one, base.clone(), |request| peer.answer(request));
    let mut cursor = report.cursor.unwrap();
    peer.store.append((500..510).map(body).collect());
    cursor.root.0[0] ^= 1;
    let config = base.cursor(Some(cursor)).seed([8; 32]);
    let report = run(&mut one, config, |request| peer.answer(request));
    assert_eq!(layers(&report), [Layer::Root, Layer::Symbols]);
    assert!(report.equal);
}

#[test]
fn a_peer_that_can_not_read_its_old_roots_is_synced_with_all_the_same() {
    let (mut one, mut other) = stores(300, 0, 0);
    let limits = Limits::default();
    let cursor = PeerCursor {
        node: other.identity.node,
        epoch: other.identity.epoch,
        size: 100,
        root: other.history.head_at(LogSize(100)).unwrap().root,
    };
    other.write(b"new");
    other.forgetful = true;
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).cursor(Some(cursor));
    let report = run(&mut one, config, |request| peer.answer(request));
    assert_eq!(layers(&report), [Layer::Root, Layer::Symbols]);
    assert!(report.equal && !report.peer_rewritten, "{report:?}");
}

#[test]
fn large_bodies_come_in_parts() {
    let (mut one, mut other) = stores(10, 0, 0);
    let limits = Limits::default().part_len_max(1000).answer_len_aim(5000);
    let mut random = Random(3);
    for n in 0..40 {
        let len = usize::try_from(random.below(9000)).unwrap();
        let store = if n % 2 == 0 { &mut one } else { &mut other };
        store.write(&vec![n; len]);
    }
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let report = run(&mut one, config, |request| peer.answer(request));
    assert!(report.equal, "{report:?}");
    assert_eq!(one.tree.root(), peer.store.tree.root());
}

#[test]
fn bodies_that_are_lost_leave_the_session_incomplete() {
    let (mut one, mut other) = stores(100, 10, 10);
    for place in [103, 107] {
        other.unreadable.insert(other.identity.keys.id(&other.bodies[place]));
    }
    one.unreadable.insert(one.identity.keys.id(&one.bodies[105]));
    let (report, other) = sync(&mut one, other, &[]);
    assert_eq!(report.ending, Ending::Incomplete);
    assert_eq!((report.fetched, report.withheld), (8, 2));
    assert_eq!((report.pushed, report.unreadable), (9, 1));
    assert!(report.checked && !report.equal && report.cursor.is_none());
    assert_eq!((one.tree.len(), other.tree.len()), (118, 119));
}

#[test]
fn a_clock_far_ahead_is_remarked_and_nothing_else() {
    let (mut one, other) = stores(10, 1, 1);
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let report = run(&mut one, config, |request| {
        let mut replies = peer.answer(request.clone());
        if let (Ask::Hello(hello), Some(Ok(response))) = (&request.ask, replies.first_mut())
            && let Answer::Welcome(welcome) = &mut response.answer
        {
            welcome.time += 3600 << 32;
            let keys = &peer.store.identity.keys;
            welcome.proof = keys.responder_proof(&response.echo, hello, welcome);
        }
        replies
    });
    assert_eq!(report.clock_ahead, Some(std::time::Duration::from_secs(3600)));
    assert!(report.equal);
}

/// However many symbols were asked for, they are taken in until they peel, and no further.
#[test]
fn symbols_are_rateless() {
    for d in [2_u64, 100, 1_000] {
        let (mut one, other) = stores(3_000, d / 2, d / 2);
        let limits = Limits::default().symbols_first(4_096);
        let mut peer = Peer::new(other, limits.clone());
        let config = config(&one, &limits);
        let mut parts = 0;
        let report = run(&mut one, config, |request| {
            let answers = peer.answer(request.clone());
            if matches!(request.ask, Ask::Hello(_)) {
                parts = answers.len();
            }
            answers
        });
        assert!(report.equal && parts > 20, "{parts}");
        assert_eq!(report.traffic_of(Kind::Symbols).requests, 0, "no estimate was needed");
        let taken = report.traffic_of(Kind::Hello).received / 14;
        let most = 4 * d + 128;
        assert!(taken <= most.min(2 * d + 600), "{d} differ: {taken} symbols of 4,096");
    }
}

/// How many symbols it takes until the difference of two stores has peeled.
fn needed(one: &Store, other: &Store, end: u32) -> Option<u64> {
    let key = one.identity.keys.symbol_key();
    let [local, remote] = [one, other].map(|store| {
        let mut extension = Extension::new(key, 0..end);
        store.places.keys().for_each(|id| extension.insert(id));
        extension.into_symbols()
    });
    let mut peeler = Peeler::new(key);
    for (local, remote) in local.iter().zip(&remote) {
        peeler.push(*local, *remote);
        if peeler.run() == Outcome::Complete {
            return Some(peeler.symbols_taken() as u64);
        }
    }
    None
}

/// At most a quarter of the symbols that were needed comes in vain, or the first part of an answer.
/// What was asked for is not much more either: a line of long delay has it all under way.
#[test]
fn hardly_any_symbols_come_in_vain() {
    let (mut cases, mut frugal) = (0, 0);
    for d in [
        1, 2, 3, 4, 5, 7, 10, 16, 20, 30, 50, 70, 100, 130, 160, 200, 300, 500, 700, 1_000, 1_500,
        2_000, 3_000, 5_000, 10_000, 20_000, 40_000, 100_000,
    ] {
        let (mut one, other) = stores(if d < 10_000 { 3_000 } else { 40_000 }, d / 3, d - d / 3);
        let needed = needed(&one, &other, u32::try_from(2 * d + 200).unwrap()).unwrap();
        let limits = Limits::default();
        let mut peer = Peer::new(other, limits.clone());
        let config = config(&one, &limits).direction(Direction::Neither);
        // Of each part its length and the number of its symbols.
        let (mut parts, mut asked) = (Vec::new(), 0);
        let report = run(&mut one, config, |request| {
            asked += match request.ask {
                Ask::Hello(_) => limits.symbols_first,
                Ask::Symbols(ask) => ask.count,
                _ => 0,
            };
            let count = peer.store.tree.len();
            let answers = peer.answer(request);
            for response in answers.iter().flatten() {
                match &response.answer {
                    Answer::Symbols(part) => {
                        let symbols = decode(&part.symbols, part.from, count, 10_000).unwrap();
                        parts.push((response_len(response), symbols.len() as u64));
                    }
                    Answer::Welcome(_) => parts.push((response_len(response), 0)),
                    _ => {}
                }
            }
            answers
        });
        assert_eq!(layers(&report), [Layer::Root, Layer::Symbols], "{d}");
        let kinds = [Kind::Hello, Kind::Symbols];
        let mut bytes: u64 = kinds.iter().map(|kind| report.traffic_of(*kind).received).sum();
        let mut received = 0;
        for (len, symbols) in parts {
            if bytes == 0 {
                break;
            }
            bytes = bytes.checked_sub(len).expect("parts are taken in one by one");
            received += symbols;
        }
        println!("{d} differ: {needed} symbols needed, {received} received, {asked} asked for");
        let in_vain = received.checked_sub(needed).unwrap();
        assert!(in_vain <= u64::from(FIRST_FRAME).max(needed / 4), "{d}: {in_vain}");
        let in_vain = u64::from(asked) - needed;
        let first = u64::from(limits.symbols_first);
        assert!(in_vain <= first.max(needed / 2), "{d}: {in_vain}");
        cases += 1;
        frugal += u32::from(in_vain <= first.max(needed / 4));
    }
    assert!(frugal * 10 >= cases * 9, "{frugal} of {cases}");
}

/// The symbols of a peer say that it lacks an id that it holds, by sums and checks that fit: it is
/// given that once more, and as both hold the same in the end, nothing else comes of it.
#[test]
fn a_difference_that_is_none_costs_a_body() {
    let (mut one, other) = stores(500, 0, 40);
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    // An id that this side holds as well is left out of the symbols of the peer, so that it seems
    // to be missing there, and the sums fit all the same.
    let hidden = one.identity.keys.id(&body(7));
    let mut one_id = Extension::new(one.identity.keys.symbol_key(), 0..10_000);
    one_id.insert(&hidden);
    let one_id = one_id.into_symbols();
    let report = run(&mut one, config, |request| {
        let mut answers = peer.answer(request);
        for response in answers.iter_mut().flatten() {
            if let Answer::Symbols(Symbols { from, symbols, .. }) = &mut response.answer {
                let mut read = decode(symbols, *from, 540, 100_000).unwrap();
                for (index, symbol) in (*from as usize..).zip(&mut read) {
                    *symbol = symbol.minus(one_id[index]);
                }
                *symbols = encode(&read, *from, 540);
            }
        }
        answers
    });
    assert_eq!(layers(&report), [Layer::Root, Layer::Symbols]);
    let requests = [Kind::Hello, Kind::Descend, Kind::Leave, Kind::Finish];
    assert_eq!(requests.map(|kind| report.traffic_of(kind).requests), [1, 0, 0, 1]);
    assert_eq!(report.ending, Ending::Complete);
    assert!(report.equal && report.checked, "{report:?}");
    assert_eq!((report.fetched, report.fetched_duplicates), (40, 0), "what came is kept");
    assert_eq!((report.pushed, report.pushed_duplicates), (1, 1));
    assert_eq!(peer.responder.sessions(), 0);
}

/// A store that holds nothing has nothing to compare: it asks for no symbols, which a responder
/// would have to make first, and reads the log.
#[test]
fn what_holds_nothing_asks_for_no_symbols() {
    for (common, without) in [(0, vec![]), (0, vec![Layer::Bulk]), (1, vec![Layer::Bulk])] {
        let (mut one, other) = stores(common, 0, 40);
        let limits = Limits::default();
        let mut peer = Peer::new(other, limits.clone());
        let config = config(&one, &limits).without(without.clone());
        let mut asked = None;
        let report = run(&mut one, config, |request| {
            if let Ask::Hello(hello) = &request.ask {
                asked = Some(hello.symbols);
            }
            peer.answer(request)
        });
        let first = if common == 0 { 0 } else { limits.symbols_first };
        assert_eq!((asked, report.equal), (Some(first), true), "{common} {without:?}");
        let layer = match (common, without.is_empty()) {
            (0, true) => Layer::Bulk,
            (0, false) => Layer::Descent,
            _ => Layer::Symbols,
        };
        assert_eq!(report.layers.last().unwrap().layer, layer, "{common} {without:?}");
    }
}

/// What each layer may cost. `FIGURES_N` sets the size of the sets: a million takes a while.
#[test]
fn differences_are_found_in_few_bytes_and_rounds() {
    let n = std::env::var("FIGURES_N").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let descent = &[Layer::Symbols][..];
    for (d, without, levels, bytes_max, rounds_max) in [
        (2, &[][..], 2, 1_000, 1),
        (100, &[], 2, 4_000, 1),
        (10_000, &[], 2, 260_000, 3),
        (100, descent, 2, 105_000, 13),
        (100, descent, 3, 170_000, 7),
        (10_000, descent, 2, 6_000_000, 13),
    ] {
        let (mut one, other) = stores(n, d / 2, d / 2);
        let limits = Limits::default().levels(levels);
        let mut peer = Peer::new(other, limits.clone());
        let config = config(&one, &limits).without(without.to_vec());
        let report = run(&mut one, config, |request| peer.answer(request));
        assert!(report.equal);
        let end = report.traffic_of(Kind::Finish);
        let bytes = report.reconcile_bytes() - end.sent - end.received;
        let rounds = report.rounds;
        println!("{n} ids, {d} differ, without {without:?}: {bytes} B, {rounds} rounds");
        assert!(bytes < bytes_max && rounds <= rounds_max, "{d} {without:?}: {bytes} {rounds}");
    }
}

//! The end of a session: one root of what both hold, or the passes where somebody wrote meanwhile.

use crate::model::{Opened, Peer, Store, config, run};
use stemedb_sync::{
    Direction, Ending, Limits, Report,
    message::{Answer, Ask, Fetch, Finish, Finished, Kind, SetHead, Wanted},
    report::Layer,
    symbols::{Extension, decode, encode},
};

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

/// Two stores of 500 bodies in common, and so many of each alone.
fn stores(mine: u64, theirs: u64) -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, None, 4096), Store::new(2, None, 4096));
    one.append((0..500 + mine).map(body).collect());
    other.append((0..500).chain(10_000..10_000 + theirs).map(body).collect());
    (one, other)
}

/// What a session is told in the end, and what it makes of that.
struct End {
    report: Report,
    asked: Option<Finish>,
    finished: Vec<Finished>,
    one: Store,
    other: Store,
}

/// Runs a session of symbols; before the responder answers the last request, something may happen
/// to it.
fn session(
    (mut one, other): (Store, Store),
    direction: Direction,
    limits: &Limits,
    mut last: impl FnMut(&mut Store),
) -> End {
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &Limits::default()).direction(direction);
    let (mut asked, mut finished) = (None, Vec::new());
    let report = run(&mut one, config, |request| {
        if let Ask::Finish(finish) = request.ask {
            asked = Some(finish);
            last(&mut peer.store);
        }
        let answers = peer.answer(request);
        for answer in answers.iter().flatten() {
            if let Answer::Finished(answer) = answer.answer {
                finished.push(answer);
            }
        }
        answers
    });
    End { report, asked, finished, one, other: peer.store }
}

fn set(store: &Store) -> SetHead {
    store.now().set()
}

/// Each side makes the root of what it holds, and neither that of what the other held: a responder
/// that has forgotten what moved could not.
#[test]
fn one_root_is_check_enough() {
    let limits = Limits::default().ids_kept_max(3);
    for (mine, theirs) in [(20, 20), (1, 30), (20, 0), (0, 20)] {
        let before = stores(mine, theirs);
        let held = set(&before.0);
        let end = session(before, Direction::Both, &limits, |_| {});
        let now = set(&end.one);
        assert_eq!(now, set(&end.other), "{mine} {theirs}");
        // What this side gave was there before.
        let named = if theirs == 0 { held } else { now };
        assert_eq!(end.asked, Some(Finish { set: Some(held), now: Some(named) }));
        let [finished] = end.finished[..] else { panic!("one answer") };
        assert_eq!((finished.checked, finished.set), (true, now), "{mine} {theirs}");
        let report = &end.report;
        assert_eq!(report.ending, Ending::Complete);
        assert!(report.checked && report.confirmed && report.equal && !report.peer_moved);
        assert_eq!(report.set, Some(now));
    }
}

/// What the responder took in meanwhile is no part of the session: the sets that were found are
/// made again, on both sides.
#[test]
fn writes_of_the_responder_meanwhile() {
    for (mine, theirs) in [(20, 20), (20, 0), (0, 20)] {
        let write = |store: &mut Store| store.write(b"meanwhile");
        let end = session(stores(mine, theirs), Direction::Both, &Limits::default(), write);
        let report = &end.report;
        assert_eq!(report.ending, Ending::Complete, "{mine} {theirs}");
        assert!(report.checked && report.confirmed && report.equal && report.peer_moved);
        assert_eq!(report.set, Some(set(&end.one)));
        assert_eq!(set(&end.other).count, set(&end.one).count + 1);
        // One that can't make it again does not say that it did.
        let limits = Limits::default().ids_kept_max(3);
        let end = session(stores(mine, theirs), Direction::Both, &limits, write);
        let [finished] = end.finished[..] else { panic!("one answer") };
        assert_eq!((finished.checked, end.report.confirmed), (false, false), "{mine} {theirs}");
        assert_eq!((end.report.ending, end.report.checked), (Ending::Complete, true));
    }
}

/// A body that both were to get comes to the responder from elsewhere as well.
#[test]
fn both_end_with_one_set_whatever_was_written() {
    let write = |store: &mut Store| {
        store.write(&body(3));
        store.write(&body(10_003));
    };
    let end = session(stores(20, 20), Direction::Both, &Limits::default(), write);
    assert_eq!(end.report.ending, Ending::Complete);
    assert!(end.report.equal && !end.report.peer_moved);
}

/// One that does not push knows that it holds all of the responder's, and what it has of its own
/// beside that, before it ends the session.
#[test]
fn one_direction_is_checked_before_the_end() {
    for (mine, theirs) in [(20, 20), (0, 20)] {
        let end = session(stores(mine, theirs), Direction::Pull, &Limits::default(), |_| {});
        let report = &end.report;
        assert_eq!((report.ending, report.checked), (Ending::Complete, true), "{mine} {theirs}");
        assert_eq!(report.equal, mine == 0, "{mine} {theirs}");
        assert_eq!((report.only_mine, report.only_theirs), (mine, theirs));
    }
}

/// Symbols that leave out what the responder holds end in no root that both have: another session
/// finds it, without them.
#[test]
fn what_symbols_hid_shows_in_the_end() {
    for direction in [Direction::Both, Direction::Pull] {
        for mine in [0, 20] {
            let (mut one, other) = stores(mine, 20);
            let limits = Limits::default();
            let mut peer = Peer::new(other, limits.clone());
            let config = config(&one, &limits).direction(direction);
            let mut hidden = Extension::new(one.identity.keys.symbol_key(), 0..10_000);
            hidden.insert(&one.identity.keys.id(&body(10_007)));
            let hidden = hidden.into_symbols();
            let report = run(&mut one, config, |request| {
                let mut answers = peer.answer(request);
                for response in answers.iter_mut().flatten() {
                    if let Answer::Symbols(part) = &mut response.answer {
                        let mut read = decode(&part.symbols, part.from, 520, 100_000).unwrap();
                        for (symbol, hidden) in read.iter_mut().zip(&hidden[part.from as usize..]) {
                            *symbol = symbol.minus(*hidden);
                        }
                        part.symbols = encode(&read, part.from, 520);
                    }
                }
                answers
            });
            let case = format!("{direction:?} {mine}");
            assert_eq!((report.ending, report.checked), (Ending::Complete, true), "{case}");
            assert_eq!(report.layers.last().unwrap().layer, Layer::Descent, "{case}");
            assert_eq!(report.traffic_of(Kind::Hello).requests, 2, "{case}");
            assert!(one.holds(&one.identity.keys.id(&body(10_007))), "{case}");
            assert_eq!(peer.responder.sessions(), 0, "{case}");
        }
    }
}

/// A set of now that the responder does not hold says nothing, and neither does one without a set
/// of before.
#[test]
fn a_set_of_now_is_no_more_than_a_set() {
    let (one, other) = stores(0, 5);
    let limits = Limits::default();
    for (before, now, checked) in [
        (None, None, false),
        (None, Some(set(&other)), true),
        (None, Some(set(&one)), false),
        (Some(set(&other)), Some(set(&one)), true),
        (Some(set(&one)), Some(set(&one)), false),
    ] {
        let (one, other) = stores(0, 5);
        let mut peer = Peer::new(other, limits.clone());
        let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
        let finish = Ask::Finish(Finish { set: before, now });
        let answers = peer.answer(opened.request(2, finish));
        let Some(Ok(answer)) = answers.first() else { panic!("{answers:?}") };
        let Answer::Finished(finished) = answer.answer else { panic!("{answer:?}") };
        assert_eq!(finished.checked, checked, "{before:?} {now:?}");
    }
    // Bodies that were given are still part of the check.
    let (one, other) = stores(0, 5);
    let id = one.identity.keys.id(&body(10_001));
    let mut peer = Peer::new(other, limits.clone());
    let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
    let wanted = Wanted::Ids(id.to_vec());
    assert!(peer.answer(opened.request(2, Ask::Fetch(Fetch { wanted })))[0].is_ok());
    let finish = Ask::Finish(Finish { set: Some(set(&peer.store)), now: None });
    let answers = peer.answer(opened.request(3, finish));
    let Some(Ok(answer)) = answers.first() else { panic!("{answers:?}") };
    let Answer::Finished(finished) = answer.answer else { panic!("{answer:?}") };
    assert!(!finished.checked, "the set of before lacked what was fetched");
}

//! Messages that are changed on their way: nothing of them is stored, no peer is blamed for them,
//! and a session that meets one goes on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::model::{Opened, Peer, Random, Store, config, run_unsealed};
use stemedb_sync::{
    Ending, Limits, Report,
    codec::bodies,
    message::{Answer, Ask, Fetch, Push, Pushed, Refusal, Request, Response, Wanted},
    report::Layer,
};

const SECRET: [u8; 16] = [7; 16];

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

fn stores(secret: Option<&[u8]>) -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, secret, 256), Store::new(2, secret, 256));
    one.append((0..1000).map(body).collect());
    other.append((0..980).chain(2000..2030).map(body).collect());
    (one, other)
}

/// Only what was written is held.
fn intact(store: &Store) {
    let written: Vec<Vec<u8>> = (0..1000).chain(2000..2030).map(body).collect();
    assert!(store.bodies.iter().all(|body| written.contains(body)));
}

/// Flips a bit of a request, wherever it has some; whether it did.
fn flip_request(request: &mut Request, random: &mut Random) -> bool {
    let list = match &mut request.ask {
        Ask::Ids(ask) => &mut ask.prefixes,
        Ask::Descend(ask) => &mut ask.nodes,
        Ask::Fetch(Fetch { wanted: Wanted::Prefixes(ids) | Wanted::Ids(ids) }) => ids,
        Ask::Push(push) => &mut push.bytes,
        Ask::Symbols(ask) => {
            ask.from ^= 1;
            return true;
        }
        Ask::Tail(tail) => {
            tail.from ^= 1;
            return true;
        }
        Ask::Finish(finish) => {
            let first = random.next().is_multiple_of(2);
            let one = if first { &mut finish.set } else { &mut finish.now };
            if let Some(set) = one {
                set.count ^= 1;
            }
            return one.is_some();
        }
        Ask::Hello(_) | Ask::Leave => return false,
    };
    flip(list, random)
}

fn flip_response(response: &mut Response, random: &mut Random) -> bool {
    let list = match &mut response.answer {
        Answer::Symbols(symbols) => &mut symbols.symbols,
        Answer::Ids(ids) => &mut ids.suffixes,
        Answer::Subtrees(subtrees) => &mut subtrees.subtrees,
        Answer::Bodies(bodies) => &mut bodies.bytes,
        Answer::Pushed(Pushed { appended, .. }) => {
            *appended ^= 1;
            return true;
        }
        Answer::Finished(finished) => {
            finished.set.count ^= 1;
            return true;
        }
        Answer::Welcome(_) | Answer::Left => return false,
    };
    flip(list, random)
}

fn flip(list: &mut [u8], random: &mut Random) -> bool {
    let place = usize::try_from(random.below(list.len() as u64)).unwrap();
    let Some(byte) = list.get_mut(place) else { return false };
    *byte ^= 1 << random.below(8);
    true
}

/// A session on whose way so many messages in a hundred are changed, and how many were.
fn session(
    seed: u64,
    percent: u64,
    secret: Option<&[u8]>,
    without: &[Layer],
) -> (Report, Store, Store, u64) {
    let (mut one, other) = stores(secret);
    let limits = Limits::default().restarts_max(100).tries_max(50);
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).without(without.to_vec());
    let mut random = Random(seed);
    let mut flipped = 0;
    let report = run_unsealed(&mut one, config, |mut request| {
        if random.chance(percent) {
            flipped += u64::from(flip_request(&mut request, &mut random));
        }
        let mut answers = peer.answer(request);
        for response in answers.iter_mut().flatten() {
            if random.chance(percent) {
                flipped += u64::from(flip_response(response, &mut random));
            }
        }
        answers
    });
    (report, one, peer.store, flipped)
}

#[test]
fn a_session_goes_on_and_nothing_that_was_changed_is_stored() {
    let (mut flips, mut garbled) = (0, 0);
    for seed in 0..200 {
        let secret = (seed % 2 == 0).then_some(&SECRET[..]);
        let without =
            if seed % 4 < 2 { &[][..] } else { &[Layer::Symbols, Layer::Cursor, Layer::Bulk] };
        let (report, one, other, flipped) = session(seed, 20, secret, without);
        assert_eq!(report.ending, Ending::Complete, "seed {seed}: {report:?}");
        assert!(report.equal, "seed {seed}");
        intact(&one);
        intact(&other);
        assert_eq!(one.tree.root(), other.tree.root(), "seed {seed}");
        (flips, garbled) = (flips + flipped, garbled + report.garbled);
    }
    assert!(flips > 200 && garbled > 100, "{flips} {garbled}");
}

/// Something on the way changes everything: the session ends, and the peer is not blamed.
#[test]
fn a_way_that_changes_everything_ends_the_session_without_blame() {
    for (secret, without) in [(None, &[][..]), (Some(&SECRET[..]), &[Layer::Symbols][..])] {
        let (report, one, other, _) = session(1, 100, secret, without);
        assert!(
            matches!(report.ending, Ending::Silent | Ending::Limit(_)),
            "an honest peer is blamed: {report:?}"
        );
        assert_eq!((one.bodies.len(), other.bodies.len()), (1000, 1010));
    }
}

/// Each bit of a push: the issue is a body that is stored as something else, for ever.
#[test]
fn no_bit_of_a_push_can_be_changed() {
    let (one, other) = stores(None);
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let opened = Opened::new(&mut peer, &one, config(&one, &limits)).unwrap();
    let mut bytes = Vec::new();
    bodies::write(b"a body", &mut bytes);
    let right = opened.request(2, Ask::Push(Push { part: 0, bytes: bytes.clone(), last: true }));
    for bit in 0..bytes.len() * 8 {
        let mut wrong = right.clone();
        if let Ask::Push(push) = &mut wrong.ask
            && let Some(byte) = push.bytes.get_mut(bit / 8)
        {
            *byte ^= 1 << (bit % 8);
        }
        assert_eq!(peer.answer(wrong), [Err(Refusal::Token)], "{bit}");
    }
    assert_eq!(peer.store.bodies.len(), 1010);
    assert!(matches!(peer.answer(right)[..], [Ok(_)]));
    assert_eq!(peer.store.bodies.len(), 1011);
}

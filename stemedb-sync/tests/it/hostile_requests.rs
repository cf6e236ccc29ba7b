//! Requests that no session makes: each is refused, and nothing of it stays.

use crate::{
    hostile::stores,
    model::{Opened, Peer, config},
};
use stemedb_sync::{
    Limits,
    codec::prefixes::{self, Prefix},
    message::{Ask, AskIds, AskSymbols, Descend, Envelope, Fetch, Push, Refusal, Tail, Wanted},
    responder::RequestContext,
};

fn sessions(sessions_max: usize, sessions_per_peer_max: usize) -> Limits {
    Limits::default().sessions_max(sessions_max).sessions_per_peer_max(sessions_per_peer_max)
}

#[test]
fn hostile_requests_are_refused() {
    let (one, other) = stores();
    let limits = sessions(3, 2).ids_kept_max(2000);
    let mut peer = Peer::new(other, limits.clone());
    let open = |node: u8, seed: u8, peer: &mut Peer| {
        let mut config = config(&one, &limits).seed([seed; 32]);
        config.identity.node = [node; 16];
        Opened::new(peer, &one, config)
    };
    let opened = open(1, 1, &mut peer).unwrap();
    let ask = |peer: &mut Peer, ask: Ask| match &peer.answer(opened.request(2, ask))[0] {
        Ok(_) => None,
        Err(refusal) => Some(*refusal),
    };
    let prefixed = |prefixes| Ask::Fetch(Fetch { wanted: Wanted::Prefixes(prefixes) });
    let nodes = prefixes::write(&[Prefix::TOP]);
    for (hostile, refusal) in [
        (Ask::Symbols(AskSymbols { from: u32::MAX, count: u32::MAX }), Refusal::OverLimit),
        (Ask::Symbols(AskSymbols { from: 0, count: 0 }), Refusal::Malformed),
        (Ask::Ids(AskIds { prefixes: vec![1; 9] }), Refusal::Malformed),
        (Ask::Ids(AskIds { prefixes: vec![1; 8] }), Refusal::Unknown),
        (Ask::Ids(AskIds { prefixes: vec![1; 16] }), Refusal::Malformed),
        (Ask::Descend(Descend { nodes: vec![], levels: 1, leaf_ids: 1 }), Refusal::Malformed),
        (
            Ask::Descend(Descend { nodes: vec![0xff; 9], levels: 1, leaf_ids: 1 }),
            Refusal::Malformed,
        ),
        (
            Ask::Descend(Descend { nodes: nodes.clone(), levels: 0, leaf_ids: 1 }),
            Refusal::Malformed,
        ),
        (
            Ask::Descend(Descend { nodes: nodes.clone(), levels: 9, leaf_ids: 1 }),
            Refusal::Malformed,
        ),
        (prefixed(vec![1; 8]), Refusal::Unknown),
        (prefixed(vec![1; 16]), Refusal::Malformed),
        (prefixed(vec![1; 9]), Refusal::Malformed),
        (prefixed(vec![]), Refusal::Malformed),
        (Ask::Fetch(Fetch { wanted: Wanted::Ids(vec![]) }), Refusal::Malformed),
        (Ask::Fetch(Fetch { wanted: Wanted::Ids(vec![0; 33]) }), Refusal::Malformed),
        (Ask::Tail(Tail { from: u64::MAX, count: u64::MAX }), Refusal::Unknown),
        (Ask::Tail(Tail { from: 0, count: 0 }), Refusal::Malformed),
        (
            Ask::Push(Push { part: 0, bytes: vec![0; limits.part_len_max + 1], last: false }),
            Refusal::TooLarge,
        ),
        (Ask::Push(Push { part: 0, bytes: vec![0xff; 10], last: true }), Refusal::Malformed),
        (Ask::Push(Push { part: 0, bytes: vec![5, 1], last: true }), Refusal::Malformed),
    ] {
        assert_eq!(ask(&mut peer, hostile.clone()), Some(refusal), "{hostile:?}");
    }
    let whole = Ask::Descend(Descend { nodes, levels: 8, leaf_ids: u32::MAX });
    assert_eq!(ask(&mut peer, whole), None, "more than is granted is not refused");
    // Another MAC, another snapshot, another session.
    let ask = Ask::Symbols(AskSymbols { from: 0, count: 1 });
    let mut wrong = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = opened.envelope;
        change(&mut envelope);
        peer.answer(opened.sealed(envelope, ask.clone()))[0].clone().err()
    };
    assert_eq!(wrong(&|envelope| envelope.snapshot += 1), Some(Refusal::SnapshotGone));
    assert_eq!(wrong(&|envelope| envelope.session[0] ^= 1), Some(Refusal::SnapshotGone));
    let mut changed = opened.request(2, ask.clone());
    changed.envelope.mac[0] ^= 1;
    assert_eq!(peer.answer(changed), [Err(Refusal::Token)]);
    // As many sessions as there may be.
    for seed in 2..20 {
        open(1, seed, &mut peer).unwrap();
    }
    assert_eq!(peer.responder.sessions(), 2, "those of one peer give way to its own");
    let refused = (20..40).filter_map(|n| open(n, n, &mut peer).err()).collect::<Vec<_>>();
    assert!(refused.iter().all(|refusal| *refusal == Refusal::Busy) && !refused.is_empty());
    // They do not last for ever.
    peer.now = limits.idle_time_max * 2;
    assert!(open(50, 50, &mut peer).is_ok());
    assert_eq!(peer.responder.sessions(), 1);
    let context = RequestContext { now: peer.now, time: 0, nonce: [1; 16], from: peer.from };
    let late = peer.responder.answer(opened.request(2, ask), &peer.store, context);
    assert!(matches!(late, Err(Refusal::SnapshotGone)));
}

//! Sessions that end early: the peer is told, so that it lets go of them at once.

use crate::model::{Opened, Peer, Store, config, run, run_for};
use stemedb_sync::{
    Config, Direction, Ending, Limits, Output, Session,
    message::{Answer, Ask, AskSymbols, Envelope, Finish, Kind, Refusal, Response},
    report::Layer,
};

fn body(n: u64) -> Vec<u8> {
    format!("body {n}").into_bytes()
}

fn stores() -> (Store, Store) {
    let (mut one, mut other) = (Store::new(1, None, 256), Store::new(2, None, 256));
    one.append((0..300).map(body).collect());
    other.append((0..280).chain(500..530).map(body).collect());
    (one, other)
}

/// Calls a session off after so many steps. Gives how it ended, and how many sessions are left open
/// at the peer, which may be deaf to being left.
fn call_off(steps: u64, without: &[Layer], direction: Direction, deaf: bool) -> (Ending, usize) {
    let (mut one, other) = stores();
    let limits = Limits::default().part_len_max(50).answer_len_aim(100);
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits).without(without.to_vec()).direction(direction);
    let report = run_for(&mut one, config, steps, |request| match request.ask {
        Ask::Leave if deaf => Vec::new(),
        _ => peer.answer(request),
    });
    (report.ending, peer.responder.sessions())
}

#[test]
fn a_session_called_off_at_any_step_leaves_nothing_open() {
    let mut called_off = 0;
    for (without, direction) in
        [(&[][..], Direction::Both), (&[Layer::Symbols], Direction::Pull), (&[], Direction::Push)]
    {
        for steps in 0..1000 {
            let (ending, open) = call_off(steps, without, direction, false);
            assert_eq!(open, 0, "after {steps} steps, {ending:?}");
            if ending == Ending::Complete {
                break;
            }
            assert_eq!(ending, Ending::Cancelled);
            called_off += 1;
        }
    }
    assert!(called_off > 30, "{called_off}");
}

/// A negative control, and the promise that nobody waits for ever.
#[test]
fn a_peer_that_is_deaf_to_it_is_not_waited_for() {
    assert_eq!(call_off(8, &[], Direction::Both, true), (Ending::Cancelled, 1));
}

/// The answer to the first message is still under way when the session is called off.
#[test]
fn a_session_that_opens_too_late_is_left_at_once() {
    let (one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let now = std::time::Duration::ZERO;
    let mut session = Session::new(config(&one, &limits), one.now(), 1 << 40, now);
    let Some(Output::Send(hello)) = session.next(now) else { panic!() };
    let welcome = peer.answer(hello).remove(0).unwrap();
    session.cancel(now);
    assert!(session.next(now).is_none() && session.is_ending());
    assert_eq!(session.due(), Some(limits.leave_time_max));
    session.receive(welcome, 1, now);
    let Some(Output::Send(leave)) = session.next(now) else { panic!() };
    assert_eq!(peer.responder.sessions(), 1);
    let left = peer.answer(leave).remove(0).unwrap();
    assert_eq!(peer.responder.sessions(), 0);
    session.receive(left, 1, now);
    let Some(Output::Done(report)) = session.next(now) else { panic!() };
    assert_eq!(report.ending, Ending::Cancelled);
    assert_eq!(report.traffic_of(Kind::Leave).received, 1);
}

#[test]
fn a_session_that_nobody_was_asked_for_ends_at_once() {
    let (one, _) = stores();
    let now = std::time::Duration::ZERO;
    let mut session = Session::new(config(&one, &Limits::default()), one.now(), 1 << 40, now);
    session.cancel(now);
    assert!(matches!(session.next(now), Some(Output::Done(_))));
}

/// Opens a session by hand.
fn open(peer: &mut Peer, store: &Store, config: Config) -> Result<Opened, Refusal> {
    Opened::new(peer, store, config)
}

#[test]
fn leaving_takes_the_key_can_be_repeated_and_is_for_good() {
    let (one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    let opened = open(&mut peer, &one, config.clone()).unwrap();
    let mut ask = |request| peer.answer(request).remove(0);
    let symbols = || opened.request(2, Ask::Symbols(AskSymbols { from: 0, count: 1 }));
    let leave = || opened.request(2, Ask::Leave);
    let mut stranger = leave();
    stranger.envelope.mac = [1; 16];
    let left = Response { echo: opened.envelope.echo(), answer: Answer::Left };
    let left = Ok(opened.key.seal_response(left));

    assert_eq!(ask(stranger.clone()), Err(Refusal::Token));
    ask(symbols()).unwrap();
    assert_eq!(ask(leave()), left);
    assert_eq!(ask(leave()), left);
    assert_eq!(ask(stranger), Err(Refusal::Token));
    assert_eq!(ask(symbols()), Err(Refusal::SnapshotGone));
    let finish = opened.request(2, Ask::Finish(Finish { set: None, now: None }));
    assert_eq!(ask(finish), Err(Refusal::SnapshotGone));
    // One that nobody knows is left already.
    let unknown = Envelope { session: [9; 16], ..opened.envelope };
    let answer = Answer::Left;
    let there = Ok(Response { echo: unknown.echo(), answer });
    assert_eq!(ask(opened.sealed(unknown, Ask::Leave)), there);
    // The first message, come once more, opens nothing.
    assert_eq!(open(&mut peer, &one, config).err(), Some(Refusal::SnapshotGone));
    assert_eq!(peer.responder.sessions(), 0);
}

/// Two sessions from one seed have the same id: the second is told so, and takes another.
#[test]
fn an_id_that_is_taken_is_not_shared() {
    let (mut one, other) = stores();
    let limits = Limits::default();
    let mut peer = Peer::new(other, limits.clone());
    let config = config(&one, &limits);
    open(&mut peer, &one, config.clone()).unwrap();
    one.write(b"so that the two differ");
    assert_eq!(open(&mut peer, &one, config.clone()).err(), Some(Refusal::Taken));
    let report = run(&mut one, config, |request| peer.answer(request));
    assert_eq!((report.ending, report.restarts), (Ending::Complete, 1));
    assert_eq!(peer.responder.sessions(), 1, "the other one is as it was");
}

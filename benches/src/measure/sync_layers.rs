//! The ways to find out what differs that the usual measure does not come by.

use std::cell::RefCell;
use std::rc::Rc;

use stemedb_sync::Limits;
use stemedb_sync::report::{Layer, PeerCursor};

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role, Sample};
use crate::measure::sync_find::{IDS, find, rounds_of};
use crate::ours::session::{Cpu, Plan, hold};
use crate::ours::side::{self, Side};
use crate::setting::Setting;

/// A peer that went on while this one stood still.
pub(crate) fn cursor(setting: &Setting) -> Result<Contest, Failure> {
    const BEHIND: u64 = 10_000;
    let ids = Rc::new(body::ids(0, setting.records(IDS)));
    let round = RefCell::new(0);
    let mut contest = Contest::new(3);
    contest.add("stemedb-sync", Role::Ours, move || {
        *round.borrow_mut() += 1;
        let first = *round.borrow() << 40;
        fell_behind(&ids, &(first..first + BEHIND).collect::<Vec<_>>())
    });
    let asked = "under 10 B a body beyond the bodies";
    contest.goal(asked, "stemedb-sync", "B a body beyond it", Bar::AtMost(10.0));
    contest.goal("1 round", "stemedb-sync", "rounds", Bar::AtMost(1.0));
    contest.note(
        "Two stores of 1 M ids; one then takes 10,000 bodies of 256 B, the other knows how far \
         it had read that log. All messages both ways are counted, the end of the session too.",
    );
    Ok(contest)
}

fn fell_behind(ids: &[[u8; 32]], numbers: &[u64]) -> Result<Sample, Failure> {
    let (mut one, mut other) = (Side::new(1, ids)?, Side::new(2, ids)?);
    other.append(ids, numbers)?;
    let before = other.log_before().ok_or("there was no log before")?;
    let cursor = PeerCursor {
        node: other.identity.node,
        epoch: other.identity.epoch,
        size: before.size.0,
        root: before.root,
    };
    let plan = Plan { cursor: Some(cursor), ..Plan::default() };
    let mut cpu = Cpu::default();
    let held = hold(&mut one, &mut other, &plan, &mut cpu)?;
    let used: Vec<Layer> = held.report.layers.iter().map(|step| step.layer).collect();
    if held.report.fetched != numbers.len() as u64 || used != [Layer::Root, Layer::Cursor] {
        return Err(format!("the session took another way: {used:?}").into());
    }
    let bodies = side::LEN * numbers.len() as u64;
    Ok(vec![
        ("B a body beyond it", (held.bytes - bodies) as f64 / numbers.len() as f64),
        ("rounds", held.report.rounds as f64),
        ("ms CPU, initiator", cpu.initiator.as_secs_f64() * 1e3),
        ("ms CPU, responder", cpu.responder.as_secs_f64() * 1e3),
    ])
}

/// The set trees alone.
pub(crate) fn descent(setting: &Setting) -> Result<Contest, Failure> {
    let union = setting.records(IDS);
    let mut contest = Contest::new(5);
    for (name, by, levels) in [
        ("d = 100", 100, 2),
        ("d = 100, three levels a round", 100, 3),
        ("d = 100, four levels a round", 100, 4),
        ("d = 10,000", setting.records(10_000), 2),
    ] {
        let mut sets = rounds_of(union, by);
        let limits = Limits::default().levels(levels);
        let plan = Plan { limits, without: vec![Layer::Symbols], ..Plan::default() };
        let sessions = if by > 1_000 { 1 } else { 5 };
        contest.add(name, Role::Ours, move || find(&sets(), &plan, sessions));
    }
    contest.goal("d = 100: under 105 KB", "d = 100", "B both ways", Bar::AtMost(105e3));
    contest.goal("d = 100: at most 13 rounds", "d = 100", "rounds", Bar::AtMost(13.0));
    let three = "d = 100, three levels a round";
    contest.goal("d = 100: under 170 KB", three, "B both ways", Bar::AtMost(170e3));
    contest.goal("d = 100: at most 7 rounds", three, "rounds", Bar::AtMost(7.0));
    contest.goal("d = 10,000: under 6 MB", "d = 10,000", "B both ways", Bar::AtMost(6e6));
    contest.goal("d = 10,000: at most 13 rounds", "d = 10,000", "rounds", Bar::AtMost(13.0));
    contest.note(
        "Without coded symbols, counted as above. The limit `levels` is 2 unless said otherwise; \
         dense rounds take more of their own accord.",
    );
    Ok(contest)
}

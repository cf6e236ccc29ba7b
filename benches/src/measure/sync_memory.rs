//! The heap that a session takes beside the set.

use std::cell::RefCell;
use std::rc::Rc;

use stemedb_sync::report::Layer;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role, Sample};
use crate::ours::session::{Heap, Plan, hold};
use crate::ours::side::Side;
use crate::setting::{LARGE, Setting};

/// Of 10 M ids, made when they are first needed.
type Sides = Option<(Side, Side)>;

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let sides: Rc<RefCell<Sides>> = Rc::default();
    let numbers = Rc::new(RefCell::new(1_u64 << 52));
    let mut contest = Contest::new(1);
    let descent = || vec![Layer::Symbols];
    for (name, asked, by, without) in [
        ("d = 10,000", "d = 10,000: under 64 MB", 10_000, vec![]),
        ("d = 100,000", "d = 100,000: under 64 MB", 100_000, vec![]),
        ("d = 180,000", "d = 180,000: under 64 MB", 180_000, vec![]),
        ("d = 10,000, descent alone", "descent, 10,000: under 64 MB", 10_000, descent()),
        ("d = 100,000, descent alone", "descent, 100,000: under 64 MB", 100_000, descent()),
    ] {
        let (sides, numbers, setting) = (Rc::clone(&sides), Rc::clone(&numbers), setting.clone());
        contest.add(name, Role::Ours, move || {
            let mut sides = sides.borrow_mut();
            let (one, other) = match sides.as_mut() {
                Some(sides) => sides,
                None => sides.insert(of(setting.records(LARGE))?),
            };
            let by = setting.records(by);
            differ(one, other, by, &mut numbers.borrow_mut(), without.clone())
        });
        contest.goal(asked, name, "MB, initiator", Bar::AtMost(64.0));
        contest.goal(asked, name, "MB, responder", Bar::AtMost(64.0));
    }
    contest.note(
        "The most that the heap grew by in the calls of each side, counted by the benchmark's \
         allocator as above; a message counts on both sides. Whole sessions, with bodies of 256 B \
         both ways. The set and the sketch that a store has anyway are not in it, the copy of \
         the sketch that a session takes is. Nothing is random here, so one round is enough.",
    );
    Ok(contest)
}

fn of(ids: u64) -> Result<(Side, Side), Failure> {
    let ids = body::ids(0, ids);
    Ok((Side::new(1, &ids)?, Side::new(2, &ids)?))
}

/// Lets two equal sides differ, measures a session, and makes them equal again.
fn differ(
    one: &mut Side,
    other: &mut Side,
    by: u64,
    numbers: &mut u64,
    without: Vec<Layer>,
) -> Result<Sample, Failure> {
    let mut grow = |side: &mut Side| {
        let ids: Vec<_> = (*numbers..*numbers + by / 2).map(|number| side.know(number)).collect();
        *numbers += by / 2;
        side.insert(&ids)
    };
    grow(one)?;
    grow(other)?;
    let plan = Plan { without, ..Plan::default() };
    let mut heap = Heap::new();
    // Both are equal again then, for the next.
    let report = hold(one, other, &plan, &mut heap)?.report;
    if [report.fetched, report.pushed] != [by / 2; 2] || !report.equal {
        return Err("the session did not move all bodies".into());
    }
    Ok(vec![
        ("MB, initiator", heap.initiator.most() as f64 / 1e6),
        ("MB, responder", heap.responder.most() as f64 / 1e6),
    ])
}

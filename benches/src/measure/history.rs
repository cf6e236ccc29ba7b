//! The history tree alone, in memory.

use std::rc::Rc;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role};
use crate::limit::hash;
use crate::ours;
use crate::peer::ct;
use crate::setting::Setting;

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let count = setting.records(1_000_000);
    let ids = Rc::new(body::ids(0, count));
    let picks = Rc::new(body::picks(1, 50_000, count));
    let mut contest = Contest::new(5);
    {
        let (ids, picks) = (Rc::clone(&ids), Rc::clone(&picks));
        contest.add("stemedb-merkle", Role::Ours, move || ours::history::run(&ids, &picks));
    }
    contest.add("ct-merkle", Role::Peer, move || ct::history(&ids, &picks));
    contest.add("three blocks of SHA-256", Role::Limit, hash::history_entry);
    contest.goal("append: under 300 ns", "stemedb-merkle", "ns append", Bar::AtMost(300.0));
    contest.goal(
        "inclusion proof: under 1.5 µs",
        "stemedb-merkle",
        "ns inclusion proof",
        Bar::AtMost(1500.0),
    );
    Ok(contest)
}

//! Reads at random places.

use std::rc::Rc;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role};
use crate::limit::raw_file;
use crate::ours;
use crate::peer::raft;
use crate::setting::{LARGE, Setting};

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let records = setting.records(LARGE);
    let picks = Rc::new(body::picks(2, setting.records(1_000_000) as usize, records));
    let mut contest = Contest::new(5);
    {
        let large = Rc::new(ours::large::Reads::open(setting)?);
        for (name, verify) in [("stemedb, checksums", false), ("stemedb, ids verified", true)] {
            let (large, picks) = (Rc::clone(&large), Rc::clone(&picks));
            contest.add(name, Role::Ours, move || large.run(&picks, verify));
        }
    }
    let dir = setting.prepared("raw", |dir| raw_file::fill(dir, records))?;
    let reads = Rc::clone(&picks);
    contest.add("raw pread", Role::Limit, move || raw_file::random_reads(&dir, &reads));
    let dir = setting.prepared("raft-singles", |dir| raft::fill(dir, records, 1).map(drop))?;
    contest.add("raft-engine, get_entry", Role::Peer, move || raft::random_reads(&dir, &picks));
    contest.goal(
        "at least 800,000 bodies/s without id check",
        "stemedb, checksums",
        "bodies/s",
        Bar::AtLeast(8e5),
    );
    contest.goal("500,000 with it", "stemedb, ids verified", "bodies/s", Bar::AtLeast(5e5));
    contest.note("okaywal opens a file for each read and is left out.");
    Ok(contest)
}

//! Reads at random places.

use std::rc::Rc;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role};
use crate::limit::raw_file;
use crate::ours::large::{Ask, Reads};
use crate::peer::raft;
use crate::setting::{LARGE, Setting};

/// Adds what reads `reads` in some way: its name, how, whether ids are checked, and whether files
/// are mapped.
fn add(contest: &mut Contest, reads: &Rc<Reads>, ways: &[(&'static str, Ask, bool, bool)]) {
    for &(name, ask, verify, map_files) in ways {
        let reads = Rc::clone(reads);
        contest.add(name, Role::Ours, move || reads.run(ask, verify, map_files));
    }
}

fn picks(setting: &Setting) -> Vec<u64> {
    body::picks(2, setting.records(1_000_000) as usize, setting.records(LARGE))
}

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let records = setting.records(LARGE);
    let picks = Rc::new(picks(setting));
    let mut contest = Contest::new(5);
    let reads = Rc::new(Reads::open(setting, picks.to_vec())?);
    add(
        &mut contest,
        &reads,
        &[
            ("by position, checksums", Ask::Position, false, true),
            ("by position, ids verified", Ask::Position, true, true),
            ("get(id), checksums", Ask::Id, false, true),
            ("get(id), ids verified", Ask::Id, true, true),
            ("get_many, checksums", Ask::Many, false, true),
            ("get_many, ids verified", Ask::Many, true, true),
            ("get(id), ids verified, files not mapped", Ask::Id, true, false),
        ],
    );
    let dir = setting.prepared("raw", |dir| raw_file::fill(dir, records))?;
    let (mapped, raw) = (dir.clone(), Rc::clone(&picks));
    contest.add("raw pread", Role::Limit, move || raw_file::random_reads(&dir, &raw));
    let raw = Rc::clone(&picks);
    contest.add("raw copy from a map", Role::Limit, move || raw_file::random_copies(&mapped, &raw));
    let dir = setting.prepared("raft-singles", |dir| raft::fill(dir, records, 1).map(drop))?;
    contest.add("raft-engine, get_entry", Role::Peer, move || raft::random_reads(&dir, &picks));
    for (asked, contender, rate) in [
        ("get(id): 1 M/s", "get(id), ids verified", 1e6),
        ("get_many: 2 M/s", "get_many, ids verified", 2e6),
        ("3 M/s without id check", "get_many, checksums", 3e6),
        ("by position: 500,000/s", "by position, ids verified", 5e5),
    ] {
        contest.goal(asked, contender, "bodies/s", Bar::AtLeast(rate));
    }
    contest.note("okaywal opens a file for each read and is left out.");
    Ok(contest)
}

pub(crate) fn short(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    let reads = Rc::new(Reads::open_short(setting, picks(setting))?);
    add(
        &mut contest,
        &reads,
        &[
            ("get(id), checksums", Ask::Id, false, true),
            ("get(id), ids verified", Ask::Id, true, true),
            ("get_many, ids verified", Ask::Many, true, true),
            ("get(id), ids verified, files not mapped", Ask::Id, true, false),
        ],
    );
    contest.goal("1.5 M/s", "get_many, ids verified", "bodies/s", Bar::AtLeast(1.5e6));
    Ok(contest)
}

//! Many records, one wait.

use std::rc::Rc;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role};
use crate::limit::raw_file;
use crate::ours;
use crate::peer::{raft, sqlite};
use crate::setting::Setting;

const RECORDS: u64 = 1_000_000;

pub(crate) fn into_empty(setting: &Setting) -> Result<Contest, Failure> {
    let records = setting.records(RECORDS);
    let arena = Rc::new(body::arena(0, records));
    let mut contest = Contest::new(5);
    {
        let (dir, bodies) = (setting.clone(), Rc::clone(&arena));
        contest.add("stemedb, append_batch", Role::Ours, move || {
            ours::store::bulk(&dir.fresh("ours")?, &bodies)
        });
    }
    let (dir, bodies) = (setting.clone(), Rc::clone(&arena));
    contest.add("raw write, one sync", Role::Limit, move || {
        raw_file::bulk(&dir.fresh("raw")?, &bodies)
    });
    let (dir, bodies) = (setting.clone(), Rc::clone(&arena));
    contest.add("SQLite, one transaction", Role::Peer, move || {
        sqlite::bulk(&dir.fresh("sqlite")?, &bodies)
    });
    let dir = setting.clone();
    contest.add("raft-engine, batches of 1,000 unsynced", Role::Peer, move || {
        raft::fill(&dir.fresh("raft")?, records, 1000)
    });
    contest.goal(
        "at least 1.2 M records/s into an empty store",
        "stemedb, append_batch",
        "records/s",
        Bar::AtLeast(1.2e6),
    );
    contest.note(
        "All sync once, at the end. Ours computes ids, set root and history root; SQLite keeps \
         bodies under row numbers, without an id or an index of them. The journal of \
         commonware-storage is not among the peers: it runs on a runtime of its own.",
    );
    Ok(contest)
}

pub(crate) fn into_large(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    {
        let records = setting.records(RECORDS);
        let mut grown = ours::large::Grown::copy_of(setting, true)?;
        contest.add("stemedb, append_batch", Role::Ours, move || grown.bulk(records));
    }
    let (dir, records) = (setting.clone(), setting.records(RECORDS));
    let arena = body::arena(1 << 50, records);
    contest.add("raw write, one sync", Role::Limit, move || {
        raw_file::bulk(&dir.fresh("raw")?, &arena)
    });
    contest.goal(
        "at least 400,000 records/s into a store of 10 M",
        "stemedb, append_batch",
        "records/s",
        Bar::AtLeast(4e5),
    );
    contest.note("The store grows by 1 M each round; it is a copy of the prepared one.");
    Ok(contest)
}

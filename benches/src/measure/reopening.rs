//! Opening what is there.

use crate::Failure;
use crate::contest::{Bar, Contest, Role};
use crate::limit::raw_file;
use crate::ours;
use crate::peer::raft;
use crate::setting::{LARGE, Setting};

pub(crate) fn without_checkpoint(setting: &Setting) -> Result<Contest, Failure> {
    let records = setting.records(LARGE);
    let mut contest = Contest::new(3);
    {
        let large = ours::large::prepared(setting)?;
        let dir = large.clone();
        contest.add("stemedb-wal, scan by checksum", Role::Ours, move || {
            ours::large::scan(&dir, records)
        });
        let dir = large.clone();
        contest.add("stemedb, both roots", Role::Ours, move || {
            ours::large::open_without_checkpoint(&dir, records)
        });
        contest.add("stemedb, both roots, ids verified", Role::Ours, move || {
            ours::large::open_verified(&large, records)
        });
    }
    let dir = setting.prepared("raw", |dir| raw_file::fill(dir, records))?;
    contest.add("raw read and CRC-32, one thread", Role::Limit, move || raw_file::scan(&dir));
    let dir = setting.prepared("raft", |dir| raft::fill(dir, records, 1000).map(drop))?;
    contest.add("raft-engine", Role::Peer, move || raft::reopen(&dir, records));
    contest.goal(
        "scan by checksum: under 1.5 s",
        "stemedb-wal, scan by checksum",
        "s",
        Bar::AtMost(1.5),
    );
    contest.goal("with both roots: under 6 s", "stemedb, both roots", "s", Bar::AtMost(6.0));
    contest.goal(
        "ids verified too: under 10 s",
        "stemedb, both roots, ids verified",
        "s",
        Bar::AtMost(10.0),
    );
    contest.note(
        "raft-engine reads headers and footers with 4 threads and neither bodies nor their \
         checksums; the first round of each fills the page cache, three give the median.",
    );
    Ok(contest)
}

pub(crate) fn with_checkpoint(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(7);
    {
        for (name, records) in [("10 M", LARGE), ("100,000", 100_000)] {
            let dir = ours::large::with_tail(setting, setting.records(records))?;
            contest.add(name, Role::Ours, move || ours::large::open(&dir));
        }
    }
    let records = setting.records(LARGE);
    let dir = setting.prepared("raft", |dir| raft::fill(dir, records, 1000).map(drop))?;
    contest.add("raft-engine, 10 M", Role::Peer, move || {
        Ok(vec![("ms", raft::reopen(&dir, records)?[0].1 * 1e3)])
    });
    contest.goal("10 M: under 100 ms", "10 M", "ms", Bar::AtMost(100.0));
    contest.goal(
        "at most twice the time at 100,000",
        "10 M",
        "ms",
        Bar::TimesAtMost(2.0, "100,000", "ms"),
    );
    Ok(contest)
}

//! Bytes on disk.

use crate::Failure;
use crate::contest::{Bar, Contest, Role};
use crate::ours;
use crate::peer::raft;
use crate::setting::{Setting, disk_bytes};

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let records = setting.records(1_000_000);
    let mut contest = Contest::new(1);
    {
        let dir = setting.clone();
        contest.add("stemedb", Role::Ours, move || {
            ours::store::disk_bytes(&dir.fresh("ours")?, records)
        });
    }
    let dir = setting.clone();
    contest.add("raft-engine", Role::Peer, move || {
        let dir = dir.fresh("raft")?;
        raft::fill(&dir, records, 1000)?;
        Ok(vec![("B/record in the log", disk_bytes(&dir)? as f64 / records as f64)])
    });
    contest.add("the body alone", Role::Limit, || Ok(vec![("B/record in the log", 256.0)]));
    contest.goal("at most 330 in the log", "stemedb", "B/record in the log", Bar::AtMost(330.0));
    contest.goal(
        "at most 430 with one checkpoint and the history",
        "stemedb",
        "B/record in all",
        Bar::AtMost(430.0),
    );
    contest.note(
        "After 1 M appended in bulk, closed: segments whole, the spare segment not counted. SQLite \
         and its figure stand under bulk append.",
    );
    Ok(contest)
}

//! Appends that wait until they are durable.

use crate::Failure;
use crate::contest::{Bar, Contest, Role};
use crate::limit::{group_commit, raw_file};
use crate::ours;
use crate::peer::{oka, raft};
use crate::setting::Setting;

pub(crate) fn single(setting: &Setting) -> Result<Contest, Failure> {
    let span = setting.span();
    let mut contest = Contest::new(7);
    {
        let dir = setting.clone();
        contest.add("stemedb, 64 tasks", Role::Ours, move || {
            ours::store::appenders(&dir.fresh("ours")?, span)
        });
    }
    let dir = setting.clone();
    contest.add("raw group commit, 64 tasks", Role::Limit, move || {
        group_commit::appenders(&dir.fresh("raw")?, span)
    });
    let dir = setting.clone();
    contest.add("raft-engine, 64 threads", Role::Peer, move || {
        raft::appenders(&dir.fresh("raft")?, span)
    });
    let dir = setting.clone();
    contest
        .add("okaywal, 64 threads", Role::Peer, move || oka::appenders(&dir.fresh("oka")?, span));
    let dir = setting.clone();
    contest.add("one raw write and sync", Role::Limit, move || {
        raw_file::single_syncs(&dir.fresh("sync")?, span / 2)
    });
    let dir = setting.clone();
    contest.add("one raw write and sync, file grows", Role::Limit, move || {
        raw_file::growing_syncs(&dir.fresh("grow")?, span / 4)
    });
    contest.goal(
        "at least 0.8 of a raw group commit",
        "stemedb, 64 tasks",
        "records/s",
        Bar::TimesAtLeast(0.8, "raw group commit, 64 tasks", "records/s"),
    );
    contest.goal(
        "at least 1.7 times raft-engine",
        "stemedb, 64 tasks",
        "records/s",
        Bar::TimesAtLeast(1.7, "raft-engine, 64 threads", "records/s"),
    );
    contest.goal(
        "p99 under 4 times a raw sync (its median)",
        "stemedb, 64 tasks",
        "p99 µs",
        Bar::TimesAtMost(4.0, "one raw write and sync", "p50 µs"),
    );
    contest.note(
        "The raw group commit is a queue, one writer thread and a file of written zeros; it writes \
         length, CRC-32 and body, and computes neither ids nor trees. raft-engine: one group a \
         thread, `sync = true`, compression off; prefilled files made it slower. okaywal: as it \
         comes; larger segments made it slower.",
    );
    Ok(contest)
}

pub(crate) fn batches(setting: &Setting) -> Result<Contest, Failure> {
    const BATCH: u64 = 64;
    let span = setting.span();
    let mut contest = Contest::new(7);
    {
        let dir = setting.clone();
        contest.add("stemedb, append_batch", Role::Ours, move || {
            ours::store::batches(&dir.fresh("ours")?, span, BATCH)
        });
    }
    let dir = setting.clone();
    contest.add("raw write and sync", Role::Limit, move || {
        raw_file::batches(&dir.fresh("raw")?, span, BATCH)
    });
    let dir = setting.clone();
    contest.add("okaywal", Role::Peer, move || oka::batches(&dir.fresh("oka")?, span, BATCH));
    let dir = setting.clone();
    contest.add("raft-engine", Role::Peer, move || raft::batches(&dir.fresh("raft")?, span, BATCH));
    contest.goal(
        "at least 0.7 of a raw write and sync of the same bytes",
        "stemedb, append_batch",
        "records/s",
        Bar::TimesAtLeast(0.7, "raw write and sync", "records/s"),
    );
    contest.note("Latencies are those of a whole batch.");
    Ok(contest)
}

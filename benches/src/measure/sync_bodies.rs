//! Moving bodies between two stores over loopback.

use stemedb::SyncOptions;
use stemedb::sync::Direction;
use stemedb::sync::report::Layer;

use crate::Failure;
use crate::contest::{Bar, Contest, Role, Sample};
use crate::limit::raw_file;
use crate::limit::stream::{self, Way};
use crate::ours::served::{self, Served};
use crate::setting::Setting;

pub(crate) fn short(setting: &Setting) -> Result<Contest, Failure> {
    contest(setting, setting.records(400_000), 256)
}

pub(crate) fn long(setting: &Setting) -> Result<Contest, Failure> {
    contest(setting, setting.records(64_000), 4096)
}

fn contest(setting: &Setting, bodies: u64, len: usize) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    for (name, how) in [
        ("stemedb, an empty store reads the log", How::Bulk),
        ("stemedb, fetched by id", How::Fetch),
        ("stemedb, pushed", How::Push),
    ] {
        let dir = setting.clone();
        contest.add(name, Role::Ours, move || moved(&dir, bodies, len, how));
    }
    let dir = setting.clone();
    contest.add("append_batch alone, 256 KiB at a time", Role::Limit, move || {
        served::append_alone(&dir.fresh("alone")?, bodies, len)
    });
    let (down, up) = ("bare stream, to the client", "bare stream, to the server");
    contest.add(down, Role::Limit, move || stream::frames(bodies, len, Way::ToClient));
    contest.add(up, Role::Limit, move || stream::frames(bodies, len, Way::ToServer));
    let dir = setting.clone();
    contest.add("raw writes of 1 MiB, each synced", Role::Limit, move || {
        raw_file::pieces(&dir.fresh("raw")?, bodies, len)
    });
    for (asked, name, stream) in [
        ("the log: at least 0.6 of a bare stream", "stemedb, an empty store reads the log", down),
        ("fetched: at least 0.6 of a bare stream", "stemedb, fetched by id", down),
        ("pushed: at least 0.6 of a bare stream", "stemedb, pushed", up),
    ] {
        contest.goal(asked, name, "MB/s", Bar::TimesAtLeast(0.6, stream, "MB/s"));
    }
    contest.note(
        "Both stores and both ends of the stream in one process, with a runtime each, on all \
         cores; bodies that don't compress, durable at the receiver when the session ends. \
         Fetching and pushing without the time to find out what differs. The bare stream has \
         frames of 256 KiB of the same message, the same windows, and nothing behind either end.",
    );
    Ok(contest)
}

/// How bodies get from one store to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Bulk,
    Fetch,
    Push,
}

fn moved(setting: &Setting, bodies: u64, len: usize, how: How) -> Result<Sample, Failure> {
    let dir = setting.fresh("sync")?;
    let (near, far) = (served::open(&dir.join("near"))?, served::open(&dir.join("far"))?);
    let full = if how == How::Push { &near } else { &far };
    served::fill(full, 0..bodies, len)?;
    crate::setting::settle();
    let served = Served::new(far)?;
    let runtime = served::runtime()?;
    let client = served::connect(&runtime, served.address)?;
    let (direction, without) = match how {
        How::Bulk => (Direction::Pull, vec![]),
        How::Fetch => (Direction::Pull, vec![Layer::Cursor, Layer::Bulk]),
        How::Push => (Direction::Push, vec![]),
    };
    let options = SyncOptions::default().direction(direction).without(without);
    let report = served::sync(&runtime, &near, &client, options)?;
    if report.fetched + report.pushed != bodies || near.len() != served.store.len() {
        return Err("not all bodies moved".into());
    }
    let times = report.times;
    // A log is read while it is found out what differs; that is nothing else then.
    let took = if how == How::Bulk { times.finding + times.moving } else { times.moving };
    drop((client, runtime));
    served.stop()?;
    Ok(served::rate(bodies, len, took.as_secs_f64()))
}

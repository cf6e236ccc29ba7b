//! What a session costs those who write beside it, and those who wait far away.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use stemedb::sync::Direction;
use stemedb::{Store, SyncOptions};

use crate::Failure;
use crate::body::{self, BODY_LEN};
use crate::contest::{Bar, Contest, Role, Sample};
use crate::latency::Latencies;
use crate::ours::served::{self, Served};
use crate::proxy::Proxy;
use crate::setting::{Setting, settle};

const DIFFERENT: u64 = 100_000;

/// Numbers of bodies that nobody else appends.
const OWN: u64 = 1 << 55;

/// Two stores that differ, made once: copies of them are used up.
fn prepared(setting: &Setting, ids: u64, by: u64) -> Result<std::path::PathBuf, Failure> {
    setting.prepared(&format!("sync-{ids}-{by}"), |dir| {
        for (name, first) in [("near", 1 << 51), ("far", 1 << 52)] {
            let store = Store::open(dir.join(name), stemedb::Options::default())?;
            served::fill(&store, (0..ids - by).chain(first..first + by / 2), BODY_LEN)?;
            store.checkpoint()?;
            store.close()?;
        }
        Ok(())
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Appends while a session runs.
pub(crate) fn appends(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    let (idle, busy) = ("no session", "a session of 100,000 differences");
    for (name, session) in [
        (idle, None),
        ("a session that only finds them", Some(Direction::Neither)),
        (busy, Some(Direction::Both)),
    ] {
        let setting = setting.clone();
        contest.add(name, Role::Ours, move || appends_beside(&setting, session));
    }
    contest.goal("p99 within 1.2 of idle", busy, "p99 µs", Bar::TimesAtMost(1.2, idle, "p99 µs"));
    contest.note(
        "A served store of 1 M bodies of 256 B, to which one thread appends a body each \
         millisecond, durably. The other store of the session is in the same process, and all \
         share the cores: half of the differences are fetched from the store, half are pushed into \
         it and made durable in the same log. The session that only finds \
         the differences moves nothing.",
    );
    Ok(contest)
}

fn appends_beside(setting: &Setting, session: Option<Direction>) -> Result<Sample, Failure> {
    let by = setting.records(DIFFERENT);
    let from = prepared(setting, setting.records(1_000_000), by)?;
    let dir = setting.fresh("beside")?;
    for name in ["near", "far"] {
        copy(&from.join(name), &dir.join(name))?;
    }
    settle();
    let (near, far) = (served::open(&dir.join("near"))?, served::open(&dir.join("far"))?);
    let served = Served::new(Arc::clone(&far))?;
    let runtime = served::runtime()?;
    let client = served::connect(&runtime, served.address)?;
    // Both know their coded symbols.
    let look = SyncOptions::default().direction(Direction::Neither);
    served::sync(&runtime, &near, &client, look)?;
    let over = Arc::new(AtomicBool::new(false));
    let appender = {
        let (store, over) = (Arc::clone(&far), Arc::clone(&over));
        std::thread::spawn(move || append_each_millisecond(&store, &over))
    };
    let mut sample = Vec::new();
    if let Some(direction) = session {
        let options = SyncOptions::default().direction(direction);
        let report = served::sync(&runtime, &near, &client, options)?;
        if report.only_mine != by / 2 || direction == Direction::Both && report.pushed != by / 2 {
            return Err("the session did not move all bodies".into());
        }
        sample.push(("s finding", report.times.finding.as_secs_f64()));
        sample.push(("s moving", report.times.moving.as_secs_f64()));
    } else {
        std::thread::sleep(setting.span());
    }
    over.store(true, Relaxed);
    let mut latencies = appender.join().map_err(|_| "the appender panicked")??;
    let [p50, p99, max] = latencies.quantiles([0.5, 0.99, 1.0]);
    sample.extend([("p50 µs", p50 / 1e3), ("p99 µs", p99 / 1e3), ("max µs", max / 1e3)]);
    sample.push(("appends", latencies.len() as f64));
    drop((client, runtime, near, far));
    served.stop()?;
    Ok(sample)
}

fn append_each_millisecond(store: &Store, over: &AtomicBool) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::with_capacity(1 << 16);
    let mut due = Instant::now();
    for number in OWN.. {
        if over.load(Relaxed) {
            break;
        }
        due += Duration::from_millis(1);
        if let Some(pause) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(pause);
        } else {
            // Late: the next one is due from now on.
            due = Instant::now();
        }
        let body = body::body(number);
        let before = Instant::now();
        store.append(&body)?;
        latencies.push(before.elapsed());
    }
    Ok(latencies)
}

/// How long a session looks over a slow link.
pub(crate) fn far_away(setting: &Setting) -> Result<Contest, Failure> {
    const DELAY: Duration = Duration::from_millis(50);
    let by = 100;
    let mut contest = Contest::new(5);
    let from = prepared(setting, setting.records(200_000), by)?;
    let (near, far) = (from.join("near"), from.join("far"));
    let (near, far) = (served::open(&near)?, served::open(&far)?);
    let served = Served::new(far)?;
    let proxy = Proxy::new(served.address, DELAY)?;
    let runtime = served::runtime()?;
    let client = served::connect(&runtime, proxy.address())?;
    contest.add("stemedb, d = 100", Role::Ours, move || {
        let _kept = (&proxy, &served);
        let look = SyncOptions::default().direction(Direction::Neither);
        let report = served::sync(&runtime, &near, &client, look)?;
        if report.only_mine + report.only_theirs != by {
            return Err("the session did not find all differences".into());
        }
        Ok(vec![
            ("ms to find them", report.times.finding.as_secs_f64() * 1e3),
            ("rounds", report.rounds as f64),
        ])
    });
    contest.goal(
        "found in under 350 ms",
        "stemedb, d = 100",
        "ms to find them",
        Bar::AtMost(350.0),
    );
    contest.note(
        "Client and server over a connection that delays everything by 50 ms each way. The \
         connection is there already; nothing is moved.",
    );
    Ok(contest)
}

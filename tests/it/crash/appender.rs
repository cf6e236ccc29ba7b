//! A process that appends under load until something ends it, and what must hold of what it leaves.
//!
//! The process is the test binary that this is a part of, started again: four threads append, alone
//! and in batches, another writes restart checkpoints, and a line `index id` goes out for each
//! append once it is acknowledged.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stemedb::{AssertionId, Depth, LogIndex, Options, Store};
use stemedb_merkle::history::{MemoryHistory, leaf_hash};

use crate::reference::{
    random::{noise, number_from_env},
    set_tree::{HASHES, SetTree},
};

/// Names the directory to the process.
const DIR_VARIABLE: &str = "STEMEDB_CRASH_DIR";
/// Numbers the process: no two that append to one store share a number.
const ROUND_VARIABLE: &str = "STEMEDB_CRASH_ROUND";

pub(crate) fn options() -> Options {
    Options::default().segment_len(256 << 10).checkpoint_every(2000)
}

/// What the process does until it is ended. As a test of its own it does nothing.
#[test]
fn appends_until_it_is_ended() {
    let Ok(dir) = std::env::var(DIR_VARIABLE) else { return };
    let round = number_from_env(ROUND_VARIABLE).unwrap();
    let store = Store::open(dir, options()).unwrap();
    let number = AtomicU64::new(round << 32);
    let next = || {
        let number = number.fetch_add(1, Ordering::Relaxed);
        noise(number, 20 + (number % 300) as usize)
    };
    let tell = |receipts: &[stemedb::Receipt]| {
        let mut lines = String::new();
        for receipt in receipts {
            writeln!(lines, "{} {}", receipt.index, receipt.id).unwrap();
        }
        // One write: a kill cuts no line.
        std::io::stdout().lock().write_all(lines.as_bytes()).unwrap();
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, next, tell) = (&store, &next, &tell);
            scope.spawn(move || {
                loop {
                    if thread == 0 {
                        tell(&store.append_batch((0..20).map(|_| next())).unwrap());
                    } else {
                        tell(&[store.append(&next()).unwrap()]);
                    }
                }
            });
        }
        loop {
            std::thread::sleep(Duration::from_millis(23));
            store.checkpoint().unwrap();
        }
    });
}

/// The process, to be spawned. `before` comes before it, as `strace` does.
pub(crate) fn command(dir: &Path, round: u64, before: &[&str]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match before {
        [] => Command::new(this),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(this);
            command
        }
    };
    command
        .args(["--exact", "crash::appender::appends_until_it_is_ended", "--nocapture", "--quiet"])
        .env(DIR_VARIABLE, dir)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What the process acknowledges, as it comes.
pub(crate) fn acknowledgements(stdout: ChildStdout) -> impl Iterator<Item = (u64, AssertionId)> {
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    lines.filter_map(|line| {
        let (index, id) = line.split_once(' ')?;
        Some((index.parse().ok()?, id.parse().ok()?))
    })
}

/// Everything acknowledged from `from` on is there, with the body that its id is the hash of.
pub(crate) fn check(
    store: &Store,
    acknowledged: &BTreeMap<u64, AssertionId>,
    from: u64,
) -> Result<(), String> {
    for (index, id) in acknowledged.range(from..) {
        let found = store.get_index(LogIndex(*index)).map_err(|error| error.to_string())?;
        let Some((entry, body)) = found else {
            return Err(format!("entry {index} was acknowledged and is gone"));
        };
        if entry.id != *id || blake3::hash(&body) != id.0 {
            return Err(format!("entry {index} is another"));
        }
    }
    Ok(())
}

/// The roots are those of a reference made from the entries, and a deep check finds nothing.
pub(crate) fn check_whole(store: &Store) {
    let mut ids = Vec::new();
    let mut history = MemoryHistory::new();
    for entry in store {
        let entry = entry.unwrap();
        history.append(leaf_hash(entry.time, &entry.id.0));
        ids.push(entry.id.0);
    }
    let head = store.head().unwrap();
    assert_eq!(head.log_root, history.root());
    let set = SetTree::new(ids, HASHES);
    assert_eq!((head.count, head.set_root), (set.ids.len() as u64, set.root()));
    let report = store.check(Depth::Deep, &mut |_| {}).unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

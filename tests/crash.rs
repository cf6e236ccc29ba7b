//! A process that appends under load is killed with SIGKILL at random moments, again and again, on
//! one store that keeps growing.
//!
//! The process is this test binary, started anew: four threads append, alone and in batches,
//! another writes restart checkpoints, and a line `index id` goes out for each append once it is
//! acknowledged. After each kill the store is opened, and everything that was ever acknowledged
//! must be there. At the end the roots must be those of a reference made from the entries.
//!
//! By default 50 kills: `STEMEDB_KILLS=1000 cargo test --release --test crash` for more.
//! `STEMEDB_SEED` picks other moments.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "reference/random.rs"]
mod random;
#[path = "../stemedb-merkle/tests/reference/set_tree.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod set_tree;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use random::{Random, first_seed, noise, number_from_env};
use set_tree::{HASHES, SetTree};
use stemedb::{AssertionId, Depth, Options, Store};
use stemedb_merkle::history::{MemoryHistory, leaf_hash};

/// Names the directory to the process that is to be killed.
const DIR_VARIABLE: &str = "STEMEDB_CRASH_DIR";
const ROUND_VARIABLE: &str = "STEMEDB_CRASH_ROUND";

fn options() -> Options {
    Options { segment_len: 256 << 10, checkpoint_every: 2000, ..Options::default() }
}

/// What the process does until it is killed. As a test of its own it does nothing.
#[test]
fn appends_until_it_is_killed() {
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

/// Runs the process for a while and kills it. Whether it appended.
fn run_and_kill(
    dir: &Path,
    round: u64,
    time: Duration,
    acknowledged: &mut BTreeMap<u64, AssertionId>,
) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "appends_until_it_is_killed", "--nocapture", "--quiet"])
        .env(DIR_VARIABLE, dir)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map(Result::unwrap);
        lines
            .filter_map(|line| {
                let (index, id) = line.split_once(' ')?;
                Some((index.parse().ok()?, id.parse().ok()?))
            })
            .collect::<Vec<(u64, AssertionId)>>()
    });
    std::thread::sleep(time);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    // It must have been the kill that ended it.
    assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = reader.join().unwrap();
    let any = !lines.is_empty();
    for (index, id) in lines {
        assert_eq!(acknowledged.insert(index, id), None, "entry {index} acknowledged twice");
    }
    any
}

/// Everything acknowledged from `from` on is there, with the body that its id is the hash of.
fn check(
    store: &Store,
    acknowledged: &BTreeMap<u64, AssertionId>,
    from: u64,
) -> Result<(), String> {
    for (index, id) in acknowledged.range(from..) {
        let found = store.get_index(*index).map_err(|error| error.to_string())?;
        let Some((entry, body)) = found else {
            return Err(format!("entry {index} was acknowledged and is gone"));
        };
        if entry.id != *id || blake3::hash(&body) != id.0 {
            return Err(format!("entry {index} is another"));
        }
    }
    Ok(())
}

fn check_whole(store: &Store) {
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

#[test]
fn no_kill_loses_what_was_acknowledged() {
    let kills = number_from_env("STEMEDB_KILLS").unwrap_or(50);
    let seed = first_seed(1);
    let mut random = Random::new(seed);
    // The seed is all that there is to say about a failure, and the store is kept.
    let dir: PathBuf = tempfile::Builder::new().prefix("crash-").tempdir().unwrap().keep();
    let context = format!("STEMEDB_SEED={seed}, store kept in {}", dir.display());
    let mut acknowledged = BTreeMap::new();
    let (mut busy, mut torn, mut checked) = (0, 0, 0);
    for round in 0..kills {
        // Opening takes a few milliseconds: some are killed in the middle of it.
        let time = Duration::from_micros(2000 + random.below(300_000));
        busy += u64::from(run_and_kill(&dir, round, time, &mut acknowledged));
        if random.one_in(4) {
            // The next one finds what this one left, and is killed in its turn.
            continue;
        }
        let store = Store::open(&dir, options())
            .unwrap_or_else(|error| panic!("{context}, kill {round}: {error}"));
        let report = store.open_report();
        assert!(!report.checkpoint_set_aside, "{context}, kill {round}: {report}");
        torn += u64::from(!report.remarks.is_empty());
        // What is older was checked before; all of it now and then.
        let from = if round % 8 == 7 { 0 } else { checked };
        check(&store, &acknowledged, from)
            .unwrap_or_else(|error| panic!("{context}, kill {round}: {error}"));
        checked = acknowledged.last_key_value().map_or(0, |(last, _)| last + 1);
        store.close().unwrap();
    }
    let store = Store::open(&dir, options()).unwrap();
    check(&store, &acknowledged, 0).unwrap_or_else(|error| panic!("{context}: {error}"));
    check_whole(&store);
    println!(
        "{kills} kills, {busy} of them under load, {torn} with something to report; {} appends \
         acknowledged, {} in the log",
        acknowledged.len(),
        store.log_size()
    );
    assert!(busy * 2 > kills, "{busy} of {kills} were under load");
    drop(store);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn control_a_lost_acknowledgement_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    while !run_and_kill(dir.path(), 0, Duration::from_millis(200), &mut acknowledged) {}
    let store = Store::open(dir.path(), options()).unwrap();
    check(&store, &acknowledged, 0).unwrap();
    acknowledged.insert(store.log_size(), AssertionId([1; 32]));
    assert!(check(&store, &acknowledged, 0).unwrap_err().contains("gone"));
    acknowledged.pop_last();
    acknowledged.insert(0, AssertionId([1; 32]));
    assert!(check(&store, &acknowledged, 0).unwrap_err().contains("another"));
}

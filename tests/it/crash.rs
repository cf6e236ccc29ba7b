//! A process that appends under load is killed with SIGKILL at random moments, again and again, on
//! one store that keeps growing.
//!
//! After each kill the store is opened, and everything that was ever acknowledged must be there. At
//! the end the roots must be those of a reference made from the entries.
//!
//! By default 50 kills: `STEMEDB_KILLS=1000 cargo test --release --test it -- crash::` for more.
//! `STEMEDB_SEED` picks other moments.
#![cfg(unix)]

pub(crate) mod appender;

use crate::reference::random;
use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    time::Duration,
};

use appender::{acknowledgements, check, check_whole, options};
use random::{Random, first_seed, number_from_env};
use stemedb::{AssertionId, Store};

/// Runs the process for a while and kills it. Whether it appended.
fn run_and_kill(
    dir: &Path,
    round: u64,
    time: Duration,
    acknowledged: &mut BTreeMap<u64, AssertionId>,
) -> bool {
    let mut child = appender::command(dir, round, &[]).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || acknowledgements(stdout).collect::<Vec<_>>());
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
    acknowledged.insert(store.log_size().get(), AssertionId([1; 32]));
    assert!(check(&store, &acknowledged, 0).unwrap_err().contains("gone"));
    acknowledged.pop_last();
    acknowledged.insert(0, AssertionId([1; 32]));
    assert!(check(&store, &acknowledged, 0).unwrap_err().contains("another"));
}

//! Disks without room.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use super::tools::{Mounts, Serving, contents, ended_by_itself, long_lines, node, tells};
use crate::cli::binary::{Outcome, Place, argument, id_of, lines};

/// What only reads.
#[track_caller]
fn all_that_reads_works(place: &Place, mounts: &Mounts, store: &str, held: &str) {
    let id = id_of(held);
    let commands: [&[&str]; 8] = [
        &["get", &id],
        &["root"],
        &["stats"],
        &["ids"],
        &["log"],
        &["check"],
        &["check", "--deep"],
        &["prove", &id],
    ];
    for command in commands {
        let outcome = mounts.run(place, &[command, &["--store", store]].concat(), "");
        assert!(outcome.code == 0 && !outcome.stdout.is_empty(), "{command:?}: {outcome:?}");
    }
}

/// The last segment of a store.
fn segment(dir: &Path) -> PathBuf {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_segment =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("segment");
    paths.filter(is_segment).max().unwrap()
}

/// Where what was written ends, and zeros begin.
fn end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// A store on a file system of its own, in it some bodies; whoever appended last was killed.
fn killed(place: &Place, mounts: &Mounts) -> String {
    let dir = mounts.memory(place, "m", 80);
    let store = argument(&dir.join("s")).to_owned();
    mounts.run(place, &["append", "--store", &store], &lines("body", 0..2000)).ok();
    let mut child = mounts.spawn(place, &["append", "--store", &store, "--acks"]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"last\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(&id_of("last")), "{line}");
    // Time for the mark that a log gets when it is idle.
    std::thread::sleep(Duration::from_millis(500));
    child.kill().unwrap();
    child.wait().unwrap();
    // No room is left in what was set aside for the log either.
    let seen = mounts.seen(Path::new(&store));
    let segment = segment(&seen);
    let len = end(&std::fs::read(&segment).unwrap()) as u64;
    std::fs::File::options().write(true).open(segment).unwrap().set_len(len).unwrap();
    for file in std::fs::read_dir(&seen).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("spare") {
            std::fs::remove_file(path).unwrap();
        }
    }
    store
}

#[test]
#[ignore = "needs mount namespaces: .ci/run"]
fn a_full_disk_is_read_after_a_kill() {
    let (place, mounts) = (Place::new(), Mounts::new());
    let store = killed(&place, &mounts);
    mounts.fill(&place.path("m"));
    all_that_reads_works(&place, &mounts, &store, "last");
}

#[test]
#[ignore = "needs mount namespaces: .ci/run"]
fn a_full_disk_with_a_torn_tail_is_read() {
    let (place, mounts) = (Place::new(), Mounts::new());
    let store = killed(&place, &mounts);
    // The first half of the batch that this very log would have had next.
    let seen = mounts.seen(Path::new(&store));
    let copy = place.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for (name, bytes) in contents(&seen) {
        std::fs::write(copy.join(name), bytes).unwrap();
    }
    let mut bytes = std::fs::read(segment(&copy)).unwrap();
    let written = end(&bytes);
    place.run_with(&["append", "--store", "copy"], "next\n").ok();
    let next = std::fs::read(segment(&copy)).unwrap();
    bytes.truncate(written);
    bytes.extend(&next[written..written + 60]);
    std::fs::write(segment(&seen), bytes).unwrap();
    mounts.fill(&place.path("m"));
    all_that_reads_works(&place, &mounts, &store, "last");
}

#[test]
#[ignore = "needs mount namespaces: .ci/run"]
fn the_cause_of_a_failed_write_is_reported_at_once() {
    let (place, mounts) = (Place::new(), Mounts::new());
    let dir = mounts.memory(&place, "m", 100);
    let store = argument(&dir.join("s")).to_owned();
    let words = [&node(&store)[..], &["--disk-reserve", "1K"]].concat();
    let serving = Serving::start(mounts.command(&place, &words));
    let bodies = long_lines(0..1400, 80_000);
    let client = place.run_with(&["append", "--to", &serving.address], bodies);
    assert!(tells(&client.stderr, 28), "{client:?}");
    client.code(1);
    serving.answers("/readyz", 503);
    let said = serving.stop();
    assert!(tells(&said, 28), "{said}");
}

/// Copies that do not fit leave nothing behind, and fit once there is room.
#[test]
#[ignore = "needs mount namespaces: .ci/run"]
fn what_does_not_fit_leaves_nothing_and_works_later() {
    let place = Place::with(&long_lines(0..300, 100_000));
    let mounts = Mounts::new();
    let dir = mounts.memory(&place, "m", 40);
    let root = place.run(&["root", "--json"]).ok();
    let root: serde_json::Value = serde_json::from_str(root.text()).unwrap();
    let root = root["set_root"].as_str().unwrap();
    place.run(&["backup", "b"]).ok();
    let to = argument(&dir.join("copy")).to_owned();
    let commands: [&[&str]; 2] =
        [&["backup", &to], &["restore", "b", "--root", root, "--store", &to]];
    for command in commands {
        let full = mounts.fill(&dir);
        // Less than the copy takes.
        std::fs::File::options().write(true).open(&full).unwrap().set_len(25 << 20).unwrap();
        let failed: Outcome = mounts.run(&place, command, "");
        ended_by_itself(&failed);
        assert_ne!(failed.code, 0, "{failed:?}");
        assert!(tells(&failed.stderr, 28), "{failed:?}");
        let left = mounts.seen(&dir).join("copy");
        let left = if left.exists() { contents(&left) } else { BTreeMap::default() };
        let bytes: usize = left.values().map(Vec::len).sum();
        assert!(bytes < 1 << 20, "{command:?} leaves {:?}", left.keys());
        std::fs::remove_file(&full).unwrap();
        mounts.run(&place, command, "").ok();
        std::fs::remove_dir_all(mounts.seen(&dir).join("copy")).unwrap();
    }
}

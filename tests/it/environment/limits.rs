//! Limits of a process: descriptors, memory, file sizes.

use std::process::Command;

use stemedb::{Options, Store};

use super::tools::{ended_by_itself, long_lines, run, tells};
use crate::cli::binary::{Place, id_of, lines};

/// A store of many short segments.
fn segments(place: &Place, count: usize) {
    let options = Options::default().segment_len(8 << 10);
    let store = Store::open(place.path(".stemedb"), options).unwrap();
    let mut n = 0_u32;
    let segments = || {
        let files = std::fs::read_dir(place.path(".stemedb")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("segment")).count()
    };
    while segments() < count {
        let bodies = (0..64).map(|_| {
            n += 1;
            format!("body {n} {}", "x".repeat(400))
        });
        store.append_batch(bodies.collect::<Vec<_>>()).unwrap();
    }
    store.append("the last".as_bytes()).unwrap();
    store.close().unwrap();
}

#[test]
#[ignore = "takes seconds, and prlimit: .ci/run"]
fn few_descriptors_are_enough_for_many_segments() {
    let place = Place::new();
    segments(&place, 250);
    let few = ["prlimit", "--nofile=256"];
    let id = id_of("the last");
    let commands: [&[&str]; 8] = [
        &["get", &id],
        &["root"],
        &["log"],
        &["check"],
        &["check", "--deep"],
        &["checkpoint"],
        &["backup", "b"],
        &["append"],
    ];
    for command in commands {
        run(&few, &place, command, "more\n").ok();
    }
    place.run(&["check", "--deep"]).ok();
}

/// Whatever memory there is: an answer, or an error; and nothing acknowledged is lost. A process
/// that the system ends for want of memory is one that was killed.
#[test]
#[ignore = "takes seconds, and prlimit: .ci/run"]
fn little_memory_loses_nothing() {
    let place = Place::with(&lines("body", 0..3000));
    let mut failed = 0;
    for mib in [40_u32, 60, 80, 100, 140, 200, 300, 500] {
        let limit = format!("--as={}", u64::from(mib) << 20);
        let big = long_lines(100 * mib..100 * mib + 40, 1_000_000);
        let outcome = run(&["prlimit", &limit], &place, &["append", "--acks"], &big);
        let held = place.ids();
        for line in outcome.text().lines() {
            let id = line.split(' ').nth(1).unwrap().to_owned();
            assert!(held.contains(&id), "{mib} MiB: {line} was acknowledged");
        }
        failed += u32::from(outcome.code != 0);
        place.run(&["check", "--deep"]).ok();
    }
    assert!(failed > 0, "all that memory was enough, and nothing was tested");
}

/// A limit of the file size is an error of the write, not the end of the process.
#[test]
#[ignore = "needs a shell with ulimit: .ci/run"]
fn a_file_that_may_not_grow_is_an_error() {
    let place = Place::with("a\n");
    let bodies = long_lines(0..400, 1_000_000);
    // 20 MiB, in units of 512 bytes; the log wants more.
    let shell = ["sh", "-c", "ulimit -f 40960; exec \"$@\"", "sh"];
    let outcome = run(&shell, &place, &["append", "--acks"], &bodies);
    ended_by_itself(&outcome);
    assert!(tells(&outcome.stderr, 27), "{outcome:?}");
    outcome.code(1);
    let outcome = place.run(&["check", "--deep"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    place.run_with(&["append"], "after\n").ok();
}

#[test]
#[ignore = "needs root: .ci/run"]
fn a_store_that_may_not_be_read_is_not_taken_for_none() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with("a\n");
    let open = |path: &str, mode| {
        std::fs::set_permissions(place.path(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    // The binary where anybody may run it.
    std::fs::copy(env!("CARGO_BIN_EXE_stemedb"), place.path("stemedb")).unwrap();
    open("", 0o755);
    open("stemedb", 0o755);
    open(".stemedb", 0o700);
    let root = "00".repeat(32);
    let commands: [&[&str]; 5] = [
        &["root", "--store", ".stemedb"],
        &["check", "--store", ".stemedb"],
        &["repair", "--store", ".stemedb"],
        &["append", "--store", ".stemedb"],
        &["restore", ".stemedb", "--root", &root, "--store", "restored"],
    ];
    for words in commands {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "./stemedb"]).args(words);
        let output = command.current_dir(place.path("")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(tells(&said, 13), "{words:?}: {said}");
    }
}

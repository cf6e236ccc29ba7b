//! System calls that a kernel, a file system or a sandbox refuses.

use super::tools::{ended_by_itself, run, tells};
use crate::cli::binary::{Outcome, Place, argument, id_of, lines};

/// Runs the binary with a system call that fails, on all threads.
fn inject(fault: &str, place: &Place, arguments: &[&str], stdin: &str) -> Outcome {
    let inject = format!("inject={fault}");
    let trace = format!("trace={}", fault.split(':').next().unwrap());
    run(
        &["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject],
        place,
        arguments,
        stdin,
    )
}

#[test]
#[ignore = "needs strace: .ci/run"]
fn file_systems_that_cannot_allocate_are_written_to() {
    for errno in ["EOPNOTSUPP", "ENOSYS", "EPERM", "EINVAL", "ENODEV", "EIO"] {
        let place = Place::new();
        let fault = format!("fallocate:error={errno}");
        inject(&fault, &place, &["append"], &lines(errno, 0..200)).ok();
        place.run(&["check", "--deep"]).ok();
        assert_eq!(place.ids().len(), 200, "{errno}");
    }
}

#[test]
#[ignore = "needs strace: .ci/run"]
fn interrupted_calls_are_made_again() {
    let place = Place::with("a\n");
    let calls = ["pwrite64", "pread64", "fdatasync", "fsync", "openat", "ftruncate", "fallocate"];
    for (n, call) in calls.iter().enumerate() {
        for when in [1, 2, 3, 5] {
            // The program itself is loaded by openat and pread64.
            let when = if ["openat", "pread64"].contains(call) { when + 12 } else { when };
            let fault = format!("{call}:error=EINTR:when={when}");
            let body = format!("{call} {when}\n");
            inject(&fault, &place, &["append"], &body).ok();
        }
        assert_eq!(place.ids().len(), 1 + 4 * (n + 1), "{call}");
    }
    place.run(&["check", "--deep"]).ok();
}

#[test]
#[ignore = "needs strace: .ci/run"]
fn nothing_is_acknowledged_that_could_not_be_synced() {
    for call in ["fdatasync", "pwrite64"] {
        for (errno, number) in [("EIO", 5), ("ENOSPC", 28), ("EDQUOT", 122)] {
            for when in 1..8 {
                let place = Place::with("a\n");
                let fault = format!("{call}:error={errno}:when={when}+");
                let failed = inject(&fault, &place, &["append", "--acks"], &lines("b", 0..5));
                ended_by_itself(&failed);
                let acknowledged =
                    failed.text().lines().map(|line| line.split(' ').nth(1).unwrap());
                let acknowledged: Vec<String> = acknowledged.map(str::to_owned).collect();
                if failed.code != 0 {
                    assert!(tells(&failed.stderr, number), "{fault}: {failed:?}");
                } else {
                    assert_eq!(acknowledged.len(), 5, "{fault}");
                }
                let held = place.ids();
                for id in &acknowledged {
                    assert!(held.contains(id), "{fault}: {id} was acknowledged");
                }
                place.run_with(&["append"], "after\n").ok();
                place.run(&["check", "--deep"]).ok();
            }
        }
    }
}

#[test]
#[ignore = "needs strace: .ci/run"]
fn a_system_without_threads_is_an_error() {
    let place = Place::with("a\n");
    let backup = place.path("b");
    let id = id_of("a");
    let commands: [&[&str]; 7] = [
        &["append"],
        &["get", &id],
        &["root"],
        &["check", "--deep"],
        &["checkpoint"],
        &["repair"],
        &["backup", argument(&backup)],
    ];
    for call in ["clone3", "clone"] {
        for command in commands {
            for when in ["1+", "2+", "3+"] {
                let fault = format!("{call}:error=EAGAIN:when={when}");
                let outcome = inject(&fault, &place, command, "b\n");
                ended_by_itself(&outcome);
                let _ = std::fs::remove_dir_all(&backup);
            }
        }
    }
    place.run(&["check", "--deep"]).ok();
}

/// Maps are refused where files are on some network file systems, and when a process has too many.
#[test]
#[ignore = "needs strace: .ci/run"]
fn files_that_cannot_be_mapped_are_read() {
    let place = Place::with(&lines("body", 0..5000));
    place.run(&["checkpoint"]).ok();
    let files = std::fs::read_dir(place.path(".stemedb")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let checkpoints: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "ckpt")).collect();
    assert!(!checkpoints.is_empty());
    for errno in ["ENODEV", "ENOMEM", "EACCES"] {
        let fault = format!("inject=mmap:error={errno}");
        for command in
            [&["root"][..], &["get", &id_of("body 7")], &["check", "--deep"], &["append"]]
        {
            let mut before = vec!["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=mmap"];
            before.extend(["-e", &fault]);
            for path in &checkpoints {
                before.extend(["-P", argument(path)]);
            }
            let outcome = run(&before, &place, command, "another\n");
            assert_eq!(outcome.code, 0, "{errno} {command:?}: {outcome:?}");
        }
    }
    assert_eq!(place.ids().len(), 5001);
}

/// A file of which somebody asked the times has its inode written by the next sync, where file
/// systems keep multigrain timestamps: a third of a sync more.
#[test]
#[ignore = "needs strace: .ci/run"]
fn no_commit_asks_for_the_times_of_a_segment() {
    let place = Place::new();
    let trace = place.path("trace");
    let calls = "trace=fdatasync,statx,fstat,newfstatat,stat";
    let before = ["strace", "-f", "-qq", "-y", "-o", argument(&trace), "-e", calls];
    run(&before, &place, &["append", "--acks"], &lines("body", 0..2000)).ok();
    let trace = std::fs::read_to_string(&trace).unwrap();
    let of_segments = trace.lines().filter(|line| line.contains("/segment-"));
    let committing: Vec<_> = of_segments.skip_while(|line| !line.contains("fdatasync(")).collect();
    let looks = || committing.iter().filter(|line| line.contains("stat"));
    let of_names = |line: &&str| line.contains(", STATX_NLINK, ");
    assert!(looks().any(of_names), "a commit looks for the segment's name: {trace}");
    assert_eq!(looks().find(|line| !of_names(line)), None);
}

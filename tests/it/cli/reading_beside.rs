//! Commands that read, beside a process that writes; and writers that wait for one another.

use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use stemedb::store::uptime;

use super::binary::{Place, finish, id_of, lines};

/// An `append` that has the store open until its input ends, and has appended what it was given.
fn appending(place: &Place, first: &str) -> Child {
    let before = place.run(&["ids"]).lines().len();
    let mut child = place.command(&["append"]).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(first.as_bytes()).unwrap();
    let wanted = before + first.lines().count();
    let are_there = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(20));
        place.run(&["ids"]).lines().len() == wanted
    });
    if !are_there {
        let ended = finish(child, b"");
        panic!("{wanted} lines are never seen: {ended:?}");
    }
    child
}

#[test]
fn ids_are_read_one_by_one_while_they_are_listed() {
    let place = Place::new();
    // More than a pipe takes: `ids` has the store open until the last one is read.
    place.run_with(&["append"], lines("many", 0..20_000)).ok();
    let mut ids = place.command(&["ids"]).spawn().unwrap();
    let listed = BufReader::new(ids.stdout.take().unwrap()).lines();
    let mut count = 0;
    for id in listed {
        let id = id.unwrap();
        count += 1;
        if count <= 20 {
            assert_eq!(id_of(place.run(&["get", &id]).ok().stdout), id);
        }
    }
    assert_eq!(count, 20_000);
    assert!(ids.wait().unwrap().success());
}

#[test]
fn every_reading_command_works_while_append_runs() {
    let place = Place::with("a\nb\n");
    place.run_with(&["append", "--store", "other"], "a\nz\n").ok();
    let child = appending(&place, "c\nd\n");
    let id = id_of("c");
    assert_eq!(place.run(&["get", &id]).ok().stdout, b"c");
    assert_eq!(place.ids().len(), 4);
    assert_eq!(place.run(&["log"]).ok().lines().len(), 4);
    for command in [
        &["root"][..],
        &["stats"],
        &["check"],
        &["check", "--deep"],
        &["prove", &id],
        &["prove", &id_of("none")],
        &["repair", "--help"],
        &["backup", "kept"],
    ] {
        place.run(command).ok();
    }
    let root = place.run(&["root", "--json"]).ok().text().to_owned();
    let differ = place.run(&["diff", "other"]).ok().lines();
    assert_eq!(differ.len(), 4, "{differ:?}");
    assert_eq!(place.run(&["diff", ".stemedb"]).ok().lines().len(), 0);
    // Two that write wait for each other, and for no longer than they are told to.
    let says = format!("in use by process {}", child.id());
    place.run_with(&["append", "--wait", "0"], "e\n").fails(1, &says);
    let begun = uptime();
    place.run_with(&["append", "--wait", "300ms"], "e\n").fails(1, &says);
    assert!(uptime() >= begun + Duration::from_millis(300));
    place.run(&["append", "--wait", "x"]).code(2);
    let next = place.command(&["append", "--wait", "60s"]).spawn().unwrap();
    let files = format!("/proc/{}/fd", next.id());
    let waiting = thread::spawn(move || finish(next, b"e\n"));
    let has_opened_the_directory = || {
        let open = std::fs::read_dir(&files).into_iter().flatten().flatten();
        open.filter_map(|file| file.path().read_link().ok()).any(|of| of.ends_with(".stemedb"))
    };
    let waits = (0..3_000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        has_opened_the_directory()
    });
    assert!(waits, "the second one never came to the store");
    assert_eq!(place.run(&["root", "--json"]).ok().text(), root);
    finish(child, b"").ok();
    waiting.join().unwrap().ok();
    assert_eq!(place.ids().len(), 5);
    // What was made meanwhile is whole as well.
    place.run(&["check", "--deep"]).ok();
    let root: serde_json::Value = serde_json::from_str(&root).unwrap();
    let root = root["set_root"].as_str().unwrap();
    place.run(&["restore", "kept", "--root", root, "--store", "restored"]).ok();
}

#[test]
fn appends_beside_readers_and_other_writers_all_succeed() {
    let place = Place::with("a\n");
    let (done, read) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                place.run(&["stats"]).ok();
                place.run(&["check"]).ok();
                read.fetch_add(1, Ordering::Relaxed);
            }
        });
        let writers: Vec<_> = (0..3_u32)
            .map(|writer| {
                let place = &place;
                scope.spawn(move || {
                    for n in 0..20 {
                        let line = format!("{writer} appends {n}\n");
                        place.run_with(&["append", "--wait", "60s"], line).ok();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(place.ids().len(), 61);
    assert!(read.into_inner() > 2);
}

/// Sets the rights of a directory and of all files in it.
fn allow(dir: &Path, mode_of_dir: u32, mode: u32) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(dir, PermissionsExt::from_mode(mode_of_dir)).unwrap();
}

/// As another user where the tests are root's, else as one who may not write.
#[test]
fn without_the_right_to_write_a_store_is_read() {
    let place = Place::with(&lines("body", 0..500));
    let is_root = rustix::process::geteuid().is_root();
    std::fs::set_permissions(place.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    allow(&place.path(".stemedb"), 0o555, 0o444);
    let run = |arguments: &[&str], input: &str| {
        let mut command = place.command(arguments);
        if is_root {
            // It has to get at the binary, too.
            let binary = place.path("stemedb");
            if !binary.exists() {
                std::fs::copy(env!("CARGO_BIN_EXE_stemedb"), &binary).unwrap();
            }
            let mut other = std::process::Command::new(&binary);
            other.args(arguments).current_dir(place.path("")).uid(65534).gid(65534);
            other.stdin(std::process::Stdio::piped());
            other.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command = other;
        }
        let child = (0..100).find_map(|_| match command.spawn() {
            // A program that another test starts has the copy open to write until it runs.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(20));
                None
            }
            spawned => Some(spawned.unwrap()),
        });
        finish(child.unwrap(), input.as_bytes())
    };
    let id = id_of("body 7");
    for command in [
        &["root"][..],
        &["ids"],
        &["log"],
        &["get", &id],
        &["prove", &id],
        &["stats"],
        &["check", "--deep"],
        &["diff", ".stemedb"],
    ] {
        run(command, "").ok();
    }
    let refused = run(&["append"], "more\n");
    assert!(refused.stderr.to_lowercase().contains("permission denied"), "{refused:?}");
    refused.code(1);
    allow(&place.path(".stemedb"), 0o755, 0o644);
    assert_eq!(place.ids().len(), 500);
}

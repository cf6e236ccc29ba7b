//! Directories of others, directories that cannot be read, and commands that only read.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::binary::{Place, lines};
use super::serving::Served;

/// Everything in a directory: bytes, inode and time of the last change of each file.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| {
        let file = file.unwrap();
        let metadata = file.metadata().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let name = file.file_name().into_string().unwrap();
        (name, (bytes, metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
    });
    files.collect()
}

/// A store as a process leaves it that was killed: without a clean mark, and its last batch torn.
fn killed(place: &Place) -> (usize, String) {
    place.run_with(&["append"], lines("first", 0..2000)).ok();
    let root = place.run(&["root", "--json"]).ok().text().to_owned();
    let segment = place.path(".stemedb/segment-0000-00000000000000000000.log");
    let whole = std::fs::read(&segment).unwrap();
    let (store, copy) = (place.path(".stemedb"), place.path("copy"));
    assert!(Command::new("cp").arg("-r").args([store, copy]).status().unwrap().success());
    place.run_with(&["append", "--store", "copy"], "next\n").ok();
    let next = std::fs::read(place.path("copy/segment-0000-00000000000000000000.log")).unwrap();
    let torn = 60;
    std::fs::write(&segment, &next[..whole.len() + torn]).unwrap();
    std::fs::remove_dir_all(place.path("copy")).unwrap();
    (torn, root)
}

#[test]
fn commands_that_only_read_change_nothing() {
    let place = Place::new();
    let (torn, root) = killed(&place);
    let id = place.run(&["ids"]).ok().text().lines().next().unwrap().to_owned();
    place.run_with(&["append", "--store", "other"], "elsewhere\n").ok();
    let (before, other) = (files(&place.path(".stemedb")), files(&place.path("other")));
    for command in [
        &["root", "--json"][..],
        &["get", &id],
        &["log"],
        &["ids"],
        &["prove", &id, "-o", "proof"],
        &["diff", "other"],
        &["check"],
        &["check", "--deep"],
        &["stats"],
        &["backup", "backup"],
    ] {
        let run = place.run(command).ok().says(&format!("{torn} bytes"));
        if command[0] == "root" {
            assert_eq!(run.text(), root);
        }
        assert_eq!(before, files(&place.path(".stemedb")), "{command:?} changed something");
    }
    assert_eq!(other, files(&place.path("other")), "and nothing on the other side");
    let served = Served::start(&place, "other", &[]);
    for command in [["sync", "--plan"], ["diff", "--json"]] {
        place.run(&[&command[..], &[&served.address]].concat()).ok();
        assert_eq!(before, files(&place.path(".stemedb")), "{command:?} changed something");
    }
    served.stop();
    let backup = files(&place.path("backup"));
    let root: serde_json::Value = serde_json::from_str(&root).unwrap();
    let root = root["set_root"].as_str().unwrap();
    place.run(&["restore", "backup", "--root", root, "--store", "restored"]).ok();
    assert_eq!(backup, files(&place.path("backup")), "restoring changes no backup");
    // Whoever writes puts it in order.
    place.run_with(&["append"], "next\n").ok().says("cut 60 bytes");
    assert_eq!(place.run(&["ids"]).ok().text().lines().count(), 2001);
}

#[test]
fn a_reader_excludes_nobody() {
    let place = Place::with("a\n");
    // More than a pipe takes: the reader waits with the store open.
    place.run_with(&["append"], lines("many", 0..20_000)).ok();
    let mut reader = place.command(&["log", "--json"]).spawn().unwrap();
    let mut printed = reader.stdout.take().unwrap();
    printed.read_exact(&mut [0]).unwrap();
    place.run_with(&["append", "--wait", "0"], "b\n").ok();
    place.run(&["root"]).ok();
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert_eq!(rest.lines().count(), 20_001, "what there was when it began");
    assert!(reader.wait().unwrap().success());
}

#[test]
fn files_of_others_are_left_alone() {
    let place = Place::new();
    let project = place.path("project");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join(".hidden"), "").unwrap();
    std::fs::write(project.join("thesis.tmp"), "years of work").unwrap();
    for command in [&["append"][..], &["init"], &["serve", "--listen", "127.0.0.1:0"]] {
        let arguments = [command, &["--store", "project"]].concat();
        place.run_with(&arguments, "a\n").fails(1, "--force").says("thesis.tmp");
        assert_eq!(files(&project).len(), 2, "nothing is made");
    }
    place.run(&["init", "--store", "project", "--force"]).ok();
    for _ in 0..2 {
        place.run_with(&["append", "--store", "project"], "a\n").ok();
        assert_eq!(std::fs::read(project.join("thesis.tmp")).unwrap(), b"years of work");
    }
    place.run(&["repair", "--store", "project"]).ok();
    assert_eq!(std::fs::read(project.join("thesis.tmp")).unwrap(), b"years of work");
    // A disk of its own, and names that begin with a dot, hold no files of others.
    let disk = place.path("disk");
    std::fs::create_dir_all(disk.join("lost+found")).unwrap();
    std::fs::create_dir_all(disk.join(".snapshots")).unwrap();
    place.run(&["init", "--store", "disk"]).ok();
}

#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    let place = Place::with("a\n");
    std::fs::write(place.path("file"), "").unwrap();
    let root = "0".repeat(64);
    for command in [
        &["root", "--store", "file"][..],
        &["check", "--store", "file"],
        &["repair", "--store", "file"],
        &["restore", "file", "--root", &root, "--store", "restored"],
    ] {
        place.run(command).fails(1, "ot a directory");
    }
    place.run(&["root", "--store", "nowhere"]).fails(4, "no store");
    // Rights are checked for others than root alone.
    let allow = |mode| {
        std::fs::set_permissions(place.path(".stemedb"), Permissions::from_mode(mode)).unwrap();
    };
    allow(0o000);
    if std::fs::read_dir(place.path(".stemedb")).is_err() {
        for command in [&["root"][..], &["check"]] {
            place.run(command).fails(1, "ermission denied");
        }
    }
    allow(0o700);
}

/// A process that may have few files open serves a log of many segments.
#[test]
fn few_files_are_enough_for_many_segments() {
    let place = Place::new();
    let options = stemedb::Options::default().segment_len(4096);
    let store = stemedb::Store::open(place.path(".stemedb"), options).unwrap();
    for n in 0..300_u32 {
        store.append(format!("{n} {}", "x".repeat(4000)).as_bytes()).unwrap();
    }
    store.close().unwrap();
    for command in ["check --deep", "log", "ids"] {
        let script = format!("ulimit -n 64; exec \"$0\" {command} >/dev/null");
        let mut run = Command::new("sh");
        run.args(["-c", &script]).arg(env!("CARGO_BIN_EXE_stemedb")).current_dir(place.path("."));
        let run = run.output().unwrap();
        assert!(run.status.success(), "{command}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

/// A limit on the size of files is an error to be told, as a full disk is.
#[test]
fn a_limit_on_file_sizes_ends_no_process() {
    let place = Place::with("a\n");
    // In blocks of 512 bytes or of 1,024, as the shell has it.
    let script = "ulimit -f 64; exec \"$0\" append --acks";
    let mut run = Command::new("sh");
    run.args(["-c", script]).arg(env!("CARGO_BIN_EXE_stemedb")).current_dir(place.path("."));
    run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for n in 0..100 {
            // It ends before all is written.
            let _ = std::io::Write::write_all(
                &mut input,
                format!("{n} {}\n", "x".repeat(4000)).as_bytes(),
            );
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ulimit -f"), "{said}");
    let acknowledged = String::from_utf8_lossy(&output.stdout).lines().count();
    let held = place.run(&["ids"]).ok().text().lines().count();
    assert!(held > acknowledged, "{held} are held, and {acknowledged} were acknowledged");
    place.run(&["check", "--deep"]).ok();
}

//! `backup` and `restore`, between processes: of a store in use, killed, and without room.

use std::time::Duration;

use super::binary::{Place, argument, lines};
use super::serving::Served;

const BACKUP: [&str; 9] = [
    "count",
    "set_root",
    "log_size",
    "log_root",
    "files_linked",
    "bytes_linked",
    "files_copied",
    "bytes_copied",
    "segments_remote",
];
const RESTORE: [&str; 4] = ["count", "set_root", "log_size", "log_root"];

fn root(place: &Place, store: &str) -> String {
    let root = place.run(&["root", "--store", store, "--json"]).ok().json(&RESTORE);
    root["set_root"].as_str().unwrap().to_owned()
}

#[test]
fn a_backup_is_made_and_restored() {
    let place = Place::with("a\nb\nc\n");
    let backup = place.run(&["backup", "kept", "--json"]).ok().json(&BACKUP);
    assert_eq!(backup["count"], 3);
    let trusted = root(&place, ".stemedb");
    assert_eq!(backup["set_root"], trusted.as_str());
    place.run(&["backup", "kept"]).fails(1, "not empty");
    place.run(&["backup", "elsewhere", "--store", "none"]).fails(4, "no store at");

    let wrong = "7".repeat(64);
    place.run(&["restore", "kept", "--root", &wrong, "--store", "new"]).fails(3, "not 7777");
    assert!(!place.path("new/IDENTITY").exists());
    place.run(&["restore", "kept", "--store", "new"]).code(2);
    place.run(&["restore", "nothing", "--root", &trusted, "--store", "new"]).fails(4, "no backup");
    let arguments = ["restore", "kept", "--root", &trusted, "--store", "new", "--json"];
    let restored = place.run(&arguments).ok().json(&RESTORE);
    assert_eq!(restored["set_root"], trusted.as_str());
    place.run(&arguments).fails(1, "not empty");
    place.run(&["check", "--deep", "--store", "new"]).ok();
    assert_eq!(place.ids(), place.run(&["ids", "--store", "new"]).ok().lines());
}

/// A store that another process serves, and writes to: nothing has to be asked of that process, and
/// all that it acknowledged is there.
#[test]
fn a_store_in_use_is_backed_up_from_outside() {
    let place = Place::with(&lines("assertion", 0..2_000));
    let served = Served::start(&place, ".stemedb", &[]);
    place.run_with(&["append", "--to", &served.address], lines("more", 0..500)).ok();
    let backup = place.run(&["backup", "kept", "--json"]).ok().json(&BACKUP);
    assert_eq!(backup["count"], 2_500);
    let (code, said) = served.stop();
    assert_eq!(code, 0, "{said}");
    let trusted = backup["set_root"].as_str().unwrap();
    assert_eq!(trusted, root(&place, ".stemedb"));
    place.run(&["restore", "kept", "--root", trusted, "--store", "new"]).ok();
    place.run(&["check", "--deep"]).ok();
}

/// Killed at any time, a restore leaves nothing that opens, and another one carries it out; a
/// killed backup is no backup.
#[test]
fn killed_in_the_midst() {
    let place = Place::new();
    let filler = "some text that goes on for a while ".repeat(20);
    place.run_with(&["append"], lines(&filler, 0..30_000)).ok();
    place.run(&["backup", "kept"]).ok();
    let trusted = root(&place, ".stemedb");
    let restore = ["restore", "kept", "--root", &trusted, "--store", "new"];
    let mut unfinished = 0;
    for millis in [0, 5, 15, 30, 60, 120, 250] {
        let mut child = place.command(&restore).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        // It may have ended already.
        let _ = child.kill();
        child.wait().unwrap();
        if place.path("new/IDENTITY").exists() {
            std::fs::remove_dir_all(place.path("new")).unwrap();
            continue;
        }
        unfinished += 1;
        assert_ne!(place.run(&["root", "--store", "new"]).code, 0);
    }
    assert!(unfinished > 1, "it was always faster");
    place.run(&restore).ok();
    assert_eq!(root(&place, "new"), trusted);

    for (n, millis) in [0, 2, 4, 8, 16, 32].into_iter().enumerate() {
        let to = format!("killed {n}");
        let mut child = place.command(&["backup", &to]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        let _ = child.kill();
        child.wait().unwrap();
        let new = format!("of killed {n}");
        let restored = place.run(&["restore", &to, "--root", &trusted, "--store", &new]);
        let whole = place.path(&to).join("IDENTITY").exists();
        assert_eq!(restored.code == 0, whole, "{restored:?}");
    }
    place.run(&["check", "--deep"]).ok();
}

/// A limit on the length of files is the disk that is full for whoever is not root.
#[test]
fn no_room() {
    let place = Place::new();
    let filler = "some text that goes on for a while ".repeat(20);
    place.run_with(&["append"], lines(&filler, 0..3_000)).ok();
    let trusted = root(&place, ".stemedb");
    let limited = |command: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 100; exec \"$0\" {command}");
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_stemedb")]);
        shell.current_dir(place.path("."));
        shell.output().unwrap()
    };
    // The lock and the identity of the store are short, its last segment is not.
    let output = limited("backup kept");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot make a backup"), "{said}");
    assert_eq!(std::fs::read_dir(place.path("kept")).unwrap().count(), 0, "nothing is left");
    place.run(&["backup", "kept"]).ok();
    let output = limited(&format!("restore kept --root {trusted} --store new"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("cannot copy the backup"), "{said}");
    assert_eq!(std::fs::read_dir(place.path("new")).unwrap().count(), 0, "nothing is left");
    place.run(&["restore", "kept", "--root", &trusted, "--store", "new"]).ok();
    place.run(&["check", "--deep", "--store", argument(&place.path("new"))]).ok();
}

/// Nothing marks the last commit as durable yet when the command begins.
#[test]
fn a_backup_of_a_running_node_holds_what_was_acknowledged_just_before() {
    let place = Place::new();
    let flags = ["node", "--store", "n", "--listen", "127.0.0.1:0", "--http", "none"];
    let node = Served::ready(place.command(&flags).spawn().unwrap());
    for count in 1..=8_u64 {
        let line = format!("line {count}\n");
        place.run_with(&["append", "--to", &node.address], line).ok();
        let to = format!("copy{count}");
        let backup = place.run(&["backup", &to, "--store", "n", "--json"]).ok().json(&BACKUP);
        assert_eq!(backup["count"], count);
        let trusted = backup["set_root"].as_str().unwrap();
        let restored = format!("restored{count}");
        place.run(&["restore", &to, "--root", trusted, "--store", &restored]).ok();
    }
    assert_eq!(node.stop().0, 0);
}

//! File systems that may only be read.

use super::tools::{Mounts, contents, ended_by_itself, tells};
use crate::cli::binary::{Place, argument, id_of, lines};

/// The set root of a store.
fn root(place: &Place) -> String {
    let outcome = place.run(&["root", "--json"]).ok();
    let root: serde_json::Value = serde_json::from_str(outcome.text()).unwrap();
    root["set_root"].as_str().unwrap().to_owned()
}

/// Makes a directory of a place one that may only be read, in a namespace.
fn read_only(mounts: &Mounts, place: &Place, name: &str) -> String {
    let (from, to) = (place.path(name), place.path("read-only"));
    std::fs::create_dir(&to).unwrap();
    mounts.mount(&["--bind", argument(&from), argument(&to)]);
    mounts.mount(&["-o", "remount,ro,bind", argument(&to)]);
    argument(&to).to_owned()
}

#[test]
#[ignore = "needs mount namespaces: .ci/run"]
fn a_backup_that_may_only_be_read_is_restored() {
    let place = Place::with(&lines("body", 0..500));
    let root = root(&place);
    place.run(&["backup", "b"]).ok();
    let before = contents(&place.path("b"));
    let mounts = Mounts::new();
    let backup = read_only(&mounts, &place, "b");
    mounts.run(&place, &["restore", &backup, "--root", &root, "--store", "restored"], "").ok();
    assert_eq!(contents(&place.path("b")), before);
    place.run(&["check", "--deep", "--store", "restored"]).ok();
}

#[test]
#[ignore = "needs mount namespaces: .ci/run"]
fn a_store_that_may_only_be_read_is_read() {
    let place = Place::with(&lines("body", 0..500));
    place.run_with(&["append", "--store", "other"], lines("body", 0..400)).ok();
    let before = contents(&place.path(".stemedb"));
    let mounts = Mounts::new();
    let store = read_only(&mounts, &place, ".stemedb");
    let id = id_of("body 7");
    let commands: [&[&str]; 11] = [
        &["get", &id],
        &["root"],
        &["ids"],
        &["log"],
        &["stats"],
        &["check"],
        &["check", "--deep"],
        &["repair", "--dry-run"],
        &["prove", &id],
        &["diff", "other"],
        &["backup", "b"],
    ];
    for command in commands {
        let outcome = mounts.run(&place, &[command, &["--store", &store]].concat(), "");
        assert!(outcome.code == 0 && !outcome.stdout.is_empty(), "{command:?}: {outcome:?}");
    }
    let refused = mounts.run(&place, &["append", "--store", &store], "more\n");
    ended_by_itself(&refused);
    assert!(tells(&refused.stderr, 30), "{refused:?}");
    refused.code(1);
    assert_eq!(contents(&place.path(".stemedb")), before);
}

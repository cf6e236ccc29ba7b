//! Reading commands with `--from PEER`: they say what they say beside the store.

use serde_json::Value;

use super::binary::{Outcome, Place, argument, id_of, lines};
use super::serving::Served;

/// A store with 3,000 lines, and a long body that is no text, and its copy to be read beside it.
fn place() -> (Place, Served) {
    let place = Place::new();
    place.run_with(&["append"], lines("line", 0..3_000)).ok();
    let photo = place.write("photo", [b"\xff\0".as_slice(), &vec![b'x'; 3 << 20]].concat());
    place.run(&["append", "--whole", argument(&photo)]).ok();
    let served = Served::start(&place, ".stemedb", &[]);
    (place, served)
}

/// What a command prints about the served store, and about the same store when it is not served.
fn both(place: &Place, served: Served, commands: &[&[&str]]) {
    let there: Vec<Outcome> = commands
        .iter()
        .map(|command| place.run(&[*command, &["--from", &served.address]].concat()).ok())
        .collect();
    served.stop();
    for (command, there) in commands.iter().zip(there) {
        let here = place.run(command).ok();
        assert!(here.stdout == there.stdout, "{command:?}: {here:?} {there:?}");
        assert_eq!(here.stderr, there.stderr, "{command:?}");
    }
}

#[test]
fn a_served_store_is_read_as_the_one_here() {
    let (place, served) = place();
    let (some, absent) = (id_of("line 7"), id_of("nothing of the kind"));
    let photo = std::fs::read(place.path("photo")).unwrap();
    let photo = id_of(photo);
    both(
        &place,
        served,
        &[
            &["root"],
            &["root", "--json"],
            &["ids"],
            &["ids", "--json"],
            &["log"],
            &["log", "--json", "--first", "1020", "--last", "1029"],
            &["log", "--reverse", "--limit", "2000"],
            &["log", "--first", "5", "--limit", "3", "--since", "1h"],
            &["log", "--until", "1h"],
            &["log", "--since", "2200-01-01"],
            &["log", "--first", "9000"],
            &["prove", &some],
            &["prove", &some[..8].to_uppercase(), "--json"],
            &["prove", &absent],
            &["get", &some, &photo, "--json"],
            &["get", &photo[..12]],
            &["get", "--index", "3000", "--index", "7"],
            &["export"],
            &["export", "--first", "2990", "--since", "1h", "--format", "jsonl"],
            &["export", "--first", "9000"],
            &["export", "--last", "10", "--format", "lines"],
            &["history", "inclusion", &some],
            &["history", "inclusion", "--index", "3000", "--json"],
            &["history", "inclusion", &photo[..10], "--size", "3001"],
            &["history", "consistency", "1000"],
            &["history", "consistency", "0", "2000", "--json"],
        ],
    );
}

/// Damaged bodies are left out and named, and all others are exported, as from a store here.
#[test]
fn an_export_goes_on_behind_damage() {
    let place = Place::with(&lines("line", 0..1_000));
    let served = Served::start(&place, ".stemedb", &[]);
    for damaged in ["line 7\n", "line 8\n", "line 500\n", "line 999\n"] {
        place.damage(".stemedb", damaged.trim_end());
    }
    let export = ["export", "--from", &served.address, "--format", "lines"];
    let there = place.run(&export).code(3).says("4 bodies are lost or damaged");
    for index in [7, 8, 500, 999] {
        assert!(there.stderr.contains(&format!("entry {index}: ")), "{there:?}");
    }
    let held: Vec<String> = there.lines();
    assert_eq!(held.len(), 996);
    assert!(!held.iter().any(|line| ["line 7", "line 500"].contains(&line.as_str())));
    served.stop();
}

#[test]
fn sizes_of_a_served_store_are_its_own() {
    let (place, served) = place();
    let fields = |outcome: Outcome| serde_json::from_str::<Value>(outcome.ok().text()).unwrap();
    let there = fields(place.run(&["stats", "--json", "--from", &served.address]));
    assert!(place.run(&["stats", "--from", &served.address]).ok().text().contains("3,001"));
    served.stop();
    let here = fields(place.run(&["stats", "--json"]));
    for field in ["count", "set_root", "log_root", "store_id", "epoch", "first_time", "subtrees"] {
        assert_eq!(here[field], there[field], "{field}");
    }
    assert!(here.as_object().unwrap().keys().eq(there.as_object().unwrap().keys()));
}

#[test]
fn what_is_not_there_is_4_of_a_server_as_well() {
    let (place, served) = place();
    let from = ["--from", &served.address];
    let run = |command: &[&str]| place.run(&[command, &from[..]].concat());
    let absent = id_of("nothing of the kind");
    run(&["get", &absent]).fails(4, &format!("does not hold {absent}"));
    run(&["get", "--index", "3001"]).fails(4, "does not hold entry 3001");
    run(&["prove", &absent[..16]]).fails(4, &absent[..16]);
    run(&["history", "inclusion", &absent]).fails(4, &absent);
    run(&["history", "inclusion", "--index", "3001"]).fails(4, "not among the first 3001");
    run(&["history", "consistency", "5000"]).fails(4, "the log has 3001 entries");
    run(&["history", "consistency", "5", "4"]).fails(2, "swap them");
    // Nobody listens on this port.
    place.run(&["root", "--from", "127.0.0.1:1"]).fails(1, "cannot connect to 127.0.0.1:1");
}

#[test]
fn a_body_of_a_server_is_checked_with_the_secret() {
    let place = Place::new();
    place.write("secret", "sixteen bytes ok");
    place.run_with(&["append", "--secret-file", "secret"], "sky\n").ok();
    let served = Served::start(&place, ".stemedb", &["--secret-file", "secret"]);
    let run = |more: &[&str]| {
        let from = ["--from", &served.address];
        place.run(&[&["export", "--format", "lines"][..], &from, more].concat())
    };
    assert_eq!(run(&["--secret-file", "secret"]).ok().text(), "sky\n");
    run(&[]).fails(3, "does not hash to the id");
}

#[test]
fn indexes_where_addresses_are_now_name_the_flag_for_them() {
    let place = Place::with("a\n");
    place.run(&["log", "--from", "7"]).fails(2, "--first 7");
    place.run(&["log", "--to", "7"]).fails(2, "--last 6");
    place.run(&["watch", "127.0.0.1:1", "--from", "7"]).fails(2, "--first 7");
    place.run(&["watch", "127.0.0.1:1", "--to", "7"]).fails(2, "--last 6");
    for command in ["log", "watch"] {
        let help = place.run(&[command, "--help"]).ok();
        assert!(help.text().contains("--first <I>") && !help.text().contains("--to "));
    }
}

#[test]
fn a_watch_ends_after_the_last_index_that_is_wanted() {
    let (place, served) = place();
    let watch = ["watch", &served.address, "--first", "10", "--last", "12"];
    assert_eq!(place.run(&watch).ok().lines().len(), 3);
    let watch = ["watch", &served.address, "--first", "10", "--last", "9"];
    assert!(place.run(&watch).ok().stdout.is_empty());
}

#[test]
fn flags_of_connections_have_one_name_and_keep_the_old_ones() {
    let place = Place::with("a\n");
    for command in ["sync", "diff", "watch", "get", "log", "append", "status", "pause", "scrub"] {
        let help = place.run(&[command, "--help"]).ok();
        for flag in ["--tls-ca", "--tls-cert", "--tls-key", "--tls-server-name"] {
            assert!(help.text().contains(flag), "{command}: {flag}");
        }
        assert!(!help.text().contains("--ca ") && !help.text().contains(" --server-name"));
    }
    for flag in ["--tls-ca", "--ca"] {
        let arguments = ["root", "--from", "https://127.0.0.1:1", flag, "missing.pem"];
        place.run(&arguments).fails(2, "missing.pem: cannot read the certificate");
    }
    for [certificate, key] in [["--tls-cert", "--tls-key"], ["--cert", "--key"]] {
        let arguments = ["root", "--from", "127.0.0.1:1", certificate, "c", key, "k"];
        place.run(&arguments).fails(2, "--tls-ca");
    }
}

#[test]
fn a_store_is_not_made_by_a_sync_where_that_is_not_wanted() {
    let (place, served) = place();
    let sync = ["sync", &served.address, "--store", "new", "--no-create"];
    place.run(&sync).fails(4, "no store at new");
    assert!(!place.path("new").exists());
}

//! `sync`, `diff PEER`, `append --to`, `get --from` and `watch`, between processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};

use serde_json::{Value, json};

use super::binary::{APPENDED, Place, id_of, lines, object};
use super::node::PATIENCE;
use super::serving::Served;

const SYNC_FIELDS: [&str; 15] = [
    "equal",
    "layers",
    "rounds",
    "bytes_sent",
    "bytes_received",
    "reconcile_bytes",
    "fetched",
    "pushed",
    "compared",
    "restarts",
    "millis",
    "set_root",
    "only_here",
    "only_there",
    "ending",
];

/// A number that JSON has as a decimal string.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Two stores, `a` and `b`, with 2,000 lines in common, 30 of a's own and 20 of b's.
fn two() -> Place {
    let place = Place::new();
    for (store, own) in [("a", lines("a", 0..30)), ("b", lines("b", 0..20))] {
        let all = format!("{}{own}", lines("common", 0..2_000));
        place.run_with(&["append", "--store", store], all).ok();
    }
    place
}

fn sync(place: &Place, store: &str, served: &Served, more: &[&str]) -> Value {
    let arguments = [&["sync", "--store", store, "--json", &served.address], more].concat();
    place.run(&arguments).ok().json(&SYNC_FIELDS)
}

fn root(place: &Place, store: &str) -> String {
    place.run(&["root", "--store", store]).ok().lines()[1].clone()
}

#[test]
fn two_stores_hold_the_same_after_one_command() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let report = sync(&place, "b", &served, &[]);
    assert_eq!(report["equal"], true);
    assert_eq!(report["layers"], json!(["root", "symbols"]));
    assert_eq!((&report["fetched"], &report["pushed"]), (&json!(30), &json!(20)));
    assert_eq!((&report["only_there"], &report["only_here"]), (&json!(30), &json!(20)));
    assert_eq!(report["restarts"], 0);
    let set_root = report["set_root"].as_str().unwrap().to_owned();
    let (sent, received) = (number(&report["bytes_sent"]), number(&report["bytes_received"]));
    assert!(number(&report["reconcile_bytes"]) < sent + received);

    let again = sync(&place, "b", &served, &[]);
    assert_eq!((&again["equal"], &again["rounds"]), (&json!(true), &json!(1)));
    assert_eq!(again["layers"], json!(["root"]));
    assert!(number(&again["bytes_sent"]) + number(&again["bytes_received"]) < 300);

    served.stop();
    assert_eq!(root(&place, "a"), root(&place, "b"));
    assert!(root(&place, "a").ends_with(&set_root));
}

#[test]
fn a_store_that_fell_behind_reads_what_came_since_also_after_restarts() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    sync(&place, "b", &served, &[]);
    let address = served.address.clone();
    served.stop();
    place.run_with(&["append", "--store", "a"], lines("later", 0..500)).ok();
    let served = Served::on(&place, "a", &address, &[]);
    let report = sync(&place, "b", &served, &[]);
    assert_eq!(report["layers"], json!(["root", "cursor"]));
    assert_eq!((&report["rounds"], &report["fetched"]), (&json!(1), &json!(500)));
    assert_eq!(report["equal"], true);
    served.stop();

    // Without the file of cursors it takes a round or two more, and nothing else.
    std::fs::write(place.path("b/PEERS"), b"damaged").unwrap();
    place.run_with(&["append", "--store", "a"], lines("later still", 0..500)).ok();
    let served = Served::on(&place, "a", &address, &[]);
    let report = sync(&place, "b", &served, &[]);
    assert_eq!(report["layers"], json!(["root", "symbols"]));
    assert_eq!((&report["equal"], &report["fetched"]), (&json!(true), &json!(500)));
}

#[test]
fn a_new_store_takes_all_in_and_a_full_one_fills_an_empty_peer() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let report = sync(&place, "new", &served, &[]);
    assert_eq!(report["layers"], json!(["root", "bulk"]));
    assert_eq!((&report["equal"], &report["fetched"]), (&json!(true), &json!(2_030)));
    served.stop();
    let served = Served::start(&place, "empty", &[]);
    let report = sync(&place, "b", &served, &[]);
    assert_eq!((&report["equal"], &report["pushed"]), (&json!(true), &json!(2_020)));
    served.stop();
    assert_eq!(root(&place, "new"), root(&place, "a"));
    assert_eq!(root(&place, "empty"), root(&place, "b"));
}

#[test]
fn one_direction_is_one_direction() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let before = root(&place, "b");
    let pushed = sync(&place, "b", &served, &["--push"]);
    assert_eq!((&pushed["fetched"], &pushed["pushed"]), (&json!(0), &json!(20)));
    assert_eq!((&pushed["equal"], &pushed["only_there"]), (&json!(false), &json!(30)));
    assert_eq!(root(&place, "b"), before);
    let pulled = sync(&place, "b", &served, &["--pull"]);
    assert_eq!((&pulled["fetched"], &pulled["pushed"]), (&json!(30), &json!(0)));
    // What the other direction lacked is there by now, so both hold the same.
    assert_eq!(pulled["equal"], true);
    place.run(&["sync", "--pull", "--push", &served.address]).fails(2, "cannot be used with");
}

#[test]
fn a_plan_says_what_would_move_and_moves_nothing() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let before = root(&place, "b");
    let fields = [
        "equal",
        "layers",
        "rounds",
        "reconcile_bytes",
        "only_here",
        "only_there",
        "push_bytes",
        "fetch_bytes_estimate",
        "millis",
    ];
    let plan = ["sync", "--store", "b", "--plan", &served.address, "--json"];
    let plan = place.run(&plan).ok().json(&fields);
    assert_eq!((&plan["only_here"], &plan["only_there"]), (&json!(20), &json!(30)));
    let bodies: u64 = lines("b", 0..20).lines().map(|line| line.len() as u64 + 3).sum();
    assert_eq!(number(&plan["push_bytes"]), bodies);
    assert!(number(&plan["fetch_bytes_estimate"]) > 30 * 5);
    let text = place.run(&["sync", "--store", "b", "--plan", &served.address]).ok();
    assert!(text.text().contains("to push     20 bodies"), "{text:?}");
    // Of a log that would be read, only its length is known.
    let whole = ["sync", "--store", "new", "--plan", &served.address, "--json"];
    place.run(&whole).fails(4, "no store at new");
    place.run(&["init", "--store", "new"]).ok();
    let whole = place.run(&whole).ok().json(&fields);
    assert_eq!((&whole["layers"], &whole["only_there"]), (&json!(["root", "bulk"]), &json!(2_030)));
    assert_eq!((&whole["only_here"], &whole["fetch_bytes_estimate"]), (&Value::Null, &Value::Null));
    served.stop();
    assert_eq!(root(&place, "b"), before);
    assert_eq!(place.run(&["root", "--store", "a"]).ok().lines()[0], "count     2,030");
}

#[test]
fn a_difference_over_the_wire_is_the_one_between_directories() {
    let place = two();
    let local = place.run(&["diff", "--store", "b", "a"]).ok();
    let served = Served::start(&place, "a", &[]);
    let remote = place.run(&["diff", "--store", "b", &served.address]).ok();
    assert_eq!(remote.stdout, local.stdout);
    assert_eq!(remote.lines().len(), 50);
    let json = place.run(&["diff", "--store", "b", &served.address, "--json"]).ok();
    let json = json.json(&["only_here", "only_there", "visited"]);
    assert_eq!(json["only_there"].as_array().unwrap().len(), 30);
    // A store that holds nothing lacks everything, and a diff moves none of it.
    place.run(&["init", "--store", "new"]).ok();
    let all = place.run(&["diff", "--store", "new", &served.address]).ok();
    assert_eq!(all.lines().len(), 2_030);
    assert_eq!(place.run(&["ids", "--store", "new"]).ok().lines().len(), 0);
    place
        .run(&["diff", "--store", "b", "no:where"])
        .fails(2, "no:where: neither a directory nor an address");
}

#[test]
fn a_session_that_is_cut_short_goes_on_with_what_remains() {
    let place = Place::new();
    place.run_with(&["append", "--store", "a"], lines(&"long ".repeat(200), 0..4_000)).ok();
    let served = Served::start(&place, "a", &[]);
    let cut = place.run(&["sync", "--store", "b", &served.address, "--max-bytes", "1M", "--json"]);
    let report = object(cut.says("sync again to go on").code(1).text(), &SYNC_FIELDS);
    let fetched = report["fetched"].as_u64().unwrap();
    assert!((1..4_000).contains(&fetched), "{report}");
    let held = place.run(&["ids", "--store", "b"]).ok().lines().len() as u64;
    assert_eq!(held, fetched, "what has arrived is kept");
    let rest = sync(&place, "b", &served, &[]);
    assert_eq!(rest["equal"], true);
    assert_eq!(rest["fetched"].as_u64().unwrap(), 4_000 - fetched, "nothing is fetched twice");
    place.run(&["sync", &served.address, "--max-bytes", "0"]).fails(2, "--max-bytes");
    place.run(&["sync", &served.address, "--timeout", "soon"]).fails(2, "--timeout");
}

#[test]
fn a_served_store_is_appended_to_read_and_watched() {
    let place = Place::with("before\n");
    let served = Served::start(&place, ".stemedb", &[]);
    let peer = &served.address;
    let mut watching = place.command(&["watch", peer, "--first", "0", "--json"]).spawn().unwrap();
    let mut watched = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || watched.next().unwrap().unwrap();
    let fields = ["index", "time", "ntp64", "id", "len"];
    assert_eq!(object(&next(), &fields)["id"], id_of("before"));

    let appended = place.run_with(&["append", "--to", peer, "--json"], "one\n\ntwo\nbefore\n").ok();
    let appended = appended.json(&APPENDED);
    assert_eq!((&appended["appended"], &appended["duplicates"]), (&json!(2), &json!(1)));
    assert_eq!((&appended["skipped"], &appended["count"]), (&json!(1), &json!(3)));
    let acks = place.run_with(&["append", "--to", peer, "--acks"], "three\none\n").ok();
    assert_eq!(acks.lines(), [format!("3 {}", id_of("three")), format!("1 {}", id_of("one"))]);
    place.write("whole", vec![7; 3 << 20]);
    place.run(&["append", "--to", peer, "--whole", "whole"]).ok();

    for body in ["one", "two", "three"] {
        assert_eq!(object(&next(), &fields)["id"], id_of(body));
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
    let end = place.run(&["watch", peer, "--first", "1", "--end"]).ok();
    assert_eq!(end.lines().len(), 4);
    assert!(end.lines()[0].contains(&id_of("one")));

    let long = id_of(vec![7; 3 << 20]);
    assert_eq!(place.run(&["get", &long[..8], "--from", peer]).ok().stdout, vec![7; 3 << 20]);
    let both = place.run(&["get", &id_of("two"), &id_of("one"), "--from", peer]).ok();
    assert_eq!(both.stdout, b"twoone");
    let facts = place.run(&["get", &id_of("two"), "--from", peer, "--json"]).ok();
    let facts = facts.json(&["id", "index", "time", "ntp64", "len"]);
    assert_eq!((&facts["index"], &facts["len"]), (&json!(2), &json!(3)));
    place.run(&["get", &id_of("nobody"), "--from", peer]).fails(4, "does not hold");
    assert!(place.run(&["get", "00000000", "--from", peer]).code(4).stdout.is_empty());
    served.stop();
    assert_eq!(place.ids().len(), 5);
}

#[test]
fn peers_that_can_not_be_reached_or_are_not_wanted() {
    let place = two();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = free.to_string();
    place.run(&["sync", "--store", "c", &nobody]).fails(1, "cannot connect");
    assert!(!place.path("c").exists());
    place.run_with(&["append", "--to", &nobody], "a\n").fails(1, "cannot connect");
    place.run(&["get", &id_of("a"), "--from", &nobody]).fails(1, "cannot connect");
    place.run(&["watch", &nobody]).fails(1, "cannot connect");
    place.run(&["sync", "a peer"]).fails(2, "HOST:PORT");

    // Another secret, and none on one side: refused before any id is told.
    place.write("secret", "sixteen bytes ok");
    place.write("other", "another secret, also long enough");
    let keyed = ["--secret-file", "secret"];
    place.run_with(&[&["append", "--store", "k"], &keyed[..]].concat(), "a\nb\n").ok();
    let served = Served::start(&place, "k", &keyed);
    let refused = place.run(&["sync", "--store", "b", &served.address]);
    refused.says("another cluster secret").code(1);
    let refused = place.run(&["sync", "--store", "o", &served.address, "--secret-file", "other"]);
    refused.says("another cluster secret").code(1);
    let same = ["sync", "--store", "s", &served.address, "--secret-file", "secret", "--json"];
    assert_eq!(place.run(&same).ok().json(&SYNC_FIELDS)["fetched"], 2);
    place.run(&["sync", "--store", "s", &served.address]).says("--secret-file").code(2);
    let ids = place.run(&["ids", "--store", "s", "--secret-file", "secret"]).ok().lines();
    place.run(&["get", &ids[0], "--from", &served.address]).fails(3, "--secret-file");
    let got = place.run(&["get", &ids[0], "--from", &served.address, "--secret-file", "secret"]);
    assert!(got.ok().stdout.len() == 1);
    served.stop();
    place.run(&["serve", "--store", "k"]).says("--secret-file").code(2);
}

#[test]
fn a_damaged_store_says_so_and_sends_nothing_wrong() {
    let place = Place::new();
    place.run_with(&["append", "--store", "a"], "a body that is damaged\nanother\n").ok();
    place.run_with(&["append", "--store", "b"], "yet another\n").ok();
    place.damage("a", "a body that is damaged");
    let served = Served::start(&place, "b", &[]);
    let here = place.run(&["sync", "--store", "a", &served.address, "--json"]);
    // Whether opening finds it or reading does: the command fails, and nothing wrong travels.
    assert_ne!(here.code, 0, "{here:?}");
    served.stop();
    place.run(&["check", "--store", "b", "--deep"]).ok();
    assert!(place.run(&["ids", "--store", "b"]).ok().lines().len() <= 2);
}

#[test]
fn an_export_ends_when_its_server_is_gone() {
    let place = Place::with(&lines("a body that takes some room", 0..60_000));
    let served = Served::start(&place, ".stemedb", &[]);
    let mut child = place.command(&["export", "--from", &served.address]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    object(&out.next().unwrap().unwrap(), &["index", "time", "ntp64", "id", "len", "body"]);
    served.signal("-KILL");
    drop(served);
    // Ends it if it does not end by itself, so that the test fails instead of hanging.
    let (ended, end) = mpsc::channel::<()>();
    let pid = child.id().to_string();
    std::thread::spawn(move || {
        if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        }
    });
    let rest = out.map(Result::unwrap).count();
    assert!(rest < 59_999, "{rest}");
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    drop(ended);
}

#[test]
fn a_server_that_is_killed_leaves_a_count_of_what_it_acknowledged() {
    for as_json in [false, true] {
        let place = Place::with("before\n");
        let served = Served::start(&place, ".stemedb", &[]);
        let mut arguments = vec!["append", "--to", &served.address, "--acks"];
        if as_json {
            arguments.push("--json");
        }
        let mut child = place.command(&arguments).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
        input.write_all(b"one\ntwo\nbefore\n").unwrap();
        for _ in 0..3 {
            acks.next().unwrap().unwrap();
        }
        served.signal("-KILL");
        drop(served);
        // The client may learn of it with what it sends next.
        let _ = input.write_all(b"three\n");
        drop(input);
        let rest: Vec<String> = acks.map(Result::unwrap).collect();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
        let count = "3 acknowledged and durable: 2 appended, 1 held before";
        assert!(said.contains(count), "{said}");
        assert!(!said.contains("h2 protocol error"), "{said}");
        if as_json {
            let report = object(rest.last().unwrap(), &APPENDED);
            assert_eq!((&report["appended"], &report["duplicates"]), (&json!(2), &json!(1)));
            assert_eq!(report["count"], Value::Null);
        }
    }
}

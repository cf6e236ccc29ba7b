//! `get`, `log`, `root` and `diff`.

use std::process::Stdio;

use serde_json::{Value, json};

use super::binary::{Place, id_of, object};
use super::serving::Served;

const ENTRY: [&str; 5] = ["index", "time", "ntp64", "id", "len"];
const FACTS: [&str; 5] = ["id", "index", "time", "ntp64", "len"];
const NONE: [u64; 0] = [];

#[test]
fn get_prints_the_body_and_nothing_else() {
    let place = Place::new();
    let body = b"a\x00\xff line with\r";
    place.run_with(&["append", "--binary"], body).ok();
    let id = id_of(body);
    for digits in [64, 63, 20, 8] {
        let outcome = place.run(&["get", &id[..digits]]).ok();
        assert_eq!(outcome.stdout, body);
        assert_eq!(outcome.stderr, "");
    }
    let facts = place.run(&["get", &id, "--json"]).ok();
    let facts = facts.json(&["id", "index", "time", "ntp64", "len"]);
    assert_eq!(facts["id"], id.as_str());
    assert_eq!(facts["len"], body.len());
}

#[test]
fn get_prints_several_bodies_in_the_order_asked() {
    let place = Place::with("a\nbb\nccc\n");
    let ids = ["ccc", "a", "bb", "a"].map(id_of);
    let all: Vec<&str> = ["get"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    assert_eq!(place.run(&all).ok().stdout, b"cccabba");
    let facts = place.run(&[&["--json"], &all[..]].concat()).ok();
    let told: Vec<Value> = facts.lines().iter().map(|line| object(line, &FACTS)).collect();
    assert!(told.iter().map(|facts| facts["id"].as_str().unwrap()).eq(&ids));
    assert!(told.iter().map(|facts| facts["len"].as_u64().unwrap()).eq([3, 1, 2, 1]));
    // Those before it are printed.
    let absent = id_of("d");
    let outcome = place.run(&["get", &ids[2], &absent, &ids[0]]);
    assert_eq!(outcome.code(4).stdout, b"bb");
    place.run(&["get"]).fails(2, "ID");
}

#[test]
fn what_is_not_held_is_not_found() {
    let place = Place::with("a\n");
    let absent = id_of("b");
    place.run(&["get", &absent]).fails(4, &format!("no assertion {absent}"));
    place.run(&["get", &absent[..8]]).fails(4, &absent[..8]);
    place.run(&["--json", "get", &absent]).fails(4, &format!("no assertion {absent}"));
}

/// A number that JSON has as a decimal string.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The indexes that `log` lists.
fn indexes(place: &Place, arguments: &[&str]) -> Vec<u64> {
    let arguments = [&["log", "--json"], arguments].concat();
    let outcome = place.run(&arguments).ok();
    let index = |line: String| object(&line, &ENTRY)["index"].as_u64().unwrap();
    outcome.lines().into_iter().map(index).collect()
}

#[test]
fn log_lists_ranges_of_indexes() {
    let place = Place::with("a\nb\nc\nd\ne\n");
    assert_eq!(indexes(&place, &[]), [0, 1, 2, 3, 4]);
    assert_eq!(indexes(&place, &["--first", "3"]), [3, 4]);
    assert_eq!(indexes(&place, &["--last", "1"]), [0, 1]);
    assert_eq!(indexes(&place, &["--first", "1", "--last", "2"]), [1, 2]);
    assert_eq!(indexes(&place, &["--limit", "2"]), [0, 1]);
    assert_eq!(indexes(&place, &["--limit", "0"]), NONE);
    assert_eq!(indexes(&place, &["--reverse", "--limit", "2"]), [4, 3]);
    assert_eq!(indexes(&place, &["--reverse", "--first", "1", "--last", "2"]), [2, 1]);
    assert_eq!(indexes(&place, &["--first", "3", "--last", "1"]), NONE);
    assert_eq!(indexes(&place, &["--first", "9"]), NONE);
    assert_eq!(indexes(&place, &["--last", "18446744073709551615"]), [0, 1, 2, 3, 4]);
}

#[test]
fn log_lists_ranges_of_time() {
    let place = Place::with("a\nb\n");
    place.run_with(&["append"], "c\nd\n").ok();
    let log = place.run(&["log", "--json"]).ok();
    let entries: Vec<Value> = log.lines().iter().map(|line| object(line, &ENTRY)).collect();
    let times: Vec<u64> = entries.iter().map(|entry| number(&entry["ntp64"])).collect();
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");

    let third = times[2].to_string();
    assert_eq!(indexes(&place, &["--since", &third]), [2, 3]);
    assert_eq!(indexes(&place, &["--until", &third]), [0, 1]);
    assert_eq!(indexes(&place, &["--since", &third, "--limit", "1"]), [2]);
    assert_eq!(indexes(&place, &["--since", &third, "--first", "3"]), [3]);
    // The two appends are over a nanosecond apart, so the printed time separates them, too.
    let third = entries[2]["time"].as_str().unwrap();
    assert_eq!(indexes(&place, &["--since", third]), [2, 3]);
    assert_eq!(indexes(&place, &["--until", third]), [0, 1]);
    assert_eq!(indexes(&place, &["--since", "2100-01-01T00:00:00Z"]), NONE);
    assert_eq!(indexes(&place, &["--since", "2200-01-01T00:00:00+01:00"]), NONE);
    assert_eq!(indexes(&place, &["--until", "1960-01-01T00:00:00Z"]), NONE);
    // A day, and how long ago.
    assert_eq!(indexes(&place, &["--since", "1h"]), [0, 1, 2, 3]);
    assert_eq!(indexes(&place, &["--until", "1h"]), NONE);
    assert_eq!(indexes(&place, &["--since", "2000-01-01", "--until", "2100-01-01"]), [0, 1, 2, 3]);
    assert_eq!(indexes(&place, &["--since", "2100-01-01"]), NONE);
}

#[test]
fn log_as_text_and_as_json_say_the_same() {
    let place = Place::with("first\n2nd\n");
    let json = place.run(&["log", "--json"]).ok();
    let text = place.run(&["log"]).ok();
    for (json, text) in json.lines().iter().zip(text.lines()) {
        let entry = object(json, &ENTRY);
        let time = entry["time"].as_str().unwrap();
        assert_eq!(time.len(), "2026-11-21T12:00:00.000000000Z".len(), "{time}");
        let columns = [
            entry["index"].to_string(),
            time.to_owned(),
            entry["id"].as_str().unwrap().to_owned(),
            entry["len"].to_string(),
        ];
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), columns);
    }
    assert_eq!(object(&json.lines()[0], &ENTRY)["len"], 5);
}

#[test]
fn an_empty_store_has_the_roots_of_nothing() {
    let place = Place::new();
    place.run(&["init"]).ok();
    let root = place.run(&["root", "--json"]).ok();
    let root = root.json(&["count", "set_root", "log_size", "log_root"]);
    assert_eq!(root["count"], 0);
    // SHA-256 of the empty string, by RFC 9162.
    assert_eq!(
        root["log_root"],
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert!(place.run(&["log"]).ok().stdout.is_empty());
    assert!(place.run(&["ids"]).ok().stdout.is_empty());
}

#[test]
fn root_does_not_depend_on_the_order() {
    let (one, other) = (Place::with("a\nb\nc\n"), Place::with("c\na\nb\n"));
    let root = |place: &Place| place.run(&["root"]).ok().lines();
    assert_eq!(root(&one)[..2], root(&other)[..2]);
    assert!(root(&one)[0].starts_with("count     3"), "{:?}", root(&one));
    assert_ne!(root(&one)[3], root(&other)[3]);
}

#[test]
fn diff_lists_what_only_one_holds() {
    let place = Place::new();
    place.run_with(&["append", "--store", "one"], "a\nb\nc\n").ok();
    place.run_with(&["append", "--store", "two"], "c\nd\n").ok();
    let diff = place.run(&["diff", "--store", "one", "two", "--json"]).ok();
    let diff = diff.json(&["only_here", "only_there", "visited"]);
    let mut here = [id_of("a"), id_of("b")];
    here.sort();
    assert_eq!(diff["only_here"], serde_json::json!(here));
    assert_eq!(diff["only_there"], serde_json::json!([id_of("d")]));
    assert!(diff["visited"].is_u64());

    let text = place.run(&["--store", "one", "diff", "two"]).ok();
    let expected =
        [format!("< {}", here[0]), format!("< {}", here[1]), format!("> {}", id_of("d"))];
    assert_eq!(text.lines(), expected);

    let same = place.run(&["--store", "one", "diff", "one", "--json"]).ok();
    assert_eq!(
        same.json(&["only_here", "only_there", "visited"])["only_here"],
        Value::Array(vec![])
    );
    place.run(&["--store", "one", "diff", "three"]).fails(4, "no store at three");
    assert!(!place.path("three").exists());
}

#[test]
fn stores_that_differ_are_the_answer_no_where_that_is_asked_for() {
    let place = Place::new();
    place.run_with(&["append", "--store", "one"], "a\nb\n").ok();
    place.run_with(&["append", "--store", "two"], "b\n").ok();
    place.run_with(&["append", "--store", "three"], "b\na\n").ok();
    let diff = |other: &str, more: &[&str]| {
        place.run(&[&["diff", "--store", "one", other][..], more].concat())
    };
    diff("two", &[]).ok();
    let outcome = diff("two", &["--exit-code"]).code(5);
    assert_eq!(outcome.text(), format!("< {}\n", id_of("a")));
    assert!(!outcome.stderr.contains("error"), "{outcome:?}");
    let outcome = diff("two", &["--exit-code", "--json"]).code(5);
    assert_eq!(
        outcome.json(&["only_here", "only_there", "visited"])["only_here"],
        json!([id_of("a")])
    );
    diff("three", &["--exit-code"]).ok();
    diff("one", &["--exit-code"]).ok();
    diff("four", &["--exit-code"]).fails(4, "no store at four");
    let served = Served::start(&place, "two", &[]);
    assert_eq!(diff(&served.address, &["--exit-code"]).code(5).lines().len(), 1);
    served.stop();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let lines: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let place = Place::with(&lines.join("\n"));
    for command in ["ids", "log"] {
        let mut child = place.command(&[command]).stdin(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
    // Appends go on when nobody reads the acknowledgements any more.
    let mut child = place.command(&["append", "--acks"]).spawn().unwrap();
    drop(child.stdout.take());
    super::binary::finish(child, b"x\ny\nz\n").ok();
    assert_eq!(place.ids().len(), 20_003);
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let place = Place::with("a\n");
    for arguments in [&["root"][..], &["ids"], &["log"], &["append", "--acks"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = place.command(arguments).stdout(full).spawn().unwrap();
        super::binary::finish(child, b"a\n").fails(1, "cannot write to standard output");
    }
}

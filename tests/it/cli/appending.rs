//! `append`: what becomes a body, and what is said about it.

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use super::binary::{APPENDED, Place, argument, id_of};

/// Appends standard input and returns appended, duplicates, skipped and count.
fn append(place: &Place, stdin: impl AsRef<[u8]>) -> [u64; 4] {
    let outcome = place.run_with(&["append", "--binary", "--json"], stdin).ok();
    numbers(&outcome.json(&APPENDED))
}

fn numbers(summary: &Value) -> [u64; 4] {
    ["appended", "duplicates", "skipped", "count"].map(|field| summary[field].as_u64().unwrap())
}

/// The bodies of the store in the order of the log.
fn bodies(place: &Place) -> Vec<Vec<u8>> {
    let log = place.run(&["log", "--json"]).ok();
    let ids = log.lines().into_iter().map(|line| {
        let entry: Value = serde_json::from_str(&line).unwrap();
        entry["id"].as_str().unwrap().to_owned()
    });
    ids.map(|id| place.run(&["get", &id]).ok().stdout).collect()
}

#[test]
fn a_line_ends_at_lf_only() {
    for (input, expected, skipped) in [
        (&b"a\nb\n"[..], vec![&b"a"[..], b"b"], 0),
        (b"a\nb", vec![b"a", b"b"], 0),
        (b"a\r\n\r\nb\rc\n", vec![b"a\r", b"\r", b"b\rc"], 0),
        (b"\n\na\n\n", vec![b"a"], 3),
        (b"\xff\xfe\x00\n\x80\n", vec![b"\xff\xfe\x00", b"\x80"], 0),
        (b" \n\t\n", vec![b" ", b"\t"], 0),
        (b"", vec![], 0),
        (b"\n", vec![], 1),
    ] {
        let place = Place::new();
        let count = expected.len() as u64;
        assert_eq!(append(&place, input), [count, 0, skipped, count], "{input:?}");
        assert_eq!(bodies(&place), expected, "{input:?}");
    }
}

#[test]
fn a_body_is_held_once() {
    let place = Place::new();
    assert_eq!(append(&place, "a\nb\na\n"), [2, 1, 0, 2]);
    assert_eq!(append(&place, "b\nc\n"), [1, 1, 0, 3]);
    assert_eq!(place.ids().len(), 3);
}

#[test]
fn files_are_taken_in_order_and_a_dash_is_standard_input() {
    let place = Place::new();
    let one = place.write("one", "1\n2");
    let two = place.write("two", "3\n");
    place.run_with(&["append", argument(&one), "-", argument(&two)], "x\ny").ok();
    assert_eq!(bodies(&place), [b"1", b"2", b"x", b"y", b"3"]);
    let empty = place.write("empty", "");
    let outcome = place.run(&["append", argument(&empty), "--json"]).ok();
    assert_eq!(numbers(&outcome.json(&APPENDED)), [0, 0, 0, 5]);
}

#[test]
fn whole_files_are_bodies_even_empty_ones() {
    let place = Place::new();
    let one = place.write("one", "1\n\n2\n");
    let empty = place.write("empty", "");
    let arguments = ["append", "--whole", argument(&one), argument(&empty), "-", "--json"];
    let outcome = place.run_with(&arguments, "in\n").ok();
    assert_eq!(numbers(&outcome.json(&APPENDED)), [3, 0, 0, 3]);
    assert_eq!(bodies(&place), [&b"1\n\n2\n"[..], b"", b"in\n"]);
}

#[test]
fn nothing_is_appended_where_a_file_cannot_be() {
    let place = Place::with("a\n");
    let good = place.write("good", "b\n");
    let missing = place.path("missing");
    place.run(&["append", argument(&good), argument(&missing)]).fails(1, "missing: cannot read");
    let directory = place.path(".stemedb");
    place.run(&["append", argument(&good), argument(&directory)]).fails(1, "is a directory");
    assert_eq!(place.ids(), [id_of("a")]);
}

#[test]
fn a_line_over_the_limit_is_named_and_those_before_it_stay() {
    let place = Place::new();
    let mut input = b"a\n\n".to_vec();
    input.extend(vec![b'x'; (16 << 20) + 1]);
    input.extend(b"\nb\n");
    let file = place.write("long", &input);
    let outcome = place.run(&["append", argument(&file), "--json"]).code(1);
    assert_eq!(numbers(&outcome.json(&APPENDED)), [1, 0, 1, 1]);
    outcome.says("long: line 3 is longer than the 16777216 bytes").says("1 acknowledged");
    place.run(&["append", "--whole", argument(&file)]).code(1).says("long: longer than the");

    // One byte less is a body.
    let fits = place.write("fits", vec![b'x'; 16 << 20]);
    place.run(&["append", argument(&fits)]).ok();
    place.run(&["append", "--whole", argument(&fits)]).ok();
    assert_eq!(place.ids().len(), 2);
}

#[test]
fn acknowledgements_are_index_and_id_in_order_and_nothing_else() {
    let place = Place::with("a\n");
    let outcome = place.run_with(&["append", "--acks"], "b\na\nc\n").ok();
    let expected = [(1, "b"), (0, "a"), (2, "c")];
    let expected = expected.map(|(index, body)| format!("{index} {}", id_of(body)));
    assert_eq!(outcome.lines(), expected);

    // With JSON the object is the last line.
    let outcome = place.run_with(&["append", "--acks", "--json"], "d\n").ok();
    let lines = outcome.lines();
    assert_eq!(lines[0], format!("3 {}", id_of("d")));
    assert_eq!(numbers(&super::binary::object(&lines[1], &APPENDED)), [1, 0, 0, 4]);
    assert_eq!(lines.len(), 2);
}

#[test]
fn few_ids_are_printed_and_many_are_asked_for() {
    let place = Place::new();
    let lines = |count: u32| super::binary::lines("line", 0..count);
    let ids = |count: u32| (0..count).map(|n| id_of(format!("line {n}"))).collect::<Vec<_>>();
    let told = |outcome: &super::binary::Outcome| {
        let rows = outcome.lines();
        let rows = rows.iter().filter_map(|row| row.strip_prefix("id          "));
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    // Those that were held before are told as well.
    assert_eq!(told(&place.run_with(&["append"], lines(16)).ok()), ids(16));
    assert_eq!(told(&place.run_with(&["append"], lines(16)).ok()), ids(16));
    assert_eq!(told(&place.run_with(&["append"], lines(17)).ok()), [""; 0]);
    let json = place.run_with(&["append", "--json"], lines(16)).ok().json(&APPENDED);
    assert_eq!(json["ids"], serde_json::json!(ids(16)));
    let json = place.run_with(&["append", "--json"], lines(17)).ok().json(&APPENDED);
    assert_eq!(json["ids"], Value::Null);

    let outcome = place.run_with(&["append", "--ids"], lines(300)).ok();
    assert_eq!(outcome.lines(), ids(300));
    outcome.says("appended    283");
    let outcome = place.run_with(&["append", "--ids", "--json"], lines(1)).ok().lines();
    assert_eq!(outcome[0], ids(1)[0]);
    super::binary::object(&outcome[1], &APPENDED);
    place.run(&["append", "--ids", "--acks"]).fails(2, "--acks");
}

#[test]
fn what_is_no_text_is_no_lines() {
    let place = Place::new();
    place.write("text", "a\nb\n");
    place.write("photo", b"\xff\xd8\nx\0\n");
    // Looked at before anything is appended, and before a store is made.
    let outcome = place.run(&["append", "text", "photo"]);
    outcome.fails(1, "photo: line 2 has a NUL byte").says("--whole").says("-0").says("--binary");
    assert!(!place.path(".stemedb").exists());
    let outcome = place.run_with(&["append", "--json"], b"a\nb\0\n").code(1);
    assert_eq!(numbers(&outcome.json(&APPENDED)), [1, 0, 0, 1]);
    outcome.says("standard input: line 2 has a NUL byte");
    // Far into a file it is met when it is read, and what came before stays.
    let mut long = super::binary::lines("line", 0..100_000).into_bytes();
    long.extend(b"\0\n");
    place.write("long", long);
    let outcome = place.run(&["append", "long"]).code(1);
    outcome.says("long: line 100001 has a NUL byte").says(" acknowledged and durable");

    let place = Place::new();
    place.write("photo", b"\xff\xd8\nx\0\n");
    place.run(&["append", "--binary", "photo"]).ok();
    assert_eq!(bodies(&place), [&b"\xff\xd8"[..], b"x\0"]);
    place.run(&["append", "--whole", "photo"]).ok();
    place.run(&["append", "-0", "photo"]).ok();
    assert_eq!(bodies(&place)[2..], [&b"\xff\xd8\nx\0\n"[..], b"\xff\xd8\nx", b"\n"]);
    place.run(&["append", "-0", "--whole", "photo"]).fails(2, "--whole");
}

#[test]
fn a_store_is_not_made_where_that_is_not_wanted() {
    let place = Place::new();
    place.run_with(&["append", "--no-create"], "a\n").fails(4, "no store at .stemedb");
    assert!(!place.path(".stemedb").exists());
    place.run_with(&["append"], "a\n").ok();
    place.run_with(&["append", "--no-create"], "b\n").ok();
    assert_eq!(place.ids().len(), 2);
}

#[test]
fn the_longest_body_is_as_long_as_the_flag_says() {
    let place = Place::new();
    let outcome = place.run_with(&["append", "--body-max", "4", "--json"], "1234\n12345\n").code(1);
    assert_eq!(numbers(&outcome.json(&APPENDED)), [1, 0, 0, 1]);
    outcome.says("line 2 is longer than the 4 bytes").says("--body-max");
    let long = place.write("long", vec![b'x'; (16 << 20) + 1]);
    place.run(&["append", "--whole", "--body-max", "17M", argument(&long)]).ok();
    // Reading needs no such leave.
    let id = id_of(std::fs::read(&long).unwrap());
    assert_eq!(place.run(&["get", &id]).ok().stdout.len(), (16 << 20) + 1);
    place.run(&["check", "--deep"]).ok();
    for bad in ["1G", "0", "x"] {
        place.run(&["append", "--body-max", bad]).fails(2, "--body-max");
    }
}

#[test]
fn a_slow_input_is_acknowledged_as_it_comes() {
    let place = Place::new();
    let mut child = place.command(&["append", "--acks"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    // Each line is only sent once the one before it is acknowledged: waiting for more input
    // before acknowledging would hang here.
    for n in 0..20 {
        writeln!(input, "line {n}").unwrap();
        let ack = acks.next().unwrap().unwrap();
        assert_eq!(ack, format!("{n} {}", id_of(format!("line {n}"))));
    }
    drop(input);
    assert!(acks.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn many_lines_keep_their_order() {
    let place = Place::new();
    let lines: Vec<String> = (0..30_000).map(|n| format!("line number {n}")).collect();
    let outcome = place.run_with(&["append", "--acks"], lines.join("\n")).ok();
    let expected: Vec<String> =
        lines.iter().enumerate().map(|(n, line)| format!("{n} {}", id_of(line))).collect();
    assert_eq!(outcome.lines(), expected);
}

#[test]
fn the_summary_agrees_with_root() {
    let place = Place::new();
    let appended = place.run_with(&["append", "--json"], "a\nb\n").ok().json(&APPENDED);
    let root = place.run(&["root", "--json"]).ok();
    let root = root.json(&["count", "set_root", "log_size", "log_root"]);
    for field in ["count", "set_root", "log_size", "log_root"] {
        assert_eq!(appended[field], root[field]);
    }
    let text = place.run_with(&["append"], "c\n").ok();
    assert!(text.text().starts_with("appended    1\nduplicates  0\nskipped     0\n"), "{text:?}");
}

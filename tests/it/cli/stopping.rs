//! Ctrl-C and `kill -9` in the middle of appending.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus};

use serde_json::Value;

use super::binary::{Place, id_of};

/// Feeds a process without end, and ends it by a signal once so many lines are acknowledged.
/// Returns the lines that it printed, whole ones only, and what it said.
fn stop(mut child: Child, signal: &str, after: usize) -> (Vec<String>, String, ExitStatus) {
    let mut input = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        for n in 0_u64.. {
            if writeln!(input, "line number {n}").is_err() {
                return;
            }
        }
    });
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            break;
        }
        lines.push(line.trim_end().to_owned());
        if lines.len() == after {
            send(&child, signal);
        }
    }
    let status = child.wait().unwrap();
    feeder.join().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (lines, said, status)
}

fn send(child: &Child, signal: &str) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Every acknowledged line is in the store, under the index that was told.
fn assert_held(place: &Place, acknowledged: &[String]) {
    let log = place.run(&["log", "--json"]).ok();
    let held: BTreeSet<String> = log
        .lines()
        .iter()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            format!("{} {}", entry["index"], entry["id"].as_str().unwrap())
        })
        .collect();
    for (n, line) in acknowledged.iter().enumerate() {
        assert_eq!(*line, format!("{n} {}", id_of(format!("line number {n}"))));
        assert!(held.contains(line), "{line} is lost");
    }
    assert_eq!(place.ids().len(), held.len());
    place.run(&["check", "--deep"]).ok();
}

#[cfg(unix)]
#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    for after in [1, 100, 5000] {
        let place = Place::new();
        let child = place.command(&["append", "--acks"]).spawn().unwrap();
        let (acknowledged, _, status) = stop(child, "-KILL", after);
        assert_eq!(status.code(), None);
        assert!(acknowledged.len() >= after);
        assert_held(&place, &acknowledged);
        // And it goes on.
        place.run_with(&["append"], "more\n").ok();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_is_acknowledged_and_says_how_many() {
    let place = Place::new();
    let child = place.command(&["append", "--acks", "--json"]).spawn().unwrap();
    let (mut lines, said, status) = stop(child, "-INT", 1000);
    assert_eq!(status.code(), Some(1), "{said}");
    let summary: Value = serde_json::from_str(&lines.pop().unwrap()).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert_eq!(summary["appended"], lines.len());
    let count = format!("{} acknowledged and durable", lines.len());
    assert!(said.replace(',', "").contains(&count), "{said}");
    assert!(said.contains("\"error\":\"interrupted"), "{said}");
    assert_held(&place, &lines);
    // After a stop like this nothing is left over either.
    assert_eq!(place.ids().len(), lines.len());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_append_that_waits_for_input() {
    let place = Place::new();
    let mut child = place.command(&["append", "--acks"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "a").unwrap();
    let mut ack = String::new();
    output.read_line(&mut ack).unwrap();
    assert_eq!(ack, format!("0 {}\n", id_of("a")));
    send(&child, "-INT");
    // The input stays open: nothing but the signal can end it.
    let status = child.wait().unwrap();
    drop(input);
    assert_eq!(status.code(), Some(1));
    assert_eq!(place.ids(), [id_of("a")]);
}

/// The check above can fail: an acknowledgement of what is not in the store is a loss.
#[test]
#[should_panic(expected = "is lost")]
fn a_loss_would_be_noticed() {
    let place = Place::with("line number 0\nline number 1\n");
    let acknowledged = [0, 1, 2].map(|n| format!("{n} {}", id_of(format!("line number {n}"))));
    assert_held(&place, &acknowledged);
}

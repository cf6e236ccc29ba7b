//! Wrong clocks.

use super::tools::{Serving, ended_by_itself, node, run, wrapped};
use crate::cli::binary::{Place, lines};

fn at(time: &str) -> [&str; 5] {
    ["env", "TZ=UTC", "faketime", "-m", time]
}

/// The times of a store's entries, as `log --json` has them.
fn times(place: &Place) -> Vec<u64> {
    let outcome = place.run(&["log", "--json"]).ok();
    let entries = outcome.lines();
    let time = |line: &String| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        entry["ntp64"].as_str().unwrap().parse().unwrap()
    };
    entries.iter().map(time).collect()
}

#[test]
#[ignore = "needs faketime: .ci/run"]
fn one_reading_beyond_2106_ends_no_log() {
    let place = Place::with("a\n");
    let future = run(&at("2150-01-01 00:00:00"), &place, &["append"], "b\n");
    ended_by_itself(&future);
    place.run_with(&["append"], lines("later", 0..1000)).ok();
    let node = Serving::node(&place, ".stemedb");
    place.run_with(&["append", "--to", &node.address], lines("served", 0..101)).ok();
    node.answers("/readyz", 200);
    node.stop();
    place.run(&["check", "--deep"]).ok();
    assert!(place.ids().len() >= 1102);
}

#[test]
#[ignore = "needs faketime: .ci/run"]
fn a_server_whose_clock_is_before_1970_serves() {
    let place = Place::with("a\n");
    let node = place.command(&node(".stemedb"));
    let serving = Serving::start(wrapped(&at("1965-03-04 00:00:00"), &node));
    place.run_with(&["append", "--to", &serving.address], "b\nc\n").ok();
    place.run(&["get", "--from", &serving.address, &crate::cli::binary::id_of("b")]).ok();
    for path in ["/livez", "/readyz", "/metrics", "/status.json", "/api/head", "/"] {
        serving.answers(path, 200);
    }
    serving.answers("/nothing", 404);
    let said = serving.stop();
    assert!(!said.contains("panicked"), "{said}");
    place.run(&["check", "--deep"]).ok();
    assert_eq!(place.ids().len(), 3);
}

#[test]
#[ignore = "needs faketime: .ci/run"]
fn a_clock_that_steps_and_races_gives_times_that_increase() {
    let place = Place::with("now\n");
    for time in ["-365d", "+40d", "+0 x1000", "-3650d", "+1d x0.1"] {
        run(&["faketime", "-m", "-f", time], &place, &["append"], &lines(time, 0..20)).ok();
    }
    place.run_with(&["append"], "now again\n").ok();
    place.run(&["check", "--deep"]).ok();
    let times = times(&place);
    assert_eq!(times.len(), 102);
    assert!(times.is_sorted(), "{times:?}");
}

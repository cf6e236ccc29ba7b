//! Report of a session, for people and programs.

use serde::Serialize;
use stemedb::Head;
use stemedb::rpc::CallError;
use stemedb::sync::report::{Report, Step};

use crate::cli::failure::Failure;
use crate::cli::format::{counted, grouped};
use crate::cli::input::to_hex;
use crate::cli::{decimal, output};

/// Prints it.
pub(super) fn print(
    report: &Report,
    here: &Head,
    error: Option<&CallError>,
    millis: f64,
    as_json: bool,
) -> Result<(), Failure> {
    remarks(report);
    output::facts(as_json, &fields(report, here, error, millis), &rows(report, here, millis))
}

/// Notes for a person beside the result.
fn remarks(report: &Report) {
    if let Some(ahead) = report.clock_ahead {
        output::note(format_args!(
            "the peer's clock is {} s ahead of this one; its bodies were taken, and this store's \
             clock stays as it is",
            ahead.as_secs()
        ));
    }
    if report.peer_rewritten {
        output::note(
            "the peer's log is not the one that was read before: it was restored from a backup, \
             or rewritten by a repair",
        );
    }
    if report.peer_moved {
        output::note("the peer has taken in more since the session began; sync again to get it");
    }
}

/// Fields that a report and a plan begin with.
#[derive(Serialize)]
pub(super) struct Begin<'a> {
    equal: bool,
    layers: Vec<&'a str>,
    rounds: u64,
}

impl<'a> From<&'a Report> for Begin<'a> {
    fn from(report: &'a Report) -> Self {
        let layers = report.layers.iter().map(|step| step.layer.name()).collect();
        Begin { equal: report.equal, layers, rounds: report.rounds }
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(flatten)]
    begin: Begin<'a>,
    #[serde(serialize_with = "decimal::string")]
    bytes_sent: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes_received: u64,
    #[serde(serialize_with = "decimal::string")]
    reconcile_bytes: u64,
    fetched: u64,
    pushed: u64,
    compared: u64,
    restarts: u32,
    millis: f64,
    set_root: String,
    only_here: u64,
    only_there: u64,
    ending: String,
    #[serde(skip_serializing_if = "is_default")]
    withheld: u64,
    #[serde(skip_serializing_if = "is_default")]
    unreadable: u64,
    #[serde(skip_serializing_if = "is_default")]
    peer_moved: bool,
    #[serde(skip_serializing_if = "is_default")]
    peer_rewritten: bool,
    #[serde(skip_serializing_if = "is_default")]
    clock_ahead_seconds: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    error: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn fields<'a>(
    report: &'a Report,
    here: &Head,
    error: Option<&CallError>,
    millis: f64,
) -> Fields<'a> {
    Fields {
        begin: Begin::from(report),
        bytes_sent: report.bytes_sent(),
        bytes_received: report.bytes_received(),
        reconcile_bytes: report.reconcile_bytes(),
        fetched: report.fetched,
        pushed: report.pushed,
        compared: report.compared,
        restarts: report.restarts,
        millis: rounded(millis),
        set_root: to_hex(here.set_root),
        only_here: report.only_mine,
        only_there: report.only_theirs,
        ending: report.ending.to_string(),
        withheld: report.withheld,
        unreadable: report.unreadable,
        peer_moved: report.peer_moved,
        peer_rewritten: report.peer_rewritten,
        clock_ahead_seconds: report.clock_ahead.map(|ahead| ahead.as_secs()),
        error: error.map(ToString::to_string),
    }
}

fn rows(report: &Report, here: &Head, millis: f64) -> Vec<(&'static str, String)> {
    let mut rows = layers(report);
    rows.push(("rounds", grouped(report.rounds)));
    rows.push(("reconciled", output::bytes(report.reconcile_bytes())));
    rows.push(("fetched", moved(report.fetched, report.body_bytes_received)));
    rows.push(("pushed", moved(report.pushed, report.body_bytes_sent)));
    if report.withheld > 0 {
        rows.push(("withheld", format!("{} that the peer did not give", bodies(report.withheld))));
    }
    if report.unreadable > 0 {
        rows.push(("unreadable", format!("{} of this store", bodies(report.unreadable))));
    }
    if report.restarts > 0 {
        rows.push(("restarts", report.restarts.to_string()));
    }
    let times = report.times;
    rows.push((
        "took",
        format!(
            "{millis:.0} ms: {} finding, {} moving, {} ending",
            in_millis(times.finding),
            in_millis(times.moving),
            in_millis(times.finishing)
        ),
    ));
    let left = (
        report.only_mine.saturating_sub(report.pushed),
        report.only_theirs.saturating_sub(report.fetched),
    );
    let equal = match left {
        _ if report.equal => "yes".to_owned(),
        (here, there) if report.checked && here + there > 0 => {
            format!("no: {} only here, {} only there", grouped(here), grouped(there))
        }
        _ => "not known to be".to_owned(),
    };
    rows.push(("equal", equal));
    rows.push(("count", grouped(here.count)));
    rows.push(("set root", to_hex(here.set_root)));
    rows
}

/// Each layer that was used, and why.
pub(super) fn layers(report: &Report) -> Vec<(&'static str, String)> {
    let names = std::iter::once("layers").chain(std::iter::repeat(""));
    let steps = report.layers.iter().map(|Step { layer, why }| format!("{layer:<8} {why}"));
    names.zip(steps).collect()
}

fn moved(count: u64, bytes: u64) -> String {
    format!("{}, {}", bodies(count), output::bytes(bytes))
}

/// So many bodies, in words.
pub(super) fn bodies(count: u64) -> String {
    counted(count, "body", "bodies")
}

fn in_millis(time: std::time::Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// To a thousandth.
pub(super) fn rounded(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}

//! What a session did, for people and programs.

use serde_json::{Map, Value, json};
use stemedb::Head;
use stemedb::rpc::CallError;
use stemedb::sync::report::{Report, Step};

use crate::cli::failure::Failure;
use crate::cli::input::to_hex;
use crate::cli::output;

/// Prints it.
pub(super) fn print(
    report: &Report,
    here: &Head,
    error: Option<&CallError>,
    millis: f64,
    as_json: bool,
) -> Result<(), Failure> {
    remarks(report);
    if as_json {
        return output::json(&as_json_of(report, here, error, millis).into());
    }
    output::raw(output::table(&rows(report, here, millis)).as_bytes())
}

/// What a person should know beside the result.
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
             or written anew by a repair",
        );
    }
    if report.peer_moved {
        output::note("the peer has taken in more since the session began; sync again to get it");
    }
}

fn as_json_of(
    report: &Report,
    here: &Head,
    error: Option<&CallError>,
    millis: f64,
) -> Map<String, Value> {
    let mut fields = begin(report);
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("bytes_sent", json!(report.bytes_sent()));
    put("bytes_received", json!(report.bytes_received()));
    put("reconcile_bytes", json!(report.reconcile_bytes()));
    put("fetched", json!(report.fetched));
    put("pushed", json!(report.pushed));
    put("compared", json!(report.compared));
    put("restarts", json!(report.restarts));
    put("millis", json!(rounded(millis)));
    put("set_root", json!(to_hex(&here.set_root)));
    put("only_here", json!(report.only_mine));
    put("only_there", json!(report.only_theirs));
    put("ending", json!(report.ending.to_string()));
    for (name, count) in [("withheld", report.withheld), ("unreadable", report.unreadable)] {
        if count > 0 {
            put(name, json!(count));
        }
    }
    for (name, holds) in
        [("peer_moved", report.peer_moved), ("peer_rewritten", report.peer_rewritten)]
    {
        if holds {
            put(name, json!(true));
        }
    }
    if let Some(ahead) = report.clock_ahead {
        put("clock_ahead_seconds", json!(ahead.as_secs()));
    }
    if let Some(error) = error {
        put("error", json!(error.to_string()));
    }
    fields
}

/// What a report and a plan begin with.
pub(super) fn begin(report: &Report) -> Map<String, Value> {
    let layers: Vec<&str> = report.layers.iter().map(|step| step.layer.name()).collect();
    let mut fields = Map::new();
    fields.insert("equal".to_owned(), json!(report.equal));
    fields.insert("layers".to_owned(), json!(layers));
    fields.insert("rounds".to_owned(), json!(report.rounds));
    fields
}

fn rows(report: &Report, here: &Head, millis: f64) -> Vec<(&'static str, String)> {
    let mut rows = layers(report);
    rows.push(("rounds", report.rounds.to_string()));
    rows.push(("reconciled", output::bytes(report.reconcile_bytes())));
    rows.push(("fetched", moved(report.fetched, report.body_bytes_received)));
    rows.push(("pushed", moved(report.pushed, report.body_bytes_sent)));
    if report.withheld > 0 {
        rows.push(("withheld", format!("{} bodies that the peer did not give", report.withheld)));
    }
    if report.unreadable > 0 {
        rows.push(("unreadable", format!("{} bodies of this store", report.unreadable)));
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
            format!("no: {here} only here, {there} only there")
        }
        _ => "not known to be".to_owned(),
    };
    rows.push(("equal", equal));
    rows.push(("count", here.count.to_string()));
    rows.push(("set root", to_hex(&here.set_root)));
    rows
}

/// Each layer that was used, and why.
pub(super) fn layers(report: &Report) -> Vec<(&'static str, String)> {
    let names = std::iter::once("layers").chain(std::iter::repeat(""));
    let steps = report.layers.iter().map(|Step { layer, why }| format!("{layer:<8} {why}"));
    names.zip(steps).collect()
}

fn moved(bodies: u64, bytes: u64) -> String {
    format!("{bodies} bodies, {}", output::bytes(bytes))
}

fn in_millis(time: std::time::Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// To a thousandth.
pub(super) fn rounded(millis: f64) -> f64 {
    (millis * 1e3).round() / 1e3
}

//! `stemedb sync --plan`: what a session would do.

use serde::Serialize;
use stemedb::sync::report::{Layer, Report};
use stemedb::{AssertionId, LogIndex, Store};

use super::report::{Begin, bodies, layers, rounded};
use crate::cli::failure::Failure;
use crate::cli::format::grouped;
use crate::cli::{decimal, output};

/// Bytes that a body takes on the wire beyond its own, about.
const FRAMING_LEN: u64 = 3;

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(flatten)]
    begin: Begin<'a>,
    #[serde(serialize_with = "decimal::string")]
    reconcile_bytes: u64,
    only_here: Option<u64>,
    only_there: u64,
    #[serde(serialize_with = "decimal::optional")]
    push_bytes: Option<u64>,
    #[serde(serialize_with = "decimal::optional")]
    fetch_bytes_estimate: Option<u64>,
    millis: f64,
}

/// Prints it.
pub(super) fn print(
    store: &Store,
    report: &Report,
    millis: f64,
    as_json: bool,
) -> Result<(), Failure> {
    let plan = Plan::new(store, report)?;
    if as_json {
        return output::json(&Fields {
            begin: Begin::from(report),
            reconcile_bytes: report.reconcile_bytes(),
            only_here: plan.only_here,
            only_there: report.only_theirs,
            push_bytes: plan.push_bytes,
            fetch_bytes_estimate: plan.fetch_bytes,
            millis: rounded(millis),
        });
    }
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), output::bytes);
    let mut rows = layers(report);
    rows.push(("rounds", grouped(report.rounds)));
    rows.push(("reconciled", output::bytes(report.reconcile_bytes())));
    let found = report.found.is_some() || report.equal;
    let at_most = if found { "" } else { "at most " };
    rows.push((
        "to fetch",
        format!("{at_most}{}, about {}", bodies(report.only_theirs), bytes(plan.fetch_bytes)),
    ));
    rows.push((
        "to push",
        plan.only_here.map_or_else(
            || "known when that is read".to_owned(),
            |count| format!("{}, {}", bodies(count), bytes(plan.push_bytes)),
        ),
    ));
    rows.push(("equal", if report.equal { "yes" } else { "no" }.to_owned()));
    output::raw(output::table(&rows).as_bytes())?;
    output::note("nothing was moved; the same command without --plan does it");
    Ok(())
}

struct Plan {
    /// Unknown while the peer's log would be read first.
    only_here: Option<u64>,
    push_bytes: Option<u64>,
    /// From the average of this store; unknown if that is empty.
    fetch_bytes: Option<u64>,
}

impl Plan {
    fn new(store: &Store, report: &Report) -> Result<Self, Failure> {
        let reads_log =
            report.layers.iter().any(|step| matches!(step.layer, Layer::Cursor | Layer::Bulk));
        let mut push_bytes = 0;
        for id in report.found.iter().flat_map(|found| &found.only_mine) {
            let len = store.find(&AssertionId(*id))?.map_or(0, |entry| entry.len);
            push_bytes += len + FRAMING_LEN;
        }
        let fetch_bytes = match report.only_theirs {
            0 => Some(0),
            theirs => average_len(store)?.map(|len| theirs * (len + FRAMING_LEN)),
        };
        Ok(Self {
            only_here: (!reads_log).then_some(report.only_mine),
            push_bytes: (!reads_log).then_some(push_bytes),
            fetch_bytes,
        })
    }
}

/// The average length of some bodies of the store, from all over its log, in bytes, rounded up.
fn average_len(store: &Store) -> Result<Option<u64>, Failure> {
    const SAMPLE: u64 = 1_000;
    let size = store.log_size().get();
    let (mut count, mut len) = (0, 0);
    for n in 0..SAMPLE.min(size) {
        let index = n * size.div_ceil(SAMPLE) % size;
        len += store.entry(LogIndex(index))?.map_or(0, |entry| entry.len);
        count += 1;
    }
    Ok((count > 0).then(|| len.div_ceil(count)))
}

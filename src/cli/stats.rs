//! `stemedb stats`: how big everything is.

use serde::Serialize;
use stemedb::node::status::HeadStatus;
use stemedb::{Stats, Timestamp};

use super::failure::Failure;
use super::format::{counted, grouped};
use super::input::to_hex;
use super::{Globals, decimal, open, output, peer, picture};

/// Show sizes, bytes an assertion in each structure, segments, checkpoints, times, and a picture
///
/// The picture shows how full the 256 top subtrees of the set tree are, by the first two hex
/// digits of the ids: hashes spread evenly, so an uneven picture is a remarkable store.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb stats
  stemedb stats --json | jq .bytes_per_assertion
  stemedb stats --from 127.0.0.1:7845      Of a served store

JSON: {count, set_root, log_size, log_root, holes, store_id, epoch, generation, secret, \
segments, checkpoints, bytes: {log, log_stored, spare, history, checkpoints, quarantined, \
memory}, bytes_per_assertion: {log, history, checkpoints, memory}, first_time, last_time, \
checkpoint_time, subtrees}; subtrees is the 256 counts")]
pub(super) struct Args {
    #[command(flatten)]
    read: peer::ReadFrom,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let stats = match args.read.connect()? {
        Some(remote) => remote.wait(remote.client.stats())?,
        None => open::reading(globals, |store| Ok(store.stats()?))?,
    };
    if globals.json {
        return output::json(&fields(&stats));
    }
    output::raw(as_text(&stats).as_bytes())
}

#[derive(Serialize)]
struct Fields<'a> {
    #[serde(flatten)]
    head: HeadStatus,
    holes: u64,
    store_id: String,
    epoch: u64,
    generation: u32,
    secret: bool,
    segments: u64,
    checkpoints: u64,
    bytes: Bytes,
    bytes_per_assertion: BytesEach,
    first_time: Option<String>,
    last_time: Option<String>,
    checkpoint_time: Option<String>,
    subtrees: &'a [u64],
}

#[derive(Serialize)]
struct Bytes {
    #[serde(serialize_with = "decimal::string")]
    log: u64,
    #[serde(serialize_with = "decimal::optional")]
    log_stored: Option<u64>,
    #[serde(serialize_with = "decimal::string")]
    spare: u64,
    #[serde(serialize_with = "decimal::string")]
    history: u64,
    #[serde(serialize_with = "decimal::string")]
    checkpoints: u64,
    #[serde(serialize_with = "decimal::string")]
    quarantined: u64,
    #[serde(serialize_with = "decimal::string")]
    memory: u64,
}

#[derive(Serialize)]
struct BytesEach {
    log: Option<f64>,
    history: Option<f64>,
    checkpoints: Option<f64>,
    memory: Option<f64>,
}

fn fields(stats: &Stats) -> Fields<'_> {
    let each = |bytes| each(bytes, stats.head.count);
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    Fields {
        head: HeadStatus::from(&stats.head),
        holes: stats.holes,
        store_id: to_hex(stats.store_id),
        epoch: stats.epoch,
        generation: stats.generation,
        secret: stats.secret,
        segments: stats.segments,
        checkpoints: stats.checkpoints,
        bytes: Bytes {
            log: stats.log_bytes,
            log_stored: stats.log_stored_bytes,
            spare: stats.spare_bytes,
            history: stats.history_bytes,
            checkpoints: stats.checkpoint_bytes,
            quarantined: stats.quarantined_bytes,
            memory: stats.memory_bytes,
        },
        bytes_per_assertion: BytesEach {
            log: each(stats.log_bytes),
            history: each(stats.history_bytes),
            checkpoints: each(stats.checkpoint_bytes),
            memory: each(stats.memory_bytes),
        },
        first_time: time(stats.first_time),
        last_time: time(stats.last_time),
        checkpoint_time: time(stats.checkpoint_time),
        subtrees: &stats.subtrees,
    }
}

fn as_text(stats: &Stats) -> String {
    let size = |bytes| match each(bytes, stats.head.count) {
        Some(each) => format!("{:>10}  {each:>8.1} B an assertion", output::bytes(bytes)),
        None => format!("{:>10}", output::bytes(bytes)),
    };
    let time =
        |time: Option<Timestamp>| time.map_or_else(|| "none".to_owned(), |time| time.to_string());
    let segments = counted(stats.segments, "segment", "segments");
    let files = counted(stats.checkpoints, "file", "files");
    let mut rows = vec![
        ("store id", to_hex(stats.store_id)),
        ("epoch", grouped(stats.epoch)),
        ("secret", if stats.secret { "needed" } else { "none" }.to_owned()),
    ];
    rows.extend(super::root::rows(&stats.head));
    rows.extend([
        ("holes", grouped(stats.holes)),
        ("first time", time(stats.first_time)),
        ("last time", time(stats.last_time)),
        ("log", format!("{}, {segments}", size(stats.log_bytes))),
        ("log on disk", stats.log_stored_bytes.map_or_else(|| "not known here".to_owned(), size)),
        ("spare", format!("{:>10}", output::bytes(stats.spare_bytes))),
        ("history", size(stats.history_bytes)),
        ("checkpoints", format!("{}, {files}", size(stats.checkpoint_bytes))),
        ("checkpointed", time(stats.checkpoint_time)),
        ("kept files", format!("{:>10}", output::bytes(stats.quarantined_bytes))),
        ("memory", size(stats.memory_bytes)),
    ]);
    let picture = picture::draw(&stats.subtrees);
    format!(
        "{}\nids by their first two digits, the fullest with {}:\n{picture}",
        output::table(&rows),
        grouped(stats.subtrees.iter().max().copied().unwrap_or(0))
    )
}

/// Bytes an assertion, to a tenth.
#[expect(clippy::cast_precision_loss, reason = "shown to a tenth of a byte")]
fn each(bytes: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| (bytes as f64 / count as f64 * 10.0).round() / 10.0)
}

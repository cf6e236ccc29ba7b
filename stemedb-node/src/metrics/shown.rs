//! What a node is at the moment of a scrape.

use std::fmt::Error;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::{OTHER, PEERS_MAX, process::Process};
use crate::status::{ArchiveStatus, PeerStatus, ScrubStatus, SliceStatus, Status};
use stemedb_store::store::Gauges;

/// The reasons for which sync pauses.
const PAUSES: [&str; 4] = ["asked", "latency", "window", "disk"];
/// The states of a peer.
const STATES: [&str; 6] = ["alive", "suspect", "down", "named", "aside", "conflict"];
/// The codes of problems.
const PROBLEMS: [&str; 4] = ["writer", "damage", "disk", "stopping"];

/// Everything that is looked up when somebody asks.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: Status,
    pub(super) gauges: Gauges,
    pub(super) memory_bytes: u64,
    pub(super) process: Process,
}

type Label = [(&'static str, String); 1];

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut sheet = Sheet(encoder);
        self.node(&mut sheet)?;
        self.sync(&mut sheet)?;
        peers(&mut sheet, &self.status.peers)?;
        slices(&mut sheet, &self.status.slices)?;
        self.store(&mut sheet)?;
        scrub(&mut sheet, self.status.scrub.as_ref())?;
        archive(&mut sheet, self.status.archive.as_ref())?;
        process(&mut sheet, &self.process)
    }
}

impl Shown {
    fn node(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let status = &self.status;
        let build = [
            ("version", status.version.to_owned()),
            ("node", status.node.clone()),
            ("store", status.store.clone()),
        ];
        sheet.family(
            ("build_info", None),
            "The program, the node and the store: always 1",
            [(Some(build), 1.0)],
        )?;
        let started = status.time - whole(status.uptime_seconds);
        sheet.gauge(("start_time", SECONDS), "When the node began, since 1970 UTC", started)?;
        sheet.gauge(
            ("uptime", SECONDS),
            "How long the node has been running",
            whole(status.uptime_seconds),
        )?;
        sheet.gauge(
            ("ready", None),
            "1 if the node is ready to serve clients",
            truth(status.not_ready.is_empty()),
        )?;
        let problems = PROBLEMS.map(|code| {
            let there = status.not_ready.iter().any(|problem| problem.code == code);
            (Some([("code", code.to_owned())]), truth(there))
        });
        sheet.family(("problem", None), "1 for each reason why the node is not ready", problems)?;
        sheet.gauge(("disk_free", BYTES), "Free bytes of the disk", whole(status.disk.free))?;
        sheet.gauge(("disk_size", BYTES), "Bytes that the disk has", whole(status.disk.total))?;
        sheet.gauge(
            ("disk_reserve", BYTES),
            "Free bytes of the disk below which the node is not ready",
            whole(status.disk.reserve),
        )
    }

    fn sync(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let sync = &self.status.sync;
        sheet.gauge(("sync_running", None), "Sessions that run", whole(sync.running))?;
        let paused = PAUSES.map(|reason| {
            (Some([("reason", reason.to_owned())]), truth(sync.paused == Some(reason)))
        });
        sheet.family(("sync_paused", None), "1 for the reason why no session begins", paused)?;
        sheet.family(
            ("append_p99", SECONDS),
            "99th percentile of what clients' appends took lately, absent if there were none",
            sync.append_p99_seconds.map(|seconds| (NO_LABELS, seconds)),
        )
    }

    fn store(&self, sheet: &mut Sheet<'_>) -> Result<(), Error> {
        let Gauges { count, log_size, log_bytes, segments, checkpoint, writer_failed } =
            self.gauges;
        let covered = checkpoint.unwrap_or_default();
        let behind = log_size.saturating_sub(covered.log_size);
        let age = match behind {
            0 => 0.0,
            _ => (self.status.time - unix_seconds(covered.last_time)).max(0.0),
        };
        // Without a checkpoint there is no time to count from.
        let age = (covered.log_size > 0 || behind == 0).then_some(age);
        for (name, help, value) in [
            (("store_assertions", None), "Assertions held", count),
            (("store_log_entries", None), "Entries of the log", log_size),
            (("store_log", BYTES), "Bytes of the log", log_bytes),
            (("store_segments", None), "Segments of the log", segments),
            (
                ("store_holes", None),
                "Bodies lost to damage that have not come back",
                log_size.saturating_sub(count),
            ),
            (
                ("store_checkpoint_behind_entries", None),
                "Entries that the restart checkpoint does not cover: opening replays them",
                behind,
            ),
            (
                ("store_memory", BYTES),
                "Memory of the set tree beside the restart checkpoint, counted once a minute",
                self.memory_bytes,
            ),
        ] {
            sheet.gauge(name, help, whole(value))?;
        }
        sheet.family(
            ("store_checkpoint_age", SECONDS),
            "Age of the last entry that the restart checkpoint covers, 0 if it covers all",
            age.map(|age| (NO_LABELS, age)),
        )?;
        sheet.gauge(
            ("store_writer_failed", None),
            "1 if nothing can be appended until the node is started again",
            truth(writer_failed),
        )
    }
}

fn peers(sheet: &mut Sheet<'_>, peers: &[PeerStatus]) -> Result<(), Error> {
    let states = STATES.map(|state| {
        let count = peers.iter().filter(|peer| peer.state == state).count();
        (Some([("state", state.to_owned())]), whole(count as u64))
    });
    sheet.family(("peers", None), "Peers, by state", states)?;
    let rows = |value: fn(&PeerStatus) -> Option<f64>, join: fn(f64, f64) -> f64| {
        let mut rows: Vec<(Option<Label>, f64)> = Vec::new();
        let mut rest: Option<f64> = None;
        for (number, peer) in peers.iter().enumerate() {
            let Some(value) = value(peer) else { continue };
            if number < PEERS_MAX {
                rows.push((Some([("peer", peer.address.clone())]), value));
            } else {
                rest = Some(rest.map_or(value, |rest| join(rest, value)));
            }
        }
        rows.extend(rest.map(|rest| (Some([("peer", OTHER.to_owned())]), rest)));
        rows
    };
    sheet.family(
        ("peer_lag", SECONDS),
        "How long a peer has been known to differ from this node; the most for `other`",
        rows(|peer| peer.lag_seconds, f64::max),
    )?;
    sheet.family(
        ("peer_last_repaired_timestamp", SECONDS),
        "When a session with a peer last ended with both equal; the earliest for `other`",
        rows(|peer| peer.last_repaired, f64::min),
    )?;
    sheet.family(
        ("peer_failures", None),
        "Sessions with a peer that failed in a row; the sum for `other`",
        rows(|peer| Some(whole(peer.failures)), |one, other| one + other),
    )?;
    sheet.family(
        ("peer_in_step", None),
        "1 if a peer has the same root as this node; the least for `other`",
        rows(|peer| peer.in_step.map(truth), f64::min),
    )
}

fn slices(sheet: &mut Sheet<'_>, slices: &[SliceStatus]) -> Result<(), Error> {
    let label = |slice: &SliceStatus| Some([("slice", slice.prefix.clone())]);
    let repaired = slices.iter().filter_map(|slice| Some((label(slice), slice.last_repaired?)));
    sheet.family(
        ("slice_last_repaired_timestamp", SECONDS),
        "When a slice was last found or made equal with some peer",
        repaired,
    )?;
    let counts = |value: fn(&SliceStatus) -> u64| {
        slices.iter().map(move |slice| (label(slice), value(slice)))
    };
    sheet.counters(
        ("slice_compared", BYTES),
        "Bytes of messages that compared a slice",
        counts(|slice| slice.bytes_compared),
    )?;
    sheet.counters(
        ("slice_transferred", BYTES),
        "Bytes of bodies that were moved for a slice",
        counts(|slice| slice.bytes_transferred),
    )?;
    sheet.counters(
        ("slice_sessions", None),
        "Sessions that compared a slice",
        counts(|slice| slice.sessions),
    )?;
    sheet.counters(
        ("slice_mismatches", None),
        "Sessions in which a slice differed",
        counts(|slice| slice.mismatches),
    )
}

fn scrub(sheet: &mut Sheet<'_>, scrub: Option<&ScrubStatus>) -> Result<(), Error> {
    let Some(scrub) = scrub else { return Ok(()) };
    sheet.gauge(
        ("scrub_position_entries", None),
        "How far the present pass over all bodies is, in entries of the log",
        whole(scrub.position),
    )?;
    sheet.family(
        ("scrub_last_pass_timestamp", SECONDS),
        "When the last whole pass over all bodies ended",
        scrub.last_pass.map(|time| (NO_LABELS, time)),
    )?;
    sheet.counters(
        ("scrub_damaged", None),
        "Bodies found damaged by the check in the background",
        [(NO_LABELS, scrub.damaged)],
    )?;
    sheet.counters(
        ("scrub_healed", None),
        "Bodies found damaged and healed with what a peer has",
        [(NO_LABELS, scrub.healed)],
    )
}

fn archive(sheet: &mut Sheet<'_>, archive: Option<&ArchiveStatus>) -> Result<(), Error> {
    let Some(archive) = archive else { return Ok(()) };
    sheet.gauge(
        ("archive_log_entries", None),
        "Entries of the log that are archived",
        whole(archive.log_size),
    )?;
    sheet.family(
        ("archive_last_sent_timestamp", SECONDS),
        "When something was last sent to the archive",
        archive.last_sent.map(|time| (NO_LABELS, time)),
    )?;
    sheet.gauge(
        ("archive_dropped_segments", None),
        "Segments that are in the archive only",
        whole(archive.dropped_segments),
    )?;
    sheet.gauge(
        ("archive_failing", None),
        "1 if what was last tried with the archive went wrong",
        truth(archive.error.is_some()),
    )
}

fn process(sheet: &mut Sheet<'_>, process: &Process) -> Result<(), Error> {
    sheet.float_counters(
        ("process_cpu", SECONDS),
        "Processor time of the process",
        process.cpu_seconds.map(|seconds| (NO_LABELS, seconds)),
    )?;
    sheet.family(
        ("process_resident_memory", BYTES),
        "Memory of the process that is in use",
        process.resident_bytes.map(|bytes| (NO_LABELS, whole(bytes))),
    )?;
    sheet.family(
        ("process_open_files", None),
        "Files, sockets and pipes that the process has open",
        process.open_files.map(|files| (NO_LABELS, whole(files))),
    )?;
    sheet.counters(
        ("process_disk_read", BYTES),
        "Bytes that the process had read from disks",
        process.disk_read_bytes.map(|bytes| (NO_LABELS, bytes)),
    )
}

const NO_LABELS: Option<Label> = None;
const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

/// Where metrics are written down, each with all of its series.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn gauge(&mut self, name: Name, help: &str, value: f64) -> Result<(), Error> {
        self.family(name, help, [(NO_LABELS, value)])
    }

    fn family<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        help: &str,
        rows: impl IntoIterator<Item = (Option<L>, f64)>,
    ) -> Result<(), Error> {
        self.write(name, help, MetricType::Gauge, rows, ConstGauge::new)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        help: &str,
        rows: impl IntoIterator<Item = (Option<L>, u64)>,
    ) -> Result<(), Error> {
        self.write(name, help, MetricType::Counter, rows, ConstCounter::new)
    }

    fn float_counters<L: EncodeLabelSet>(
        &mut self,
        name: Name,
        help: &str,
        rows: impl IntoIterator<Item = (Option<L>, f64)>,
    ) -> Result<(), Error> {
        self.write(name, help, MetricType::Counter, rows, ConstCounter::new)
    }

    fn write<L: EncodeLabelSet, V, M: EncodeMetric>(
        &mut self,
        (name, unit): Name,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Option<L>, V)>,
        metric: fn(V) -> M,
    ) -> Result<(), Error> {
        let help = format!("{help}.");
        let mut encoder = self.0.encode_descriptor(name, &help, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            let Some(labels) = labels else {
                // The only sample.
                return metric(value).encode(encoder);
            };
            metric(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The name of a metric without prefix and unit, and the unit.
type Name = (&'static str, Option<Unit>);

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
fn whole(value: u64) -> f64 {
    value as f64
}

/// An NTP64 time in seconds since 1970.
fn unix_seconds(ntp64: u64) -> f64 {
    whole(ntp64) / 4_294_967_296.0
}

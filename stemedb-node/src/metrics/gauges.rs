//! Gauges of a node at the moment of a scrape.

use std::fmt::Error;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    OTHER, PEERS_MAX,
    writer::{BYTES, Label, MetricWriter, NO_LABELS, SECONDS, whole},
};
use crate::status::{
    ArchiveStatus, PauseReason, PeerState, PeerStatus, ProblemCode, ScrubStatus, SliceStatus,
    Status, unix_seconds,
};
use stemedb_rpc::server::Rejection;
use stemedb_store::store::{CheckpointGauges, Gauges};

/// Collector of all values that are looked up at a scrape.
#[derive(Debug)]
pub(super) struct GaugeCollector {
    pub(super) status: Status,
    pub(super) gauges: Gauges,
    /// Coverage of the restart checkpoint, as last seen.
    pub(super) checkpoint: CheckpointGauges,
    pub(super) memory_bytes: Option<u64>,
    pub(super) disk_read_bytes: Option<u64>,
    pub(super) access: AccessGauges,
}

/// Callers that a node does not let in, and how long others will let it in.
#[derive(Clone, Debug, Default)]
pub struct AccessGauges {
    /// How many callers were not let in, by reason.
    pub rejections: Vec<(Rejection, u64)>,
    /// Days that certificates have left, by the key that names their file.
    pub certificate_days: Vec<(&'static str, f64)>,
}

impl Collector for GaugeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut writer = MetricWriter::new(encoder);
        self.node(&mut writer)?;
        self.access(&mut writer)?;
        self.sync(&mut writer)?;
        peers(&mut writer, &self.status.peers)?;
        slices(&mut writer, &self.status.slices)?;
        self.store(&mut writer)?;
        scrub(&mut writer, self.status.scrub.as_ref())?;
        archive(&mut writer, self.status.archive.as_ref())
    }
}

impl GaugeCollector {
    fn node(&self, writer: &mut MetricWriter<'_>) -> Result<(), Error> {
        let status = &self.status;
        let build = [
            ("version", status.version.clone()),
            ("node", status.node.clone()),
            ("store", status.store.clone()),
        ];
        writer.family(
            ("build_info", None),
            "The program, the node and the store: always 1",
            [(Some(build), 1.0)],
        )?;
        let started = status.time - whole(status.uptime_seconds);
        writer.gauge(("start_time", SECONDS), "When the node began, since 1970 UTC", started)?;
        writer.gauge(
            ("uptime", SECONDS),
            "How long the node has been running",
            whole(status.uptime_seconds),
        )?;
        writer.gauge(
            ("ready", None),
            "1 if the node is ready to serve clients",
            truth(status.not_ready.is_empty()),
        )?;
        let problems = ProblemCode::ALL.iter().map(|code| {
            let there = status.not_ready.iter().any(|problem| problem.code == *code);
            (Some([("code", code.to_string())]), truth(there))
        });
        writer.family(
            ("problem", None),
            "1 for each reason why the node is not ready",
            problems,
        )?;
        writer.gauge(("disk_free", BYTES), "Free bytes of the disk", whole(status.disk.free))?;
        writer.gauge(("disk_size", BYTES), "Bytes that the disk has", whole(status.disk.total))?;
        writer.gauge(
            ("disk_reserve", BYTES),
            "Free bytes of the disk below which the node is not ready",
            whole(status.disk.reserve),
        )
    }

    fn access(&self, writer: &mut MetricWriter<'_>) -> Result<(), Error> {
        let AccessGauges { rejections, certificate_days } = &self.access;
        let rows = rejections
            .iter()
            .map(|(reason, count)| (Some([("reason", reason.to_string())]), *count));
        writer.counters(
            ("clients_rejected", None),
            "Connections, calls and gossip messages that were not taken, by reason",
            rows,
        )?;
        let rows =
            certificate_days.iter().map(|(key, days)| (Some([("key", (*key).to_owned())]), *days));
        writer.family(
            ("certificate_days_left", None),
            "Days until the certificate that expires first in the file of this key does, negative \
             after that; expired authorities do not count beside valid ones",
            rows,
        )?;
        let joined = self.status.joined.map(|joined| (NO_LABELS, truth(joined)));
        writer.family(
            ("joined", None),
            "1 if another member is there, absent where there is no address to join by",
            joined,
        )
    }

    fn sync(&self, writer: &mut MetricWriter<'_>) -> Result<(), Error> {
        let sync = &self.status.sync;
        writer.gauge(("sync_running", None), "Sessions that run", whole(sync.running))?;
        let paused = PauseReason::ALL.iter().map(|reason| {
            (Some([("reason", reason.to_string())]), truth(sync.paused == Some(*reason)))
        });
        writer.family(("sync_paused", None), "1 for the reason why no session begins", paused)?;
        writer.family(
            ("append_p99", SECONDS),
            "99th percentile of client-observed append latency of late, absent without appends",
            sync.append_p99_seconds.map(|seconds| (NO_LABELS, seconds)),
        )
    }

    fn store(&self, writer: &mut MetricWriter<'_>) -> Result<(), Error> {
        let Gauges { count, log_size, log_bytes, segments, writer_failed, .. } = self.gauges;
        let covered = self.checkpoint;
        let behind = log_size.get().saturating_sub(covered.log_size.get());
        let age = match behind {
            0 => 0.0,
            _ => (self.status.time - unix_seconds(covered.last_time)).max(0.0),
        };
        writer.counters(
            ("disk_read", BYTES),
            "Bytes that the process had read from disks",
            self.disk_read_bytes.map(|bytes| (NO_LABELS, bytes)),
        )?;
        // Without a checkpoint there is no time to count from.
        let age = (covered.log_size.get() != 0 || behind == 0).then_some(age);
        for (name, help, value) in [
            (("store_assertions", None), "Assertions held", count),
            (("store_log_entries", None), "Entries of the log", log_size.get()),
            (("store_log", BYTES), "Bytes of the log", log_bytes),
            (("store_segments", None), "Segments of the log", segments),
            (
                ("store_holes", None),
                "Bodies lost to damage that are not healed",
                log_size.get().saturating_sub(count),
            ),
            (
                ("store_checkpoint_behind_entries", None),
                "Entries that the restart checkpoint does not cover: opening replays them",
                behind,
            ),
        ] {
            writer.gauge(name, help, whole(value))?;
        }
        writer.family(
            ("store_memory", BYTES),
            "Memory of the set tree beside the restart checkpoint, counted once a minute, absent \
             while the tree can't be read",
            self.memory_bytes.map(|bytes| (NO_LABELS, whole(bytes))),
        )?;
        writer.family(
            ("store_checkpoint_age", SECONDS),
            "Age of the last entry that the restart checkpoint covers, 0 if it covers all",
            age.map(|age| (NO_LABELS, age)),
        )?;
        writer.gauge(
            ("store_writer_failed", None),
            "1 if nothing can be appended until the node is started again",
            truth(writer_failed),
        )
    }
}

fn peers(writer: &mut MetricWriter<'_>, peers: &[PeerStatus]) -> Result<(), Error> {
    let states = PeerState::ALL.iter().map(|state| {
        let count = peers.iter().filter(|peer| peer.state == *state).count();
        (Some([("state", state.to_string())]), whole(count as u64))
    });
    writer.family(("peers", None), "Peers, by state", states)?;
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
    writer.family(
        ("peer_lag", SECONDS),
        "Age of the oldest entry that a peer or this node may lack; the most for `other`",
        rows(|peer| peer.lag_seconds, f64::max),
    )?;
    writer.family(
        ("peer_lag_entries", None),
        "Entries of this node's log that a peer may lack; the most for `other`",
        rows(|peer| peer.lag_entries.map(whole), f64::max),
    )?;
    writer.family(
        ("peer_ahead_entries", None),
        "Entries of a peer's log that this node may lack; the most for `other`",
        rows(|peer| peer.ahead_entries.map(whole), f64::max),
    )?;
    writer.family(
        ("peer_last_repaired_timestamp", SECONDS),
        "When a session with a peer last ended with both equal; the earliest for `other`",
        rows(|peer| peer.last_repaired, f64::min),
    )?;
    writer.family(
        ("peer_failures", None),
        "Sessions with a peer that failed in a row; the sum for `other`",
        rows(|peer| Some(whole(peer.failures)), |one, other| one + other),
    )?;
    writer.family(
        ("peer_in_step", None),
        "1 if a peer has the same root as this node; the least for `other`",
        rows(|peer| peer.in_step.map(truth), f64::min),
    )
}

fn slices(writer: &mut MetricWriter<'_>, slices: &[SliceStatus]) -> Result<(), Error> {
    let label = |slice: &SliceStatus| Some([("slice", slice.prefix.clone())]);
    let repaired = slices.iter().filter_map(|slice| Some((label(slice), slice.last_repaired?)));
    writer.family(
        ("slice_last_repaired_timestamp", SECONDS),
        "When a slice was last found or made equal with some peer",
        repaired,
    )?;
    let counts = |value: fn(&SliceStatus) -> u64| {
        slices.iter().map(move |slice| (label(slice), value(slice)))
    };
    writer.counters(
        ("slice_compared", BYTES),
        "Bytes of messages that compared a slice",
        counts(|slice| slice.bytes_compared),
    )?;
    writer.counters(
        ("slice_transferred", BYTES),
        "Bytes of bodies that were moved for a slice",
        counts(|slice| slice.bytes_transferred),
    )?;
    writer.counters(
        ("slice_sessions", None),
        "Sessions that compared a slice",
        counts(|slice| slice.sessions),
    )?;
    writer.counters(
        ("slice_mismatches", None),
        "Sessions in which a slice differed",
        counts(|slice| slice.mismatches),
    )
}

fn scrub(writer: &mut MetricWriter<'_>, scrub: Option<&ScrubStatus>) -> Result<(), Error> {
    let Some(scrub) = scrub else { return Ok(()) };
    writer.gauge(
        ("scrub_position_entries", None),
        "How far the present pass over all bodies is, in entries of the log",
        whole(scrub.position),
    )?;
    writer.family(
        ("scrub_last_pass_timestamp", SECONDS),
        "When the last whole pass over all bodies ended",
        scrub.last_pass.map(|time| (NO_LABELS, time)),
    )?;
    writer.counters(
        ("scrub_damaged", None),
        "Bodies found damaged by the check in the background",
        [(NO_LABELS, scrub.damaged)],
    )?;
    writer.counters(
        ("scrub_healed", None),
        "Bodies found damaged and healed with what a peer has",
        [(NO_LABELS, scrub.healed)],
    )
}

fn archive(writer: &mut MetricWriter<'_>, archive: Option<&ArchiveStatus>) -> Result<(), Error> {
    let Some(archive) = archive else { return Ok(()) };
    writer.gauge(
        ("archive_log_entries", None),
        "Entries of the log that are archived",
        whole(archive.log_size),
    )?;
    writer.family(
        ("archive_last_sent_timestamp", SECONDS),
        "When something was last sent to the archive",
        archive.last_sent.map(|time| (NO_LABELS, time)),
    )?;
    writer.gauge(
        ("archive_dropped_segments", None),
        "Segments that are in the archive only",
        whole(archive.dropped_segments),
    )?;
    writer.gauge(
        ("archive_failing", None),
        "1 if what was last tried with the archive went wrong",
        truth(archive.error.is_some()),
    )
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

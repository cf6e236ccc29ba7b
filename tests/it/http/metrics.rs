//! The metrics, held against their documentation.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use stemedb::{
    node::{
        Status,
        metrics::{AccessGauges, Direction, Metrics, Origin, Outcome, PEERS_MAX},
        status::{
            ArchiveStatus, DiskStatus, HeadStatus, PeerState, PeerStatus, ScrubStatus,
            SessionStatus, SliceStatus, SyncStatus,
        },
    },
    rpc::server::Rejection,
    sync::{
        Ending,
        message::{Kind, Refusal},
        report::{Layer, Limited, Report, Step, Times, Traffic, Why},
        violation::ProtocolViolation,
    },
};

use super::{node::Serving, request::get};

/// A metric as it stands in the text.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text of `/metrics`, by its grammar, as far as it is used here.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut lines = text.lines();
    let mut current = String::new();
    for line in lines.by_ref() {
        if line == "# EOF" {
            break;
        }
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let mut word = || words.next().unwrap().to_owned();
            let (what, name, value) = (word(), word(), word());
            if name != current {
                assert!(!families.contains_key(&name), "{name} comes twice");
                current.clone_from(&name);
            }
            let family = families.entry(name).or_default();
            match what.as_str() {
                "HELP" => family.help = value,
                "TYPE" => family.kind = value,
                "UNIT" => family.unit = Some(value),
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = sample(line);
        assert!(sample.name.starts_with(&current), "{line} stands under {current}");
        families.get_mut(&current).unwrap().samples.push(sample);
    }
    assert!(text.ends_with("# EOF\n") && lines.next().is_none());
    families
}

fn sample(line: &str) -> Sample {
    let at = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(at);
    assert!(
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
    );
    let mut labels = BTreeMap::new();
    let mut value = rest;
    if let Some(mut inner) = rest.strip_prefix('{') {
        while let Some((label, after)) = inner.split_once("=\"") {
            let mut text = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next().unwrap().1 {
                        'n' => text.push('\n'),
                        other => text.push(other),
                    },
                    (_, other) => text.push(other),
                }
            };
            let label = label.trim_start_matches(',').to_owned();
            assert!(labels.insert(label, text).is_none(), "{line}");
            inner = &after[end + 1..];
        }
        value = inner.strip_prefix('}').unwrap();
    }
    Sample { name: name.to_owned(), labels, value: value.trim_start().parse().unwrap() }
}

/// The name under which a family is asked for: a counter's ends in `_total`.
fn asked_name(name: &str, family: &Family) -> String {
    if family.kind == "counter" { format!("{name}_total") } else { name.to_owned() }
}

fn report() -> Report {
    Report {
        ending: Ending::Complete,
        peer: None,
        layers: vec![
            Step { layer: Layer::Root, why: Why::First },
            Step { layer: Layer::Symbols, why: Why::Cheapest },
        ],
        rounds: 3,
        repeats: 1,
        garbled: 0,
        restarts: 2,
        traffic: std::array::from_fn(|n| Traffic {
            requests: 1,
            sent: 100 * n as u64,
            received: 1000 * n as u64,
        }),
        body_bytes_received: 0,
        body_bytes_sent: 0,
        compared: 0,
        only_theirs: 0,
        only_mine: 0,
        found: None,
        fetched: 12,
        fetched_duplicates: 2,
        pushed: 5,
        pushed_duplicates: 1,
        withheld: 0,
        unreadable: 0,
        checked: true,
        confirmed: true,
        equal: true,
        set: None,
        peer_moved: false,
        cursor: None,
        peer_rewritten: false,
        clock_ahead: None,
        slices: [stemedb::sync::report::Slice::default(); 16],
        times: Times::default(),
    }
}

/// Seconds since 1970 of everything that the node says happened.
const NOW: f64 = 1_763_750_000.0;

/// A node of which everything is shown that can be.
fn status() -> Status {
    let session = SessionStatus {
        time: NOW - 40.0,
        outcome: "complete".into(),
        layer: Some("symbols".into()),
        fetched: 17,
        pushed: 3,
        bytes_sent: 5_300,
        bytes_received: 18_200,
        millis: 84,
    };
    let met = PeerStatus {
        address: "10.0.0.2:7845".into(),
        node: Some("52".repeat(16)),
        version: Some("0.1.0".into()),
        state: PeerState::Alive,
        count: Some(3),
        set_root: Some("52".repeat(32)),
        in_step: Some(false),
        lag_seconds: Some(12.5),
        last_repaired: Some(NOW - 40.0),
        failures: 0,
        retry_at: None,
        last_session: Some(session),
        remark: None,
        lag_entries: Some(17),
        ahead_entries: Some(4),
    };
    let away = PeerStatus {
        address: "node-3.example:7845".into(),
        state: PeerState::Down,
        failures: 4,
        retry_at: Some(NOW + 60.0),
        ..PeerStatus::default()
    };
    let unreached = PeerStatus {
        address: "node-4.example:7845".into(),
        state: PeerState::Unreached,
        remark: Some("connection refused".into()),
        ..PeerStatus::default()
    };
    Status {
        version: "0.1.0".into(),
        node: "51".repeat(16),
        store: "50".repeat(16),
        epoch: 1,
        address: "10.0.0.1:7845".into(),
        time: NOW,
        uptime_seconds: 86_400,
        head: Some(HeadStatus::default()),
        not_ready: Vec::new(),
        sync: SyncStatus { paused: None, running: 1, append_p99_seconds: Some(0.0042) },
        joined: Some(true),
        peers: vec![met, away, unreached],
        slices: (0..16)
            .map(|slice| SliceStatus {
                prefix: format!("{slice:x}"),
                last_repaired: Some(NOW - 40.0),
                bytes_compared: 5_000 + slice,
                bytes_transferred: 900 * slice,
                sessions: 12,
                mismatches: slice % 3,
            })
            .collect(),
        disk: DiskStatus { free: 180 << 30, total: 240 << 30, reserve: 1 << 30 },
        scrub: Some(ScrubStatus {
            position: 1,
            began: Some(NOW - 900.0),
            last_pass: Some(NOW - 600_000.0),
            damaged: 2,
            healed: 2,
        }),
        archive: Some(ArchiveStatus {
            url: "s3://bucket/stemedb".into(),
            log_size: 1,
            last_sent: Some(NOW - 50.0),
            dropped_segments: 0,
            error: None,
        }),
    }
}

/// Whom a node does not let in, and how long it is let in itself.
fn access() -> AccessGauges {
    AccessGauges {
        rejections: vec![(Rejection::Token, 3), (Rejection::TlsWanted, 2)],
        certificate_days: vec![("tls.cert", 12.5)],
    }
}

/// A node to which everything has happened that is counted.
fn busy(metrics: &Metrics) {
    let time = Duration::from_millis(3);
    metrics.appended(Origin::Client, Outcome::Done, 1, Some(time));
    metrics.appended(Origin::Client, Outcome::Failed, 7, Some(time));
    metrics.got(Outcome::Done, time);
    metrics.session_ended("10.0.0.2:7845", &report(), Duration::from_millis(80));
    for ending in [
        Ending::ProtocolViolation(ProtocolViolation::Root),
        Ending::Refused(Refusal::Busy),
        Ending::Silent,
        Ending::Limit(Limited::Time),
    ] {
        let failed = Report { ending, fetched: 0, pushed: 0, ..report() };
        metrics.session_ended("10.0.0.3:7845", &failed, time);
    }
    metrics.session_retried();
    metrics.gossip_sent(100);
    metrics.gossip_received(200);
    metrics.gossip_received(300);
}

#[test]
fn each_metric_is_documented_and_each_documented_metric_is_there() {
    let serving = Serving::start(["one"]);
    let (store, metrics) = (serving.node.store(), serving.node.metrics());
    store.checkpoint().unwrap();
    busy(metrics);
    let families = parse(&metrics.text(&status(), store, Some(0), access()));
    let answer = get(serving.address, "/metrics");
    assert_eq!(answer.code, 200);
    let kind = answer.field("content-type").unwrap();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let served = parse(&answer.body);
    let unknown: Vec<_> = served.keys().filter(|name| !families.contains_key(*name)).collect();
    assert!(served.contains_key("stemedb_store_memory_bytes"), "{:?}", served.keys());
    assert!(served.len() > 50 && unknown.is_empty(), "{}: {unknown:?}", served.len());
    for (name, family) in &families {
        let fits = name.starts_with("stemedb_") || name.starts_with("process_");
        assert!(fits, "{name}");
        assert!(family.help.len() > 10 && family.help.ends_with('.'), "{name}: {}", family.help);
        assert!(!family.help.ends_with(".."), "{name}: {}", family.help);
        assert!(["counter", "gauge", "histogram"].contains(&family.kind.as_str()), "{name}");
        assert!(!family.samples.is_empty(), "{name} has no samples");
        if let Some(unit) = &family.unit {
            assert!(name.ends_with(unit.as_str()), "{name}");
        }
        for sample in &family.samples {
            let suffix = sample.name.strip_prefix(name.as_str()).unwrap();
            let fits = match family.kind.as_str() {
                "counter" => suffix == "_total",
                "gauge" => suffix.is_empty(),
                _ => ["_sum", "_count", "_bucket"].contains(&suffix),
            };
            assert!(fits, "{name}: {}", sample.name);
        }
    }
    let shown: BTreeSet<(String, String)> = families
        .iter()
        .map(|(name, family)| (asked_name(name, family), family.kind.clone()))
        .collect();
    let documented: BTreeSet<(String, String)> =
        include_str!("../../../docs/operations-metrics.md")
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| `")?.split('|');
                let name = cells.next()?.trim().trim_end_matches('`');
                let is_metric = name.starts_with("stemedb_") || name.starts_with("process_");
                let kind = cells.next()?.trim();
                // The other table is of alarms.
                let is_kind = ["counter", "gauge", "histogram"].contains(&kind);
                (is_metric && is_kind).then(|| (name.to_owned(), kind.to_owned()))
            })
            .collect();
    let missing: Vec<_> = shown.difference(&documented).collect();
    let surplus: Vec<_> = documented.difference(&shown).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "not in the docs: {missing:#?}\nnot there: {surplus:#?}"
    );
}

#[test]
fn what_happened_is_counted() {
    let serving = Serving::start(["one", "two"]);
    let (store, metrics) = (serving.node.store(), serving.node.metrics());
    busy(metrics);
    let families = parse(&metrics.text(&status(), store, Some(0), access()));
    let value = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let wanted: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let all = families.values().flat_map(|family| &family.samples);
        let mut found = all.filter(|sample| sample.name == name && sample.labels == wanted);
        let sample = found.next().unwrap_or_else(|| panic!("{name} {labels:?}"));
        assert!(found.next().is_none(), "{name} {labels:?} comes twice");
        sample.value
    };
    let same = |name: &str, labels: &[(&str, &str)], expected: f64| {
        let found = value(name, labels);
        assert!((found - expected).abs() < 1e-9, "{name} {labels:?}: {found}, not {expected}");
    };
    same("stemedb_appends_total", &[("origin", "client"), ("outcome", "done")], 1.0);
    same("stemedb_appends_total", &[("origin", "client"), ("outcome", "failed")], 7.0);
    same("stemedb_appends_total", &[("origin", "peer"), ("outcome", "done")], 10.0);
    same("stemedb_appends_total", &[("origin", "peer"), ("outcome", "held")], 2.0 + 4.0 * 2.0);
    same("stemedb_append_seconds_count", &[("origin", "client")], 2.0);
    same("stemedb_clients_rejected_total", &[("reason", "token")], 3.0);
    same("stemedb_clients_rejected_total", &[("reason", "tls_wanted")], 2.0);
    same("stemedb_certificate_days_left", &[("key", "tls.cert")], 12.5);
    same("stemedb_joined", &[], 1.0);
    same("stemedb_peers", &[("state", "unreached")], 1.0);
    same("stemedb_peer_lag_entries", &[("peer", "10.0.0.2:7845")], 17.0);
    same("stemedb_peer_ahead_entries", &[("peer", "10.0.0.2:7845")], 4.0);
    same("stemedb_append_seconds_sum", &[("origin", "client")], 0.006);
    same("stemedb_append_seconds_bucket", &[("origin", "client"), ("le", "0.0032")], 2.0);
    same("stemedb_append_seconds_bucket", &[("origin", "client"), ("le", "0.0016")], 0.0);
    same("stemedb_get_seconds_count", &[], 1.0);
    same("stemedb_sync_sessions_total", &[("outcome", "complete"), ("layer", "symbols")], 1.0);
    same("stemedb_sync_sessions_total", &[("outcome", "silent"), ("layer", "none")], 0.0);
    same("stemedb_sync_session_seconds_count", &[], 5.0);
    let symbols = Kind::ALL.iter().position(|kind| *kind == Kind::Symbols);
    let symbols = f64::from(u8::try_from(symbols.unwrap()).unwrap());
    let labels = [("kind", "symbols"), ("direction", "received")];
    same("stemedb_sync_bytes_total", &labels, 5.0 * 1000.0 * symbols);
    same("stemedb_sync_bodies_total", &[("direction", "received"), ("held", "false")], 10.0);
    same("stemedb_sync_bodies_total", &[("direction", "sent"), ("held", "false")], 4.0);
    same("stemedb_sync_rounds_total", &[], 15.0);
    same("stemedb_sync_restarts_total", &[], 10.0);
    same("stemedb_sync_refusals_total", &[("reason", "busy")], 1.0);
    same("stemedb_sync_timeouts_total", &[], 2.0);
    same("stemedb_sync_protocol_violations_total", &[], 1.0);
    same("stemedb_sync_retries_total", &[], 1.0);
    let peer = [("peer", "10.0.0.3:7845"), ("outcome", "refused")];
    same("stemedb_peer_sync_sessions_total", &peer, 1.0);
    same("stemedb_gossip_messages_total", &[("direction", "received")], 2.0);
    same("stemedb_gossip_bytes_total", &[("direction", "received")], 500.0);
    same("stemedb_store_assertions", &[], 2.0);
    same("stemedb_store_log_entries", &[], 2.0);
    same("stemedb_store_checkpoint_behind_entries", &[], 2.0);
    same("stemedb_store_segments", &[], 1.0);
    same("stemedb_store_writer_failed", &[], 0.0);
    same("stemedb_ready", &[], 1.0);
    same("stemedb_peers", &[("state", "down")], 1.0);
    same("stemedb_peer_failures", &[("peer", "node-3.example:7845")], 4.0);
    same("stemedb_peer_lag_seconds", &[("peer", "10.0.0.2:7845")], 12.5);
    same("stemedb_slice_mismatches_total", &[("slice", "b")], 2.0);
    same("stemedb_uptime_seconds", &[], 86_400.0);
    assert!(value("stemedb_store_log_bytes", &[]) > 0.0);
    assert!(value("process_resident_memory_bytes", &[]) > 1e6);
}

#[test]
fn peers_beyond_the_limit_share_series() {
    let serving = Serving::start(["one"]);
    let hostile = "a\"b\\c\nd";
    serving.node.metrics().session_ended(hostile, &report(), Duration::ZERO);
    for n in 0..PEERS_MAX + 50 {
        let peer = format!("10.1.{}.{}:7845", n / 256, n % 256);
        serving.node.metrics().session_ended(&peer, &report(), Duration::ZERO);
    }
    let families = parse(&get(serving.address, "/metrics").body);
    let samples = &families["stemedb_peer_sync_sessions"].samples;
    assert_eq!(samples.len(), PEERS_MAX + 1);
    let of = |peer: &str| samples.iter().find(|sample| sample.labels["peer"] == peer).unwrap();
    assert!((of("other").value - 51.0).abs() < 1e-9);
    assert!((of(hostile).value - 1.0).abs() < 1e-9, "labels are escaped");
    let sum: f64 = samples.iter().map(|sample| sample.value).sum();
    assert!((sum - f64::from(u16::try_from(PEERS_MAX + 51).unwrap())).abs() < 1e-9);
}

#[test]
fn metrics_of_two_nodes_do_not_mix() {
    let (one, other) = (Metrics::new(), Metrics::new());
    let serving = Serving::start(["one"]);
    let text = |metrics: &Metrics| metrics.text(&status(), serving.node.store(), None, access());
    let same = one.clone();
    one.gossip_sent(5);
    same.gossip_sent(6);
    let line = "stemedb_gossip_bytes_total{direction=\"sent\"}";
    assert!(text(&one).contains(&format!("{line} 11\n")));
    assert!(text(&other).contains(&format!("{line} 0\n")));
    assert_ne!(Direction::Sent, Direction::Received);
}

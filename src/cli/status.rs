//! `stemedb status`: how a node is doing, at a glance.

use stemedb::node::Status;
use stemedb::node::status::{
    ArchiveStatus, DiskStatus, PauseReason, PeerState, ScrubStatus, SliceStatus, SyncStatus,
};
use stemedb::rpc::PeerAddress;

use super::control::Reached;
use super::failure::Failure;
use super::format::{ago, counted, grouped, span};
use super::plain::plain;
use super::{Globals, output, peer, peers};

/// Show how a node is doing: whether it is ready and why not, what it holds, sync, peers, disk
///
/// Asks a running node, so that it also works where that has the store open. Exit code 1 if there
/// is no node, or it does not answer; a node that is not ready is told of like any other.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb status                               The node on this machine
  stemedb status db.example.org --tls-ca authority.pem --token-file token
  stemedb status --json | jq -e '.not_ready == []'

JSON: the status of the node: {version, node, store, epoch, address, time, \
uptime_seconds, head, not_ready, sync, peers, slices, disk, scrub, archive}; times are seconds \
since 1970 UTC; later versions add fields and remove none")]
pub(super) struct Args {
    /// The node: HOST or HOST:PORT, with https:// before it for TLS. Without it the one that has
    /// the store open on this machine, by its control socket, else 127.0.0.1:7845
    #[arg(value_name = "ADDRESS")]
    node: Option<PeerAddress>,
    #[command(flatten)]
    connection: peer::Connection,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let status = Reached::of(args.node.as_ref(), globals)?.status(&args.connection)?;
    if globals.json {
        return output::status(&status);
    }
    output::raw(render(&status).as_bytes())
}

/// A text of the node made harmless, or a question mark where a node of another version has none.
fn shown(text: &str) -> String {
    if text.is_empty() { "?".to_owned() } else { plain(text).into_owned() }
}

fn render(status: &Status) -> String {
    let now = status.time;
    let [address, node, version] =
        [&status.address, &status.node, &status.version].map(|t| shown(t));
    let up = span(seconds(status.uptime_seconds));
    let mut rows = vec![("node", format!("{address}, {node}, version {version}, up {up}"))];
    if status.not_ready.is_empty() {
        rows.push(("ready", "yes".to_owned()));
    }
    for problem in &status.not_ready {
        rows.push(("NOT READY", format!("{}: {}", problem.code, shown(&problem.text))));
    }
    rows.push(("store", format!("{}, epoch {}", shown(&status.store), grouped(status.epoch))));
    if let Some(head) = &status.head {
        let (count, size) = (grouped(head.count), grouped(head.log_size));
        rows.push(("holds", format!("{count} assertions, {size} log entries")));
        rows.push(("set root", shown(&head.set_root)));
    } else {
        rows.push(("holds", "unknown: the trees cannot be read".to_owned()));
    }
    rows.push(("sync", sync(&status.sync)));
    if status.joined == Some(false) {
        let unreached = status.peers.iter().filter(|peer| peer.state == PeerState::Unreached);
        rows.push(("JOINED", format!("no: {} address(es) not reached", unreached.count())));
    }
    rows.push(("peers", peers::summary(&status.peers)));
    rows.extend(slices(status).map(|slices| ("slices", slices)));
    rows.push(("disk", disk(&status.disk)));
    let size = status.head.as_ref().map(|head| head.log_size);
    let scrub = status.scrub.as_ref().map(|part| scrub(part, size, now));
    rows.push(("scrub", scrub.unwrap_or_else(|| "off".to_owned())));
    let archive = status.archive.as_ref().map(|part| archive(part, now));
    rows.push(("archive", archive.unwrap_or_else(|| "none".to_owned())));
    let table = peers::table(status);
    let rows = output::table(&rows);
    if table.is_empty() { rows } else { format!("{rows}\n{table}") }
}

fn sync(sync: &SyncStatus) -> String {
    let mut text = vec![match sync.paused {
        Some(PauseReason::Asked) => "paused by command; `stemedb resume` ends that".to_owned(),
        Some(PauseReason::Latency) => "paused while appends are slow".to_owned(),
        Some(PauseReason::Window) => "paused until its time of the day".to_owned(),
        Some(PauseReason::Disk) => "paused, as the disk is nearly full".to_owned(),
        Some(other) => format!("paused: {other}"),
        None if sync.running == 0 => "idle".to_owned(),
        None => "at work".to_owned(),
    }];
    if sync.running > 0 {
        text.push(format!(", {} running", counted(sync.running, "session", "sessions")));
    }
    if let Some(p99) = sync.append_p99_seconds {
        text.push(format!(", appends take {:.1} ms (99th percentile)", p99 * 1e3));
    }
    text.concat()
}

fn disk(disk: &DiskStatus) -> String {
    let [free, total, reserve] = [disk.free, disk.total, disk.reserve].map(output::bytes);
    format!("{free} free of {total}, of which {reserve} are kept free")
}

fn scrub(scrub: &ScrubStatus, size: Option<u64>, now: f64) -> String {
    let mut text = vec![match (scrub.began, size) {
        (Some(_), Some(size)) if size > 0 => {
            let position = scrub.position.min(size);
            format!("{} % of this pass", u128::from(position) * 100 / u128::from(size))
        }
        _ => "between passes".to_owned(),
    }];
    text.push(match scrub.last_pass {
        Some(time) => format!(", last {}", ago(time, now)),
        None => ", none whole yet".to_owned(),
    });
    text.push(match (scrub.damaged, scrub.healed) {
        (0, _) => ", nothing damaged".to_owned(),
        (damaged, healed) => format!("; {damaged} DAMAGED, {healed} of them healed"),
    });
    text.concat()
}

fn archive(archive: &ArchiveStatus, now: f64) -> String {
    let entries = grouped(archive.log_size);
    let mut text = vec![format!("{}, {entries} entries there", shown(&archive.url))];
    text.extend(archive.last_sent.map(|time| format!(", last sent {}", ago(time, now))));
    if archive.dropped_segments > 0 {
        text.push(format!(
            ", {} only there",
            counted(archive.dropped_segments, "segment", "segments")
        ));
    }
    text.extend(archive.error.as_ref().map(|error| format!("; FAILS: {}", plain(error))));
    text.concat()
}

/// The slices together: how long ago the one was repaired that waits longest.
fn slices(status: &Status) -> Option<String> {
    let slices = &status.slices;
    if slices.is_empty() {
        return None;
    }
    let times: Vec<f64> = slices.iter().filter_map(|slice| slice.last_repaired).collect();
    let oldest = times.iter().copied().min_by(f64::total_cmp);
    let text = match (slices.len() - times.len(), oldest) {
        (0, Some(oldest)) => {
            format!("all {} repaired, the longest wait {}", slices.len(), ago(oldest, status.time))
        }
        (_, None) => "none repaired yet".to_owned(),
        (never, _) => format!("{never} of {} never repaired", slices.len()),
    };
    let sum = |number: fn(&SliceStatus) -> u64| slices.iter().map(number).sum::<u64>();
    Some(format!(
        "{text}; differed {} times of {}, {} compared, {} moved",
        grouped(sum(|slice| slice.mismatches)),
        grouped(sum(|slice| slice.sessions)),
        output::bytes(sum(|slice| slice.bytes_compared)),
        output::bytes(sum(|slice| slice.bytes_transferred))
    ))
}

#[expect(clippy::cast_precision_loss, reason = "a time to show")]
fn seconds(seconds: u64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::plain::is_harmful;

    fn render_json(status: &Value) -> String {
        render(&serde_json::from_value(status.clone()).unwrap())
    }

    fn healthy() -> Value {
        json!({
            "version": "0.1.0", "node": "ab12", "store": "cd34", "epoch": 1,
            "address": "10.0.0.1:7845", "time": 1000.0, "uptime_seconds": 11520,
            "head": { "count": 12345, "set_root": "2a0f", "log_size": 12400, "log_root": "ff" },
            "not_ready": [],
            "sync": { "paused": null, "running": 0, "append_p99_seconds": 0.0031 },
            "peers": [
                { "address": "10.0.0.2:7845", "node": "ef", "version": "0.1.0", "state": "alive",
                  "count": 12345, "set_root": "2a0f", "in_step": true, "lag_seconds": 0.0,
                  "last_repaired": 988.0, "failures": 0, "retry_at": null,
                  "last_session": { "time": 988.0, "outcome": "complete", "layer": "symbols",
                    "fetched": 3, "pushed": 0, "bytes_sent": 1024, "bytes_received": 1126,
                    "millis": 38 },
                  "remark": null },
                { "address": "c.example:7845", "node": null, "version": null, "state": "down",
                  "count": null, "set_root": null, "in_step": null, "lag_seconds": null,
                  "last_repaired": null, "failures": 4, "retry_at": 1012.0, "last_session": null,
                  "remark": null },
            ],
            "slices": [
                { "prefix": "0", "last_repaired": 990.0, "bytes_compared": 1024,
                  "bytes_transferred": 2048, "sessions": 4, "mismatches": 1 },
                { "prefix": "1", "last_repaired": 940.0, "bytes_compared": 1024,
                  "bytes_transferred": 0, "sessions": 4, "mismatches": 0 },
            ],
            "disk": { "free": 12_u64 << 30, "total": 100_u64 << 30, "reserve": 1_u64 << 30 },
            "scrub": { "position": 6200, "began": 900.0, "last_pass": null, "damaged": 0,
                "healed": 0 },
            "archive": null,
        })
    }

    #[test]
    fn a_node_at_a_glance() {
        let expected = "\
node      10.0.0.1:7845, ab12, version 0.1.0, up 3 h 12 min
ready     yes
store     cd34, epoch 1
holds     12,345 assertions, 12,400 log entries
set root  2a0f
sync      idle, appends take 3.1 ms (99th percentile)
peers     1 in step, 0 not, 1 unknown
slices    all 2 repaired, the longest wait 1 min ago; differed 1 times of 8, 2.0 KiB compared, \
2.0 KiB moved
disk      12.0 GiB free of 100.0 GiB, of which 1.0 GiB are kept free
scrub     50 % of this pass, none whole yet, nothing damaged
archive   none

PEER            STATE  COUNT   IN STEP  LAG  REPAIRED  LAST SESSION
10.0.0.2:7845   alive  12,345  yes      -    12 s ago  complete by symbols, got 3, gave 0, \
2.1 KiB, 38 ms, 12 s ago
c.example:7845  down   ?       ?        ?    never     none; 4 failed in a row, tried again in 12 s
";
        assert_eq!(render_json(&healthy()), expected);
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let mut status = healthy();
        status["not_ready"] = json!([
            { "code": "disk", "text": "0.5 GiB are free" },
            { "code": "writer", "text": "it failed" },
        ]);
        status["sync"] = json!({ "paused": "asked", "running": 2, "append_p99_seconds": null });
        status["scrub"] = json!({ "position": 0, "began": null, "last_pass": 400.0, "damaged": 2,
            "healed": 1 });
        status["archive"] = json!({ "url": "s3://b", "log_size": 12000, "last_sent": 990.0,
            "dropped_segments": 3, "error": "no such bucket" });
        let text = render_json(&status);
        for line in [
            "NOT READY  disk: 0.5 GiB are free\n",
            "NOT READY  writer: it failed\n",
            "paused by command; `stemedb resume` ends that, 2 sessions running\n",
            "between passes, last 10 min ago; 2 DAMAGED, 1 of them healed\n",
            "s3://b, 12,000 entries there, last sent 10 s ago",
            ", 3 segments only there; FAILS: no such bucket\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("ready     yes"));
        status["head"] = Value::Null;
        let text = render_json(&status);
        assert!(text.contains("\nholds      unknown: the trees cannot be read\n"), "{text}");
        assert!(!text.contains("set root"), "{text}");
    }

    #[test]
    fn nothing_of_a_server_reaches_the_terminal_as_it_is() {
        fn spoil(value: &mut Value) {
            match value {
                Value::String(text) => *text = format!("\x1b[2J\n{text}\u{9b}\u{202e}"),
                Value::Array(items) => items.iter_mut().for_each(spoil),
                Value::Object(fields) => fields.values_mut().for_each(spoil),
                _ => {}
            }
        }
        let mut status = healthy();
        status["archive"] = json!({ "url": "u", "error": "e" });
        status["not_ready"] = json!([{ "code": "c", "text": "t" }]);
        status["sync"]["paused"] = json!("p");
        status["peers"][1]["remark"] = json!("r");
        let lines = render_json(&status).lines().count();
        spoil(&mut status);
        let text = render_json(&status);
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    }

    #[test]
    fn nodes_of_other_versions_are_shown_as_far_as_they_go() {
        assert!(render_json(&json!({})).contains("  ?, ?, version ?"));
        let mut newer = healthy();
        newer["later"] = json!(1);
        newer["peers"][0]["state"] = json!("later");
        newer["sync"]["paused"] = json!("later");
        newer["head"]["later"] = json!({});
        let text = render_json(&newer);
        assert!(text.contains("paused: unknown") && text.contains("  unknown  "), "{text}");
    }
}

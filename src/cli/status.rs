//! `stemedb status`: how a node is doing, at a glance.

use serde_json::Value;
use stemedb::rpc::PeerAddress;

use super::control::Reached;
use super::failure::Failure;
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
  stemedb status db.example.org --ca authority.pem --token-file token
  stemedb status --json | jq -e '.not_ready == []'

JSON: what the node shows of itself, unchanged: {version, node, store, epoch, address, time, \
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
    let node = Reached::of(args.node.as_ref(), globals)?;
    let (text, status) = ask(&node.address, &args.connection)?;
    if globals.json {
        return output::raw(text.as_bytes());
    }
    output::raw(render(View(&status)).as_bytes())
}

/// What a node shows of itself, as it came with a line end, and parsed.
pub(super) fn ask(
    node: &PeerAddress,
    connection: &peer::Connection,
) -> Result<(String, Value), Failure> {
    let text = peer::runtime()?.block_on(async {
        let client = connection.connect(node).await?;
        Ok::<_, Failure>(client.status().await?)
    })?;
    let status: Value = serde_json::from_str(&text)
        .map_err(|source| Failure::NoStatus { peer: node.clone(), source })?;
    Ok((format!("{}\n", text.trim_end()), status))
}

/// An object of the status, of which any field may be absent: the node can be older or newer.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a>(pub(super) &'a Value);

impl<'a> View<'a> {
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_str()
    }

    pub(super) fn whole(self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    pub(super) fn number(self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    pub(super) fn is(self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    pub(super) fn part(self, name: &str) -> Option<Self> {
        self.0.get(name).filter(|part| part.is_object()).map(View)
    }

    pub(super) fn list(self, name: &str) -> &'a [Value] {
        self.0.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(super) fn items(self, name: &str) -> impl Iterator<Item = Self> + use<'a> {
        self.list(name).iter().map(View)
    }

    /// A text made harmless, or a question mark.
    fn shown(self, name: &str) -> String {
        self.text(name).map_or_else(|| "?".to_owned(), |text| plain(text).into_owned())
    }

    fn shown_whole(self, name: &str) -> String {
        self.whole(name).map_or_else(|| "?".to_owned(), grouped)
    }
}

fn render(status: View<'_>) -> String {
    let now = status.number("time");
    let mut rows: Vec<(&str, String)> = Vec::new();
    let up = status.number("uptime_seconds").map_or_else(|| "?".to_owned(), span);
    rows.push((
        "node",
        format!(
            "{}, {}, version {}, up {up}",
            status.shown("address"),
            status.shown("node"),
            status.shown("version")
        ),
    ));
    let mut problems = status.items("not_ready").peekable();
    if problems.peek().is_none() {
        rows.push(("ready", "yes".to_owned()));
    }
    for problem in problems {
        let (code, text) = (problem.shown("code"), problem.shown("text"));
        rows.push(("NOT READY", format!("{code}: {text}")));
    }
    rows.push((
        "store",
        format!("{}, epoch {}", status.shown("store"), status.shown_whole("epoch")),
    ));
    if let Some(head) = status.part("head") {
        let (count, size) = (head.shown_whole("count"), head.shown_whole("log_size"));
        rows.push(("holds", format!("{count} assertions, {size} log entries")));
        rows.push(("set root", head.shown("set_root")));
    } else {
        rows.push(("holds", "not known: the trees can't be read".to_owned()));
    }
    rows.extend(status.part("sync").map(|sync| ("sync", self::sync(sync))));
    rows.push(("peers", peers::summary(status.list("peers"))));
    rows.extend(slices(status, now).map(|slices| ("slices", slices)));
    rows.extend(status.part("disk").map(|disk| ("disk", self::disk(disk))));
    let size = status.part("head").and_then(|head| head.whole("log_size"));
    let scrub =
        status.part("scrub").map_or_else(|| "off".to_owned(), |part| scrub(part, size, now));
    rows.push(("scrub", scrub));
    let archive =
        status.part("archive").map_or_else(|| "none".to_owned(), |part| archive(part, now));
    rows.push(("archive", archive));
    let table = peers::table(status);
    let rows = output::table(&rows);
    if table.is_empty() { rows } else { format!("{rows}\n{table}") }
}

fn sync(sync: View<'_>) -> String {
    let running = sync.whole("running").unwrap_or(0);
    let mut text = vec![match sync.text("paused") {
        Some("asked") => "paused by command; `stemedb resume` ends that".to_owned(),
        Some("latency") => "paused while appends are slow".to_owned(),
        Some("window") => "paused until its time of the day".to_owned(),
        Some("disk") => "paused, as the disk is nearly full".to_owned(),
        Some(other) => format!("paused: {}", plain(other)),
        None if running == 0 => "idle".to_owned(),
        None => "at work".to_owned(),
    }];
    if running > 0 {
        text.push(format!(", {running} session(s) running"));
    }
    if let Some(p99) = sync.number("append_p99_seconds") {
        text.push(format!(", appends take {:.1} ms (99th percentile)", p99 * 1e3));
    }
    text.concat()
}

fn disk(disk: View<'_>) -> String {
    let (free, total) = (disk.whole("free").unwrap_or(0), disk.whole("total").unwrap_or(0));
    format!(
        "{} free of {}, of which {} are kept free",
        output::bytes(free),
        output::bytes(total),
        output::bytes(disk.whole("reserve").unwrap_or(0))
    )
}

fn scrub(scrub: View<'_>, size: Option<u64>, now: Option<f64>) -> String {
    let mut text = vec![match (scrub.number("began"), size) {
        (Some(_), Some(size)) if size > 0 => {
            let position = scrub.whole("position").unwrap_or(0).min(size);
            format!("{} % of this pass", u128::from(position) * 100 / u128::from(size))
        }
        _ => "between passes".to_owned(),
    }];
    text.push(match ago(scrub.number("last_pass"), now) {
        Some(ago) => format!(", last {ago}"),
        None => ", none whole yet".to_owned(),
    });
    let whole = |name| scrub.whole(name).unwrap_or(0);
    text.push(match (whole("damaged"), whole("healed")) {
        (0, _) => ", nothing damaged".to_owned(),
        (damaged, healed) => format!("; {damaged} DAMAGED, {healed} of them healed"),
    });
    text.concat()
}

fn archive(archive: View<'_>, now: Option<f64>) -> String {
    let entries = archive.shown_whole("log_size");
    let mut text = vec![format!("{}, {entries} entries there", archive.shown("url"))];
    if let Some(when) = ago(archive.number("last_sent"), now) {
        text.push(format!(", last sent {when}"));
    }
    let dropped = archive.whole("dropped_segments").unwrap_or(0);
    if dropped > 0 {
        text.push(format!(", {dropped} segments only there"));
    }
    if let Some(error) = archive.text("error") {
        text.push(format!("; FAILS: {}", plain(error)));
    }
    text.concat()
}

/// The slices together: how long ago the one was repaired that waits longest.
fn slices(status: View<'_>, now: Option<f64>) -> Option<String> {
    let slices: Vec<View<'_>> = status.items("slices").collect();
    if slices.is_empty() {
        return None;
    }
    let sum = |name: &str| slices.iter().filter_map(|slice| slice.whole(name)).sum::<u64>();
    let never = slices.iter().filter(|slice| slice.number("last_repaired").is_none()).count();
    let times = slices.iter().filter_map(|slice| slice.number("last_repaired"));
    let oldest = ago(times.min_by(f64::total_cmp), now);
    let mut text = vec![match (never, oldest) {
        (0, Some(oldest)) => format!("all {} repaired, the longest wait {oldest}", slices.len()),
        (never, _) if never == slices.len() => "none repaired yet".to_owned(),
        (never, _) => format!("{never} of {} never repaired", slices.len()),
    }];
    text.push(format!(
        "; differed {} times of {}, {} compared, {} moved",
        grouped(sum("mismatches")),
        grouped(sum("sessions")),
        output::bytes(sum("bytes_compared")),
        output::bytes(sum("bytes_transferred"))
    ));
    Some(text.concat())
}

/// How long ago a time was.
pub(super) fn ago(time: Option<f64>, now: Option<f64>) -> Option<String> {
    let (time, now) = time.zip(now)?;
    Some(format!("{} ago", span((now - time).max(0.0))))
}

/// A time in the two greatest units that say something.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
pub(super) fn span(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.min(1e15) as u64;
    let mut parts = UNITS.iter().scan(whole, |rest, (unit, name)| {
        let count = *rest / unit;
        *rest %= unit;
        Some((count, name))
    });
    let first = parts.by_ref().find(|(count, _)| *count > 0);
    let second = parts.next().filter(|(count, _)| *count > 0);
    let texts: Vec<String> =
        first.into_iter().chain(second).map(|(count, name)| format!("{count} {name}")).collect();
    texts.join(" ")
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::plain::is_harmful;

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
peers     1 in step, 0 not, 1 not known
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
        assert_eq!(render(View(&healthy())), expected);
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
        let text = render(View(&status));
        for line in [
            "NOT READY  disk: 0.5 GiB are free\n",
            "NOT READY  writer: it failed\n",
            "paused by command; `stemedb resume` ends that, 2 session(s) running\n",
            "between passes, last 10 min ago; 2 DAMAGED, 1 of them healed\n",
            "s3://b, 12,000 entries there, last sent 10 s ago",
            ", 3 segments only there; FAILS: no such bucket\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("ready     yes"));
        status["head"] = Value::Null;
        let text = render(View(&status));
        assert!(text.contains("\nholds      not known: the trees can't be read\n"), "{text}");
        assert!(!text.contains("set root"), "{text}");
    }

    #[test]
    fn nothing_from_afar_reaches_the_terminal_as_it_is() {
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
        let lines = render(View(&status)).lines().count();
        spoil(&mut status);
        let text = render(View(&status));
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    }

    #[test]
    fn nodes_of_other_versions_are_shown_as_far_as_they_go() {
        for odd in [json!({}), json!([]), json!(null), json!({ "peers": [1], "head": 1 })] {
            assert!(render(View(&odd)).contains("node"), "{odd}");
        }
    }

    #[test]
    fn times_and_numbers_read_well() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (9.94, "9.9 s"),
            (10.0, "10 s"),
            (60.0, "1 min"),
            (61.0, "1 min 1 s"),
            (3_600.0, "1 h"),
            (90_000.0, "1 d 1 h"),
            (86_460.0, "1 d"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}

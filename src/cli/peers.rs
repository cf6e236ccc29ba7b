//! `stemedb peers`: the other members as a node sees them.

use serde_json::Value;
use stemedb::rpc::PeerAddress;

use super::control::Reached;
use super::failure::Failure;
use super::plain::plain;
use super::status::{self, View, ago, span};
use super::{Globals, output, peer};

/// Show the other members of a cluster as a node sees them: one line each
///
/// In step: whether the root that the peer last told of is the node's own. Lag: since when it is
/// not. Repaired: when a session last ended with both holding the same. Of the last session: how it
/// ended, the layer that settled it, bodies got and given, bytes both ways, how long it took.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb peers
  stemedb peers db.example.org --ca authority.pem --token-file token
  stemedb peers --json | jq -r '.peers[] | select(.in_step == false) | .address'

JSON: what the node shows of itself, as `stemedb status --json` prints it: the peers are in peers")]
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
    let (text, status) = status::ask(&node.address, &args.connection)?;
    if globals.json {
        return output::raw(text.as_bytes());
    }
    let lines = table(View(&status));
    if lines.is_empty() {
        output::note(format_args!("{} knows of no other node", node.name));
    }
    output::raw(lines.as_bytes())
}

const HEADINGS: [&str; 7] =
    ["PEER", "STATE", "COUNT", "IN STEP", "LAG", "REPAIRED", "LAST SESSION"];

/// The peers, one a line below headings, columns aligned; nothing if there are none.
pub(super) fn table(status: View<'_>) -> String {
    let now = status.number("time");
    let peers: Vec<View<'_>> = status.items("peers").collect();
    if peers.is_empty() {
        return String::new();
    }
    let headings = HEADINGS.map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(headings).chain(peers.iter().map(|peer| row(*peer, now))).collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(peer: View<'_>, now: Option<f64>) -> [String; 7] {
    let text =
        |name: &str| peer.text(name).map_or_else(|| "?".to_owned(), |text| plain(text).into());
    let in_step = match peer.is("in_step") {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let lag = match peer.number("lag_seconds") {
        Some(lag) if lag > 0.0 => span(lag),
        Some(_) => "-".to_owned(),
        None => "?".to_owned(),
    };
    let repaired = ago(peer.number("last_repaired"), now).unwrap_or_else(|| "never".to_owned());
    let mut last = vec![match peer.part("last_session") {
        Some(last) => session(last, now),
        None => "none".to_owned(),
    }];
    let failures = peer.whole("failures").unwrap_or(0);
    if failures > 0 {
        last.push(format!("; {failures} failed in a row"));
    }
    if let Some((at, now)) = peer.number("retry_at").zip(now).filter(|(at, now)| at > now) {
        last.push(format!(", tried again in {}", span(at - now)));
    }
    if let Some(remark) = peer.text("remark") {
        last.push(format!("; {}", plain(remark)));
    }
    let count = peer.whole("count").map_or_else(|| "?".to_owned(), status::grouped);
    [text("address"), text("state"), count, in_step.to_owned(), lag, repaired, last.concat()]
}

/// A session in a few words.
fn session(session: View<'_>, now: Option<f64>) -> String {
    let mut text = vec![plain(session.text("outcome").unwrap_or("?")).into_owned()];
    if let Some(layer) = session.text("layer") {
        text.push(format!(" by {}", plain(layer)));
    }
    let whole = |name| session.whole(name).unwrap_or(0);
    let bytes = whole("bytes_sent").saturating_add(whole("bytes_received"));
    text.push(format!(
        ", got {}, gave {}, {}, {} ms",
        status::grouped(whole("fetched")),
        status::grouped(whole("pushed")),
        output::bytes(bytes),
        whole("millis")
    ));
    if let Some(when) = ago(session.number("time"), now) {
        text.push(format!(", {when}"));
    }
    text.concat()
}

/// How many peers there are, in step and not, in words.
pub(super) fn summary(peers: &[Value]) -> String {
    let count =
        |step: Option<bool>| peers.iter().filter(|peer| View(peer).is("in_step") == step).count();
    match (peers.len(), count(Some(true)), count(Some(false)), count(None)) {
        (0, ..) => "none known".to_owned(),
        (all, in_step, 0, 0) if all == in_step => format!("all {all} in step"),
        (_, in_step, behind, unknown) => {
            let unknown = match unknown {
                0 => String::new(),
                unknown => format!(", {unknown} not known"),
            };
            format!("{in_step} in step, {behind} not{unknown}")
        }
    }
}

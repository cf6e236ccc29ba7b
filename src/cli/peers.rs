//! `stemedb peers`: the other members as a node sees them.

use stemedb::node::Status;
use stemedb::node::status::{PeerStatus, SessionStatus};
use stemedb::rpc::PeerAddress;

use super::control::Reached;
use super::failure::Failure;
use super::format::{ago, grouped, span};
use super::plain::plain;
use super::{Globals, output, peer};

/// Show the other members of a cluster as a node sees them: one line each
///
/// In step: whether the last known root of the peer is the node's own. Lag: how many entries of
/// the node's log the peer may lack, and, after a plus, the other way round; then the age of the
/// oldest of them. State unreached: an address to join by that never answered, and why. Repaired:
/// when a session last ended with both holding the same. Of the last session: how it ended, the
/// layer that settled it, bodies got and given, bytes both ways, how long it took.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb peers
  stemedb peers db.example.org --tls-ca authority.pem --token-file token
  stemedb peers --json | jq -r '.peers[] | select(.in_step == false) | .address'

JSON: the status of the node, as `stemedb status --json` prints it: the peers are in peers")]
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
    let status = node.status(&args.connection)?;
    if globals.json {
        return output::status(&status);
    }
    let lines = table(&status);
    if lines.is_empty() {
        output::note(format_args!("{} knows of no other node", node.name));
    }
    output::raw(lines.as_bytes())
}

const HEADINGS: [&str; 7] =
    ["PEER", "STATE", "COUNT", "IN STEP", "LAG", "REPAIRED", "LAST SESSION"];

/// The peers, one a line below headings, columns aligned; nothing if there are none.
pub(super) fn table(status: &Status) -> String {
    if status.peers.is_empty() {
        return String::new();
    }
    let headings = HEADINGS.map(str::to_owned);
    let peers = status.peers.iter().map(|peer| row(peer, status.time));
    let rows: Vec<[String; 7]> = std::iter::once(headings).chain(peers).collect();
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

fn row(peer: &PeerStatus, now: f64) -> [String; 7] {
    let in_step = match peer.in_step {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let lag = lag(peer);
    let repaired = peer.last_repaired.map_or_else(|| "never".to_owned(), |time| ago(time, now));
    let last = peer.last_session.as_ref().map(|last| session(last, now));
    let mut last = vec![last.unwrap_or_else(|| "none".to_owned())];
    if peer.failures > 0 {
        last.push(format!("; {} failed in a row", peer.failures));
    }
    if let Some(at) = peer.retry_at.filter(|at| *at > now) {
        last.push(format!(", tried again in {}", span(at - now)));
    }
    last.extend(peer.remark.as_ref().map(|remark| format!("; {}", plain(remark))));
    let count = peer.count.map_or_else(|| "?".to_owned(), grouped);
    let (address, state) = (plain(&peer.address).into_owned(), peer.state.to_string());
    [address, state, count, in_step.to_owned(), lag, repaired, last.concat()]
}

/// How far a peer is behind, and ahead, and since when.
fn lag(peer: &PeerStatus) -> String {
    if peer.in_step == Some(true) {
        return "-".to_owned();
    }
    let entries = peer.lag_entries.map(grouped);
    let ahead =
        peer.ahead_entries.filter(|ahead| *ahead > 0).map(|ahead| format!("+{}", grouped(ahead)));
    let parts = [entries, ahead, peer.lag_seconds.map(span)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "?".to_owned() } else { parts.join(" ") }
}

/// A session in a few words.
fn session(session: &SessionStatus, now: f64) -> String {
    let by = session.layer.as_ref().map(|layer| format!(" by {}", plain(layer)));
    format!(
        "{}{}, got {}, gave {}, {}, {} ms, {}",
        plain(&session.outcome),
        by.as_deref().unwrap_or(""),
        grouped(session.fetched),
        grouped(session.pushed),
        output::bytes(session.bytes_sent.saturating_add(session.bytes_received)),
        session.millis,
        ago(session.time, now)
    )
}

/// How many peers there are, in step and not, in words.
pub(super) fn summary(peers: &[PeerStatus]) -> String {
    let count = |step: Option<bool>| peers.iter().filter(|peer| peer.in_step == step).count();
    match (peers.len(), count(Some(true)), count(Some(false)), count(None)) {
        (0, ..) => "none known".to_owned(),
        (all, in_step, 0, 0) if all == in_step => format!("all {all} in step"),
        (_, in_step, behind, unknown) => {
            let unknown = match unknown {
                0 => String::new(),
                unknown => format!(", {unknown} unknown"),
            };
            format!("{in_step} in step, {behind} not{unknown}")
        }
    }
}

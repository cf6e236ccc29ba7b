//! `stemedb pause`, `resume`, `trigger` and `reload`: what a running node is asked to do.

use serde_json::json;
use stemedb::rpc::{Control, PeerAddress};

use super::failure::Failure;
use super::{Globals, output, peer, plain::plain};

/// The address of a node that is not given.
pub(super) const DEFAULT_NODE: &str = "127.0.0.1:7845";

/// The node that is asked.
#[derive(Debug, clap::Args)]
struct Node {
    /// The node: HOST or HOST:PORT, with https:// before it for TLS
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_NODE)]
    node: PeerAddress,
    #[command(flatten)]
    connection: peer::Connection,
}

/// Let a node begin no more sync sessions until `resume`
///
/// Sessions that run end as usual; clients are served as before. A restart ends the pause.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb pause
  stemedb pause --node db.example.org:7845

JSON: {node, said}")]
pub(super) struct Pause {
    #[command(flatten)]
    node: Node,
}

/// Let a node begin sync sessions again after `pause`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb resume
  stemedb resume --node db.example.org:7845

JSON: {node, said}")]
pub(super) struct Resume {
    #[command(flatten)]
    node: Node,
}

/// Let a node meet a peer now, or all of them, whatever its schedule says
///
/// `stemedb peers` shows what came of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb trigger                              All peers
  stemedb trigger 10.0.0.2:7845                One, as `stemedb peers` names it

JSON: {node, said}")]
pub(super) struct Trigger {
    /// The peer to meet; all without it
    #[arg(value_name = "PEER")]
    peer: Option<PeerAddress>,
    #[command(flatten)]
    node: Node,
}

/// Let a node read its configuration again, as SIGHUP does
///
/// Says what changed and what waits for a restart; if anything is wrong it says what, and the
/// configuration before stays in force.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb reload
  stemedb reload --node db.example.org:7845

JSON: {node, said}")]
pub(super) struct Reload {
    #[command(flatten)]
    node: Node,
}

pub(super) fn pause(args: &Pause, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::Pause, globals)
}

pub(super) fn resume(args: &Resume, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::Resume, globals)
}

pub(super) fn trigger(args: &Trigger, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::Trigger(args.peer.as_ref().map(ToString::to_string)), globals)
}

pub(super) fn reload(args: &Reload, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::Reload, globals)
}

/// Asks a node, and prints what it says was done.
fn ask(node: &Node, control: Control, globals: &Globals) -> Result<(), Failure> {
    let said = peer::runtime()?.block_on(async {
        let client = node.connection.connect(&node.node).await?;
        Ok::<_, Failure>(client.control(control).await?)
    })?;
    if globals.json {
        return output::json(&json!({ "node": node.node.to_string(), "said": said }));
    }
    output::raw(format!("{}: {}\n", node.node, plain(&said)).as_bytes())
}

//! `stemedb pause`, `resume`, `sync-now`, `forget` and `reload`: requests to a running node.

use serde_json::json;
use stemedb::node::Status;
use stemedb::rpc::{Control, PeerAddress};

use super::control_socket::Found;
use super::failure::Failure;
use super::{Globals, output, peer, plain::plain};

/// The address of a node that is not given, where none has the store open.
const DEFAULT_NODE: &str = "127.0.0.1:7845";

/// The node that is asked.
#[derive(Debug, clap::Args)]
struct Node {
    /// The node: HOST or HOST:PORT, with https:// before it for TLS. Without it the one that has
    /// the store open on this machine, by its control socket, else 127.0.0.1:7845
    #[arg(long, value_name = "ADDRESS")]
    node: Option<PeerAddress>,
    #[command(flatten)]
    connection: peer::Connection,
}

/// How a node is reached.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) address: PeerAddress,
    /// Its name.
    pub(super) name: String,
    socket: Option<Found>,
}

impl Reached {
    /// The node at an address that was given; else the one that has the store open, by its control
    /// socket; else the one at the default address.
    pub(super) fn of(given: Option<&PeerAddress>, globals: &Globals) -> Result<Self, Failure> {
        let socket = match given {
            Some(_) => None,
            None => Found::of(&globals.store).map_err(|source| Failure::File {
                action: "connect to the control socket in it",
                path: globals.store.clone(),
                source,
            })?,
        };
        if let Some(socket) = socket {
            let name = format!("unix:{}", socket.path.display());
            return Ok(Self { address: socket.address(), name, socket: Some(socket) });
        }
        let address = match given {
            Some(given) => given.clone(),
            None => DEFAULT_NODE.parse().map_err(|source| Failure::NeitherDirNorPeer {
                argument: DEFAULT_NODE.to_owned(),
                source,
            })?,
        };
        Ok(Self { name: address.to_string(), address, socket: None })
    }

    /// Status of the node.
    pub(super) fn status(&self, connection: &peer::Connection) -> Result<Status, Failure> {
        peer::runtime()?.block_on(async {
            let client = connection.connect(&self.address).await?;
            Ok::<_, Failure>(client.status().await?)
        })
    }

    /// Whether it is reached by its control socket, where no token is needed.
    pub(super) fn is_by_socket(&self) -> bool {
        self.socket.is_some()
    }
}

/// Let a node begin no more sync sessions until `resume`
///
/// Sessions that run end as usual; clients are served as before. A restart ends the pause.
///
/// The user that the node runs as needs no token next to its store. Elsewhere a token of an
/// administrator does it; see --admin-tokens of `stemedb node`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb pause
  stemedb pause --store /var/lib/stemedb
  stemedb pause --node https://db.example.org --tls-ca authority.pem --token-file admin-token

JSON: {node, message}")]
pub(super) struct Pause {
    #[command(flatten)]
    node: Node,
}

/// Let a node begin sync sessions again after `pause`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb resume
  stemedb resume --store /var/lib/stemedb

JSON: {node, message}")]
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
  stemedb sync-now                             All peers
  stemedb sync-now 10.0.0.2:7845               One, as `stemedb peers` names it

JSON: {node, message}")]
pub(super) struct SyncNow {
    /// The peer to meet; all without it
    #[arg(value_name = "PEER")]
    peer: Option<PeerAddress>,
    #[command(flatten)]
    node: Node,
}

/// Let a node forget a member that is gone for good
///
/// It is neither shown nor looked for any more by this node; the others forget it by themselves an
/// hour after it was last there, or by this command. A member that is there is stopped first,
/// and is a member again when it comes back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb forget 10.0.0.2:7845                 As `stemedb peers` names it

JSON: {node, message}")]
pub(super) struct Forget {
    /// The member's address
    #[arg(value_name = "PEER")]
    peer: PeerAddress,
    #[command(flatten)]
    node: Node,
}

/// Let a node read its configuration again, as SIGHUP does
///
/// Says what changed and what waits for a restart; if anything is wrong it says what, and the
/// node keeps the previous configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb reload
  stemedb reload --store /var/lib/stemedb

JSON: {node, message}")]
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

pub(super) fn sync_now(args: &SyncNow, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::SyncNow(args.peer.as_ref().map(ToString::to_string)), globals)
}

pub(super) fn forget(args: &Forget, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::Forget(args.peer.to_string()), globals)
}

pub(super) fn reload(args: &Reload, globals: &Globals) -> Result<(), Failure> {
    ask(&args.node, Control::Reload, globals)
}

/// Asks a node, and prints what it says was done.
fn ask(node: &Node, control: Control, globals: &Globals) -> Result<(), Failure> {
    let reached = Reached::of(node.node.as_ref(), globals)?;
    // The default address may be that of another store's node: it is not asked by accident.
    if node.node.is_none() && !reached.is_by_socket() && !node.connection.has_token() {
        return Err(Failure::NoControl { dir: globals.store.clone() });
    }
    let done = peer::runtime()?.block_on(async {
        let client = node.connection.connect(&reached.address).await?;
        Ok::<_, Failure>(client.control(control).await?)
    })?;
    let message = done.to_string();
    if globals.json {
        return output::json(&json!({ "node": reached.name, "message": message }));
    }
    output::raw(format!("{}: {}\n", reached.name, plain(&message)).as_bytes())
}

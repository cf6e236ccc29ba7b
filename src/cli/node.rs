//! `stemedb node`: the process that is started once and left alone.

mod reloader;

use core::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use stemedb::Store;
use stemedb::node::status::HeadStatus;
use stemedb::node::{Node, Options};
use tokio::task::spawn_blocking;

use self::reloader::Reloader;
use super::config::Loaded;
use super::control_socket::ControlSocket;
use super::failure::Failure;
use super::file_watch::FileWatch;
use super::flags::Flags;
use super::input::to_hex;
use super::logging::Logging;
use super::service::{self, State};
use super::signals::Signals;
use super::{Globals, open, output, peer};

/// Run a node: serve the store, find the other members, and stay in step with them
///
/// Opens the store, or makes one, and prints one line once it is ready. Without flags it serves
/// this machine only; with --join it becomes a member of a cluster and learns of all others from
/// the one that is named. What differs between members is found by gossip and moved as by
/// `stemedb sync`, client traffic first. `stemedb status` says how it is doing.
///
/// Ctrl-C or SIGTERM stops well within --stop-time-max; a second one ends it at once, which loses
/// nothing that was acknowledged. SIGHUP, or `stemedb reload`, reads the configuration again: what
/// can change changes, the rest is named in the log and waits for a restart. Files with
/// certificates and tokens are taken on within seconds when they change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb node
  stemedb node --listen 127.0.0.1:7945 --http 127.0.0.1:7946 --store second --join 127.0.0.1:7845
  stemedb node --config /etc/stemedb/stemedb.toml
  stemedb node --listen 0.0.0.0:7845 --advertise a.example.org --join b.example.org \\
               --tls-cert a.pem --tls-key a.key --client-ca authority.pem --tls-ca authority.pem
  stemedb node --sync-windows 22:00-06:00 --sync-bytes-per-second 10M

Each flag is also a key of the configuration, and a variable: --sync-interval 1m is `interval = \
\"1m\"` in [sync], and STEMEDB_SYNC__INTERVAL=1m. A flag is over a variable is over the file. \
`stemedb config` shows what comes of it. Lists take several flags, or commas.

JSON, one line when it is ready: {address, http, count, set_root, log_size, log_root}; http is \
null if there is none")]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let loaded = Loaded::load(&args.flags, globals)?;
    let options = loaded.options()?;
    let config = loaded.config;
    // Before there is a store.
    options.check(config.secret_file().is_some())?;
    let logging = Logging::start(config.log_format(), config.log_level())?;
    let runtime = peer::runtime()?;
    // Before the store is opened, which may take long: a SIGHUP then must not end the process.
    let signals = Signals::of_server()?;
    let own = Globals {
        store: config.store().to_path_buf(),
        json: globals.json,
        secret_file: config.secret_file().map(Into::into),
        archive: options.archive.as_ref().map(|policy| policy.url.clone()),
        wait: globals.wait,
        #[cfg(feature = "zstd")]
        compress: globals.compress,
    };
    let reloader = Reloader::new(args.flags.clone(), globals.clone(), logging, config);
    let start = Start { options, reloader: Arc::new(Mutex::new(reloader)), signals };
    open::or_make_or_read(&own, |store| {
        open::require_secret(store, &own)?;
        let outcome = runtime.block_on(start.run(store, &own));
        // Waits for reads and appends that still run.
        drop(runtime);
        outcome
    })
}

/// Options of a node and its configuration, without its store.
struct Start {
    options: Options,
    reloader: Arc<Mutex<Reloader>>,
    signals: Signals,
}

impl Start {
    async fn run(self, store: &Arc<Store>, own: &Globals) -> Result<(), Failure> {
        let Self { options, reloader, signals } = self;
        let mut files = FileWatch::new(lock(&reloader).files());
        let node = Node::start(Arc::clone(store), options).await?;
        let asked = Arc::clone(&reloader);
        node.on_reload(move |node| lock(&asked).reload(node));
        let _socket = control_socket(&node, &own.store);
        ready(&node, store, own)?;
        service::notify(State::Ready);
        let asked = signals.stop();
        let stop = async {
            asked.await;
            service::notify(State::Stopping);
            tracing::info!("stopping: what runs is finished first; Ctrl-C again ends it at once");
        };
        let reloading = async {
            loop {
                let is_asked = tokio::select! {
                    () = signals.hangup() => true,
                    () = files.changed() => false,
                };
                let (asked, node) = (Arc::clone(&reloader), node.clone());
                // It reads files. Whatever comes of it is in the log.
                let reload = move || {
                    let mut reloader = lock(&asked);
                    if is_asked {
                        drop(reloader.reload(&node));
                    } else {
                        reloader.reload_files(&node);
                    }
                };
                let _ = spawn_blocking(reload).await;
                files.follow(lock(&reloader).files());
            }
        };
        let ended = tokio::select! {
            ended = node.run(stop) => ended?,
            () = reloading => return Ok(()),
        };
        if ended.cut > 0 {
            tracing::warn!(
                cut = ended.cut,
                "calls and sessions did not end in time and were cut; nothing durable is lost"
            );
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Lets the node be controlled from its own machine. Without a socket it serves all the same.
fn control_socket(node: &Node, dir: &Path) -> Option<ControlSocket> {
    match ControlSocket::make(dir) {
        Ok((socket, listener)) => {
            node.control_by(listener);
            Some(socket)
        }
        Err(error) => {
            tracing::warn!(
                %error,
                store = %dir.display(),
                "there is no control socket: pause, resume, sync-now and reload need --node and a \
                 token of an administrator"
            );
            None
        }
    }
}

fn lock(reloader: &Mutex<Reloader>) -> MutexGuard<'_, Reloader> {
    // Each step of a reload leaves it whole.
    reloader.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Serialize)]
struct Ready {
    address: SocketAddr,
    http: Option<SocketAddr>,
    #[serde(flatten)]
    head: HeadStatus,
}

fn ready(node: &Node, store: &Store, own: &Globals) -> Result<(), Failure> {
    let (address, http) = (node.address(), node.http_address());
    let head = store.head()?;
    if !own.json {
        let console = http.map_or_else(String::new, |http| format!(", console http://{http}"));
        let line = format!(
            "{}: {} assertions, root {}{console}, serving on {address}\n",
            own.store.display(),
            head.count,
            to_hex(head.set_root)
        );
        return output::raw(line.as_bytes());
    }
    output::json(&Ready { address, http, head: HeadStatus::from(&head) })
}

//! `stemedb node`: the process that is started once and left alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use stemedb::Store;
use stemedb::node::config::{Change, Config};
use stemedb::node::{Node, Options};

use super::config::Loaded;
use super::failure::Failure;
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
/// can change changes, the rest is named in the log and waits for a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb node
  stemedb node --listen 127.0.0.1:7945 --http 127.0.0.1:7946 --store second --join 127.0.0.1:7845
  stemedb node --config /etc/stemedb/stemedb.toml
  stemedb node --listen 0.0.0.0:7845 --advertise a.example.org --join b.example.org \\
               --tls-cert a.pem --tls-key a.key --client-ca authority.pem --ca authority.pem
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
    let config = &loaded.config;
    let logging = Logging::start(config.log_format(), config.log_level())?;
    let runtime = peer::runtime()?;
    // Before the store is opened, which may take long: a SIGHUP then must not end the process.
    let signals = runtime.block_on(async { Signals::watch() })?;
    let own = Globals {
        store: config.store().to_path_buf(),
        json: globals.json,
        secret_file: config.secret_file().map(Into::into),
    };
    let running = Running { args, globals, logging, fingerprints: fingerprints(config) };
    open::or_make_shared(&own, |store| {
        open::require_secret(store, &own)?;
        let outcome = runtime.block_on(running.run(store, &own, loaded, options, signals));
        // Waits for whoever still reads or appends.
        drop(runtime);
        outcome
    })
}

/// A node that runs.
struct Running<'a> {
    args: &'a Args,
    globals: &'a Globals,
    logging: Logging,
    fingerprints: Fingerprints,
}

/// Hashes of the files with certificates and tokens, by key: what they hold is kept nowhere.
type Fingerprints = BTreeMap<&'static str, (PathBuf, Option<blake3::Hash>)>;

impl Running<'_> {
    async fn run(
        mut self,
        store: &Arc<Store>,
        own: &Globals,
        loaded: Loaded,
        options: Options,
        mut signals: Signals,
    ) -> Result<(), Failure> {
        let node = Node::start(Arc::clone(store), options).await?;
        ready(&node, store, own)?;
        service::notify(State::Ready);
        let asked = signals.stop();
        let stop = async move {
            asked.await;
            service::notify(State::Stopping);
            tracing::info!(
                "stopping; what runs is finished first, and Ctrl-C again ends it at once"
            );
        };
        let mut current = loaded.config;
        let reloads = async {
            loop {
                tokio::select! {
                    () = signals.hangup() => {}
                    () = node.reload_asked() => {}
                }
                self.reload(&node, &mut current);
            }
        };
        let ended = tokio::select! {
            ended = node.run(stop) => ended?,
            () = reloads => return Ok(()),
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

    /// Reads the configuration again and takes on what can change; keeps `current` if it is wrong.
    fn reload(&mut self, node: &Node, current: &mut Config) {
        let newer = match Loaded::load(&self.args.flags, self.globals) {
            Ok(newer) => newer.config,
            Err(failure) => return refused(&failure),
        };
        let changes = current.changed(&newer);
        let reloaded = current.reloaded(&newer);
        let options = match reloaded.options(|path| std::fs::read(path)) {
            Ok(options) => options,
            Err(error) => return refused(&error.into()),
        };
        let fingerprints = fingerprints(&reloaded);
        for Change { key, from, to } in &changes.reloaded {
            tracing::info!(key, %from, %to, "changed");
        }
        for Change { key, from, to } in &changes.restart {
            tracing::warn!(key, %from, %to, "has changed and takes effect at the next start");
        }
        let contents = self.contents_changed(&fingerprints);
        if changes.reloaded.is_empty() && changes.restart.is_empty() && !contents {
            tracing::info!("the configuration is read again, and is the same");
        }
        self.fingerprints.extend(fingerprints.into_iter().filter(|(key, _)| is_taken_on(key)));
        self.logging.set(reloaded.log_level());
        node.reload(options);
        *current = reloaded;
    }

    /// Tells of files that have the names they had, and other contents.
    fn contents_changed(&self, newer: &Fingerprints) -> bool {
        let mut changed = false;
        for (key, (path, hash)) in newer {
            let is_other = self
                .fingerprints
                .get(key)
                .is_some_and(|(old_path, old_hash)| old_path == path && old_hash != hash);
            if is_other && is_taken_on(key) {
                tracing::info!(key, file = %path.display(), "the file has changed");
            } else if is_other {
                tracing::warn!(
                    key,
                    file = %path.display(),
                    "the file has changed, and takes effect at the next start"
                );
            }
            changed |= is_other;
        }
        changed
    }
}

/// Tells that a configuration is not taken, each reason on a line of its own.
fn refused(failure: &Failure) {
    if let Failure::Config(error) = failure {
        for problem in error.problems() {
            tracing::error!("{problem}");
        }
    } else {
        tracing::error!("{failure}");
    }
    tracing::error!("the new configuration is wrong, as told above: the one before stays in force");
}

/// Whether a running node takes on changes of this key.
fn is_taken_on(key: &str) -> bool {
    stemedb::node::config::Key::find(key).is_some_and(|key| key.reload)
}

fn fingerprints(config: &Config) -> Fingerprints {
    let hash = |(key, path): (&'static str, &std::path::Path)| {
        let bytes = std::fs::read(path).ok();
        (key, (path.to_path_buf(), bytes.map(|bytes| blake3::hash(&bytes))))
    };
    config.files().map(hash).collect()
}

fn ready(node: &Node, store: &Store, own: &Globals) -> Result<(), Failure> {
    let (address, http) = (node.address(), node.http_address());
    let head = store.head();
    if !own.json {
        let console = http.map_or_else(String::new, |http| format!(", console http://{http}"));
        let line = format!(
            "{}: {} assertions, root {}{console}, serving on {address}\n",
            own.store.display(),
            head.count,
            to_hex(&head.set_root)
        );
        return output::raw(line.as_bytes());
    }
    let mut fields = serde_json::Map::new();
    fields.insert("address".to_owned(), json!(address.to_string()));
    fields.insert("http".to_owned(), http.map_or(Value::Null, |http| json!(http.to_string())));
    fields.extend(super::root::fields(&head));
    output::json(&fields.into())
}

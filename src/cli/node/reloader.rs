//! Reading the configuration again: what of it is taken on, and what is said of the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stemedb::error::with_causes;
use stemedb::node::Options;
use stemedb::node::config::{Change, Config, Key};
use stemedb::rpc::Reloaded;
use tokio::sync::mpsc::UnboundedSender;

use super::super::Globals;
use super::super::config::Loaded;
use super::super::failure::Failure;
use super::super::flags::Flags;
use super::super::logging::Logging;

/// Reads the configuration of a node again whenever it is asked to.
#[derive(Debug)]
pub(super) struct Reloader {
    flags: Flags,
    globals: Globals,
    logging: Logging,
    /// The configuration in force.
    config: Config,
    fingerprints: Fingerprints,
    /// Takes what the node is told then. Not the node itself: that keeps the reloader.
    options: UnboundedSender<Options>,
}

/// Hashes of the files with certificates and tokens, by key: what they hold is kept nowhere.
type Fingerprints = BTreeMap<&'static str, (PathBuf, Option<blake3::Hash>)>;

impl Reloader {
    pub(super) fn new(
        flags: Flags,
        globals: Globals,
        logging: Logging,
        config: Config,
        options: UnboundedSender<Options>,
    ) -> Self {
        let fingerprints = fingerprints(&config);
        Self { flags, globals, logging, config, fingerprints, options }
    }

    /// Reads it again, takes on what can change, and says what that is. If anything is wrong, all
    /// stays as it was.
    pub(super) fn reload(&mut self) -> Result<Reloaded, Failure> {
        let outcome = self.take_on();
        match &outcome {
            Ok(reloaded) => tracing::info!("the configuration is read again: {reloaded}"),
            Err(failure) => refused(failure),
        }
        outcome
    }

    fn take_on(&mut self) -> Result<Reloaded, Failure> {
        let newer = Loaded::load(&self.flags, &self.globals)?.config;
        let changes = self.config.changed(&newer);
        let reloaded = self.config.reloaded(&newer)?;
        let options = reloaded.options(|path| std::fs::read(path))?;
        // Half of a change may be unsafe: TLS off now, what allows plaintext at the next start.
        options.check(reloaded.secret_file().is_some())?;
        let fingerprints = fingerprints(&reloaded);

        let Reloaded { changed: mut now, at_restart: mut later } = Reloaded::default();
        for Change { key, from, to } in &changes.reloaded {
            tracing::info!(key, %from, %to, "changed");
            now.push((*key).to_owned());
        }
        for Change { key, from, to } in &changes.restart {
            tracing::warn!(key, %from, %to, "has changed, and takes effect at the next start");
            later.push((*key).to_owned());
        }
        for (key, path) in self.other_contents(&fingerprints) {
            let file = path.display();
            if is_taken_on(key) {
                tracing::info!(key, %file, "the file has changed");
                now.push(key.to_owned());
            } else {
                tracing::warn!(
                    key,
                    %file,
                    "the file has changed, and takes effect at the next start"
                );
                later.push(key.to_owned());
            }
        }
        self.fingerprints.extend(fingerprints.into_iter().filter(|(key, _)| is_taken_on(key)));
        self.logging.set(reloaded.log_level());
        self.config = reloaded;
        // Nobody takes them any more while the node ends.
        let _ = self.options.send(options);
        Ok(Reloaded { changed: now, at_restart: later })
    }

    /// Keys whose files have the names they had, and other contents.
    fn other_contents<'a>(&self, newer: &'a Fingerprints) -> Vec<(&'static str, &'a Path)> {
        let is_other = |key: &&'static str, path: &PathBuf, hash: &Option<blake3::Hash>| {
            let old = self.fingerprints.get(*key);
            old.is_some_and(|(old_path, old)| old_path == path && old != hash)
        };
        let others = newer.iter().filter(|(key, (path, hash))| is_other(key, path, hash));
        others.map(|(key, (path, _))| (*key, path.as_path())).collect()
    }
}

/// Tells that a configuration is not taken, each reason on a line of its own.
fn refused(failure: &Failure) {
    if let Failure::Config(error) = failure {
        for problem in error.problems() {
            tracing::error!("{problem}");
        }
    } else {
        tracing::error!("{}", with_causes(failure));
    }
    tracing::error!(
        "the new configuration is wrong, see above: keeping the previous configuration"
    );
}

/// Whether a running node takes on changes of this key.
fn is_taken_on(key: &str) -> bool {
    Key::find(key).is_some_and(|key| key.reload)
}

fn fingerprints(config: &Config) -> Fingerprints {
    let hash = |(key, path): (&'static str, &Path)| {
        let bytes = std::fs::read(path).ok();
        (key, (path.to_path_buf(), bytes.map(|bytes| blake3::hash(&bytes))))
    };
    config.files().map(hash).collect()
}

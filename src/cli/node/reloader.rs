//! Reading the configuration again: what of it is taken on, and what is said of the rest.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use stemedb::error::with_causes;
use stemedb::node::Node;
use stemedb::node::config::{Change, Config, ConfigError, Key};
use stemedb::node::reload::{Kept, PartlyReloaded};
use stemedb::rpc::Reloaded;

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
}

/// Hashes of the files with certificates and tokens, by key: what they hold is kept nowhere.
type Fingerprints = BTreeMap<&'static str, (PathBuf, Option<blake3::Hash>)>;

impl Reloader {
    pub(super) fn new(flags: Flags, globals: Globals, logging: Logging, config: Config) -> Self {
        let fingerprints = fingerprints(&config);
        Self { flags, globals, logging, config, fingerprints }
    }

    /// Reads the configuration again, has the node take on what can change, and says what that is.
    ///
    /// # Errors
    ///
    /// If the configuration is wrong: all stays as it was. If a certificate or a file of tokens
    /// can't be used: the previous one is kept, the rest is in force.
    pub(super) fn reload(&mut self, node: &Node) -> Result<Reloaded, Box<dyn Error + Send + Sync>> {
        let newer = match Loaded::load(&self.flags, &self.globals) {
            Ok(loaded) => loaded.config,
            Err(failure) => {
                refused(&failure);
                return Err(failure.into());
            }
        };
        let partly = self.take_on(&newer, node)?;
        if partly.kept.is_empty() {
            tracing::info!("the configuration is read again: {}", partly.reloaded);
            return Ok(partly.reloaded);
        }
        for kept in &partly.kept {
            tracing::error!("{kept}");
        }
        tracing::warn!("the configuration is read again, in part: {}", partly.reloaded);
        Err(partly.into())
    }

    /// Has the node take on files with certificates and tokens, if any of them holds something
    /// else. The configuration itself is not read: it may be half edited.
    pub(super) fn reload_files(&mut self, node: &Node) {
        if self.other_contents(&fingerprints(&self.config)).is_empty() {
            return;
        }
        let config = self.config.clone();
        match self.take_on(&config, node) {
            Ok(partly) => {
                for kept in &partly.kept {
                    tracing::error!("{kept}");
                }
                tracing::info!("files are read again: {}", partly.reloaded);
            }
            Err(error) => tracing::error!("files cannot be read again: {error}"),
        }
    }

    /// Files with certificates and tokens.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.config.files().map(|(_, path)| path.to_path_buf()).collect()
    }

    fn take_on(&mut self, newer: &Config, node: &Node) -> Result<PartlyReloaded, ConfigError> {
        let changes = self.config.changed(newer);
        let reloaded = self.config.reloaded(newer)?;
        // Before they are read: what changes meanwhile is found to be different afterwards.
        let fingerprints = fingerprints(&reloaded);
        let current = node.options();
        let (options, mut kept) = reloaded.options_over(&current, |path| std::fs::read(path));
        kept.extend(node.reload(options));
        let is_kept = |key: &str| kept.iter().any(|kept: &Kept| kept.has(key));

        let Reloaded { changed: mut now, at_restart: mut later } = Reloaded::default();
        let in_force = changes.reloaded.iter().filter(|change| !is_kept(change.key));
        for Change { key, from, to } in in_force {
            tracing::info!(key, %from, %to, "changed");
            now.push((*key).to_owned());
        }
        for Change { key, from, to } in &changes.restart {
            tracing::warn!(key, %from, %to, "has changed, and takes effect at the next start");
            later.push((*key).to_owned());
        }
        for (key, path) in self.other_contents(&fingerprints) {
            let file = path.display();
            if is_kept(key) {
                continue;
            }
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
        // What is kept differs from its file until that can be used.
        let in_force = |key: &&'static str| is_taken_on(key) && !is_kept(key);
        self.fingerprints.extend(fingerprints.into_iter().filter(|(key, _)| in_force(key)));
        self.logging.set(reloaded.log_level());
        self.config = reloaded;
        Ok(PartlyReloaded { kept, reloaded: Reloaded { changed: now, at_restart: later } })
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

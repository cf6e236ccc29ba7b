//! From a configuration to the options of a node: reading the files that it names.

use std::{io, path::Path};

use stemedb_rpc::{
    ClientIdentity, ClientOptions, ClientTls, ServerLimits, ServerOptions, ServerTls, Token,
    Tokens, tls::SystemRoots, token::TokenError,
};

use super::{Config, ConfigError, Problem, key::Key, settings::Settings};
use crate::{
    options::{ArchivePolicy, Options, ScrubPolicy, SyncPolicy},
    reload::Kept,
};

impl Config {
    /// Options of the node. `read` reads a file.
    ///
    /// # Errors
    ///
    /// If a file can't be read, or holds no tokens; all of them are said. Whether certificates are
    /// good is seen when they are used.
    pub fn options(
        &self,
        read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Options, ConfigError> {
        let (options, problems) = self.read_options(read);
        ConfigError::of(problems)?;
        Ok(options)
    }

    /// The same of a node that runs: what a file can't be used for stays as it is in the options in
    /// force, for the reason that is given.
    pub fn options_over(
        &self,
        current: &Options,
        read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> (Options, Vec<Kept>) {
        let (mut options, problems) = self.read_options(read);
        let kept = problems.iter().filter_map(|problem| Some((problem.file_key()?, problem)));
        let kept = kept.map(|(key, problem)| {
            options.keep(key, current);
            Kept { keys: key, reason: problem.to_string() }
        });
        let kept = kept.collect();
        (options, kept)
    }

    fn read_options(
        &self,
        read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> (Options, Vec<Problem>) {
        let mut files = Files { config: self, read, problems: Vec::new() };
        let Settings { tls, auth, server, cluster, sync, scrub, archive, .. } = &self.settings;
        let certificate = files.read("tls.cert", tls.cert.as_deref());
        let key = files.read("tls.key", tls.key.as_deref());
        let client_ca = files.read("tls.client_ca", tls.client_ca.as_deref());
        let ca = files.read("tls.ca", tls.ca.as_deref());
        let scoped = [
            ("auth.token_file", &auth.token_file),
            ("auth.client_tokens", &auth.client_tokens),
            ("auth.peer_tokens", &auth.peer_tokens),
            ("auth.admin_tokens", &auth.admin_tokens),
        ];
        let [tokens, client_tokens, peer_tokens, admin_tokens] =
            scoped.map(|(name, path)| files.tokens(name, path.as_deref(), Tokens::parse));
        let token =
            files.tokens("auth.peer_token_file", auth.peer_token_file.as_deref(), Token::parse);
        let system_roots = files.system_roots(tls.system_roots);
        let problems = files.problems;

        let pair = certificate.zip(key);
        let identity = pair.clone().map(|(certificate, key)| ClientIdentity { certificate, key });
        let calls_with_tls = ca.is_some() || system_roots.is_some();
        let client_tls = calls_with_tls.then(|| {
            ClientTls::new(ca.unwrap_or_default())
                .system_roots(system_roots)
                .identity(identity)
                .server_name(tls.server_name.clone())
        });
        let options = Options {
            listen: self.settings.listen,
            advertise: self.settings.advertise.clone(),
            http: self.settings.http,
            http_hosts: self.settings.http_hosts.clone(),
            server: ServerOptions::default()
                .tls(pair.map(|(certificate, key)| {
                    ServerTls::new(certificate, key).client_ca(client_ca)
                }))
                .allow_plaintext(auth.allow_plaintext)
                .tokens(tokens)
                .client_tokens(client_tokens)
                .peer_tokens(peer_tokens)
                .admin_tokens(admin_tokens)
                .reflection(self.settings.reflection)
                .limits(
                    ServerLimits::default()
                        .connections_max(server.connections_max)
                        .connections_per_address_max(server.connections_per_address_max)
                        .sessions_memory_max(usize::try_from(sync.memory.0).unwrap_or(usize::MAX)),
                ),
            client: ClientOptions::default()
                .tls(client_tls)
                .token(token)
                .send_token_in_plaintext(auth.send_token_in_plaintext),
            join: cluster.join.clone(),
            peers: cluster.peers.clone(),
            gossip: cluster.gossip,
            open_membership: cluster.open_membership,
            sync: SyncPolicy {
                interval: sync.interval.0,
                sessions_max: sync.sessions_max,
                bytes_per_second: sync.bytes_per_second.map(|size| size.0),
                cpu_share: sync.cpu_share,
                pause_above: sync.pause_above.map(|time| time.0),
                windows: sync.windows.clone(),
            },
            scrub: scrub.enabled.then_some(ScrubPolicy {
                bytes_per_second: scrub.bytes_per_second.0,
                interval: scrub.interval.0,
            }),
            archive: archive.url.clone().map(|url| ArchivePolicy {
                url,
                interval: archive.interval.0,
                keep_segments: archive.keep_segments,
            }),
            disk_reserve: self.settings.disk.reserve.map(|size| size.0),
            stop_time_max: self.settings.stop_time_max.0,
        };
        (options, problems)
    }

    /// The files with certificates, keys and tokens that are named, by the names of their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let Settings { tls, auth, .. } = &self.settings;
        [
            ("tls.cert", &tls.cert),
            ("tls.key", &tls.key),
            ("tls.client_ca", &tls.client_ca),
            ("tls.ca", &tls.ca),
            ("auth.token_file", &auth.token_file),
            ("auth.client_tokens", &auth.client_tokens),
            ("auth.peer_tokens", &auth.peer_tokens),
            ("auth.admin_tokens", &auth.admin_tokens),
            ("auth.peer_token_file", &auth.peer_token_file),
        ]
        .into_iter()
        .filter_map(|(name, path)| path.as_deref().map(|path| (name, path)))
    }
}

struct Files<'a, R> {
    config: &'a Config,
    read: R,
    problems: Vec<Problem>,
}

impl<R: FnMut(&Path) -> io::Result<Vec<u8>>> Files<'_, R> {
    fn read(&mut self, name: &str, path: Option<&Path>) -> Option<Vec<u8>> {
        let (path, key) = (path?, Key::find(name)?);
        match (self.read)(path) {
            Ok(bytes) => Some(bytes),
            Err(source) => {
                let origin = self.config.origin(name);
                self.problems.push(Problem::Read { origin, key, path: path.into(), source });
                None
            }
        }
    }

    fn system_roots(&mut self, is_wanted: bool) -> Option<SystemRoots> {
        let key = Key::find("tls.system_roots").filter(|_| is_wanted)?;
        let loaded = SystemRoots::load();
        loaded
            .map_err(|source| {
                let origin = self.config.origin(key.name);
                self.problems.push(Problem::SystemRoots { origin, key, source });
            })
            .ok()
    }

    fn tokens<T>(
        &mut self,
        name: &str,
        path: Option<&Path>,
        parse: impl FnOnce(&[u8]) -> Result<T, TokenError>,
    ) -> Option<T> {
        let text = self.read(name, path)?;
        let (path, key) = (path?, Key::find(name)?);
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(source) => {
                let origin = self.config.origin(name);
                self.problems.push(Problem::Token { origin, key, path: path.into(), source });
                None
            }
        }
    }
}

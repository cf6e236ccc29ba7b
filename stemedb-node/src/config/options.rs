//! From a configuration to what a node is told: reading the files that it names.

use std::{io, path::Path};

use stemedb_rpc::{
    ClientIdentity, ClientOptions, ClientTls, ServerLimits, ServerOptions, ServerTls, Token,
    Tokens, token::TokenError,
};

use super::{Config, ConfigError, Problem, key::Key};
use crate::options::{ArchivePolicy, Options};

impl Config {
    /// What a node is told. `read` reads a file.
    ///
    /// # Errors
    ///
    /// If a file can't be read, or holds no tokens; all of them are said. Whether certificates are
    /// good is seen when they are used.
    pub fn options(
        &self,
        read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Options, ConfigError> {
        let mut files = Files { config: self, read, problems: Vec::new() };
        let settings = &self.settings;
        let certificate = files.read("tls.cert", settings.tls_cert.as_deref());
        let key = files.read("tls.key", settings.tls_key.as_deref());
        let client_ca = files.read("tls.client_ca", settings.tls_client_ca.as_deref());
        let ca = files.read("tls.ca", settings.tls_ca.as_deref());
        let tokens = files.tokens("auth.token_file", settings.token_file.as_deref(), Tokens::parse);
        let scoped = [
            ("auth.client_tokens", &settings.client_tokens),
            ("auth.peer_tokens", &settings.peer_tokens),
            ("auth.admin_tokens", &settings.admin_tokens),
        ];
        let [client_tokens, peer_tokens, admin_tokens] =
            scoped.map(|(name, path)| files.tokens(name, path.as_deref(), Tokens::parse));
        let token =
            files.tokens("auth.peer_token_file", settings.peer_token_file.as_deref(), Token::parse);
        ConfigError::of(files.problems)?;

        let server_tls = certificate.clone().zip(key.clone());
        let server_tls =
            server_tls.map(|(certificate, key)| ServerTls { certificate, key, client_ca });
        let identity =
            certificate.zip(key).map(|(certificate, key)| ClientIdentity { certificate, key });
        let server_name = settings.tls_server_name.clone();
        Ok(Options {
            listen: settings.listen,
            advertise: settings.advertised().and_then(Result::ok),
            http: settings.http,
            http_hosts: settings.http_hosts.clone(),
            server: ServerOptions {
                tls: server_tls,
                clear_to_others: settings.clear_to_others,
                tokens,
                client_tokens,
                peer_tokens,
                admin_tokens,
                reflection: settings.reflection,
                limits: ServerLimits {
                    connections_max: settings.connections_max,
                    connections_per_address_max: settings.connections_per_address_max,
                    sessions_memory_max: usize::try_from(settings.sync_memory)
                        .unwrap_or(usize::MAX),
                    ..ServerLimits::default()
                },
            },
            client: ClientOptions {
                tls: ca.map(|ca| ClientTls { ca, identity, server_name }),
                token,
                clear_to_others: settings.token_in_clear,
                ..ClientOptions::default()
            },
            join: settings.join.clone(),
            peers: settings.peers.clone(),
            gossip: settings.gossip,
            open_membership: settings.open_membership,
            sync: settings.sync.clone(),
            scrub: settings.scrub_enabled.then_some(settings.scrub),
            archive: settings.archive_url.clone().map(|url| ArchivePolicy {
                url,
                interval: settings.archive_interval,
                keep_segments: settings.archive_keep_segments,
            }),
            disk_reserve: settings.disk_reserve,
            stop_time_max: settings.stop_time_max,
        })
    }

    /// The files with certificates, keys and tokens that are named, by the names of their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let settings = &self.settings;
        [
            ("tls.cert", &settings.tls_cert),
            ("tls.key", &settings.tls_key),
            ("tls.client_ca", &settings.tls_client_ca),
            ("tls.ca", &settings.tls_ca),
            ("auth.token_file", &settings.token_file),
            ("auth.client_tokens", &settings.client_tokens),
            ("auth.peer_tokens", &settings.peer_tokens),
            ("auth.admin_tokens", &settings.admin_tokens),
            ("auth.peer_token_file", &settings.peer_token_file),
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

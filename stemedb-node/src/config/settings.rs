//! What all sources together say, each value of its type.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use stemedb_rpc::{PeerAddress, client::ParseAddressError};

use crate::options::{Options, ScrubPolicy, SyncPolicy};

/// The directory of the store where none is named.
const STORE: &str = ".stemedb";

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// An object on each line, for programs.
    Json,
}

/// What is logged: this and all that is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What an operator must look at.
    Error,
    /// What may become so.
    Warn,
    /// What happens now and then.
    Info,
    /// What happens all the time.
    Debug,
    /// Everything.
    Trace,
}

impl LogFormat {
    pub(super) const ALL: [Self; 2] = [Self::Human, Self::Json];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl LogLevel {
    pub(super) const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Every key's value. Files are named, not read.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that have nothing to do with each other"
)]
pub(super) struct Settings {
    pub(super) store: PathBuf,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) listen: SocketAddr,
    /// As it was given: without a port it has that of `listen`.
    pub(super) advertise: Option<String>,
    pub(super) http: Option<SocketAddr>,
    pub(super) http_hosts: Vec<String>,
    pub(super) reflection: bool,
    pub(super) stop_time_max: Duration,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_client_ca: Option<PathBuf>,
    pub(super) tls_ca: Option<PathBuf>,
    pub(super) tls_server_name: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) client_tokens: Option<PathBuf>,
    pub(super) peer_tokens: Option<PathBuf>,
    pub(super) admin_tokens: Option<PathBuf>,
    pub(super) peer_token_file: Option<PathBuf>,
    pub(super) clear_to_others: bool,
    pub(super) token_in_clear: bool,
    pub(super) connections_max: usize,
    pub(super) connections_per_address_max: usize,
    pub(super) join: Vec<PeerAddress>,
    pub(super) peers: Vec<PeerAddress>,
    pub(super) gossip: bool,
    pub(super) open_membership: bool,
    pub(super) sync: SyncPolicy,
    pub(super) sync_memory: u64,
    pub(super) scrub_enabled: bool,
    pub(super) scrub: ScrubPolicy,
    pub(super) archive_url: Option<String>,
    pub(super) archive_interval: Duration,
    pub(super) archive_keep_segments: Option<u64>,
    pub(super) disk_reserve: Option<u64>,
    pub(super) log_format: LogFormat,
    pub(super) log_level: LogLevel,
}

impl Default for Settings {
    fn default() -> Self {
        let options = Options::default();
        Self {
            store: PathBuf::from(STORE),
            secret_file: None,
            listen: options.listen,
            advertise: options.advertise.map(|address| address.to_string()),
            http: options.http,
            http_hosts: options.http_hosts,
            reflection: options.server.reflection,
            stop_time_max: options.stop_time_max,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            tls_ca: None,
            tls_server_name: None,
            token_file: None,
            client_tokens: None,
            peer_tokens: None,
            admin_tokens: None,
            peer_token_file: None,
            clear_to_others: options.server.clear_to_others,
            token_in_clear: options.client.clear_to_others,
            connections_max: options.server.limits.connections_max,
            connections_per_address_max: options.server.limits.connections_per_address_max,
            join: options.join,
            peers: options.peers,
            gossip: options.gossip,
            open_membership: options.open_membership,
            sync: options.sync,
            sync_memory: options.server.limits.sessions_memory_max as u64,
            scrub_enabled: options.scrub.is_some(),
            scrub: options.scrub.unwrap_or_default(),
            archive_url: None,
            archive_interval: Duration::from_secs(60),
            archive_keep_segments: None,
            disk_reserve: options.disk_reserve,
            log_format: LogFormat::Human,
            log_level: LogLevel::Info,
        }
    }
}

impl Settings {
    /// The address by which others reach the node, if one was given. An address without a port has
    /// the port that the node listens on: nothing else answers there.
    pub(super) fn advertised(&self) -> Option<Result<PeerAddress, ParseAddressError>> {
        let port = self.listen.port();
        self.advertise.as_ref().map(|text| PeerAddress::with_default_port(text, port))
    }
}

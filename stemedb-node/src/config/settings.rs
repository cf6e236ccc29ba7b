//! Values of all keys, each of its type, in the sections of a file.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error};
use stemedb_rpc::PeerAddress;

use super::units::{Size, Time};
use crate::options::Window;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, strum::VariantNames)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// An object on each line, for programs.
    Json,
}

/// Level of the log: this and all that is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, strum::Display, strum::VariantNames)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Events that an operator must look at.
    Error,
    /// Events that may become so.
    Warn,
    /// Events that happen now and then.
    Info,
    /// Events that happen all the time.
    Debug,
    /// Everything.
    Trace,
}

/// Values of all keys. Files are named, not read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) store: PathBuf,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) listen: SocketAddr,
    #[serde(default, deserialize_with = "address")]
    pub(super) advertise: Option<PeerAddress>,
    pub(super) http: Option<SocketAddr>,
    pub(super) http_hosts: Vec<String>,
    pub(super) reflection: bool,
    pub(super) stop_time_max: Time,
    pub(super) tls: Tls,
    pub(super) auth: Auth,
    pub(super) server: Server,
    pub(super) cluster: Cluster,
    pub(super) sync: Sync,
    pub(super) scrub: Scrub,
    pub(super) archive: Archive,
    pub(super) disk: Disk,
    pub(super) log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    pub(super) system_roots: bool,
    pub(super) server_name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) token_file: Option<PathBuf>,
    pub(super) client_tokens: Option<PathBuf>,
    pub(super) peer_tokens: Option<PathBuf>,
    pub(super) admin_tokens: Option<PathBuf>,
    pub(super) peer_token_file: Option<PathBuf>,
    pub(super) allow_plaintext: bool,
    pub(super) send_token_in_plaintext: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) connections_max: usize,
    pub(super) connections_per_address_max: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    #[serde(deserialize_with = "addresses")]
    pub(super) join: Vec<PeerAddress>,
    #[serde(deserialize_with = "addresses")]
    pub(super) peers: Vec<PeerAddress>,
    pub(super) gossip: bool,
    pub(super) open_membership: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sync {
    pub(super) interval: Time,
    pub(super) sessions_max: usize,
    pub(super) memory: Size,
    pub(super) bytes_per_second: Option<Size>,
    pub(super) cpu_share: f64,
    pub(super) pause_above: Option<Time>,
    pub(super) windows: Vec<Window>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scrub {
    pub(super) enabled: bool,
    pub(super) bytes_per_second: Size,
    pub(super) interval: Time,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Archive {
    pub(super) url: Option<String>,
    pub(super) interval: Time,
    pub(super) keep_segments: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disk {
    pub(super) reserve: Option<Size>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: LogFormat,
    pub(super) level: LogLevel,
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PeerAddress>, D::Error> {
    parsed(&String::deserialize(deserializer)?).map(Some)
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PeerAddress>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect()
}

fn parsed<T: FromStr<Err: fmt::Display>, E: Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(E::custom)
}

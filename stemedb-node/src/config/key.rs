//! Table of all keys, that files, variables, flags, help and documentation are held to.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde_json::Value;
use strum::VariantNames as _;

use super::{
    settings::{LogFormat, LogLevel},
    takes::{NONE, Takes},
};

/// Word for a value that the node finds by itself.
const AUTO: &str = "auto";

/// Prefix of the names of all variables.
pub(super) const VARIABLE_PREFIX: &str = "STEMEDB_";

const STOP_TIMES: RangeInclusive<Duration> = millis(100)..=hours(1);
const SYNC_INTERVALS: RangeInclusive<Duration> = millis(100)..=hours(7 * 24);
const PAUSE_TIMES: RangeInclusive<Duration> = millis(1)..=hours(1);
const SCRUB_INTERVALS: RangeInclusive<Duration> = millis(1_000)..=hours(366 * 24);
const ARCHIVE_INTERVALS: RangeInclusive<Duration> = millis(1_000)..=hours(24);
const SESSIONS: RangeInclusive<u64> = 1..=64;
const CONNECTIONS: RangeInclusive<u64> = 1..=65_536;
/// Up to the greatest integer of TOML.
const SEGMENTS: RangeInclusive<u64> = 0..=i64::MAX.unsigned_abs();
/// Less would not hold one session with a long body.
const SYNC_MEMORY_MIN: u64 = 32 << 20;
/// Less would not move one frame in a minute.
const SYNC_RATE_MIN: u64 = 16 << 10;
const SCRUB_RATE_MIN: u64 = 4 << 10;

/// A key of the configuration.
pub struct Key {
    /// Its name in a file, after that of its section and a dot: `sync.interval`.
    pub name: &'static str,
    /// Its flag, without the two dashes.
    pub flag: &'static str,
    /// Values that it takes.
    pub takes: Takes,
    /// Word that it takes for no value, or for one that the node finds by itself.
    pub(super) word: Option<&'static str>,
    /// Text of the value that it has when no source names it.
    pub default: &'static str,
    /// Whether a running node applies a change of it.
    pub reload: bool,
    /// Meaning, for help: a sentence without a full stop.
    pub about: &'static str,
}

impl Key {
    const fn new(
        name: &'static str,
        flag: &'static str,
        takes: Takes,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, flag, takes, word: None, default, reload: false, about }
    }

    const fn or_none(self) -> Self {
        Self { word: Some(NONE), ..self }
    }

    const fn or_auto(self) -> Self {
        Self { word: Some(AUTO), ..self }
    }

    const fn reloaded(self) -> Self {
        Self { reload: true, ..self }
    }

    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The variable that overrides it: `STEMEDB_SYNC__INTERVAL`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('.', "__").to_ascii_uppercase())
    }

    /// Its section; empty for those above all sections.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within its section.
    pub fn field(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, field)| field)
    }

    /// The given value in the form that all sources share, if the key takes it.
    pub(super) fn read(&self, given: &Value) -> Option<Value> {
        match given.as_str() {
            Some(text) if self.word == Some(text) => Some(given.clone()),
            _ => self.takes.read(given),
        }
    }

    /// Values that it takes, for a message.
    pub(super) fn allowed(&self) -> String {
        match self.word {
            Some(word) => format!("{}; or {word}", self.takes),
            None => self.takes.to_string(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// Makes rows of name, flag, values and default, then what else holds of the key, and its meaning.
macro_rules! keys {
    ($(
        $name:literal, $flag:literal, $takes:expr, $default:expr, [$($more:ident)*] $about:literal;
    )*) => {
        /// All keys, in the order in which files have them: those without a section first.
        pub static KEYS: [Key; 43] =
            [$(Key::new($name, $flag, $takes, $default, $about)$(.$more())*),*];
    };
}

keys! {
    "store", "store", Takes::Path, ".stemedb", []
        "The store's directory";
    "secret_file", "secret-file", Takes::Path, NONE, [or_none]
        "The file with the secret that the store was made with";
    "listen", "listen", Takes::Socket, "127.0.0.1:7845", []
        "Where it serves; port 0 takes any that is free";
    "advertise", "advertise", Takes::Peer, NONE, [or_none]
        "The address by which other nodes reach it, where that is not the one it listens on; \
         without a port, with that of listen";
    "http", "http", Takes::Socket, "127.0.0.1:7846", [or_none]
        "Where console, metrics and health are served over HTTP; none for nowhere";
    "http_hosts", "http-hosts", Takes::Hosts, NONE, []
        "Host names by which the console may be asked for, beside IP addresses and localhost";
    "reflection", "reflection", Takes::Switch, "false", []
        "Whether clients are told what services there are (gRPC reflection)";
    "stop_time_max", "stop-time-max", Takes::Time(STOP_TIMES), "20s", []
        "How long a stop may take before what still runs is cut";
    "tls.cert", "tls-cert", Takes::Path, NONE, [or_none reloaded]
        "This node's certificate as PEM, followed by those that lead to its authority; shown to \
         clients, and to other nodes when it calls them";
    "tls.key", "tls-key", Takes::Path, NONE, [or_none reloaded]
        "The key of the certificate, as PEM";
    "tls.client_ca", "client-ca", Takes::Path, NONE, [or_none reloaded]
        "The authority whose certificates clients must show, as PEM";
    "tls.ca", "tls-ca", Takes::Path, NONE, [or_none reloaded]
        "The authority that the certificates of other nodes come from, as PEM: this node calls \
         them with TLS then";
    "tls.system_roots", "tls-system-roots", Takes::Switch, "false", [reloaded]
        "Whether certificates of other nodes may come from an authority that the system trusts: \
         this node calls them with TLS then";
    "tls.server_name", "tls-server-name", Takes::Host, NONE, [or_none reloaded]
        "The name in the certificates of other nodes, where that is not the host of their address";
    "auth.token_file", "token-file", Takes::Path, NONE, [or_none reloaded]
        "The file of tokens, one on each line, one of which clients and other nodes must show";
    "auth.client_tokens", "client-tokens", Takes::Path, NONE, [or_none reloaded]
        "The file of tokens of clients, which may append, get, prove and watch";
    "auth.peer_tokens", "peer-tokens", Takes::Path, NONE, [or_none reloaded]
        "The file of tokens of other nodes, which may sync and gossip";
    "auth.admin_tokens", "admin-tokens", Takes::Path, NONE, [or_none reloaded]
        "The file of tokens of administrators, which may do all and control the node";
    "auth.peer_token_file", "peer-token-file", Takes::Path, NONE, [or_none reloaded]
        "The file whose first line is the token that this node shows to others";
    "auth.allow_plaintext", "allow-plaintext", Takes::Switch, "false", []
        "Whether other machines are served without TLS, where others can read along";
    "auth.send_token_in_plaintext", "send-token-in-plaintext", Takes::Switch, "false", [reloaded]
        "Whether the token is shown to other machines without TLS, where others can read along";
    "server.connections_max", "server-connections-max", Takes::Count(CONNECTIONS), "256", []
        "Connections at the same time; others wait";
    "server.connections_per_address_max", "server-connections-per-address-max",
    Takes::Count(CONNECTIONS), "64", []
        "Connections at the same time from one address; others are refused";
    "cluster.join", "join", Takes::Peers, NONE, []
        "Members of the cluster; any one that answers tells of the others";
    "cluster.peers", "peers", Takes::Peers, NONE, [reloaded]
        "Peers that are synced with although they don't gossip";
    "cluster.gossip", "gossip", Takes::Switch, "true", []
        "Whether to take part in gossip";
    "cluster.open_membership", "open-membership", Takes::Switch, "false", []
        "Serve other machines with neither a secret nor client certificates: anybody who reaches \
         the node can become a member";
    "sync.interval", "sync-interval", Takes::Time(SYNC_INTERVALS), "30s", [reloaded]
        "How often a peer is met even if nothing says that it differs; up to a quarter more or \
         less by chance";
    "sync.sessions_max", "sync-sessions-max", Takes::Count(SESSIONS), "2", [reloaded]
        "Sessions that this node runs at the same time";
    "sync.memory", "sync-memory", Takes::Size(SYNC_MEMORY_MIN), "256M", []
        "Bytes of memory that all sessions which other nodes begin hold together";
    "sync.bytes_per_second", "sync-bytes-per-second",
    Takes::Size(SYNC_RATE_MIN), NONE, [or_none reloaded]
        "Bytes a second that all sessions may move, both ways together; none for no limit";
    "sync.cpu_share", "sync-cpu-share", Takes::Share, "1.0", [reloaded]
        "The share of one core that sessions may take; 1 is no limit";
    "sync.pause_above", "sync-pause-above", Takes::Time(PAUSE_TIMES), NONE, [or_none reloaded]
        "Sync pauses while the 99th percentile of client-observed append latency is above this; \
         none for never";
    "sync.windows", "sync-windows", Takes::Windows, NONE, [reloaded]
        "The parts of the day, UTC, in which sync may run, such as 22:00-06:00; none for always";
    "scrub.enabled", "scrub", Takes::Switch, "true", [reloaded]
        "Whether all bodies are checked against their ids in the background, again and again";
    "scrub.bytes_per_second", "scrub-bytes-per-second",
    Takes::Size(SCRUB_RATE_MIN), "4M", [reloaded]
        "Bytes a second that this check reads";
    "scrub.interval", "scrub-interval", Takes::Time(SCRUB_INTERVALS), "7d", [reloaded]
        "The least time from the beginning of one pass to that of the next";
    "archive.url", "archive", Takes::Archive, NONE, [or_none]
        "Where sealed segments and checkpoints are archived: s3://BUCKET/PREFIX or \
         file:///DIRECTORY";
    "archive.interval", "archive-interval", Takes::Time(ARCHIVE_INTERVALS), "1m", []
        "How often what is new is sent there";
    "archive.keep_segments", "archive-keep-segments", Takes::Count(SEGMENTS), NONE, [or_none]
        "Archived segments are dropped from this machine but for the newest so many; none drops \
         none";
    "disk.reserve", "disk-reserve", Takes::Size(0), AUTO, [or_auto reloaded]
        "Free bytes below which the node is not ready and takes no bodies from peers; auto is 1G, \
         or 5 % of the disk if that is less";
    "log.format", "log-format", Takes::OneOf("FORMAT", LogFormat::VARIANTS), "human", []
        "How lines of the log look: human or json";
    "log.level", "log-level", Takes::OneOf("LEVEL", LogLevel::VARIANTS), "info", [reloaded]
        "What is logged: off, error, warn, info, debug or trace";
}

/// Names of before, for a suggestion.
const RENAMED: [(&str, &str); 2] = [
    ("auth.clear_to_others", "auth.allow_plaintext"),
    ("auth.token_in_clear", "auth.send_token_in_plaintext"),
];

/// The known name that is most like one that is not known, if any is like it.
pub(super) fn nearest(name: &str) -> Option<&'static Key> {
    if let Some((_, now)) = RENAMED.iter().find(|(before, _)| *before == name) {
        return Key::find(now);
    }
    let like = |a: &str, b: &str| strsim::normalized_damerau_levenshtein(a, b);
    let field = name.rsplit('.').next().unwrap_or(name);
    let scores = KEYS.iter().map(|key| {
        let (whole, end) = (like(name, key.name), like(field, key.field()));
        // The end alone finds a key that stands in another section; the whole decides among those.
        (key, whole.max(end), whole + end)
    });
    scores
        .filter(|(_, best, _)| *best >= LIKENESS_MIN)
        .max_by(|(.., a), (.., b)| a.total_cmp(b))
        .map(|(key, ..)| key)
}

/// Less alike than this is no slip of the hand.
const LIKENESS_MIN: f64 = 0.65;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

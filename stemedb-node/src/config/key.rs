//! The keys: one table that files, variables, flags, help and documentation are held to.

use std::{fmt, ops::RangeInclusive, path::Path, time::Duration};

use serde_json::Value;

use super::{
    quantity,
    raw::{AUTO, Allowed, NONE, Raw},
    settings::Settings,
};
use crate::options::Window;

/// What the names of all variables begin with.
pub(super) const VARIABLE_PREFIX: &str = "STEMEDB_";

const STOP_TIMES: RangeInclusive<Duration> = millis(100)..=hours(1);
const SYNC_INTERVALS: RangeInclusive<Duration> = millis(100)..=hours(7 * 24);
const PAUSE_TIMES: RangeInclusive<Duration> = millis(1)..=hours(1);
const SCRUB_INTERVALS: RangeInclusive<Duration> = millis(1_000)..=hours(366 * 24);
const ARCHIVE_INTERVALS: RangeInclusive<Duration> = millis(1_000)..=hours(24);
const SESSIONS_MAX: u64 = 64;
const CONNECTIONS_MAX: u64 = 65_536;
/// The greatest integer of TOML.
const COUNT_MAX: u64 = i64::MAX.unsigned_abs();
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
    /// What stands for a value in help.
    pub placeholder: &'static str,
    /// What its values are like.
    pub kind: Kind,
    /// Whether a running node takes on a change of it.
    pub reload: bool,
    /// What it is, for help: a sentence without a full stop.
    pub about: &'static str,
    pub(super) set: fn(&mut Settings, &Raw) -> Result<(), Allowed>,
    pub(super) show: fn(&Settings) -> Value,
}

/// What values are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    One,
    /// The path of a file or a directory.
    Path,
    /// True or false.
    Switch,
    /// Any number of values.
    List,
}

impl Key {
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

    /// The value that it has when nobody says anything.
    pub fn default_value(&self) -> Value {
        (self.show)(&Settings::default())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// A key that names a file, or none, and waits for a restart.
macro_rules! file_key {
    ($name:literal, $flag:literal, $about:literal, $field:ident) => {
        Key {
            name: $name,
            flag: $flag,
            placeholder: "FILE",
            kind: Kind::Path,
            reload: false,
            about: $about,
            set: |s, raw| {
                s.$field = raw.or_none(Raw::path)?;
                Ok(())
            },
            show: |s| or_none(s.$field.as_deref(), path),
        }
    };
}

/// All keys, in the order in which files have them: those without a section first.
pub static KEYS: [Key; 42] = [
    Key {
        name: "store",
        flag: "store",
        placeholder: "DIR",
        kind: Kind::Path,
        reload: false,
        about: "The store's directory",
        set: |s, raw| {
            s.store = raw.path()?;
            Ok(())
        },
        show: |s| path(&s.store),
    },
    file_key!(
        "secret_file",
        "secret-file",
        "The file with the secret that the store was made with",
        secret_file
    ),
    Key {
        name: "listen",
        flag: "listen",
        placeholder: "ADDRESS",
        kind: Kind::One,
        reload: false,
        about: "Where it serves; port 0 takes any that is free",
        set: |s, raw| {
            s.listen = raw.socket()?;
            Ok(())
        },
        show: |s| text(s.listen),
    },
    Key {
        name: "advertise",
        flag: "advertise",
        placeholder: "PEER",
        kind: Kind::One,
        reload: false,
        about: "The address by which other nodes reach it, where that is not the one it \
                listens on; without a port, with that of listen",
        set: |s, raw| {
            s.advertise = raw.or_none(Raw::advertised)?;
            Ok(())
        },
        // Text that is not an address with this port is refused when all is put together.
        show: |s| or_none(s.advertised().and_then(Result::ok).as_ref(), text),
    },
    Key {
        name: "http",
        flag: "http",
        placeholder: "ADDRESS",
        kind: Kind::One,
        reload: false,
        about: "Where console, metrics and health are served over HTTP; none for nowhere",
        set: |s, raw| {
            s.http = raw.or_none(Raw::socket)?;
            Ok(())
        },
        show: |s| or_none(s.http, text),
    },
    Key {
        name: "http_hosts",
        flag: "http-hosts",
        placeholder: "NAMES",
        kind: Kind::List,
        reload: false,
        about: "Host names by which the console may be asked for, beside IP addresses and \
                localhost",
        set: |s, raw| {
            s.http_hosts = raw.hosts()?;
            Ok(())
        },
        show: |s| list(&s.http_hosts),
    },
    Key {
        name: "reflection",
        flag: "reflection",
        placeholder: "BOOL",
        kind: Kind::Switch,
        reload: false,
        about: "Whether clients are told what services there are (gRPC reflection)",
        set: |s, raw| {
            s.reflection = raw.switch()?;
            Ok(())
        },
        show: |s| s.reflection.into(),
    },
    Key {
        name: "stop_time_max",
        flag: "stop-time-max",
        placeholder: "TIME",
        kind: Kind::One,
        reload: false,
        about: "How long a stop may take before what still runs is cut",
        set: |s, raw| {
            s.stop_time_max = raw.time(STOP_TIMES)?;
            Ok(())
        },
        show: |s| time(s.stop_time_max),
    },
    file_key!(
        "tls.cert",
        "tls-cert",
        "This node's certificate as PEM, followed by those that lead to its \
                authority; shown to clients, and to other nodes when it calls them",
        tls_cert
    ),
    file_key!("tls.key", "tls-key", "The key of the certificate, as PEM", tls_key),
    file_key!(
        "tls.client_ca",
        "client-ca",
        "The authority whose certificates clients must show, as PEM",
        tls_client_ca
    ),
    Key {
        name: "tls.ca",
        flag: "ca",
        placeholder: "FILE",
        kind: Kind::Path,
        reload: true,
        about: "The authority that the certificates of other nodes come from, as PEM: this \
                node calls them with TLS then",
        set: |s, raw| {
            s.tls_ca = raw.or_none(Raw::path)?;
            Ok(())
        },
        show: |s| or_none(s.tls_ca.as_deref(), path),
    },
    Key {
        name: "tls.server_name",
        flag: "server-name",
        placeholder: "NAME",
        kind: Kind::One,
        reload: true,
        about: "The name in the certificates of other nodes, where that is not the host of \
                their address",
        set: |s, raw| {
            s.tls_server_name = raw.or_none(Raw::host)?;
            Ok(())
        },
        show: |s| or_none(s.tls_server_name.as_ref(), text),
    },
    file_key!(
        "auth.token_file",
        "token-file",
        "The file of tokens, one on each line, one of which clients and other nodes must \
                show",
        token_file
    ),
    file_key!(
        "auth.client_tokens",
        "client-tokens",
        "The file of tokens of clients, which may append, get, prove and watch",
        client_tokens
    ),
    file_key!(
        "auth.peer_tokens",
        "peer-tokens",
        "The file of tokens of other nodes, which may sync and gossip",
        peer_tokens
    ),
    file_key!(
        "auth.admin_tokens",
        "admin-tokens",
        "The file of tokens of administrators, which may do all and control the node",
        admin_tokens
    ),
    Key {
        name: "auth.peer_token_file",
        flag: "peer-token-file",
        placeholder: "FILE",
        kind: Kind::Path,
        reload: true,
        about: "The file whose first line is the token that this node shows to others",
        set: |s, raw| {
            s.peer_token_file = raw.or_none(Raw::path)?;
            Ok(())
        },
        show: |s| or_none(s.peer_token_file.as_deref(), path),
    },
    Key {
        name: "auth.clear_to_others",
        flag: "clear-to-others",
        placeholder: "BOOL",
        kind: Kind::Switch,
        reload: false,
        about: "Whether other machines are served without TLS, where others can read along",
        set: |s, raw| {
            s.clear_to_others = raw.switch()?;
            Ok(())
        },
        show: |s| s.clear_to_others.into(),
    },
    Key {
        name: "auth.token_in_clear",
        flag: "token-in-clear",
        placeholder: "BOOL",
        kind: Kind::Switch,
        reload: true,
        about: "Whether the token is shown to other machines without TLS, where others can \
                read along",
        set: |s, raw| {
            s.token_in_clear = raw.switch()?;
            Ok(())
        },
        show: |s| s.token_in_clear.into(),
    },
    Key {
        name: "server.connections_max",
        flag: "server-connections-max",
        placeholder: "N",
        kind: Kind::One,
        reload: false,
        about: "Connections at the same time; others wait",
        set: |s, raw| {
            s.connections_max = small(raw.count(1..=CONNECTIONS_MAX)?);
            Ok(())
        },
        show: |s| s.connections_max.into(),
    },
    Key {
        name: "server.connections_per_address_max",
        flag: "server-connections-per-address-max",
        placeholder: "N",
        kind: Kind::One,
        reload: false,
        about: "Connections at the same time from one address; others are refused",
        set: |s, raw| {
            s.connections_per_address_max = small(raw.count(1..=CONNECTIONS_MAX)?);
            Ok(())
        },
        show: |s| s.connections_per_address_max.into(),
    },
    Key {
        name: "cluster.join",
        flag: "join",
        placeholder: "PEERS",
        kind: Kind::List,
        reload: false,
        about: "Members of the cluster; any one that answers tells of the others",
        set: |s, raw| {
            s.join = raw.peers()?;
            Ok(())
        },
        show: |s| list(&s.join),
    },
    Key {
        name: "cluster.peers",
        flag: "peers",
        placeholder: "PEERS",
        kind: Kind::List,
        reload: true,
        about: "Peers that are synced with although they don't gossip",
        set: |s, raw| {
            s.peers = raw.peers()?;
            Ok(())
        },
        show: |s| list(&s.peers),
    },
    Key {
        name: "cluster.gossip",
        flag: "gossip",
        placeholder: "BOOL",
        kind: Kind::Switch,
        reload: false,
        about: "Whether to take part in gossip",
        set: |s, raw| {
            s.gossip = raw.switch()?;
            Ok(())
        },
        show: |s| s.gossip.into(),
    },
    Key {
        name: "cluster.open_membership",
        flag: "open-membership",
        placeholder: "BOOL",
        kind: Kind::Switch,
        reload: false,
        about: "Serve other machines with neither a secret nor client certificates: anybody who \
                reaches the node can become a member",
        set: |s, raw| {
            s.open_membership = raw.switch()?;
            Ok(())
        },
        show: |s| s.open_membership.into(),
    },
    Key {
        name: "sync.interval",
        flag: "sync-interval",
        placeholder: "TIME",
        kind: Kind::One,
        reload: true,
        about: "How often a peer is met even if nothing says that it differs; up to a \
                quarter more or less by chance",
        set: |s, raw| {
            s.sync.interval = raw.time(SYNC_INTERVALS)?;
            Ok(())
        },
        show: |s| time(s.sync.interval),
    },
    Key {
        name: "sync.sessions_max",
        flag: "sync-sessions-max",
        placeholder: "N",
        kind: Kind::One,
        reload: true,
        about: "Sessions that this node runs at the same time",
        set: |s, raw| {
            s.sync.sessions_max = small(raw.count(1..=SESSIONS_MAX)?);
            Ok(())
        },
        show: |s| s.sync.sessions_max.into(),
    },
    Key {
        name: "sync.memory",
        flag: "sync-memory",
        placeholder: "SIZE",
        kind: Kind::One,
        reload: false,
        about: "Bytes of memory that all sessions which other nodes begin hold together",
        set: |s, raw| {
            s.sync_memory = raw.size(SYNC_MEMORY_MIN)?;
            Ok(())
        },
        show: |s| size(s.sync_memory),
    },
    Key {
        name: "sync.bytes_per_second",
        flag: "sync-bytes-per-second",
        placeholder: "SIZE",
        kind: Kind::One,
        reload: true,
        about: "Bytes a second that all sessions may move, both ways together; none for no \
                limit",
        set: |s, raw| {
            s.sync.bytes_per_second = raw.or_none(|raw| raw.size(SYNC_RATE_MIN))?;
            Ok(())
        },
        show: |s| or_none(s.sync.bytes_per_second, size),
    },
    Key {
        name: "sync.cpu_share",
        flag: "sync-cpu-share",
        placeholder: "SHARE",
        kind: Kind::One,
        reload: true,
        about: "The share of one core that sessions may take; 1 is no limit",
        set: |s, raw| {
            s.sync.cpu_share = raw.share()?;
            Ok(())
        },
        show: |s| s.sync.cpu_share.into(),
    },
    Key {
        name: "sync.pause_above",
        flag: "sync-pause-above",
        placeholder: "TIME",
        kind: Kind::One,
        reload: true,
        about: "Sync pauses while the 99th percentile of what appends of clients take is \
                above this; none for never",
        set: |s, raw| {
            s.sync.pause_above = raw.or_none(|raw| raw.time(PAUSE_TIMES))?;
            Ok(())
        },
        show: |s| or_none(s.sync.pause_above, time),
    },
    Key {
        name: "sync.windows",
        flag: "sync-windows",
        placeholder: "WINDOWS",
        kind: Kind::List,
        reload: true,
        about: "The parts of the day, UTC, in which sync may run, such as 22:00-06:00; \
                none for always",
        set: |s, raw| {
            s.sync.windows = raw.windows()?;
            Ok(())
        },
        show: |s| windows(&s.sync.windows),
    },
    Key {
        name: "scrub.enabled",
        flag: "scrub",
        placeholder: "BOOL",
        kind: Kind::Switch,
        reload: true,
        about: "Whether all bodies are checked against their ids in the background, again \
                and again",
        set: |s, raw| {
            s.scrub_enabled = raw.switch()?;
            Ok(())
        },
        show: |s| s.scrub_enabled.into(),
    },
    Key {
        name: "scrub.bytes_per_second",
        flag: "scrub-bytes-per-second",
        placeholder: "SIZE",
        kind: Kind::One,
        reload: true,
        about: "Bytes a second that this check reads",
        set: |s, raw| {
            s.scrub.bytes_per_second = raw.size(SCRUB_RATE_MIN)?;
            Ok(())
        },
        show: |s| size(s.scrub.bytes_per_second),
    },
    Key {
        name: "scrub.interval",
        flag: "scrub-interval",
        placeholder: "TIME",
        kind: Kind::One,
        reload: true,
        about: "The least time from the beginning of one pass to that of the next",
        set: |s, raw| {
            s.scrub.interval = raw.time(SCRUB_INTERVALS)?;
            Ok(())
        },
        show: |s| time(s.scrub.interval),
    },
    Key {
        name: "archive.url",
        flag: "archive",
        placeholder: "URL",
        kind: Kind::One,
        reload: false,
        about: "Where sealed segments and checkpoints are archived: s3://BUCKET/PREFIX or \
                file:///DIRECTORY",
        set: |s, raw| {
            s.archive_url = raw.or_none(Raw::archive)?;
            Ok(())
        },
        show: |s| or_none(s.archive_url.as_ref(), text),
    },
    Key {
        name: "archive.interval",
        flag: "archive-interval",
        placeholder: "TIME",
        kind: Kind::One,
        reload: false,
        about: "How often what is new is sent there",
        set: |s, raw| {
            s.archive_interval = raw.time(ARCHIVE_INTERVALS)?;
            Ok(())
        },
        show: |s| time(s.archive_interval),
    },
    Key {
        name: "archive.keep_segments",
        flag: "archive-keep-segments",
        placeholder: "N",
        kind: Kind::One,
        reload: false,
        about: "Archived segments are dropped from this machine but for the newest so \
                many; none drops none",
        set: |s, raw| {
            s.archive_keep_segments = raw.or_none(|raw| raw.count(0..=COUNT_MAX))?;
            Ok(())
        },
        show: |s| or_none(s.archive_keep_segments, Value::from),
    },
    Key {
        name: "disk.reserve",
        flag: "disk-reserve",
        placeholder: "SIZE",
        kind: Kind::One,
        reload: true,
        about: "Free bytes below which the node is not ready and takes no bodies from \
                peers; auto is 1G, or 5 % of the disk if that is less",
        set: |s, raw| {
            s.disk_reserve = raw.or_word(AUTO, |raw| raw.size(0))?;
            Ok(())
        },
        show: |s| s.disk_reserve.map_or_else(|| AUTO.into(), size),
    },
    Key {
        name: "log.format",
        flag: "log-format",
        placeholder: "FORMAT",
        kind: Kind::One,
        reload: false,
        about: "How lines of the log look: human or json",
        set: |s, raw| {
            s.log_format = raw.log_format()?;
            Ok(())
        },
        show: |s| s.log_format.name().into(),
    },
    Key {
        name: "log.level",
        flag: "log-level",
        placeholder: "LEVEL",
        kind: Kind::One,
        reload: true,
        about: "What is logged: off, error, warn, info, debug or trace",
        set: |s, raw| {
            s.log_level = raw.log_level()?;
            Ok(())
        },
        show: |s| s.log_level.name().into(),
    },
];

/// The known name that is most like one that is not known, if any is like it.
pub(super) fn nearest(name: &str) -> Option<&'static Key> {
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

fn text(value: impl fmt::Display) -> Value {
    Value::String(value.to_string())
}

fn path(path: &Path) -> Value {
    // Sources are texts, so that nothing is lost here.
    Value::String(path.to_string_lossy().into_owned())
}

fn time(time: Duration) -> Value {
    Value::String(quantity::duration_text(time))
}

fn size(size: u64) -> Value {
    Value::String(quantity::size_text(size))
}

fn list(items: &[impl fmt::Display]) -> Value {
    items.iter().map(text).collect()
}

fn windows(windows: &[Window]) -> Value {
    windows.iter().map(|window| quantity::window_text(*window)).collect()
}

fn or_none<T>(value: Option<T>, show: impl FnOnce(T) -> Value) -> Value {
    value.map_or_else(|| NONE.into(), show)
}

/// A count whose range is far below what any machine counts to.
fn small(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

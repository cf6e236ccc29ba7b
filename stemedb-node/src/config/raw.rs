//! A value as it was given, before it is known what it should be.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use ::config::ValueKind;
use serde_json::Value;
use stemedb_rpc::PeerAddress;

use super::{
    quantity,
    settings::{LogFormat, LogLevel},
};
use crate::options::Window;

/// What stands for no value, where there can be none.
pub(super) const NONE: &str = "none";
/// What stands for a value that the node finds by itself.
pub(super) const AUTO: &str = "auto";

/// A value as it was given: in a file with a type, elsewhere as text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Whole(i64),
    Number(f64),
    Switch(bool),
    List(Vec<String>),
    /// Nothing that any key takes.
    Other(&'static str),
}

/// What a key takes, for whoever gave it something else.
#[derive(Clone, Debug, PartialEq)]
pub enum Allowed {
    /// Yes or no.
    Switch,
    /// A time.
    Time {
        /// The least.
        min: Duration,
        /// The greatest.
        max: Duration,
    },
    /// A number of bytes.
    Size {
        /// The least.
        min: u64,
    },
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A part of one core.
    Share,
    /// An address to listen on.
    Socket,
    /// The address of a peer.
    Peer,
    /// Addresses of peers.
    Peers,
    /// Names of hosts.
    Hosts,
    /// The name of one host.
    Host,
    /// A path.
    Path,
    /// Where an archive is.
    Archive,
    /// How log lines look.
    LogFormat,
    /// What is logged.
    LogLevel,
    /// Parts of the day.
    Windows,
    /// One of these, or a word that stands for no value or one that is found.
    Or(Box<Self>, &'static str),
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("true or false"),
            Self::Time { min, max } => write!(
                f,
                "a time with its unit, such as 500ms, 30s, 5m, 1h or 7d, from {} to {}",
                quantity::duration_text(*min),
                quantity::duration_text(*max)
            ),
            Self::Size { min } => {
                f.write_str("a number of bytes, such as 512K, 10M or 2G (powers of 1024)")?;
                if *min > 0 {
                    write!(f, ", {} or more", quantity::size_text(*min))?;
                }
                Ok(())
            }
            Self::Count { min, max: u64::MAX } => write!(f, "a whole number, {min} or more"),
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Share => f.write_str("a number above 0 and up to 1, such as 0.25"),
            Self::Socket => {
                f.write_str("an IP address with a port, such as 127.0.0.1:7845 or [::]:7845")
            }
            Self::Peer => f.write_str(
                "HOST or HOST:PORT, perhaps after https:// or http://, an IPv6 address in brackets",
            ),
            Self::Peers => f.write_str(
                "a list of HOST or HOST:PORT, perhaps after https:// or http://, IPv6 addresses in \
                 brackets; or none",
            ),
            Self::Hosts => f.write_str("a list of host names, without ports; or none"),
            Self::Host => f.write_str("a host name"),
            Self::Path => f.write_str("a path"),
            Self::Archive => f.write_str(
                "s3://BUCKET, s3://BUCKET/PREFIX or file:///DIRECTORY, with neither user nor \
                 password in it",
            ),
            Self::LogFormat => f.write_str("human or json"),
            Self::LogLevel => f.write_str("off, error, warn, info, debug or trace"),
            Self::Windows => f.write_str(
                "a list of parts of the day in UTC, such as 22:00-06:00; or none, for always",
            ),
            Self::Or(allowed, word) => write!(f, "{allowed}; or {word}"),
        }
    }
}

impl Raw {
    /// A value of a file.
    pub(super) fn of_file(kind: ValueKind) -> Self {
        match kind {
            ValueKind::String(text) => Self::Text(text),
            ValueKind::I64(number) => Self::Whole(number),
            ValueKind::Float(number) => Self::Number(number),
            ValueKind::Boolean(switch) => Self::Switch(switch),
            ValueKind::Array(items) => {
                let texts = items.into_iter().map(|item| match item.kind {
                    ValueKind::String(text) => Some(text),
                    _ => None,
                });
                texts
                    .collect::<Option<_>>()
                    .map_or(Self::Other("a list of something else than texts"), Self::List)
            }
            ValueKind::Table(_) => Self::Other("a table"),
            _ => Self::Other("a number out of range"),
        }
    }

    /// A value as [`super::Effective`] shows it.
    pub(super) fn of_shown(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Bool(switch) => Self::Switch(switch),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Whole(whole),
                None => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Array(items) => {
                let text = |item: Value| item.as_str().map(str::to_owned);
                Self::List(items.into_iter().filter_map(text).collect())
            }
            Value::Null | Value::Object(_) => Self::Other("a table"),
        }
    }

    pub(super) fn switch(&self) -> Result<bool, Allowed> {
        match self {
            Self::Switch(switch) => Ok(*switch),
            Self::Text(text) => text.parse().map_err(|_| Allowed::Switch),
            _ => Err(Allowed::Switch),
        }
    }

    pub(super) fn time(&self, range: RangeInclusive<Duration>) -> Result<Duration, Allowed> {
        let allowed = || Allowed::Time { min: *range.start(), max: *range.end() };
        let time = self.text().and_then(quantity::duration);
        time.filter(|time| range.contains(time)).ok_or_else(allowed)
    }

    pub(super) fn size(&self, min: u64) -> Result<u64, Allowed> {
        let size = match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            Self::Text(text) => quantity::size(text),
            _ => None,
        };
        size.filter(|size| *size >= min).ok_or(Allowed::Size { min })
    }

    pub(super) fn count(&self, range: RangeInclusive<u64>) -> Result<u64, Allowed> {
        let allowed = || Allowed::Count { min: *range.start(), max: *range.end() };
        let count = match self {
            Self::Whole(number) => u64::try_from(*number).ok(),
            Self::Text(text) if !text.starts_with('+') => text.parse().ok(),
            _ => None,
        };
        count.filter(|count| range.contains(count)).ok_or_else(allowed)
    }

    #[expect(clippy::cast_precision_loss, reason = "of whole numbers 1 alone is taken")]
    pub(super) fn share(&self) -> Result<f64, Allowed> {
        let share = match self {
            Self::Number(number) => Some(*number),
            Self::Whole(number) => Some(*number as f64),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        };
        share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or(Allowed::Share)
    }

    pub(super) fn socket(&self) -> Result<SocketAddr, Allowed> {
        self.text().and_then(|text| text.parse().ok()).ok_or(Allowed::Socket)
    }

    pub(super) fn peer(&self) -> Result<PeerAddress, Allowed> {
        self.text().and_then(|text| text.parse().ok()).ok_or(Allowed::Peer)
    }

    /// The text of an address, whose port may be missing.
    pub(super) fn advertised(&self) -> Result<String, Allowed> {
        self.peer()?;
        self.text().map(str::to_owned).ok_or(Allowed::Peer)
    }

    pub(super) fn peers(&self) -> Result<Vec<PeerAddress>, Allowed> {
        self.list(|text| text.parse().ok()).ok_or(Allowed::Peers)
    }

    pub(super) fn hosts(&self) -> Result<Vec<String>, Allowed> {
        self.list(host).ok_or(Allowed::Hosts)
    }

    pub(super) fn host(&self) -> Result<String, Allowed> {
        self.text().and_then(host).ok_or(Allowed::Host)
    }

    pub(super) fn path(&self) -> Result<PathBuf, Allowed> {
        self.text().filter(|text| !text.is_empty()).map(PathBuf::from).ok_or(Allowed::Path)
    }

    pub(super) fn archive(&self) -> Result<String, Allowed> {
        let well_formed = |url: &&str| {
            let place = url
                .strip_prefix("s3://")
                .filter(|rest| !rest.starts_with('/'))
                .or_else(|| url.strip_prefix("file://").filter(|rest| rest.starts_with('/')));
            place.is_some_and(|place| {
                let bare = |c: char| !c.is_control() && !c.is_whitespace() && !"@?#".contains(c);
                !place.is_empty() && place.chars().all(bare)
            })
        };
        self.text().filter(well_formed).map(str::to_owned).ok_or(Allowed::Archive)
    }

    pub(super) fn log_format(&self) -> Result<LogFormat, Allowed> {
        let format =
            self.text().and_then(|text| LogFormat::ALL.into_iter().find(|f| f.name() == text));
        format.ok_or(Allowed::LogFormat)
    }

    pub(super) fn log_level(&self) -> Result<LogLevel, Allowed> {
        let level =
            self.text().and_then(|text| LogLevel::ALL.into_iter().find(|l| l.name() == text));
        level.ok_or(Allowed::LogLevel)
    }

    pub(super) fn windows(&self) -> Result<Vec<Window>, Allowed> {
        self.list(quantity::window).ok_or(Allowed::Windows)
    }

    /// What `read` makes of it, or nothing if it is the word for that.
    pub(super) fn or_none<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, Allowed>,
    ) -> Result<Option<T>, Allowed> {
        self.or_word(NONE, read)
    }

    /// What `read` makes of it, or nothing if it is this word.
    pub(super) fn or_word<T>(
        &self,
        word: &'static str,
        read: impl FnOnce(&Self) -> Result<T, Allowed>,
    ) -> Result<Option<T>, Allowed> {
        if self.text() == Some(word) {
            return Ok(None);
        }
        read(self).map(Some).map_err(|allowed| Allowed::Or(Box::new(allowed), word))
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list, or a text with commas between its items; none of them for the word for that.
    fn list<T>(&self, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        match self {
            Self::List(items) => items.iter().map(|item| read(item.trim())).collect(),
            Self::Text(text) if text == NONE => Some(Vec::new()),
            Self::Text(text) => text.split(',').map(|item| read(item.trim())).collect(),
            _ => None,
        }
    }
}

/// A host name as a certificate or a browser has it: no port, no path.
fn host(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
    (!text.is_empty() && text.len() <= 253 && text.chars().all(fits)).then(|| text.to_owned())
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Whoever writes a password into an address does not want to read it in a log.
            Self::Text(text) if text.contains("://") && text.contains('@') => {
                f.write_str("an address with a user or password in it")
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => number.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Switch(switch) => switch.fmt(f),
            Self::List(items) if items.iter().any(|item| item.contains('@')) => {
                f.write_str("a list with a user or password in it")
            }
            Self::List(items) => write!(f, "{items:?}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

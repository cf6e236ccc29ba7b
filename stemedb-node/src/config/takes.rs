//! Values that a key takes.

use std::{fmt, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

use serde_json::{Number, Value};
use stemedb_rpc::PeerAddress;

use super::units::{Size, Time};
use crate::options::Window;

/// Word for no value, where there can be none.
pub(super) const NONE: &str = "none";

/// Values that a key takes: of TOML's types, or as text.
#[derive(Debug)]
#[non_exhaustive]
pub enum Takes {
    /// True or false.
    Switch,
    /// A time in this range.
    Time(RangeInclusive<Duration>),
    /// A number of bytes, at least so many.
    Size(u64),
    /// A whole number in this range.
    Count(RangeInclusive<u64>),
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
    /// The path of a file or a directory.
    Path,
    /// Where an archive is.
    Archive,
    /// A placeholder for help, and the words that it stands for.
    OneOf(&'static str, &'static [&'static str]),
    /// Parts of the day.
    Windows,
}

impl Takes {
    /// Placeholder for a value in help.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Self::Switch => "BOOL",
            Self::Time(_) => "TIME",
            Self::Size(_) => "SIZE",
            Self::Count(_) => "N",
            Self::Share => "SHARE",
            Self::Socket => "ADDRESS",
            Self::Peer => "PEER",
            Self::Peers => "PEERS",
            Self::Hosts => "NAMES",
            Self::Host => "NAME",
            Self::Path => "FILE",
            Self::Archive => "URL",
            Self::OneOf(placeholder, _) => placeholder,
            Self::Windows => "WINDOWS",
        }
    }

    /// Whether it is a list, of which a flag adds an item each time that it is given.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Peers | Self::Hosts | Self::Windows)
    }

    /// The given value in the one form that settings are read from and shown in, if it is taken.
    pub(super) fn read(&self, given: &Value) -> Option<Value> {
        let text = given.as_str();
        match self {
            Self::Switch => given.as_bool().or_else(|| text?.parse().ok()).map(Value::from),
            Self::Time(range) => parsed(text?, |Time(time)| range.contains(time)),
            Self::Size(min) => {
                let size = given.as_u64().map(Size).or_else(|| text?.parse().ok());
                size.filter(|Size(size)| size >= min).map(|size| size.to_string().into())
            }
            Self::Count(range) => {
                let digits = || text.filter(|text| !text.starts_with('+'))?.parse().ok();
                let count = given.as_u64().or_else(digits);
                count.filter(|count| range.contains(count)).map(Value::from)
            }
            Self::Share => {
                let share = given.as_f64().or_else(|| text?.parse().ok());
                let share = share.filter(|share| *share > 0.0 && *share <= 1.0)?;
                Number::from_f64(share).map(Value::from)
            }
            Self::Socket => parsed(text?, |_: &SocketAddr| true),
            // As it was given: the port that is missing is that of another key.
            Self::Peer => text?.parse::<PeerAddress>().is_ok().then(|| given.clone()),
            Self::Peers => list(given, |text| parsed(text, |_: &PeerAddress| true)),
            Self::Hosts => list(given, |text| is_host(text).then(|| text.into())),
            Self::Host => is_host(text?).then(|| given.clone()),
            Self::Path => (!text?.is_empty()).then(|| given.clone()),
            Self::Archive => is_archive(text?).then(|| given.clone()),
            Self::OneOf(_, words) => words.contains(&text?).then(|| given.clone()),
            Self::Windows => list(given, |text| parsed(text, |_: &Window| true)),
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("true or false"),
            Self::Time(range) => write!(
                f,
                "a time with its unit, such as 500ms, 30s, 5m, 1h or 7d, from {} to {}",
                Time(*range.start()),
                Time(*range.end())
            ),
            Self::Size(min) => {
                f.write_str("a number of bytes, such as 512K, 10M or 2G (powers of 1024)")?;
                if *min > 0 { write!(f, ", {} or more", Size(*min)) } else { Ok(()) }
            }
            Self::Count(range) => {
                write!(f, "a whole number from {} to {}", range.start(), range.end())
            }
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
            Self::OneOf(_, words) => match words {
                [first @ .., last] => write!(f, "{} or {last}", first.join(", ")),
                [] => Ok(()),
            },
            Self::Windows => f.write_str(
                "a list of parts of the day in UTC, such as 22:00-06:00; or none, for always",
            ),
        }
    }
}

/// A text as its type writes it.
fn parsed<T: FromStr + fmt::Display>(text: &str, fits: impl Fn(&T) -> bool) -> Option<Value> {
    text.parse().ok().filter(fits).map(|value| value.to_string().into())
}

/// A list, or a text with commas between its items; none of them for the word for that.
fn list(given: &Value, read: impl Fn(&str) -> Option<Value>) -> Option<Value> {
    match given {
        Value::Array(items) => items.iter().map(|item| read(item.as_str()?.trim())).collect(),
        Value::String(text) if text == NONE => Some(Value::Array(Vec::new())),
        Value::String(text) => text.split(',').map(|item| read(item.trim())).collect(),
        _ => None,
    }
}

/// Whether a text is a host name as a certificate or a browser has it: no port, no path.
fn is_host(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*');
    !text.is_empty() && text.len() <= 253 && text.chars().all(fits)
}

fn is_archive(url: &str) -> bool {
    let bucket = url.strip_prefix("s3://").filter(|rest| !rest.starts_with('/'));
    let path = || url.strip_prefix("file://").filter(|rest| rest.starts_with('/'));
    let bare = |c: char| !c.is_control() && !c.is_whitespace() && !"@?#".contains(c);
    bucket.or_else(path).is_some_and(|place| !place.is_empty() && place.chars().all(bare))
}

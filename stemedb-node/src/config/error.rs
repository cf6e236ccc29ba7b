//! Errors of a configuration.

use std::{error::Error, fmt, io, net::SocketAddr, path::PathBuf};

use serde_json::Value;
use stemedb_rpc::{TlsError, token::TokenError};

use super::{
    Origin,
    key::Key,
    origin::{plain, plain_path},
};

/// Error of a configuration: all that is wrong with it, at least one thing.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file itself can't be read.
    #[error("{}: cannot read this configuration: {source}", plain_path(path))]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is not valid TOML.
    #[error("{origin}: not valid TOML: {}", plain(message.trim_end()))]
    Syntax {
        /// Where it is not.
        origin: Origin,
        /// The reason.
        message: String,
    },
    /// A key that is none.
    #[error("{origin}: there is no key {}{}", plain(name), Suggestion(*nearest))]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        name: String,
        /// The key that was probably meant.
        nearest: Option<&'static Key>,
    },
    /// A variable that is none.
    #[error("{origin}: there is no such variable{}", SuggestedVariable(*nearest))]
    UnknownVariable {
        /// The variable.
        origin: Origin,
        /// The key that was probably meant.
        nearest: Option<&'static Key>,
    },
    /// A section that has a value.
    #[error("{origin}: {name} is a section: write [{name}], and its keys below it")]
    Section {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        name: &'static str,
    },
    /// A value that the key does not take.
    #[error("{origin}: {} can't be {}: it takes {}", key.name, Given(given), key.allowed())]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static Key,
        /// The value.
        given: Value,
    },
    /// Settings that were checked and can't be used all the same: a fault of this program.
    #[error("internal error at {}:{}: {source}; please report it", file!(), line!())]
    Internal {
        /// The reason.
        #[from]
        source: serde_json::Error,
    },
    /// A variable that is no text.
    #[error("{origin}: its value is not UTF-8")]
    NotText {
        /// The variable.
        origin: Origin,
    },
    /// A key that is of no use without another one.
    #[error("{origin}: {} is of no use without {needs}", key.name)]
    Needs {
        /// Where the key was set.
        origin: Origin,
        /// The key.
        key: &'static Key,
        /// The other one.
        needs: &'static str,
    },
    /// The file that was found in a store's directory is for another store.
    #[error(
        "{origin}: this file was found in the directory of one store, and names another, {}: \
         choose that with --store or STEMEDB_STORE, or name this file with --config",
        plain_path(store)
    )]
    OtherStore {
        /// Where it says so.
        origin: Origin,
        /// The store that it names.
        store: PathBuf,
    },
    /// Others could read along.
    #[error(
        "{origin}: listening on {address} without TLS would let others read along: give tls.cert \
         and tls.key, listen on 127.0.0.1, or say with auth.allow_plaintext that clear text is \
         meant"
    )]
    Clear {
        /// Where the address was set.
        origin: Origin,
        /// The address.
        address: SocketAddr,
    },
    /// Clear text is asked for, and TLS too.
    #[error("{origin}: clear text is asked for, and tls.cert turns TLS on: leave one of them out")]
    ClearAndTls {
        /// Where clear text was asked for.
        origin: Origin,
    },
    /// Two services on one address.
    #[error("{origin}: http can't be {address}, which listen is already: choose another port")]
    SameAddress {
        /// Where the address of HTTP was set.
        origin: Origin,
        /// The address.
        address: SocketAddr,
    },
    /// Anybody could become a member.
    #[error(
        "{origin}: listening on {address} with neither a secret nor client certificates would let \
         anybody who reaches this node become a member of its cluster: give secret_file (of a \
         store made with a secret) or tls.client_ca, listen on 127.0.0.1, or say \
         with cluster.open_membership that this is meant"
    )]
    OpenMembership {
        /// Where the address was set.
        origin: Origin,
        /// The address.
        address: SocketAddr,
    },
    /// The port of the advertised address is unknown.
    #[error(
        "{origin}: advertise names no port, and listen takes any that is free: give advertise as \
         HOST:PORT, or listen a port"
    )]
    NoPort {
        /// Where the address was set.
        origin: Origin,
    },
    /// Members would be told an address that is none.
    #[error(
        "{origin}: other members can't reach this node at {address}, which stands for any address \
         of this machine: give advertise the one that they can reach"
    )]
    NoAddress {
        /// Where the address was set.
        origin: Origin,
        /// The address.
        address: SocketAddr,
    },
    /// A file that is named can't be read.
    #[error("{origin}: {}: cannot read {}: {source}", key.name, plain_path(path))]
    Read {
        /// Where it was named.
        origin: Origin,
        /// The key that names it.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file that is named holds no tokens.
    #[error("{origin}: {}: cannot use {}: {source}", key.name, plain_path(path))]
    Token {
        /// Where it was named.
        origin: Origin,
        /// The key that names it.
        key: &'static Key,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: TokenError,
    },
    /// The authorities that the system trusts can't be read.
    #[error("{origin}: {}: {source}", key.name)]
    SystemRoots {
        /// Where they were asked for.
        origin: Origin,
        /// The key that asks for them.
        key: &'static Key,
        /// The reason.
        source: TlsError,
    },
}

impl Problem {
    /// Name of the key whose file can't be used, if that is the problem.
    pub(super) fn file_key(&self) -> Option<&'static str> {
        match self {
            Self::Read { key, .. } | Self::Token { key, .. } | Self::SystemRoots { key, .. } => {
                Some(key.name)
            }
            _ => None,
        }
    }
}

impl ConfigError {
    /// An error, if anything is wrong.
    pub(super) fn of(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// Problems, all of them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Error for ConfigError {}

/// One problem on its line; more below a heading.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.problems.as_slice() {
            return problem.fmt(f);
        }
        write!(f, "{} things are wrong with the configuration", self.problems.len())?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// A value as an error repeats it.
struct Given<'a>(&'a Value);

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // A password in an address is not for a log.
            Value::String(text) if text.contains("://") && text.contains('@') => {
                f.write_str("an address with a user or password in it")
            }
            Value::String(text) => write!(f, "{text:?}"),
            Value::Array(items) => {
                let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
                match texts {
                    None => f.write_str("a list of something else than texts"),
                    Some(texts) if texts.iter().any(|text| text.contains('@')) => {
                        f.write_str("a list with a user or password in it")
                    }
                    Some(texts) => write!(f, "{texts:?}"),
                }
            }
            Value::Object(_) => f.write_str("a table"),
            Value::Null => f.write_str("no number"),
            value => value.fmt(f),
        }
    }
}

struct Suggestion(Option<&'static Key>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) if key.section().is_empty() => {
                write!(f, "; did you mean {}, which stands above all sections?", key.name)
            }
            Some(key) => write!(f, "; did you mean {} in [{}]?", key.field(), key.section()),
            None => Ok(()),
        }
    }
}

struct SuggestedVariable(Option<&'static Key>);

impl fmt::Display for SuggestedVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "; did you mean {}?", key.variable()),
            None => f.write_str("; it is STEMEDB_, the section, two underscores, and the key"),
        }
    }
}

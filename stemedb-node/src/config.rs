//! What a node is told from outside: a file, over it variables of the environment, over both the
//! flags of the command.
//!
//! Pure but for [`Config::options`], which asks its caller for the files that are named. One table,
//! [`KEYS`], says what keys there are; a key is written in three ways:
//!
//! | file | variable | flag |
//! |---|---|---|
//! | `interval = "30s"` in `[sync]` | `STEMEDB_SYNC__INTERVAL=30s` | `--sync-interval 30s` |
//!
//! What is not known is an error, and so is a wrong value that something else overrides.

mod change;
mod error;
mod file;
mod key;
mod options;
mod origin;
mod quantity;
mod raw;
mod settings;
#[cfg(test)]
mod tests;
mod toml;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub use self::{
    change::{Change, Changes},
    error::{ConfigError, Problem},
    key::{KEYS, Key, Kind},
    origin::Origin,
    raw::Allowed,
    settings::{LogFormat, LogLevel},
};
use self::{
    key::{VARIABLE_PREFIX, nearest},
    raw::{NONE, Raw},
    settings::Settings,
};

/// The name of the file that is read from the store's directory where no other is named.
pub const FILE_NAME: &str = "stemedb.toml";

/// The variable that names a file.
pub const FILE_VARIABLE: &str = "STEMEDB_CONFIG";

/// The longest file, in bytes.
pub const FILE_LEN_MAX: u64 = 1 << 20;

/// Variables with the prefix that are no keys: the one above, and the token of client commands.
const OTHER_VARIABLES: [&str; 2] = [FILE_VARIABLE, "STEMEDB_TOKEN_FILE"];

/// Whatever a configuration is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The directory that relative paths in variables and flags start from; those in a file start
    /// from the directory of the file.
    pub dir: PathBuf,
    /// The file, if there is one.
    pub file: Option<SourceFile>,
    /// The environment: of its variables those count that begin with `STEMEDB_` and are not
    /// empty.
    pub variables: Vec<(OsString, OsString)>,
    /// Flags, by the names of their keys. One that is given several times is a list.
    pub flags: Vec<(&'static Key, String)>,
}

/// The text of a file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether nobody named it, but it was found in the store's directory.
    pub found: bool,
    /// What it says.
    pub text: String,
}

/// A configuration without anything wrong in it, as far as can be told without reading the files
/// that it names.
#[derive(Clone, Debug)]
pub struct Config {
    settings: Settings,
    /// Of each key, in the order of [`KEYS`].
    origins: Vec<Origin>,
}

/// What a key is set to.
#[derive(Clone, Debug)]
pub struct Effective<'a> {
    /// The key.
    pub key: &'static Key,
    /// Its value, of a type that TOML has too. `"none"` stands for no value.
    pub value: Value,
    /// Where it comes from.
    pub origin: &'a Origin,
}

impl Config {
    /// Puts sources together.
    ///
    /// # Errors
    ///
    /// If anything in them is wrong; all of it is said.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut loading = Loading::new(sources);
        if let Some(file) = &sources.file {
            loading.file(file);
        }
        loading.variables(&sources.variables);
        loading.flags(&sources.flags);
        let Loading { config, mut problems, .. } = loading;
        // What does not fit together is of no interest while parts of it are wrong.
        if problems.is_empty() {
            config.check(sources.file.as_ref(), &mut problems);
        }
        ConfigError::of(problems).map(|()| config)
    }

    /// The directory of the store.
    pub fn store(&self) -> &Path {
        &self.settings.store
    }

    /// The file with the store's secret.
    pub fn secret_file(&self) -> Option<&Path> {
        self.settings.secret_file.as_deref()
    }

    /// How lines of the log look.
    pub fn log_format(&self) -> LogFormat {
        self.settings.log_format
    }

    /// What is logged.
    pub fn log_level(&self) -> LogLevel {
        self.settings.log_level
    }

    /// All keys with their values and where those come from, in the order of [`KEYS`].
    pub fn effective(&self) -> impl Iterator<Item = Effective<'_>> {
        KEYS.iter().zip(&self.origins).map(|(key, origin)| Effective {
            key,
            value: (key.show)(&self.settings),
            origin,
        })
    }

    fn origin(&self, name: &str) -> Origin {
        let found = KEYS.iter().zip(&self.origins).find(|(key, _)| key.name == name);
        found.map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// What does not fit together.
    fn check(&self, file: Option<&SourceFile>, problems: &mut Vec<Problem>) {
        let settings = &self.settings;
        let has = [
            ("tls.cert", settings.tls_cert.is_some()),
            ("tls.key", settings.tls_key.is_some()),
            ("tls.client_ca", settings.tls_client_ca.is_some()),
            ("tls.ca", settings.tls_ca.is_some()),
            ("tls.server_name", settings.tls_server_name.is_some()),
        ];
        let is_set = |name| has.contains(&(name, true));
        for (name, needs) in [
            ("tls.cert", "tls.key"),
            ("tls.key", "tls.cert"),
            ("tls.client_ca", "tls.cert"),
            ("tls.server_name", "tls.ca"),
        ] {
            if is_set(name)
                && !is_set(needs)
                && let Some(key) = KEYS.iter().find(|key| key.name == name)
            {
                problems.push(Problem::Needs { origin: self.origin(name), key, needs });
            }
        }
        let address = settings.listen;
        let origin = self.origin("listen");
        if settings.clear_to_others && settings.tls_cert.is_some() {
            problems.push(Problem::ClearAndTls { origin: self.origin("auth.clear_to_others") });
        } else if settings.tls_cert.is_none()
            && !settings.clear_to_others
            && !address.ip().is_loopback()
        {
            problems.push(Problem::Clear { origin: origin.clone(), address });
        }
        if settings.http == Some(address) && address.port() != 0 {
            problems.push(Problem::SameAddress { origin: self.origin("http"), address });
        }
        if !address.ip().is_loopback()
            && settings.secret_file.is_none()
            && settings.tls_client_ca.is_none()
            && !settings.open_membership
        {
            problems.push(Problem::OpenMembership { origin: origin.clone(), address });
        }
        if settings.advertised().is_some_and(|address| address.is_err()) {
            problems.push(Problem::NoPort { origin: self.origin("advertise") });
        }
        if settings.gossip && settings.advertise.is_none() && address.ip().is_unspecified() {
            problems.push(Problem::NoAddress { origin, address });
        }
        let from_found_file = file
            .filter(|file| file.found)
            .filter(|_| matches!(self.origin("store"), Origin::File { .. }));
        if let Some(file) = from_found_file
            && file.path.parent() != Some(settings.store.as_path())
        {
            let store = settings.store.clone();
            problems.push(Problem::OtherStore { origin: self.origin("store"), store });
        }
    }
}

/// A configuration while it is put together.
struct Loading<'a> {
    dir: &'a Path,
    config: Config,
    problems: Vec<Problem>,
}

impl<'a> Loading<'a> {
    fn new(sources: &'a Sources) -> Self {
        let mut settings = Settings::default();
        settings.store = whole(&sources.dir, &settings.store);
        let origins = KEYS.iter().map(|_| Origin::Default).collect();
        Self { dir: &sources.dir, config: Config { settings, origins }, problems: Vec::new() }
    }

    fn file(&mut self, file: &SourceFile) {
        let parsed = match file::parse(&file.path, &file.text) {
            Ok(parsed) => parsed,
            Err(problem) => return self.problems.push(problem),
        };
        self.problems.extend(parsed.problems);
        let path = whole(self.dir, &file.path);
        let dir = path.parent().unwrap_or(self.dir);
        for (origin, name, raw) in parsed.values {
            if let Some(at) = KEYS.iter().position(|key| key.name == name) {
                self.set(at, raw, origin, dir);
            } else {
                let nearest = nearest(&name);
                self.problems.push(Problem::Unknown { origin, name, nearest });
            }
        }
    }

    fn variables(&mut self, variables: &[(OsString, OsString)]) {
        let mut variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
            .filter(|(name, value)| {
                let other = OTHER_VARIABLES.contains(&name.as_str());
                name.starts_with(VARIABLE_PREFIX) && !other && !is_of_kubernetes(name, value)
            })
            .collect();
        variables.sort();
        for (name, value) in variables {
            let origin = Origin::Variable { name: name.clone() };
            let Some(at) = KEYS.iter().position(|key| key.variable() == name) else {
                let meant = name.trim_start_matches(VARIABLE_PREFIX).to_ascii_lowercase();
                let nearest = nearest(&meant.replace("__", "."));
                self.problems.push(Problem::UnknownVariable { origin, nearest });
                continue;
            };
            match value.to_str() {
                // As whoever starts a process with `NAME=` means it.
                Some("") => {}
                Some(text) => self.set(at, Raw::Text(text.to_owned()), origin, self.dir),
                None => self.problems.push(Problem::NotText { origin }),
            }
        }
    }

    fn flags(&mut self, flags: &[(&'static Key, String)]) {
        for (at, key) in KEYS.iter().enumerate() {
            let mut given = flags.iter().filter(|(flag, _)| flag.name == key.name);
            let Some((_, first)) = given.next() else { continue };
            let text = given.fold(first.clone(), |all, (_, next)| format!("{all},{next}"));
            self.set(at, Raw::Text(text), Origin::Flag { name: key.flag }, self.dir);
        }
    }

    /// Sets the key at this place of [`KEYS`]; relative paths start from `dir`.
    fn set(&mut self, at: usize, raw: Raw, origin: Origin, dir: &Path) {
        let (Some(key), Some(place)) = (KEYS.get(at), self.config.origins.get_mut(at)) else {
            return;
        };
        let given = raw.to_string();
        let raw = match raw {
            Raw::Text(text) if key.kind == Kind::Path && !text.is_empty() && text != NONE => {
                Raw::Text(whole(dir, Path::new(&text)).to_string_lossy().into_owned())
            }
            raw => raw,
        };
        match (key.set)(&mut self.config.settings, &raw) {
            Ok(()) => *place = origin,
            Err(allowed) => self.problems.push(Problem::Value { origin, key, given, allowed }),
        }
    }
}

/// A path from the root on, without `.` in it.
fn whole(dir: &Path, path: &Path) -> PathBuf {
    dir.join(path).components().collect()
}

/// Whether a variable is one of those that Kubernetes gives every program for a service that is
/// called `stemedb` or `stemedb-...`.
fn is_of_kubernetes(name: &str, value: &OsString) -> bool {
    let is_port = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.split("_PORT_").skip(1).any(is_port)
        || name.ends_with("_PORT") && value.to_string_lossy().contains("://")
}

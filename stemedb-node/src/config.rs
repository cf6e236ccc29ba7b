//! Configuration of a node: a file, over it variables of the environment, over both the
//! flags of the command.
//!
//! Pure but for [`Config::options`], which asks its caller for the files that are named. One table,
//! [`KEYS`], says what keys there are; a key is written in three ways:
//!
//! | file | variable | flag |
//! |---|---|---|
//! | `interval = "30s"` in `[sync]` | `STEMEDB_SYNC__INTERVAL=30s` | `--sync-interval 30s` |
//!
//! Unknown keys are errors, and so is a wrong value that something else overrides.

mod change;
mod error;
mod file;
mod key;
mod options;
mod origin;
mod settings;
mod takes;
#[cfg(test)]
mod tests;
mod toml;
pub mod units;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use serde_json::{Map, Value};
use stemedb_rpc::PeerAddress;

pub use self::{
    change::{Change, Changes},
    error::{ConfigError, Problem},
    key::{KEYS, Key},
    origin::Origin,
    settings::{LogFormat, LogLevel},
    takes::Takes,
};
use self::{
    key::{VARIABLE_PREFIX, nearest},
    settings::Settings,
    takes::NONE,
};

/// The name of the file that is read from the store's directory where no other is named.
pub const FILE_NAME: &str = "stemedb.toml";

/// The variable that names a file.
pub const FILE_VARIABLE: &str = "STEMEDB_CONFIG";

/// The longest file, in bytes.
pub const FILE_LEN_MAX: u64 = 1 << 20;

/// Variables with the prefix that are no keys: the one above, and the token of client commands.
const OTHER_VARIABLES: [&str; 2] = [FILE_VARIABLE, "STEMEDB_TOKEN_FILE"];

/// Sources of a configuration.
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
    /// The text itself.
    pub text: String,
}

/// A configuration without anything wrong in it, as far as can be told without reading the files
/// that it names.
#[derive(Clone, Debug)]
pub struct Config {
    /// Values of all keys as they are shown, and where they come from, in the order of [`KEYS`].
    values: Vec<(Value, Origin)>,
    /// The same values, each of its type.
    settings: Settings,
}

/// Value of a key.
#[derive(Clone, Debug)]
pub struct Effective<'a> {
    /// The key.
    pub key: &'static Key,
    /// Its value, of a type that TOML has too. `"none"` stands for no value.
    pub value: &'a Value,
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
        let mut loading = Loading { dir: &sources.dir, values: Vec::new(), problems: Vec::new() };
        loading.defaults();
        if let Some(file) = &sources.file {
            loading.file(file);
        }
        loading.variables(&sources.variables);
        loading.flags(&sources.flags);
        loading.advertise();
        ConfigError::of(loading.problems)?;
        let config = Self::of(loading.values)?;
        // What does not fit together is of no interest while parts of it are wrong.
        ConfigError::of(config.conflicts(sources.file.as_ref()))?;
        Ok(config)
    }

    /// Gives values that were checked their types.
    fn of(values: Vec<(Value, Origin)>) -> Result<Self, Problem> {
        let mut sections = Map::new();
        for (key, (value, _)) in KEYS.iter().zip(&values) {
            let section = match key.section() {
                "" => &mut sections,
                name => match sections.entry(name).or_insert_with(|| Map::new().into()) {
                    Value::Object(section) => section,
                    _ => continue,
                },
            };
            if key.word.is_none_or(|word| value.as_str() != Some(word)) {
                section.insert(key.field().to_owned(), value.clone());
            }
        }
        let settings = Settings::deserialize(Value::Object(sections))?;
        Ok(Self { values, settings })
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
        self.settings.log.format
    }

    /// Level of the log.
    pub fn log_level(&self) -> LogLevel {
        self.settings.log.level
    }

    /// All keys with their values and where those come from, in the order of [`KEYS`].
    pub fn effective(&self) -> impl Iterator<Item = Effective<'_>> {
        KEYS.iter().zip(&self.values).map(|(key, (value, origin))| Effective { key, value, origin })
    }

    fn origin(&self, name: &str) -> Origin {
        let found = self.effective().find(|effective| effective.key.name == name);
        found.map_or(Origin::Default, |effective| effective.origin.clone())
    }

    /// Settings that do not fit together.
    fn conflicts(&self, file: Option<&SourceFile>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Settings { tls, auth, .. } = &self.settings;
        let settings = &self.settings;
        for (name, is_set, needs, is_there) in [
            ("tls.cert", tls.cert.is_some(), "tls.key", tls.key.is_some()),
            ("tls.key", tls.key.is_some(), "tls.cert", tls.cert.is_some()),
            ("tls.client_ca", tls.client_ca.is_some(), "tls.cert", tls.cert.is_some()),
            (
                "tls.server_name",
                tls.server_name.is_some(),
                "tls.ca",
                tls.ca.is_some() || tls.system_roots,
            ),
        ] {
            if is_set
                && !is_there
                && let Some(key) = Key::find(name)
            {
                problems.push(Problem::Needs { origin: self.origin(name), key, needs });
            }
        }
        let address = settings.listen;
        let origin = self.origin("listen");
        if auth.allow_plaintext && tls.cert.is_some() {
            problems.push(Problem::ClearAndTls { origin: self.origin("auth.allow_plaintext") });
        } else if tls.cert.is_none() && !auth.allow_plaintext && !address.ip().is_loopback() {
            problems.push(Problem::Clear { origin: origin.clone(), address });
        }
        if settings.http == Some(address) && address.port() != 0 {
            problems.push(Problem::SameAddress { origin: self.origin("http"), address });
        }
        if !address.ip().is_loopback()
            && settings.secret_file.is_none()
            && tls.client_ca.is_none()
            && !settings.cluster.open_membership
        {
            problems.push(Problem::OpenMembership { origin: origin.clone(), address });
        }
        if settings.cluster.gossip && settings.advertise.is_none() && address.ip().is_unspecified()
        {
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
        problems
    }
}

/// A configuration while it is put together.
struct Loading<'a> {
    dir: &'a Path,
    values: Vec<(Value, Origin)>,
    problems: Vec<Problem>,
}

impl Loading<'_> {
    fn defaults(&mut self) {
        for key in &KEYS {
            self.values.push((Value::Null, Origin::Default));
            self.set(key.name, key.default.into(), Origin::Default, self.dir);
        }
    }

    fn file(&mut self, file: &SourceFile) {
        let parsed = match file::parse(&file.path, &file.text) {
            Ok(parsed) => parsed,
            Err(problem) => return self.problems.push(problem),
        };
        self.problems.extend(parsed.problems);
        let path = whole(self.dir, &file.path);
        let dir = path.parent().unwrap_or(self.dir);
        for (origin, name, value) in parsed.values {
            if Key::find(&name).is_some() {
                self.set(&name, value, origin, dir);
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
            let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
                let meant = name.trim_start_matches(VARIABLE_PREFIX).to_ascii_lowercase();
                let nearest = nearest(&meant.replace("__", "."));
                self.problems.push(Problem::UnknownVariable { origin, nearest });
                continue;
            };
            match value.to_str() {
                // As `NAME=` before a command means it.
                Some("") => {}
                Some(text) => self.set(key.name, text.into(), origin, self.dir),
                None => self.problems.push(Problem::NotText { origin }),
            }
        }
    }

    fn flags(&mut self, flags: &[(&'static Key, String)]) {
        for key in &KEYS {
            let given = flags.iter().filter(|(flag, _)| flag.name == key.name);
            let texts: Vec<&str> = given.map(|(_, text)| text.as_str()).collect();
            if !texts.is_empty() {
                let origin = Origin::Flag { name: key.flag };
                self.set(key.name, texts.join(",").into(), origin, self.dir);
            }
        }
    }

    /// Sets the key of this name; a relative path starts from `dir`.
    fn set(&mut self, name: &str, given: Value, origin: Origin, dir: &Path) {
        let (Some(key), Some(place)) = (Key::find(name), self.value(name)) else { return };
        match key.read(&given) {
            Some(Value::String(text)) if matches!(key.takes, Takes::Path) && text != NONE => {
                let path = whole(dir, Path::new(&text));
                *place = (path.to_string_lossy().into(), origin);
            }
            Some(value) => *place = (value, origin),
            None => self.problems.push(Problem::Value { origin, key, given }),
        }
    }

    /// Gives an advertised address without a port that of `listen`: nothing else answers there.
    fn advertise(&mut self) {
        let listen = self.value("listen").and_then(|(value, _)| value.as_str()?.parse().ok());
        let port = listen.map(|listen: SocketAddr| listen.port());
        let (Some(port), Some((value, origin))) = (port, self.value("advertise")) else { return };
        let Some(text) = value.as_str().filter(|text| *text != NONE) else { return };
        if let Ok(address) = PeerAddress::with_default_port(text, port) {
            *value = address.to_string().into();
        } else {
            let origin = origin.clone();
            self.problems.push(Problem::NoPort { origin });
        }
    }

    fn value(&mut self, name: &str) -> Option<&mut (Value, Origin)> {
        let mut values = KEYS.iter().zip(&mut self.values);
        values.find(|(key, _)| key.name == name).map(|(_, value)| value)
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

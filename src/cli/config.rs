//! `stemedb config`: what a node is told, and by whom.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::Value;
use stemedb::node::Options;
use stemedb::node::config::{
    Config, ConfigError, Effective, FILE_LEN_MAX, FILE_NAME, Problem, SourceFile, Sources,
};

use super::failure::Failure;
use super::flags::Flags;
use super::{Globals, output, plain::plain, secret};

/// Show what a node would be told, and where each value comes from
///
/// Takes the flags of `stemedb node` and prints, as TOML, the configuration that a node with them
/// would have: what the file says, over that the environment, over both the flags. The output can
/// be used as a file. Passwords, keys and tokens are not in it, only the names of their files.
///
/// With --check the files that are named are read too, and the result is one line; exit code 2 if
/// anything is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb config                               What a node on this machine would do by itself
  stemedb config --join db.example.org > stemedb.toml
  stemedb config --check --config /etc/stemedb/stemedb.toml && systemctl reload stemedb
  STEMEDB_SYNC__INTERVAL=1m stemedb config     Section, two underscores, key

JSON: {file, settings}; file: the path, or null; settings: by the name of the key, {value, origin, \
reload}; reload: whether a running node takes on a change. With --check: {file, valid}")]
pub(super) struct Args {
    /// Only say whether all is right; read the certificates, tokens and the secret for that
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let loaded = Loaded::load(&args.flags, globals)?;
    if args.check { check(&loaded, globals.json) } else { show(&loaded, globals.json) }
}

/// A configuration with what it was made of.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Config,
    file: Option<PathBuf>,
}

impl Loaded {
    /// Reads the file and the environment, and puts them and the flags together.
    pub(super) fn load(flags: &Flags, globals: &Globals) -> Result<Self, Failure> {
        let dir = std::env::current_dir()
            .map_err(|source| Failure::System { action: "find the current directory", source })?;
        let file = source_file(flags, globals)?;
        let path = file.as_ref().map(|file| file.path.clone());
        let sources = Sources {
            dir,
            file,
            variables: std::env::vars_os().collect(),
            flags: flags.given.clone(),
        };
        Ok(Self { config: Config::load(&sources)?, file: path })
    }

    /// Reads the files that are named.
    pub(super) fn options(&self) -> Result<Options, Failure> {
        Ok(self.config.options(|path| std::fs::read(path))?)
    }
}

/// The file that is named, or the one in the store's directory if there is one.
fn source_file(flags: &Flags, globals: &Globals) -> Result<Option<SourceFile>, ConfigError> {
    let in_store = globals.store.join(FILE_NAME);
    let (path, found) = match &flags.file {
        Some(path) => (path.clone(), false),
        None => (in_store, true),
    };
    match read(&path) {
        Ok(text) => Ok(Some(SourceFile { path, found, text })),
        Err(error) if found && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Problem::File { path, source }.into()),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more, to see whether it is too long.
    File::open(path)?.take(FILE_LEN_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
        return Err(io::Error::other(format!("it is longer than {FILE_LEN_MAX} bytes")));
    }
    Ok(text)
}

fn show(loaded: &Loaded, as_json: bool) -> Result<(), Failure> {
    if !as_json {
        return output::raw(loaded.config.to_toml().as_bytes());
    }
    output::json(&Shown { file: file(loaded), settings: Settings(&loaded.config) })
}

#[derive(Serialize)]
struct Shown<'a> {
    file: Option<String>,
    settings: Settings<'a>,
}

/// All settings, in the order of the keys.
struct Settings<'a>(&'a Config);

impl Serialize for Settings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.effective().map(setting))
    }
}

/// A value as JSON has it.
#[derive(Serialize)]
struct Setting<'a> {
    value: &'a Value,
    origin: String,
    reload: bool,
}

fn setting(Effective { key, value, origin }: Effective<'_>) -> (&'static str, Setting<'_>) {
    (key.name, Setting { value, origin: origin.to_string(), reload: key.reload })
}

#[derive(Serialize)]
struct Checked {
    file: Option<String>,
    valid: bool,
}

fn check(loaded: &Loaded, as_json: bool) -> Result<(), Failure> {
    let options = loaded.options()?;
    loaded.config.secret_file().map(secret::read).transpose()?;
    options.check(loaded.config.secret_file().is_some())?;
    if as_json {
        return output::json(&Checked { file: file(loaded), valid: true });
    }
    let what = match &loaded.file {
        Some(path) => format!("{} is right\n", plain(&path.to_string_lossy())),
        None => "right; there is no file\n".to_owned(),
    };
    output::raw(what.as_bytes())
}

fn file(loaded: &Loaded) -> Option<String> {
    loaded.file.as_ref().map(|path| path.to_string_lossy().into_owned())
}

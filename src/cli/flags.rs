//! The flags of a node: one for each key of its configuration, made from the table of keys.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};
use stemedb::node::config::{FILE_NAME, FILE_VARIABLE, KEYS, Key, Takes};

/// Values of the flags of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    /// The file that is named, by flag or variable.
    pub(super) file: Option<PathBuf>,
    /// Keys that are given a value, as often as they are.
    pub(super) given: Vec<(&'static Key, String)>,
}

/// The id of the flag that names a file.
const FILE: &str = "config";

/// Keys whose flags all commands take.
const GLOBAL: [&str; 3] = ["store", "secret_file", "archive.url"];

/// Names that flags had before, by their keys.
const ALIASES: [(&str, &str); 2] = [("tls.ca", "ca"), ("tls.server_name", "server-name")];

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .env(FILE_VARIABLE)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!(
                "The configuration, as TOML. Without it, {FILE_NAME} in the store's directory is \
                 read if it is there"
            ));
        let keys = KEYS.iter().filter(|key| !GLOBAL.contains(&key.name)).map(arg);
        command.arg(file).args(keys)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given = Vec::new();
        for key in &KEYS {
            if GLOBAL.contains(&key.name) {
                // Its variable counts too, but less than a flag: that is for the configuration.
                let is_flag = matches.value_source(key.name) == Some(ValueSource::CommandLine);
                let text = match key.takes {
                    Takes::Path => {
                        let path = matches.get_one::<PathBuf>(key.name);
                        path.map(|path| path.to_string_lossy().into_owned())
                    }
                    _ => matches.get_one::<String>(key.name).cloned(),
                };
                given.extend(text.filter(|_| is_flag).map(|text| (key, text)));
            } else if let Some(values) = matches.get_many::<String>(key.name) {
                given.extend(values.map(|value| (key, value.clone())));
            }
        }
        Ok(Self { file: matches.get_one::<PathBuf>(FILE).cloned(), given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(key: &'static Key) -> Arg {
    let arg = Arg::new(key.name)
        .long(key.flag)
        .value_name(key.takes.placeholder())
        .help(help(key))
        .help_heading(heading(key.section()))
        .aliases(ALIASES.iter().filter(|(name, _)| *name == key.name).map(|(_, alias)| *alias));
    match &key.takes {
        Takes::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        takes if takes.is_list() => arg.action(ArgAction::Append),
        _ => arg,
    }
}

fn help(key: &Key) -> String {
    if key.default == "none" {
        return key.about.to_owned();
    }
    format!("{} [default: {}]", key.about, key.default)
}

fn heading(section: &str) -> &'static str {
    match section {
        "tls" => "TLS",
        "auth" => "Tokens and clear text",
        "server" => "Limits of the server",
        "cluster" => "The cluster",
        "sync" => "Sync",
        "scrub" => "Scrubbing",
        "archive" => "The archive",
        "disk" => "The disk",
        "log" => "Logging",
        _ => "Serving",
    }
}

//! Where a value comes from.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The default.
    Default,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line, from 1, where that could be told.
        line: Option<usize>,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: String,
    },
    /// A flag of the command.
    Flag {
        /// Its name, without the two dashes.
        name: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: None } => plain_path(path).fmt(f),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", plain_path(path)),
            Self::Variable { name } => write!(f, "environment {}", plain(name)),
            Self::Flag { name } => write!(f, "flag --{name}"),
        }
    }
}

/// A text without characters that a terminal obeys, or that end a line.
pub(super) fn plain(text: &str) -> String {
    let escape = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escape).collect()
}

/// A path without such characters.
pub(super) fn plain_path(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

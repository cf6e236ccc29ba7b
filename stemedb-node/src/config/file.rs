//! What a TOML file says, and on which lines.
//!
//! The `config` crate reads the TOML. It is not asked to put sources together: of a value it knows
//! the file, but neither the line nor the name of a variable, and it passes over variables that
//! are misspelt, where an operator wants to be told.

use std::{collections::BTreeMap, path::Path};

use ::config::{FileFormat, Format as _, Map, Value, ValueKind};

use super::{Origin, error::Problem, key::KEYS, raw::Raw};

/// A file that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    /// Names with their sections before them, and what stands there, in the order of lines.
    pub(super) values: Vec<(Origin, String, Raw)>,
    /// Sections that are given a value.
    pub(super) problems: Vec<Problem>,
}

/// Reads the text of a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Parsed, Problem> {
    // Editors of some systems put a mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table = FileFormat::Toml
        .parse(None, text)
        .map_err(|source| Problem::Syntax { path: path.to_path_buf(), source })?;
    let mut found = Found { lines: Lines::of(text), path, parsed: Parsed::new() };
    found.table("", table);
    let mut parsed = found.parsed;
    parsed.values.sort_by_key(|(origin, name, _)| match origin {
        Origin::File { line, .. } => (*line, name.clone()),
        _ => (None, name.clone()),
    });
    Ok(parsed)
}

impl Parsed {
    fn new() -> Self {
        Self { values: Vec::new(), problems: Vec::new() }
    }
}

struct Found<'a> {
    lines: Lines,
    path: &'a Path,
    parsed: Parsed,
}

impl Found<'_> {
    fn table(&mut self, within: &str, table: Map<String, Value>) {
        for (name, value) in table {
            let name = if within.is_empty() { name } else { format!("{within}.{name}") };
            let section = KEYS.iter().map(super::Key::section).find(|section| *section == name);
            let origin = Origin::File { path: self.path.into(), line: self.lines.of_name(&name) };
            match (value.kind, section) {
                (ValueKind::Table(table), known) if known.is_some() || !table.is_empty() => {
                    self.table(&name, table);
                }
                (_, Some(name)) => self.parsed.problems.push(Problem::Section { origin, name }),
                (kind, None) => self.parsed.values.push((origin, name, Raw::of_file(kind))),
            }
        }
    }
}

/// The lines on which keys stand.
///
/// Found by their looks, as the parser does not tell: right for files as people write them. A text
/// of several lines that itself looks like TOML can lead astray, and then a message names the
/// wrong line of the right file.
#[derive(Debug)]
struct Lines(BTreeMap<String, usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let mut lines = BTreeMap::new();
        let mut section = String::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_start();
            if let Some(rest) = line.strip_prefix('[') {
                let rest = rest.strip_prefix('[').unwrap_or(rest);
                if let Some(name) = rest.split_once(']').and_then(|(name, _)| dotted(name)) {
                    lines.entry(name.clone()).or_insert(number);
                    section = name;
                }
            } else if let Some(name) = line.split_once('=').and_then(|(name, _)| dotted(name)) {
                let whole = if section.is_empty() { name } else { format!("{section}.{name}") };
                lines.entry(whole).or_insert(number);
            }
        }
        Self(lines)
    }

    /// The line of a key, or else of the table around it.
    fn of_name(&self, name: &str) -> Option<usize> {
        let mut name = name;
        loop {
            if let Some(line) = self.0.get(name) {
                return Some(*line);
            }
            (name, _) = name.rsplit_once('.')?;
        }
    }
}

/// A key as it is written, without quotes and spaces.
fn dotted(text: &str) -> Option<String> {
    let parts = text.split('.').map(|part| {
        let part = part.trim();
        let bare = part.trim_matches(['"', '\'']);
        let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        (!bare.is_empty() && bare.chars().all(fits)).then(|| bare.to_owned())
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_with_their_lines() {
        let text = "\u{feff}# A comment = none\nlisten = \"a\"\n\n[sync] # so\n  interval = '30s'\n\
                    windows = [\n  \"a = b\",\n]\n[\"scrub\"]\n'enabled' = true\n\
                    log = { level = 1 }\n";
        let parsed = parse(Path::new("f"), text).unwrap();
        let found: Vec<(Option<usize>, &str)> = parsed
            .values
            .iter()
            .map(|(origin, name, _)| match origin {
                Origin::File { line, .. } => (*line, name.as_str()),
                _ => panic!("{origin}"),
            })
            .collect();
        let expected = [
            (Some(2), "listen"),
            (Some(5), "sync.interval"),
            (Some(6), "sync.windows"),
            (Some(10), "scrub.enabled"),
            (Some(11), "scrub.log.level"),
        ];
        assert_eq!(found, expected);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        for bad in ["a = ", "a = 1\na = 2", "= 1", "[a\n", "a = 99999999999999999999", "\0"] {
            let Err(problem) = parse(Path::new("a.toml"), bad) else { panic!("{bad:?}") };
            assert!(problem.to_string().starts_with("a.toml: this is no TOML: "), "{problem}");
        }
        let twice = parse(Path::new("a.toml"), "a = 1\na = 2").unwrap_err();
        assert!(twice.to_string().contains("line 2"), "{twice}");
    }

    #[test]
    fn a_section_is_no_value() {
        let parsed = parse(Path::new("f"), "sync = 5\n[snyc]\n").unwrap();
        let [problem] = parsed.problems.as_slice() else { panic!("{parsed:?}") };
        let said = "f:1: sync is a section: write [sync], and its keys below it";
        assert_eq!(problem.to_string(), said);
        assert_eq!(parsed.values.len(), 1, "an empty table that is no section is an unknown key");
    }
}

//! Values of a TOML file, with the lines that they stand on.

use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    Origin,
    error::Problem,
    key::{KEYS, Key},
};

/// Content of a file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Names with their sections before them, and their values, in the order of lines.
    pub(super) values: Vec<(Origin, String, Value)>,
    /// Sections that are given a value.
    pub(super) problems: Vec<Problem>,
}

/// Reads the text of a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Parsed, Problem> {
    // Editors of some systems put a mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|source| file.syntax(&source))?;
    let (mut found, mut parsed) = (Vec::new(), Parsed::default());
    leaves("", table.into_inner(), &mut found);
    found.sort_by_key(|(at, ..)| *at);
    for (at, name, value) in found {
        let origin = file.origin(at);
        if let Some(name) = section(&name) {
            parsed.problems.push(Problem::Section { origin, name });
        } else {
            let value = Value::deserialize(ValueDeserializer::from(value));
            parsed.values.push((origin, name, value.map_err(|source| file.syntax(&source))?));
        }
    }
    Ok(parsed)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.bytes().take(at);
        let line = before.filter(|byte| *byte == b'\n').count() + 1;
        Origin::File { path: self.path.into(), line: Some(line) }
    }

    fn syntax(&self, error: &toml::de::Error) -> Problem {
        let origin = match error.span() {
            Some(span) => self.origin(span.start),
            None => Origin::File { path: self.path.into(), line: None },
        };
        Problem::Syntax { origin, message: error.message().to_owned() }
    }
}

/// The section of this name.
fn section(name: &str) -> Option<&'static str> {
    KEYS.iter().map(Key::section).find(|section| !section.is_empty() && *section == name)
}

type Leaf<'a> = (usize, String, Spanned<DeValue<'a>>);

/// Finds all that is no section, with the place of its name.
fn leaves<'a>(within: &str, table: DeTable<'a>, found: &mut Vec<Leaf<'a>>) {
    for (name, value) in table {
        let at = name.span().start;
        let name = name.into_inner();
        let name = if within.is_empty() { name.into_owned() } else { format!("{within}.{name}") };
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) if section(&name).is_some() || !table.is_empty() => {
                leaves(&name, table, found);
            }
            value => found.push((at, name, Spanned::new(span, value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_with_their_lines() {
        let text = "\u{feff}# A comment = none\nlisten = \"a\"\n\n[sync] # so\n  interval = '30s'\n\
                    windows = [\n  \"a = b\",\n]\n[\"scrub\"]\n'enabled' = true\n\
                    log = { level = 1 }\nx = \"\"\"\nb = 1\n\"\"\"\nb = 2\n";
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
            (Some(12), "scrub.x"),
            (Some(15), "scrub.b"),
        ];
        assert_eq!(found, expected);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn a_syntax_error_is_reported_with_its_line() {
        for (bad, line) in [
            ("a = ", 1),
            ("a = 1\na = 2", 2),
            ("\n= 1", 2),
            ("[a\n", 1),
            ("\n\na = 99999999999999999999", 3),
            ("\0", 1),
        ] {
            let Err(problem) = parse(Path::new("a.toml"), bad) else { panic!("{bad:?}") };
            let said = format!("a.toml:{line}: not valid TOML: ");
            assert!(problem.to_string().starts_with(&said), "{problem}");
        }
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

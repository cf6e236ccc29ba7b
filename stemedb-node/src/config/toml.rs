//! A configuration as a file that gives the same one again.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Config, Effective, Origin};

/// Lines longer than this don't push the comments of all others away.
const COLUMN_MAX: usize = 44;

impl Config {
    /// All keys as TOML, behind each a comment that says where its value comes from.
    pub fn to_toml(&self) -> String {
        let lines: Vec<(&str, String, &Origin)> = self
            .effective()
            .map(|Effective { key, value, origin }| {
                (key.section(), format!("{} = {}", key.field(), literal(value)), origin)
            })
            .collect();
        let widths = lines.iter().map(|(_, line, _)| line.chars().count());
        let column = widths.filter(|width| *width <= COLUMN_MAX).max().unwrap_or(0);
        let mut text = String::new();
        let mut within = "";
        for (section, line, origin) in &lines {
            if *section != within {
                // Writing into a text can't fail.
                let _ = writeln!(text, "\n[{section}]");
                within = section;
            }
            let _ = writeln!(text, "{line:<column$}  # {origin}");
        }
        text
    }
}

/// A value as TOML writes it, on one line.
fn literal(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        // The escapes of JSON are all among those of TOML, which wants one more.
        Value::String(_) => value.to_string().replace('\x7f', "\\u007f"),
        value => value.to_string(),
    }
}

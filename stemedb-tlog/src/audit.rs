//! Reports of audits: a line of JSON for each finding, and one as summary.

use alloc::string::String;
use core::fmt::{self, Write};

use stemedb_merkle::{AssertionId, LogIndex, id::to_hex};

use crate::attestation::Audit;

/// Subject of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A body is not that of its id.
    Body,
    /// An entry is not what the tree has, or is there twice.
    Entry,
    /// A tile is not that of its entries.
    Tile,
    /// The set root is not that of the ids.
    Set,
    /// A signed head is not one of this log.
    Head,
    /// A receipt does not fit what is stored.
    Receipt,
    /// Times do not increase.
    Time,
    /// A file could not be read, or is not what it should be.
    File,
}

/// Finding of an audit. What does not apply is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// The subject.
    pub kind: FindingKind,
    /// The index of the entry.
    pub index: Option<LogIndex>,
    /// The id of the entry.
    pub id: Option<AssertionId>,
    /// The name of the file.
    pub file: Option<&'a str>,
    /// The byte of the file.
    pub offset: Option<u64>,
    /// What was expected.
    pub expected: Option<&'a str>,
    /// What was found.
    pub found: Option<&'a str>,
}

/// Report of an audit, as it grows: its hash is in the attestation.
#[derive(Clone, Debug, Default)]
pub struct Report {
    hasher: blake3::Hasher,
    findings: u64,
}

impl FindingKind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Entry => "entry",
            Self::Tile => "tile",
            Self::Set => "set",
            Self::Head => "head",
            Self::Receipt => "receipt",
            Self::Time => "time",
            Self::File => "file",
        }
    }
}

impl Report {
    /// The report without a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding, and gives its line, ended by a newline.
    pub fn line(&mut self, finding: &Finding<'_>) -> String {
        let line = finding.to_json() + "\n";
        self.hasher.update(line.as_bytes());
        self.findings = self.findings.saturating_add(1);
        line
    }

    /// Number of findings.
    pub const fn findings(&self) -> u64 {
        self.findings
    }

    /// BLAKE3 of the lines.
    pub fn hash(&self) -> [u8; 32] {
        self.hasher.finalize().into()
    }
}

impl Finding<'_> {
    /// The finding as JSON, all fields in one order.
    pub fn to_json(&self) -> String {
        let mut json = Object::new();
        json.text("what", Some(self.kind.as_str()));
        json.value("index", self.index);
        json.quoted("id", self.id);
        json.text("file", self.file);
        json.value("offset", self.offset);
        json.text("expected", self.expected);
        json.text("found", self.found);
        json.end()
    }
}

impl Audit {
    /// The last line of the report, without its end: the words of the attestation.
    pub fn to_json(&self) -> String {
        let mut json = Object::new();
        json.text("log", self.log.as_ref().map(crate::name::KeyName::as_str));
        json.value("size", Some(self.size));
        json.quoted("log-root", Some(self.log_root));
        json.quoted("set-root", Some(self.set_root));
        json.value("held", Some(self.held));
        json.value("erased", Some(self.erased));
        json.value("holes", Some(self.holes));
        json.quoted("depth", Some(self.depth));
        // As a text: it can pass what JSON numbers hold exactly.
        json.quoted("bytes", Some(self.bytes));
        json.value("findings", Some(self.findings));
        json.value("unread", Some(self.unread));
        json.value("time", Some(self.time));
        json.quoted("report", Some(to_hex(self.report)));
        json.end()
    }
}

/// An object of JSON as it grows. Writing to a string does not fail.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self(String::from("{"))
    }

    fn name(&mut self, name: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}\"{name}\":");
    }

    /// A number.
    fn value(&mut self, name: &str, value: Option<impl fmt::Display>) {
        self.name(name);
        let _ = match value {
            Some(value) => write!(self.0, "{value}"),
            None => write!(self.0, "null"),
        };
    }

    /// A text in which nothing is to be escaped.
    fn quoted(&mut self, name: &str, value: Option<impl fmt::Display>) {
        self.value(name, value.map(|value| alloc::format!("\"{value}\"")));
    }

    /// Any text.
    fn text(&mut self, name: &str, text: Option<&str>) {
        self.name(name);
        let Some(text) = text else {
            self.0.push_str("null");
            return;
        };
        self.0.push('"');
        for c in text.chars() {
            let _ = match c {
                '"' | '\\' => write!(self.0, "\\{c}"),
                // Beyond ASCII too, so that a terminal shows it and obeys nothing.
                c if c == ' ' || c.is_ascii_graphic() => write!(self.0, "{c}"),
                c => c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .try_for_each(|unit| write!(self.0, "\\u{unit:04x}")),
            };
        }
        self.0.push('"');
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

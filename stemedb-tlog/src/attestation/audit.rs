//! Audits of logs.

use alloc::string::String;
use core::fmt;

use stemedb_merkle::{LogSize, Root, id::to_hex};

use super::fields::{hash, lines, log, time};
use crate::{
    format::Format,
    lines::{Lines, number},
    malformed::Malformed,
    name::KeyName,
    note::UnverifiedNote,
    refused::Refused,
    vkey::VerifierKey,
};

/// The first line of an audit.
const FIRST_LINE: &str = "stemedb.dev/audit@v1";

/// Depth of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditDepth {
    /// Ids, times, all nodes of the history tree, the set root.
    Entries,
    /// Also every body against its id.
    Bodies,
}

/// Result of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The origin of the log, if it has one.
    pub log: Option<KeyName>,
    /// Number of entries that were audited.
    pub size: LogSize,
    /// The root of the history tree at that size.
    pub log_root: Root,
    /// The root of the set.
    pub set_root: Root,
    /// Number of entries whose bodies are held.
    pub held: u64,
    /// Number of those whose bodies are erased.
    pub erased: u64,
    /// Number of those whose bodies are lost. The three make up the size.
    pub holes: u64,
    /// The depth.
    pub depth: AuditDepth,
    /// Number of bytes that were read.
    pub bytes: u64,
    /// Number of findings.
    pub findings: u64,
    /// Number of things that could not be read.
    pub unread: u64,
    /// The time in POSIX seconds.
    pub time: u64,
    /// BLAKE3 of the lines of the report before its summary.
    pub report: [u8; 32],
}

/// An audit that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedAudit {
    note: UnverifiedNote,
    audit: Audit,
}

impl Audit {
    /// Whether held, erased and lost entries make up all of them.
    pub(crate) fn adds_up(&self) -> bool {
        let sum = [self.erased, self.holes].into_iter().try_fold(self.held, u64::checked_add);
        sum == Some(self.size.0)
    }

    /// The text to be signed by an auditor with [`Note::sign`](crate::note::Note::sign).
    pub fn text(&self) -> String {
        let log = self.log.as_ref();
        let log = log.map_or_else(String::new, |log| alloc::format!("log {}\n", log.as_str()));
        let Self { size, log_root, set_root, held, erased, holes, .. } = self;
        let Self { depth, bytes, findings, unread, time, report, .. } = self;
        let report = to_hex(report);
        alloc::format!(
            "{FIRST_LINE}\n{log}size {size}\nlog-root {log_root}\nset-root {set_root}\n\
             held {held}\nerased {erased}\nholes {holes}\ndepth {depth}\nbytes {bytes}\n\
             findings {findings}\nunread {unread}\ntime {time}\nreport {report}\n"
        )
    }

    fn parse(mut lines: Lines<'_>) -> Result<Self, Malformed> {
        let start = lines.place();
        let origin = lines.begin_with("log ").then(|| log(&mut lines)).transpose()?;
        let count = |lines: &mut Lines<'_>, word| {
            lines.field(word, "expected the next number of an audit", number)
        };
        let size = LogSize(count(&mut lines, "size")?);
        let rule = "expected `log-root` or `set-root`, and 64 lowercase hex digits";
        let log_root = Root(hash(&mut lines, "log-root", rule)?);
        let set_root = Root(hash(&mut lines, "set-root", rule)?);
        let held = count(&mut lines, "held")?;
        let erased = count(&mut lines, "erased")?;
        let holes = count(&mut lines, "holes")?;
        let rule = "expected `depth`, and `entries` or `bodies`";
        let depth = lines.field("depth", rule, |depth| match depth {
            b"entries" => Some(AuditDepth::Entries),
            b"bodies" => Some(AuditDepth::Bodies),
            _ => None,
        })?;
        let bytes = count(&mut lines, "bytes")?;
        let findings = count(&mut lines, "findings")?;
        let unread = count(&mut lines, "unread")?;
        let time = time(&mut lines)?;
        let report = hash(&mut lines, "report", "expected `report` and 64 lowercase hex digits")?;
        lines.end()?;
        let audit = Self {
            log: origin,
            size,
            log_root,
            set_root,
            held,
            erased,
            holes,
            depth,
            bytes,
            findings,
            unread,
            time,
            report,
        };
        let rule = "held, erased and holes do not make up the size";
        let malformed = Malformed { format: Format::Attestation, place: start, rule };
        if audit.adds_up() { Ok(audit) } else { Err(malformed) }
    }
}

impl UnverifiedAudit {
    /// Reads an audit.
    ///
    /// # Errors
    ///
    /// If the body is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let note = UnverifiedNote::parse(body)?;
        let audit = Audit::parse(lines(&note, FIRST_LINE)?)?;
        Ok(Self { note, audit })
    }

    /// Verifies the audit against the keys of auditors, of type 0x01.
    ///
    /// # Errors
    ///
    /// If none of them has signed it, or a line of one of them does not verify.
    pub fn verify(self, auditors: &[VerifierKey]) -> Result<Audit, Refused> {
        self.note.verify(auditors)?;
        Ok(self.audit)
    }
}

impl fmt::Display for AuditDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entries => "entries",
            Self::Bodies => "bodies",
        })
    }
}

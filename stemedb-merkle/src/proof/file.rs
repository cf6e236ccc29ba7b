//! A membership proof as a file, extension `.stemedb-proof`.
//!
//! ASCII, in this order and nothing else, every line ended by one byte 0x0A:
//!
//! ```text
//! stemedb.dev/set-proof@v1
//! id <64 lowercase hex digits>
//! root <64 lowercase hex digits>
//! count <decimal without leading zeros, below 2^64>
//! <base64 of 32 bytes: one line a sibling, from the root down>
//! terminal empty | terminal <64 lowercase hex digits>
//! ```
//!
//! Each proof has one text: [`ProofFile::parse`] reads only what [`ProofFile::write`] makes.

use alloc::{string::String, vec::Vec};
use core::fmt::{self, Write};

use super::{
    base64,
    set_proof::{SetProof, Terminal},
};
use crate::{
    id::{AssertionId, Hash, Root, from_hex},
    internal::internal_error,
};

/// Largest size of a proof file that is read, in bytes: five times the longest that can verify.
pub const PROOF_FILE_LEN_MAX: usize = 64 * 1024;

const MAGIC: &str = "stemedb.dev/set-proof@v1";

/// A membership proof together with the root that its maker had in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// The proof.
    pub proof: SetProof,
    /// The set root that the file names. Compare it with one that you trust, and verify against
    /// that: never against this one.
    pub root: Root,
}

/// Reason why bytes are not a proof file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseProofError {
    /// Longer than any proof.
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// A line is missing.
    Missing {
        /// The line, counted from 1.
        line: usize,
        /// The line expected.
        expected: Line,
    },
    /// A line is not ended.
    Unended {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line of another form.
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// The line expected.
        expected: Line,
    },
    /// Something follows the last line.
    Surplus {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The lines of a proof file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// Name and version of the format.
    Magic,
    /// The id.
    Id,
    /// The root.
    Root,
    /// The count.
    Count,
    /// A sibling, or the terminal.
    SiblingOrTerminal,
}

impl fmt::Display for ParseProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => write!(
                f,
                "the file has {len} bytes, and a proof file never more than {PROOF_FILE_LEN_MAX}"
            ),
            Self::Missing { line, expected } => {
                write!(f, "line {line} is missing: expected {expected}")
            }
            Self::Unended { line } => {
                write!(f, "line {line} does not end in a newline; the file may have been cut short")
            }
            Self::Malformed { line, expected } => write!(f, "line {line} is not {expected}"),
            Self::Surplus { line } => {
                write!(f, "line {line} follows the terminal, which must be the last line")
            }
        }
    }
}

impl core::error::Error for ParseProofError {}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "`stemedb.dev/set-proof@v1`",
            Self::Id => "`id` and 64 lowercase hex digits",
            Self::Root => "`root` and 64 lowercase hex digits",
            Self::Count => "`count` and a decimal number below 2^64 without leading zeros",
            Self::SiblingOrTerminal => {
                "a sibling in canonical base64, or `terminal` and `empty` or 64 lowercase hex \
                 digits"
            }
        })
    }
}

impl ProofFile {
    /// The text of the file: at most 12 KB for a proof that can verify.
    pub fn write(&self) -> String {
        let Self { proof: SetProof { id, count, siblings, terminal }, root } = self;
        let mut text = String::with_capacity(300 + (base64::TEXT_LEN + 1) * siblings.len());
        let id = AssertionId(*id);
        // Writing to a string does not fail.
        let _ = write!(text, "{MAGIC}\nid {id}\nroot {root}\ncount {count}\n");
        for sibling in siblings {
            base64::encode(sibling, &mut text);
            text.push('\n');
        }
        let _ = match terminal {
            Terminal::Empty => writeln!(text, "terminal empty"),
            Terminal::Id(id) => writeln!(text, "terminal {}", AssertionId(*id)),
        };
        text
    }

    /// Reads the text that [`Self::write`] makes, and no other.
    ///
    /// A file that parses says nothing yet: more siblings than verify, or a terminal that belongs
    /// elsewhere, are for [`SetProof::verify`] to refuse.
    ///
    /// # Errors
    ///
    /// If the bytes are not a proof file: the line, and its form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseProofError> {
        if bytes.len() > PROOF_FILE_LEN_MAX {
            return Err(ParseProofError::TooLong { len: bytes.len() });
        }
        let mut lines = Lines { rest: bytes, line: 0 };
        lines.next(Line::Magic, |line| (line == MAGIC.as_bytes()).then_some(()))?;
        let id = lines.next(Line::Id, |line| hex(line.strip_prefix(b"id ")?))?;
        let root = lines.next(Line::Root, |line| hex(line.strip_prefix(b"root ")?))?;
        let count = lines.next(Line::Count, |line| decimal(line.strip_prefix(b"count ")?))?;
        let mut siblings = Vec::new();
        let terminal = loop {
            match lines.next(Line::SiblingOrTerminal, sibling_or_terminal)? {
                PathLine::Sibling(sibling) => siblings.push(sibling),
                PathLine::Terminal(terminal) => break terminal,
            }
        };
        if !lines.rest.is_empty() {
            return Err(ParseProofError::Surplus { line: lines.line + 1 });
        }
        Ok(Self { proof: SetProof { id, count, siblings, terminal }, root: Root(root) })
    }
}

/// The lines not read yet.
struct Lines<'a> {
    rest: &'a [u8],
    /// The last line read, counted from 1.
    line: usize,
}

impl<'a> Lines<'a> {
    fn next<T>(
        &mut self,
        expected: Line,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, ParseProofError> {
        self.line += 1;
        let line = self.line;
        if self.rest.is_empty() {
            return Err(ParseProofError::Missing { line, expected });
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(ParseProofError::Unended { line })?;
        let (ended, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        let text = ended.strip_suffix(b"\n").unwrap_or_else(|| internal_error("a newline"));
        read(text).ok_or(ParseProofError::Malformed { line, expected })
    }
}

/// A line of the path.
enum PathLine {
    Sibling(Hash),
    Terminal(Terminal),
}

fn sibling_or_terminal(line: &[u8]) -> Option<PathLine> {
    Some(match line.strip_prefix(b"terminal ") {
        None => PathLine::Sibling(base64::decode(line)?),
        Some(b"empty") => PathLine::Terminal(Terminal::Empty),
        Some(digits) => PathLine::Terminal(Terminal::Id(hex(digits)?)),
    })
}

fn hex(digits: &[u8]) -> Option<Hash> {
    from_hex(str::from_utf8(digits).ok()?).ok()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let canonical = digits.iter().all(u8::is_ascii_digit)
        && (digits == b"0" || digits.first().is_some_and(|digit| *digit != b'0'));
    // Parsing alone would let a plus sign pass.
    if canonical { str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;

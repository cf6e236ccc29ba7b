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
//! Each proof has one text: what parses is what [`ProofFile::write`] writes, byte for byte.

use core::fmt::Write;

use crate::{
    Hash,
    id::{from_hex, to_hex},
    proof::{SetProof, Terminal, base64},
};

/// Bytes above which no proof file is read: five times the longest that can verify.
pub const PROOF_FILE_LEN_MAX: usize = 64 * 1024;

const MAGIC: &str = "stemedb.dev/set-proof@v1";

/// A membership proof together with the root that its maker had in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// The proof.
    pub proof: SetProof,
    /// The set root that it is for, says the file. Compare it with one that you trust, and verify
    /// against that: never against this one.
    pub root: Hash,
}

/// Why bytes are no proof file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProofError {
    /// Longer than any proof.
    #[error("the file has {len} bytes, and a proof file never more than {PROOF_FILE_LEN_MAX}")]
    TooLong {
        /// The length in bytes.
        len: usize,
    },
    /// A line is missing.
    #[error("line {line} is missing: expected {expected}")]
    Missing {
        /// The line, counted from 1.
        line: usize,
        /// What belongs there.
        expected: Line,
    },
    /// A line is not ended.
    #[error("line {line} does not end in a newline; the file may have been cut short")]
    Unended {
        /// The line, counted from 1.
        line: usize,
    },
    /// A line is not what belongs there.
    #[error("line {line} is not {expected}")]
    Malformed {
        /// The line, counted from 1.
        line: usize,
        /// What belongs there.
        expected: Line,
    },
    /// Something follows the last line.
    #[error("line {line} follows the terminal, which must be the last line")]
    Surplus {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The lines of a proof file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// What the file is, and which version of it.
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

impl core::fmt::Display for Line {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
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
        // Writing to a string does not fail.
        let _ = write!(text, "{MAGIC}\nid {}\nroot {}\ncount {count}\n", to_hex(id), to_hex(root));
        for sibling in siblings {
            base64::encode(sibling, &mut text);
            text.push('\n');
        }
        text.push_str("terminal ");
        match terminal {
            Terminal::Empty => text.push_str("empty"),
            Terminal::Id(id) => text.push_str(&to_hex(id)),
        }
        text.push('\n');
        text
    }

    /// Reads what [`Self::write`] writes, and nothing else.
    ///
    /// A file that parses says nothing yet: more siblings than verify, or a terminal that belongs
    /// elsewhere, are for [`SetProof::verify`] to refuse.
    ///
    /// # Errors
    ///
    /// If the bytes are no proof file: which line, and what belongs there.
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
                Rung::Sibling(sibling) => siblings.push(sibling),
                Rung::Terminal(terminal) => break terminal,
            }
        };
        if !lines.rest.is_empty() {
            return Err(ParseProofError::Surplus { line: lines.line + 1 });
        }
        Ok(Self { proof: SetProof { id, count, siblings, terminal }, root })
    }
}

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
        let (text, rest) = end
            .and_then(|end| self.rest.split_at_checked(end))
            .ok_or(ParseProofError::Unended { line })?;
        self.rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        read(text).ok_or(ParseProofError::Malformed { line, expected })
    }
}

enum Rung {
    Sibling(Hash),
    Terminal(Terminal),
}

fn sibling_or_terminal(line: &[u8]) -> Option<Rung> {
    Some(match line.strip_prefix(b"terminal ") {
        None => Rung::Sibling(base64::decode(line)?),
        Some(b"empty") => Rung::Terminal(Terminal::Empty),
        Some(digits) => Rung::Terminal(Terminal::Id(hex(digits)?)),
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

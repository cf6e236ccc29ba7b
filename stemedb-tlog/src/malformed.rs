//! Errors of bytes that do not follow their format.

use core::fmt;

use crate::format::Format;

/// Place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The byte at which it begins, counted from 0.
    pub offset: usize,
}

impl Place {
    /// The first byte of a file.
    pub const START: Self = Self { line: 1, offset: 0 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, byte {}", self.line, self.offset)
    }
}

/// Error of bytes that do not follow their format, which is found without keys or hashing.
///
/// The command line exits with 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The format that was expected.
    pub format: Format,
    /// The place of the fault.
    pub place: Place,
    /// The rule that is broken, as a sentence.
    pub rule: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}: {}: {}", self.format, self.place, self.rule)
    }
}

impl core::error::Error for Malformed {}

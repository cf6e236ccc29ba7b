//! Hashes, sizes and times as people type them.

use std::time::Duration;

use stemedb::node::config::units::{ParseUnitError, Size, Time};
use stemedb::{AssertionId, Root, Store};
pub(super) use stemedb_merkle::id::to_hex;

use super::failure::Failure;

/// The digits of a whole id.
const ID_DIGITS: usize = 64;
/// The least digits of a prefix.
const PREFIX_DIGITS_MIN: usize = 8;

/// An id on the command line: whole, or the first digits of one that the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdArg {
    /// All 64 digits.
    Whole(AssertionId),
    /// 8 to 63 digits.
    Prefix(String),
}

/// Error of a text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseHashError {
    /// Upper case is no second way to write the same id.
    #[error("hex digits are written in lower case here")]
    UpperCase,
    /// Not a hex digit.
    #[error("only the hex digits 0-9 and a-f are allowed")]
    Digit,
    /// Too short for a prefix, or too long.
    #[error("an id has 64 hex digits, of which the first 8 or more are enough; this has {0}")]
    IdLength(usize),
    /// A whole id is not 64 digits.
    #[error("an id has 64 hex digits, all of which are needed here; this has {0}")]
    WholeIdLength(usize),
    /// A root is not 64 digits.
    #[error("a root has 64 hex digits; this has {0}")]
    RootLength(usize),
}

impl IdArg {
    /// Reads an id or the beginning of one.
    pub(super) fn parse(text: &str) -> Result<Self, ParseHashError> {
        hex(text)?;
        match text.len() {
            ID_DIGITS => text.parse().map(Self::Whole).map_err(|_| ParseHashError::Digit),
            PREFIX_DIGITS_MIN..ID_DIGITS => Ok(Self::Prefix(text.to_owned())),
            len => Err(ParseHashError::IdLength(len)),
        }
    }

    /// The whole id. A whole one need not be held; a prefix must be of exactly one that is.
    pub(super) fn resolve(&self, store: &Store) -> Result<AssertionId, Failure> {
        match self {
            Self::Whole(id) => Ok(*id),
            Self::Prefix(prefix) => Ok(store.resolve(prefix)?),
        }
    }
}

impl std::fmt::Display for IdArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(id) => id.fmt(f),
            Self::Prefix(prefix) => f.write_str(prefix),
        }
    }
}

/// Reads a whole id: 64 lowercase hex digits.
pub(super) fn whole_id(text: &str) -> Result<AssertionId, ParseHashError> {
    hex(text)?;
    text.parse().map_err(|_| ParseHashError::WholeIdLength(text.len()))
}

/// Reads a root: 64 lowercase hex digits.
pub(super) fn root(text: &str) -> Result<Root, ParseHashError> {
    hex(text)?;
    text.parse().map_err(|_| ParseHashError::RootLength(text.len()))
}

/// Reads a number of bytes, not 0.
pub(super) fn size(text: &str) -> Result<u64, ParseUnitError> {
    let Size(size) = text.parse()?;
    if size == 0 { Err(ParseUnitError::Zero) } else { Ok(size) }
}

/// Reads a time, not 0.
pub(super) fn time(text: &str) -> Result<Duration, ParseUnitError> {
    let Time(time) = text.parse()?;
    if time.is_zero() { Err(ParseUnitError::Zero) } else { Ok(time) }
}

fn hex(text: &str) -> Result<(), ParseHashError> {
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'a'..=b'f' => {}
            b'A'..=b'F' => return Err(ParseHashError::UpperCase),
            _ => return Err(ParseHashError::Digit),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_their_prefixes() {
        let whole = "0123456789abcdef".repeat(4);
        assert_eq!(IdArg::parse(&whole), Ok(IdArg::Whole(whole.parse().unwrap())));
        assert_eq!(IdArg::parse(&whole[..8]), Ok(IdArg::Prefix(whole[..8].to_owned())));
        assert_eq!(IdArg::parse(&whole[..63]), Ok(IdArg::Prefix(whole[..63].to_owned())));
        assert_eq!(IdArg::parse(&whole[..7]), Err(ParseHashError::IdLength(7)));
        assert_eq!(IdArg::parse(""), Err(ParseHashError::IdLength(0)));
        assert_eq!(IdArg::parse(&format!("{whole}0")), Err(ParseHashError::IdLength(65)));
        assert_eq!(IdArg::parse(&whole.to_uppercase()), Err(ParseHashError::UpperCase));
        assert_eq!(IdArg::parse("0123456g"), Err(ParseHashError::Digit));
        assert_eq!(root(&whole[..63]), Err(ParseHashError::RootLength(63)));
    }

    #[test]
    fn sizes_and_times_are_those_of_the_configuration_but_0() {
        assert_eq!(size("100M"), Ok(100 << 20));
        assert_eq!(size("0K"), Err(ParseUnitError::Zero));
        assert_eq!(size("M1"), Err(ParseUnitError::Size));
        assert_eq!(time("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(time("0s"), Err(ParseUnitError::Zero));
        assert_eq!(time("90"), Err(ParseUnitError::Time));
    }
}

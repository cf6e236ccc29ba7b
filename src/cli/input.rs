//! Hashes, sizes and times as people type them.

use std::num::ParseIntError;
use std::time::Duration;

use stemedb::node::config::units::{ParseUnitError, Size, Time};
use stemedb::rpc::Which;
use stemedb::{AssertionId, Root, StoreReader};
pub(super) use stemedb_merkle::id::to_hex;

use super::failure::Failure;

/// The digits of a whole id.
const ID_DIGITS: usize = 64;
/// The least digits of a prefix.
const PREFIX_DIGITS_MIN: usize = 4;
/// The longest body that a store can hold, in bytes.
pub(super) const BODY_LEN_MAX: u32 = (1 << 30) - 1;

/// An id on the command line: whole, or the first digits of one that the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdArg {
    /// All 64 digits.
    Whole(AssertionId),
    /// 4 to 63 digits, in lower case.
    Prefix(String),
}

/// Error of a text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseHashError {
    /// Not a hex digit.
    #[error("only the hex digits 0-9 and a-f are allowed")]
    Digit,
    /// Too short for a prefix, or too long.
    #[error("an id has 64 hex digits, of which the first 4 or more are enough; this has {0}")]
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
        let text = hex(text)?;
        match text.len() {
            ID_DIGITS => text.parse().map(Self::Whole).map_err(|_| ParseHashError::Digit),
            PREFIX_DIGITS_MIN..ID_DIGITS => Ok(Self::Prefix(text)),
            len => Err(ParseHashError::IdLength(len)),
        }
    }

    /// The whole id. A whole one need not be held; a prefix must be of exactly one that is.
    pub(super) fn resolve(&self, store: &StoreReader) -> Result<AssertionId, Failure> {
        match self {
            Self::Whole(id) => Ok(*id),
            Self::Prefix(prefix) => Ok(store.resolve(prefix)?),
        }
    }
}

impl From<&IdArg> for Which {
    fn from(id: &IdArg) -> Self {
        match id {
            IdArg::Whole(id) => Self::Id(*id),
            IdArg::Prefix(prefix) => Self::Prefix(prefix.clone()),
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

/// Reads a whole id: 64 hex digits.
pub(super) fn whole_id(text: &str) -> Result<AssertionId, ParseHashError> {
    let text = hex(text)?;
    text.parse().map_err(|_| ParseHashError::WholeIdLength(text.len()))
}

/// Reads a root: 64 hex digits.
pub(super) fn root(text: &str) -> Result<Root, ParseHashError> {
    let text = hex(text)?;
    text.parse().map_err(|_| ParseHashError::RootLength(text.len()))
}

/// Reads a number as tables show it, with its thousands apart or not.
pub(super) fn number(text: &str) -> Result<u64, ParseIntError> {
    let is_grouped = text.split(',').skip(1).all(|digits| digits.len() == 3);
    if is_grouped { text.replace(',', "").parse() } else { text.parse() }
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

/// Reads a time, which may be 0, also without a unit then.
pub(super) fn wait(text: &str) -> Result<Duration, ParseUnitError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let Time(time) = text.parse()?;
    Ok(time)
}

/// Hex digits in lower case, which is how they are written everywhere.
fn hex(text: &str) -> Result<String, ParseHashError> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ParseHashError::Digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_their_prefixes() {
        let whole = "0123456789abcdef".repeat(4);
        assert_eq!(IdArg::parse(&whole), Ok(IdArg::Whole(whole.parse().unwrap())));
        assert_eq!(IdArg::parse(&whole[..4]), Ok(IdArg::Prefix(whole[..4].to_owned())));
        assert_eq!(IdArg::parse(&whole[..63]), Ok(IdArg::Prefix(whole[..63].to_owned())));
        assert_eq!(IdArg::parse(&whole[..3]), Err(ParseHashError::IdLength(3)));
        assert_eq!(IdArg::parse(""), Err(ParseHashError::IdLength(0)));
        assert_eq!(IdArg::parse(&format!("{whole}0")), Err(ParseHashError::IdLength(65)));
        assert_eq!(IdArg::parse(&whole.to_uppercase()), IdArg::parse(&whole));
        assert_eq!(IdArg::parse("ABCD"), Ok(IdArg::Prefix("abcd".to_owned())));
        assert_eq!(IdArg::parse("0123456g"), Err(ParseHashError::Digit));
        assert_eq!(root(&whole[..63]), Err(ParseHashError::RootLength(63)));
    }

    #[test]
    fn numbers_are_read_as_they_are_shown() {
        assert_eq!(number("1234567"), Ok(1_234_567));
        assert_eq!(number("1,234,567"), Ok(1_234_567));
        for bad in ["", ",", "1,23", "1,2345", "-1", "1.5", "x"] {
            assert!(number(bad).is_err(), "{bad}");
        }
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

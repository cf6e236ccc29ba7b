//! Heads assertions: the root of the set of a log's first entries, logged by the log itself.
//!
//! ```text
//! stemedb.dev/heads@v1
//! log <origin>
//! upto <i>
//! set-root <64 lowercase hex digits>
//! ```
//!
//! Not signed themselves: the checkpoint covers them.

use alloc::string::String;

use stemedb_merkle::{AssertionId, LogSize, Root, hash::derive};

use crate::{
    format::Format,
    hex,
    limits::NOTE_LEN_MAX,
    lines::{Lines, number},
    malformed::{Malformed, Place},
    name::KeyName,
};

/// The first line of a heads assertion.
pub const FIRST_LINE: &str = "stemedb.dev/heads@v1";

/// Root of the set of the ids of a log's first entries, holes and erased ones included.
///
/// Each id is logged once, so the set has as many ids as there are entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The origin of the log.
    pub log: KeyName,
    /// Number of entries from the first, which is the count of the set.
    pub upto: LogSize,
    /// The root of the set.
    pub set_root: Root,
}

impl Heads {
    /// Reads a heads assertion.
    ///
    /// # Errors
    ///
    /// If the body is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        Self::parse_at(body, Place::START)
    }

    pub(crate) fn parse_at(body: &[u8], place: Place) -> Result<Self, Malformed> {
        let mut lines = Lines::new(body, place, Format::Heads);
        if body.len() > NOTE_LEN_MAX {
            return Err(lines.malformed("the body is longer than any heads assertion"));
        }
        lines.literal(FIRST_LINE, "expected `stemedb.dev/heads@v1`")?;
        let log = lines.field("log", "expected `log` and an origin", KeyName::from_bytes)?;
        let upto =
            lines.field("upto", "expected `upto` and a decimal number below 2^63", number)?;
        let rule = "expected `set-root` and 64 lowercase hex digits";
        let set_root = lines.field("set-root", rule, hex::decode)?;
        lines.end()?;
        Ok(Self { log, upto: LogSize(upto), set_root: Root(set_root) })
    }

    /// The body of the assertion.
    pub fn to_body(&self) -> String {
        let Self { log, upto, set_root } = self;
        alloc::format!("{FIRST_LINE}\nlog {}\nupto {upto}\nset-root {set_root}\n", log.as_str())
    }

    /// The id of the assertion, in a store with a secret or without.
    pub fn id(&self, secret: Option<&[u8]>) -> AssertionId {
        assertion_id(self.to_body().as_bytes(), secret)
    }
}

/// The id of a body, in a store with a secret or without.
pub(crate) fn assertion_id(body: &[u8], secret: Option<&[u8]>) -> AssertionId {
    let hash = match secret {
        None => blake3::hash(body),
        Some(secret) => blake3::keyed_hash(&derive("assertion id", secret), body),
    };
    AssertionId(*hash.as_bytes())
}

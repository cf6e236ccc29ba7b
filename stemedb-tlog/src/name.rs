//! Names of keys and logs.

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

use sha2::{Digest, Sha256};
use stemedb_merkle::id::to_hex;

use crate::{
    escaped::Escaped,
    format::Format,
    limits::NAME_LEN_MAX,
    malformed::{Malformed, Place},
};

/// Name of a key or a log: 1 to 255 bytes of UTF-8, without `+`, spaces and control characters.
///
/// The name of a log is its origin, which its keys have too. Printed escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn new(name: &str) -> Result<Self, Malformed> {
        Self::from_bytes(name.as_bytes()).ok_or(Malformed {
            format: Format::Name,
            place: Place::START,
            rule: "a name has 1 to 255 bytes of UTF-8, without `+`, spaces and control characters",
        })
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let name = str::from_utf8(bytes).ok()?;
        let fits = (1..=NAME_LEN_MAX).contains(&name.len());
        // White_Space and the category Cc.
        let clean = !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control());
        (fits && clean).then(|| Self(name.to_owned()))
    }

    /// The name as it is, not escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the name in hex, by which witnesses and fences file what they have of a log.
    pub fn sha256_hex(&self) -> String {
        to_hex(Sha256::digest(self.0.as_bytes()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0.as_bytes()).fmt(f)
    }
}

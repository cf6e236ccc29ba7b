//! Reasons of erasures.

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

use crate::{
    format::Format,
    malformed::{Malformed, Place},
};

/// Reason of an erasure: a lowercase letter, then up to 31 lowercase letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

impl Reason {
    /// The reasons that are defined. Others are allowed.
    pub const DEFINED: [&str; 5] = ["request", "legal", "secret", "retention", "other"];

    /// Reads a reason.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn new(reason: &str) -> Result<Self, Malformed> {
        Self::from_bytes(reason.as_bytes()).ok_or(Malformed {
            format: Format::Attestation,
            place: Place::START,
            rule: "a reason is a lowercase letter and up to 31 of these, digits and hyphens",
        })
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let reason = str::from_utf8(bytes).ok()?;
        let begins = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let follows =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        (begins && bytes.len() <= 32 && bytes.iter().all(follows)).then(|| Self(reason.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

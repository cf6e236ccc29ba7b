//! The two kinds of errors together.

use core::fmt;

use crate::{malformed::Malformed, refusal::Refusal, refused::Refused};

/// Error of reading and verifying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not parse.
    Malformed(Malformed),
    /// It parses and does not verify.
    Refused(Refused),
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

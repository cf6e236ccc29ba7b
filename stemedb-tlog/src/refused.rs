//! Errors of what parses and does not verify.

use core::fmt;

use crate::{malformed::Place, refusal::Refusal};

/// Error of what parses and does not verify: it proves nothing.
///
/// The command line exits with 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub refusal: Refusal,
    /// The place of the fault, if it has one.
    pub place: Option<Place>,
}

impl Refused {
    pub(crate) const fn at(refusal: Refusal, place: Place) -> Self {
        Self { refusal, place: Some(place) }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, place: None }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not verified: ")?;
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        self.refusal.fmt(f)
    }
}

impl core::error::Error for Refused {}

//! Error of a message.

/// A message that breaks a rule of the protocol files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Malformed {
    /// The field at fault.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl Malformed {
    pub(crate) const fn new(field: &'static str, rule: &'static str) -> Self {
        Self { field, rule }
    }

    pub(crate) const fn missing(field: &'static str) -> Self {
        Self { field, rule: "must be there" }
    }
}

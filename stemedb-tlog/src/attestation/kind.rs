//! Kinds of attestations.

use super::{
    audit::UnverifiedAudit, erasure::UnverifiedErasure, rotation::UnverifiedRotation,
    shred::UnverifiedShred,
};
use crate::heads::Heads;

/// Kind of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationKind {
    /// A body is erased.
    Erasure,
    /// A key of sealed bodies is destroyed.
    Shred,
    /// A log changes its key.
    KeyRotation,
    /// A log was audited.
    Audit,
}

impl AttestationKind {
    /// The kind of an attestation, by whomever it is signed; `None` of a body that is none.
    pub fn of(body: &[u8]) -> Option<Self> {
        // A look at the first line spares all other bodies the rest.
        let rest = body.strip_prefix(b"stemedb.dev/")?;
        if rest.starts_with(b"erasure@v1\n") {
            UnverifiedErasure::parse(body).ok().map(|_| Self::Erasure)
        } else if rest.starts_with(b"shred@v1\n") {
            UnverifiedShred::parse(body).ok().map(|_| Self::Shred)
        } else if rest.starts_with(b"key-rotation@v1\n") {
            UnverifiedRotation::parse(body).ok().map(|_| Self::KeyRotation)
        } else if rest.starts_with(b"audit@v1\n") {
            UnverifiedAudit::parse(body).ok().map(|_| Self::Audit)
        } else {
            None
        }
    }
}

/// Whether a body is never erased: an attestation, by whomever it is signed, or a heads assertion.
pub fn is_protected(body: &[u8]) -> bool {
    AttestationKind::of(body).is_some() || Heads::parse(body).is_ok()
}

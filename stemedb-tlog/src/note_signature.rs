//! Signatures that verify.

use alloc::{string::String, vec::Vec};

use crate::{key_type::KeyType, signature_line, vkey::VerifierKey};

/// Signature of a known key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    key: VerifierKey,
    time: Option<u64>,
    signature: Vec<u8>,
}

impl NoteSignature {
    pub(crate) const fn new(key: VerifierKey, time: Option<u64>, signature: Vec<u8>) -> Self {
        Self { key, time, signature }
    }

    /// The key.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The time in POSIX seconds that a cosignature has; none of type 0x01. An ML-DSA-44 signature
    /// of time 0 tells no time.
    pub const fn time(&self) -> Option<u64> {
        self.time
    }

    /// The time, if it is one that counts for a quorum.
    pub(crate) fn quorum_time(&self) -> Option<u64> {
        let cosigns = KeyType::WITNESS.contains(&self.key.key_type());
        self.time.filter(|time| cosigns && *time > 0)
    }

    /// What follows the key's id on the line.
    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The signature line, without its end.
    pub fn line(&self) -> String {
        signature_line::write(&self.key, &self.signature)
    }
}

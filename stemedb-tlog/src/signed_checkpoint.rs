//! Checkpoints as they are signed and cosigned.

use alloc::{boxed::Box, string::String, vec::Vec};

use stemedb_merkle::history::TreeHead;

use crate::{
    checkpoint::{Checkpoint, Extensions},
    cosignature,
    key_type::KeyType,
    malformed::{Malformed, Place},
    name::KeyName,
    note::{self, UnverifiedNote},
    note_signature::NoteSignature,
    refusal::Refusal,
    refused::Refused,
    signer::{SignError, Signer},
    vkey::VerifierKey,
};

/// A signed checkpoint that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedCheckpoint {
    note: UnverifiedNote,
    checkpoint: Checkpoint,
}

/// A checkpoint that its log has signed, with the signatures that were verified and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    log_signatures: Vec<NoteSignature>,
    cosignatures: Vec<NoteSignature>,
}

impl UnverifiedCheckpoint {
    /// Reads a signed checkpoint.
    ///
    /// # Errors
    ///
    /// If it is malformed, or has extension lines that are not allowed.
    pub fn parse(bytes: &[u8], extensions: Extensions) -> Result<Self, Malformed> {
        Self::parse_at(bytes, Place::START, extensions)
    }

    pub(crate) fn parse_at(
        bytes: &[u8],
        place: Place,
        extensions: Extensions,
    ) -> Result<Self, Malformed> {
        let note = UnverifiedNote::parse_at(bytes, place)?;
        let checkpoint = Checkpoint::parse(note.text(), note.place(), extensions)?;
        Ok(Self { note, checkpoint })
    }

    /// The origin that it claims, to choose the keys by.
    pub const fn unverified_origin(&self) -> &KeyName {
        self.checkpoint.origin()
    }

    /// Size and root that it claims.
    pub(crate) const fn unverified_head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// Checks the signatures of the log's keys, which are those of `logs` that have the origin as
    /// their name, and those of all witnesses. Lines of other keys are ignored and dropped.
    ///
    /// # Errors
    ///
    /// If no key has the origin, a line of a known key does not verify, or none of the log's keys
    /// has signed.
    pub fn verify(
        self,
        logs: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<SignedCheckpoint, Refused> {
        self.verify_keys(logs.iter(), witnesses.iter())
    }

    /// As [`Self::verify`].
    pub(crate) fn verify_keys<'k>(
        self,
        logs: impl Iterator<Item = &'k VerifierKey>,
        witnesses: impl Iterator<Item = &'k VerifierKey>,
    ) -> Result<SignedCheckpoint, Refused> {
        let Self { note, checkpoint } = self;
        let is_log = |key: &&VerifierKey| {
            key.name() == checkpoint.origin() && KeyType::LOG.contains(&key.key_type())
        };
        let logs: Vec<&VerifierKey> = logs.filter(is_log).collect();
        if logs.is_empty() {
            let origin = Box::new(checkpoint.origin().clone());
            return Err(Refusal::UnknownLog { origin }.into());
        }
        let witnesses: Vec<&VerifierKey> =
            witnesses.filter(|key| KeyType::WITNESS.contains(&key.key_type())).collect();
        let known = [&logs[..], &witnesses[..]].concat();
        let verified = note.verify_lines(&known, |key, signature| {
            cosignature::check(key, &checkpoint, signature)
        })?;
        let among = |keys: &[&VerifierKey]| -> Vec<NoteSignature> {
            verified.iter().filter(|signature| keys.contains(&signature.key())).cloned().collect()
        };
        let (log_signatures, cosignatures) = (among(&logs), among(&witnesses));
        if log_signatures.is_empty() {
            let none = cosignatures.is_empty();
            let refusal = if none { Refusal::NoKnownKey } else { Refusal::LogDidNotSign };
            return Err(refusal.into());
        }
        Ok(SignedCheckpoint { checkpoint, log_signatures, cosignatures })
    }
}

impl SignedCheckpoint {
    /// The checkpoint.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root.
    pub const fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// The signatures of the log's keys, at least one.
    pub fn log_signatures(&self) -> &[NoteSignature] {
        &self.log_signatures
    }

    /// The cosignatures of known witnesses.
    pub fn cosignatures(&self) -> &[NoteSignature] {
        &self.cosignatures
    }

    /// Adds cosignatures that witnesses gave for this checkpoint, in place of older ones of the
    /// same keys. Those for another checkpoint are left out.
    pub fn add_cosignatures(&mut self, cosignatures: Vec<NoteSignature>) {
        for new in cosignatures {
            let key = new.key();
            let checked = cosignature::check(key, &self.checkpoint, new.signature());
            if KeyType::WITNESS.contains(&key.key_type()) && checked == Ok(new.time()) {
                self.cosignatures.retain(|old| old.key() != key);
                self.cosignatures.push(new);
            }
        }
    }

    /// The note with all signatures that were verified.
    pub fn to_note(&self) -> String {
        // A key may be the log's and a witness's.
        let others = self.cosignatures.iter();
        let others =
            others.filter(|line| self.log_signatures.iter().all(|log| log.key() != line.key()));
        self.write(self.log_signatures.iter().chain(others))
    }

    /// The note with the log's own lines alone, as witnesses are sent it.
    pub fn to_log_note(&self) -> String {
        self.write(self.log_signatures.iter())
    }

    fn write<'a>(&self, signatures: impl Iterator<Item = &'a NoteSignature>) -> String {
        let mut text = self.checkpoint.text();
        text.push('\n');
        for signature in signatures {
            text.push_str(&signature.line());
            text.push('\n');
        }
        text
    }
}

impl Checkpoint {
    /// Signs the checkpoint by keys of its log, one of which has type 0x01, and writes the note.
    /// The time is that of ML-DSA-44 signatures.
    ///
    /// # Errors
    ///
    /// If a key has another name or type, none has type 0x01, two are the same, the size or the
    /// time is out of range, or a signer cannot sign.
    pub fn sign<S: Signer + ?Sized>(
        &self,
        signers: &[&S],
        time: u64,
    ) -> Result<String, SignError<S::Error>> {
        let is_log = |signer: &&S| {
            let key = signer.key();
            key.name() == self.origin() && KeyType::LOG.contains(&key.key_type())
        };
        let public = signers.iter().any(|signer| signer.key().key_type() == KeyType::Ed25519);
        if !public || !signers.iter().all(is_log) {
            return Err(SignError::WrongKey);
        }
        let lines: Result<Vec<String>, _> =
            signers.iter().map(|signer| cosignature::sign_line(self, *signer, time)).collect();
        let lines = lines?;
        note::write(&self.text(), lines.iter().map(String::as_str)).ok_or(SignError::WrongText)
    }
}

impl SignedCheckpoint {
    /// Cosigns the checkpoint as a witness, and writes the signature line, ended by a newline.
    ///
    /// # Errors
    ///
    /// If the key has a type that does not cosign, the time is out of range, or the signer cannot
    /// sign.
    pub fn cosign<S: Signer + ?Sized>(
        &self,
        signer: &S,
        time: u64,
    ) -> Result<String, SignError<S::Error>> {
        if !KeyType::WITNESS.contains(&signer.key().key_type()) {
            return Err(SignError::WrongKey);
        }
        let mut line = cosignature::sign_line(&self.checkpoint, signer, time)?;
        line.push('\n');
        Ok(line)
    }
}

//! Rotations of the keys of logs.

use alloc::string::String;

use super::fields::{lines, log, time};
use crate::{
    format::Format, key_type::KeyType, lines::Lines, malformed::Malformed, note::UnverifiedNote,
    refusal::Refusal, refused::Refused, vkey::VerifierKey,
};

/// The first line of a key rotation.
const FIRST_LINE: &str = "stemedb.dev/key-rotation@v1";

/// Rotation of the key of a log. The name of both keys is its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRotation {
    /// The key that is to be retired.
    pub old: VerifierKey,
    /// The key that takes its place.
    pub new: VerifierKey,
    /// The time in POSIX seconds.
    pub time: u64,
}

/// A rotation that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedRotation {
    note: UnverifiedNote,
    rotation: KeyRotation,
}

impl KeyRotation {
    /// The text to be signed by both keys with [`Note::sign`](crate::note::Note::sign).
    pub fn text(&self) -> String {
        let Self { old, new, time } = self;
        let log = old.name().as_str();
        alloc::format!("{FIRST_LINE}\nlog {log}\nold {old}\nnew {new}\ntime {time}\n")
    }
}

impl UnverifiedRotation {
    /// Reads a rotation.
    ///
    /// # Errors
    ///
    /// If the body is none: among others if a key is not of type 0x01, since no other signs it, is
    /// not one of the log, or both are the same.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let note = UnverifiedNote::parse(body)?;
        let mut lines = lines(&note, FIRST_LINE)?;
        let log = log(&mut lines)?;
        let wrong = Malformed {
            format: Format::Attestation,
            place: note.place(),
            rule: "the old and the new key are not two keys of the log",
        };
        let old = vkey(&mut lines, "old")?;
        let new = vkey(&mut lines, "new")?;
        let time = time(&mut lines)?;
        lines.end()?;
        if *old.name() != log || *new.name() != log || old.public_key() == new.public_key() {
            return Err(wrong);
        }
        Ok(Self { note, rotation: KeyRotation { old, new, time } })
    }

    /// Verifies that exactly the two keys have signed, the older of which is known.
    ///
    /// # Errors
    ///
    /// If the old key is not known, one of the two has not signed, or another has.
    pub fn verify(self, known: &[VerifierKey]) -> Result<KeyRotation, Refused> {
        let Self { note, rotation } = self;
        if !known.contains(&rotation.old) {
            return Err(Refusal::OldKeyUnknown.into());
        }
        let lines = note.line_count();
        let verified = note.verify(&[rotation.old.clone(), rotation.new.clone()])?;
        if lines != 2 || verified.signatures().len() != 2 {
            return Err(Refusal::Signers.into());
        }
        Ok(rotation)
    }
}

fn vkey(lines: &mut Lines<'_>, word: &str) -> Result<VerifierKey, Malformed> {
    let place = lines.place();
    let text = lines.field(word, "expected `old` or `new`, and a vkey", Some)?;
    VerifierKey::parse_at(text, &[KeyType::Ed25519], place)
}

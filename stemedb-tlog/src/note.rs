//! Signed notes: a text, and lines of signatures (C2SP signed-note).
//!
//! ```text
//! <text ending in 0x0A>
//!
//! — <name> <base64 of the key's id and the signature>
//! ```

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::{
    format::Format,
    key_type::KeyType,
    limits::{NOTE_LEN_MAX, SIGNATURES_MAX},
    lines::Lines,
    malformed::{Malformed, Place},
    note_signature::NoteSignature,
    refusal::Refusal,
    refused::Refused,
    signature_line::{self, SignatureLine},
    signer::{SignError, Signer, sign},
    vkey::VerifierKey,
};

/// A note that parses, and of which nothing is verified: its text is not given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedNote {
    text: String,
    place: Place,
    lines: Vec<SignatureLine>,
}

/// A note that at least one of the keys that were given has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl UnverifiedNote {
    /// Reads a note.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse_at(bytes, Place::START)
    }

    pub(crate) fn parse_at(bytes: &[u8], place: Place) -> Result<Self, Malformed> {
        let start = Lines::new(bytes, place, Format::Note);
        if bytes.len() > NOTE_LEN_MAX {
            return Err(start.malformed("the note is longer than 65,536 bytes"));
        }
        let note = str::from_utf8(bytes).map_err(|_| start.malformed("the note is not UTF-8"))?;
        if bytes.iter().any(|byte| *byte < 0x20 && *byte != b'\n') {
            return Err(start.malformed("the note has a control character"));
        }
        // The last of the empty lines.
        let parts = note.rfind("\n\n").and_then(|at| note.split_at_checked(at + 1));
        let (text, rest) = parts.ok_or_else(|| {
            start.malformed("expected a text, an empty line and lines of signatures")
        })?;
        let lines_before = text.bytes().filter(|byte| *byte == b'\n').count();
        let at =
            Place { line: place.line + lines_before + 1, offset: place.offset + text.len() + 1 };
        let rest = rest.as_bytes().strip_prefix(b"\n").unwrap_or_default();
        let mut rest = Lines::new(rest, at, Format::Note);
        if rest.is_empty() {
            return Err(rest.malformed("the note has no signature line"));
        }
        let mut lines: Vec<SignatureLine> = Vec::new();
        while let Some(line) = rest.next()? {
            let place = line.place;
            let malformed = |rule| Malformed { format: Format::Note, place, rule };
            if lines.len() >= SIGNATURES_MAX {
                return Err(malformed("the note has more than 64 signature lines"));
            }
            let line = SignatureLine::parse(line, Format::Note)?;
            if lines.iter().any(|other| other.is_of_same_key(&line)) {
                return Err(malformed("a second line of one key"));
            }
            lines.push(line);
        }
        Ok(Self { text: text.to_owned(), place, lines })
    }

    /// Checks the signatures of the keys of type 0x01 among these; lines of others are ignored.
    ///
    /// # Errors
    ///
    /// If a line of one of the keys does not verify, none of them has signed, or two of them have
    /// one name and id.
    pub fn verify(self, keys: &[VerifierKey]) -> Result<Note, Refused> {
        let keys: Vec<&VerifierKey> =
            keys.iter().filter(|key| key.key_type() == KeyType::Ed25519).collect();
        let signatures = self.verify_lines(&keys, |key, signature| {
            check_text(key, &self.text, signature).map(|()| None)
        })?;
        if signatures.is_empty() {
            return Err(Refusal::NoKnownKey.into());
        }
        Ok(Note { text: self.text, signatures })
    }

    /// The signatures of known keys, all of which must verify by `check`, which gives the time.
    pub(crate) fn verify_lines(
        &self,
        keys: &[&VerifierKey],
        check: impl Fn(&VerifierKey, &[u8]) -> Result<Option<u64>, Refusal>,
    ) -> Result<Vec<NoteSignature>, Refused> {
        check_lines(&self.lines, keys, check)
    }

    /// The text, for those who parse it before they verify.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The place of the text.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Number of signature lines, of known and unknown keys.
    pub(crate) const fn line_count(&self) -> usize {
        self.lines.len()
    }
}

/// The signatures of known keys among lines, all of which must verify.
pub(crate) fn check_lines(
    lines: &[SignatureLine],
    keys: &[&VerifierKey],
    check: impl Fn(&VerifierKey, &[u8]) -> Result<Option<u64>, Refusal>,
) -> Result<Vec<NoteSignature>, Refused> {
    refuse_ambiguous(keys)?;
    let mut signatures = Vec::new();
    for line in lines {
        let Some(key) = keys.iter().find(|key| line.is_of(key)) else { continue };
        let time = check(key, &line.signature);
        let time = time.map_err(|refusal| Refused::at(refusal, line.place))?;
        signatures.push(NoteSignature::new((*key).clone(), time, line.signature.clone()));
    }
    Ok(signatures)
}

/// Two different keys of one name and id; the same key twice is one.
fn refuse_ambiguous(keys: &[&VerifierKey]) -> Result<(), Refused> {
    let mut sorted: Vec<&VerifierKey> = keys.to_vec();
    sorted.sort_unstable_by_key(|key| (key.id(), key.name(), key.key_type(), key.public_key()));
    for (one, other) in sorted.iter().zip(sorted.iter().skip(1)) {
        if one.id() == other.id() && one.name() == other.name() && one != other {
            let name = alloc::boxed::Box::new(one.name().clone());
            return Err(Refusal::AmbiguousKeys { name, id: one.id() }.into());
        }
    }
    Ok(())
}

/// Checks a signature of type 0x01.
pub(crate) fn check_text(key: &VerifierKey, text: &str, signature: &[u8]) -> Result<(), Refusal> {
    let name = || alloc::boxed::Box::new(key.name().clone());
    if signature.len() != KeyType::Ed25519.signature_len() {
        return Err(Refusal::SignatureLen { name: name(), len: signature.len() });
    }
    if key.verifies(text.as_bytes(), signature) {
        Ok(())
    } else {
        Err(Refusal::Signature { name: name() })
    }
}

impl Note {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures of known keys.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signs a text by keys of type 0x01, and writes the note.
    ///
    /// # Errors
    ///
    /// If there is no signer, one has another type or cannot sign, two have one name and id, or the
    /// note would be malformed.
    pub fn sign<S: Signer + ?Sized>(
        text: &str,
        signers: &[&S],
    ) -> Result<String, SignError<S::Error>> {
        let mut lines = Vec::new();
        for signer in signers {
            let key = signer.key();
            if key.key_type() != KeyType::Ed25519 {
                return Err(SignError::WrongKey);
            }
            lines.push(signature_line::write(key, &sign(*signer, text.as_bytes())?));
        }
        write(text, lines.iter().map(String::as_str)).ok_or(SignError::WrongText)
    }
}

/// A note from its text and lines; `None` if it would be malformed.
pub(crate) fn write<'a>(text: &str, lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut note = String::from(text);
    note.push('\n');
    for line in lines {
        note.push_str(line);
        note.push('\n');
    }
    let parsed = UnverifiedNote::parse(note.as_bytes()).ok()?;
    (parsed.text == text).then_some(note)
}

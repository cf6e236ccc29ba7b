//! Signature lines of notes.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::{
    base64,
    format::Format,
    key_id::KeyId,
    lines::Line,
    malformed::{Malformed, Place},
    vkey::VerifierKey,
};

/// A signature line that is not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignatureLine {
    /// Of unknown keys too, so with fewer rules than names have.
    name: String,
    id: KeyId,
    pub(crate) signature: Vec<u8>,
    pub(crate) place: Place,
}

impl SignatureLine {
    pub(crate) fn parse(line: Line<'_>, format: Format) -> Result<Self, Malformed> {
        let malformed = |rule| Malformed { format, place: line.place, rule };
        let expected = "expected an em dash, a space, a name, a space and a signature in base64";
        let text = str::from_utf8(line.bytes).map_err(|_| malformed(expected))?;
        let parts = text.strip_prefix("— ").and_then(|rest| rest.split_once(' '));
        let (name, signature) = parts.ok_or_else(|| malformed(expected))?;
        if name.is_empty() || name.chars().any(|c| c == '+' || c.is_whitespace()) {
            return Err(malformed("the name of a signature line is empty, or has a space or `+`"));
        }
        let bytes = base64::decode(signature.as_bytes());
        let bytes = bytes.ok_or_else(|| malformed("the signature is not in canonical base64"))?;
        let (id, signature) = match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => (KeyId(*id), signature.to_vec()),
            _ => return Err(malformed("the signature is empty")),
        };
        Ok(Self { name: name.to_owned(), id, signature, place: line.place })
    }

    /// Whether two lines are of one key, known or not.
    pub(crate) fn is_of_same_key(&self, other: &Self) -> bool {
        self.id == other.id && self.name == other.name
    }

    pub(crate) fn is_of(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name().as_str()
    }
}

/// The line of a signature, without its end.
pub(crate) fn write(key: &VerifierKey, signature: &[u8]) -> String {
    let signature = base64::encode(&[&key.id().0, signature].concat());
    alloc::format!("— {} {signature}", key.name().as_str())
}

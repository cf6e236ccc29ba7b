//! Answers of a witness.

use alloc::{string::String, vec::Vec};

use stemedb_merkle::LogSize;

use super::decision::Decision;
use crate::{
    cosignature,
    format::Format,
    limits::{RESPONSE_LEN_MAX, SIGNATURES_MAX},
    lines::{Lines, number},
    malformed::Malformed,
    note::check_lines,
    note_signature::NoteSignature,
    refusal::Refusal,
    refused::Refused,
    signature_line::SignatureLine,
    signed_checkpoint::SignedCheckpoint,
    vkey::VerifierKey,
};

/// Content type of an answer that tells the stored size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Content type of all other answers.
pub const TEXT_CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Answer of a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessResponse {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

impl WitnessResponse {
    /// The answer with cosignatures: the body of [`Accepted::cosign`](super::Accepted::cosign).
    pub const fn cosigned(body: String) -> Self {
        Self { status: 200, content_type: TEXT_CONTENT_TYPE, body }
    }

    /// The answer to a body that is too long or malformed.
    pub fn malformed(too_long: bool, malformed: &Malformed) -> Self {
        let status = if too_long { 413 } else { 400 };
        Self { status, content_type: TEXT_CONTENT_TYPE, body: alloc::format!("{malformed}\n") }
    }

    /// The answer to a request that is not accepted; `None` of one that is, which has to be
    /// cosigned.
    pub fn rejected(decision: &Decision) -> Option<Self> {
        let sentence = match decision {
            Decision::Accepted(_) => return None,
            Decision::OtherSize { stored, .. } => {
                let body = alloc::format!("{stored}\n");
                return Some(Self { status: 409, content_type: SIZE_CONTENT_TYPE, body });
            }
            Decision::UnknownOrigin => "this origin is not known here",
            Decision::Forbidden(_) => "no trusted key of this origin has signed the checkpoint",
            Decision::Inconsistent(_) => {
                "the checkpoint does not follow from the one that was cosigned last"
            }
            Decision::ClockBehind => "the clock is before the last cosignature; try again later",
        };
        let body = alloc::format!("{sentence}\n");
        Some(Self { status: decision.status(), content_type: TEXT_CONTENT_TYPE, body })
    }
}

/// Reads the signature lines of an answer: those of the keys given, all of which must verify.
pub(super) fn read_cosignatures(
    body: &[u8],
    checkpoint: &SignedCheckpoint,
    keys: &[VerifierKey],
) -> Result<Vec<NoteSignature>, crate::error::Error> {
    let mut lines = Lines::of_file(body, RESPONSE_LEN_MAX, Format::WitnessResponse)?;
    let mut found: Vec<SignatureLine> = Vec::new();
    while let Some(line) = lines.next()? {
        let malformed = Malformed {
            format: Format::WitnessResponse,
            place: line.place,
            rule: "a second line of one key, or more than 64 lines",
        };
        let line = SignatureLine::parse(line, Format::WitnessResponse)?;
        if found.len() >= SIGNATURES_MAX || found.iter().any(|other| other.is_of_same_key(&line)) {
            return Err(malformed.into());
        }
        found.push(line);
    }
    let keys: Vec<&VerifierKey> = keys.iter().collect();
    let cosignatures = check_lines(&found, &keys, |key, signature| {
        cosignature::check(key, checkpoint.checkpoint(), signature)
    })?;
    if cosignatures.is_empty() {
        return Err(Refused::from(Refusal::NoKnownKey).into());
    }
    Ok(cosignatures)
}

/// Reads the size that an answer tells.
pub(super) fn read_size(content_type: &str, body: &[u8]) -> Option<LogSize> {
    // Parameters of the type say nothing.
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let size = number(body.strip_suffix(b"\n")?)?;
    essence.eq_ignore_ascii_case(SIZE_CONTENT_TYPE).then_some(LogSize(size))
}

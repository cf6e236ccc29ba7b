//! Requests to cosign a checkpoint.
//!
//! ```text
//! old <n>
//! <base64 of 32 bytes: a consistency proof, at most 63 lines>
//!
//! <the signed checkpoint>
//! ```

use alloc::{string::String, vec::Vec};

use stemedb_merkle::{LogSize, history::ConsistencyProof};

use crate::{
    base64,
    checkpoint::Extensions,
    format::Format,
    limits::{PATH_LEN_MAX, REQUEST_LEN_MAX},
    lines::{Lines, number},
    malformed::Malformed,
    name::KeyName,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
};

/// Request to cosign a checkpoint, of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRequest {
    pub(super) old: LogSize,
    pub(super) proof: ConsistencyProof,
    pub(super) checkpoint: UnverifiedCheckpoint,
}

impl WitnessRequest {
    /// Whether a body is so long that it is refused unread, with the status 413.
    pub const fn is_too_long(len: usize) -> bool {
        len > REQUEST_LEN_MAX
    }

    /// Reads the body of a request. The error is answered with the status 400.
    ///
    /// # Errors
    ///
    /// If it is malformed, or its old size is above that of the checkpoint.
    pub fn parse(body: &[u8], extensions: Extensions) -> Result<Self, Malformed> {
        let mut lines = Lines::of_file(body, REQUEST_LEN_MAX, Format::WitnessRequest)?;
        let larger = lines.malformed("the old size is above the size of the checkpoint");
        let rule = "expected `old` and a decimal number below 2^63";
        let old = LogSize(lines.field("old", rule, number)?);
        let proof = ConsistencyProof(lines.hashes_to_empty_line(PATH_LEN_MAX)?);
        let checkpoint = UnverifiedCheckpoint::parse_at(lines.rest(), lines.place(), extensions)?;
        if old > checkpoint.unverified_head().size {
            return Err(larger);
        }
        Ok(Self { old, proof, checkpoint })
    }

    /// The origin that the checkpoint claims, to look up the log's keys and what was cosigned last.
    pub const fn unverified_origin(&self) -> &KeyName {
        self.checkpoint.unverified_origin()
    }

    /// Writes the body of a request: the log's own lines alone, without those of others.
    pub fn write(old: LogSize, proof: &ConsistencyProof, checkpoint: &SignedCheckpoint) -> String {
        let mut body = alloc::format!("old {old}\n");
        let hashes: Vec<String> = proof.0.iter().map(|hash| base64::encode(hash)).collect();
        for hash in hashes {
            body.push_str(&hash);
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&checkpoint.to_log_note());
        body
    }
}

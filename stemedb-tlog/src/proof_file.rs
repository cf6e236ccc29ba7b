//! Proof files, extension `.tlog-proof`: that an entry is in a log (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of the entry's 8 bytes of time>
//! index <index>
//! <base64 of 32 bytes: one line a hash, the leaf's sibling first>
//!
//! <the signed checkpoint>
//! ```

use alloc::{string::String, vec::Vec};

use stemedb_merkle::{
    AssertionId, LogIndex, Timestamp,
    history::{InclusionProof, leaf_hash},
};

use crate::{
    base64,
    checkpoint::Extensions,
    error::Error,
    format::Format,
    limits::{PATH_LEN_MAX, PROOF_LEN_MAX},
    lines::{Lines, number},
    malformed::{Malformed, Place},
    policy::Policy,
    refusal::Refusal,
    refused::Refused,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
    time_limits::TimeLimits,
};

/// The first line of a proof file.
pub const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof file that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedProof {
    extra: Option<Vec<u8>>,
    index: LogIndex,
    path: InclusionProof,
    checkpoint: UnverifiedCheckpoint,
}

/// An entry that is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The id of the entry, as it was asked for.
    pub id: AssertionId,
    /// Its index.
    pub index: LogIndex,
    /// The time at which the log took it in.
    pub time: Timestamp,
    /// The checkpoint under which it is.
    pub checkpoint: SignedCheckpoint,
}

impl UnverifiedProof {
    /// Reads a proof file.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        Self::parse_at(file, Place::START)
    }

    pub(crate) fn parse_at(file: &[u8], place: Place) -> Result<Self, Malformed> {
        let mut lines = Lines::new(file, place, Format::Proof);
        if file.len() > PROOF_LEN_MAX {
            return Err(lines.malformed("the proof is longer than 131,072 bytes"));
        }
        lines.literal(FIRST_LINE, "expected `c2sp.org/tlog-proof@v1`")?;
        let rule = "expected `extra` and bytes in canonical base64";
        let extra = lines
            .begin_with("extra ")
            .then(|| {
                lines.field("extra", rule, |text| base64::decode(text).filter(|b| !b.is_empty()))
            })
            .transpose()?;
        let rule = "expected `index` and a decimal number below 2^63";
        let index = LogIndex(lines.field("index", rule, number)?);
        let path = InclusionProof(lines.hashes_to_empty_line(PATH_LEN_MAX)?);
        let checkpoint =
            UnverifiedCheckpoint::parse_at(lines.rest(), lines.place(), Extensions::Refuse)?;
        Ok(Self { extra, index, path, checkpoint })
    }

    /// Verifies the proof for an id under a policy: signatures, times, quorum, index, path.
    ///
    /// The id comes from the body or from the caller, never from the file.
    ///
    /// # Errors
    ///
    /// If the policy names no log, or the proof is refused.
    pub fn verify(
        self,
        policy: &Policy,
        id: AssertionId,
        limits: &TimeLimits,
    ) -> Result<Inclusion, Error> {
        policy.require_log()?;
        let checkpoint = policy.verify_checkpoint(self.checkpoint, limits)?;
        let extra = self.extra.ok_or(Refusal::NoTime)?;
        let time = extra.as_slice().try_into();
        let time = time.map_err(|_| Refusal::ExtraLen { len: extra.len() })?;
        let time = Timestamp::from_ntp64(u64::from_be_bytes(time));
        let leaf = leaf_hash(time, id.as_bytes());
        let verified = self.path.verify(&leaf, self.index, checkpoint.head());
        verified.map_err(|error| Refused::from(Refusal::History(error)))?;
        Ok(Inclusion { id, index: self.index, time, checkpoint })
    }
}

/// Writes a proof file for an entry under a signed checkpoint.
pub fn write(
    time: Timestamp,
    index: LogIndex,
    path: &InclusionProof,
    checkpoint: &SignedCheckpoint,
) -> String {
    let extra = base64::encode(&time.as_ntp64().to_be_bytes());
    let mut file = alloc::format!("{FIRST_LINE}\nextra {extra}\nindex {index}\n");
    for hash in &path.0 {
        file.push_str(&base64::encode(hash));
        file.push('\n');
    }
    file.push('\n');
    file.push_str(&checkpoint.to_note());
    file
}

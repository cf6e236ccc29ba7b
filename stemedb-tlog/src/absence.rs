//! Absence proofs, extension `.stemedb-absence`: that an id is not among the first entries of a
//! log.
//!
//! ```text
//! stemedb.dev/absence-proof@v1
//! heads <n>        then the heads assertion
//! set <n>          then a .stemedb-proof
//! tlog <n>         then the .tlog-proof of the heads assertion
//! ```

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use stemedb_merkle::{
    AssertionId, LogSize, ProofFile,
    proof::{ParseProofError, Presence},
};

use crate::{
    error::Error,
    format::Format,
    heads::{Heads, assertion_id},
    limits::EVIDENCE_LEN_MAX,
    lines::{Lines, push_part},
    malformed::{Malformed, Place},
    policy::Policy,
    proof_file::{Inclusion, UnverifiedProof},
    refusal::Refusal,
    time_limits::TimeLimits,
};

/// The first line of an absence proof.
pub const FIRST_LINE: &str = "stemedb.dev/absence-proof@v1";

/// An absence proof that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedAbsence {
    heads: Heads,
    /// As it is in the file: its id is that of the entry.
    heads_body: Vec<u8>,
    set: ProofFile,
    tlog: UnverifiedProof,
}

/// An id that is not among the first entries of a log. It says nothing about later entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The id, as it was asked for.
    pub id: AssertionId,
    /// Number of entries from the first, among which the id is not.
    pub upto: LogSize,
    /// The entry of the heads assertion.
    pub heads: Inclusion,
}

impl UnverifiedAbsence {
    /// Reads an absence proof.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::of_file(file, EVIDENCE_LEN_MAX, Format::AbsenceProof)?;
        lines.literal(FIRST_LINE, "expected `stemedb.dev/absence-proof@v1`")?;
        let heads = lines.part("heads", "expected `heads` and a number of bytes")?;
        let set = lines.part("set", "expected `set` and a number of bytes")?;
        let tlog = lines.part("tlog", "expected `tlog` and a number of bytes")?;
        lines.end()?;
        Ok(Self {
            heads: Heads::parse_at(heads.0, heads.1)?,
            heads_body: heads.0.to_owned(),
            set: ProofFile::parse(set.0).map_err(|error| in_set_proof(error, set.1))?,
            tlog: UnverifiedProof::parse_at(tlog.0, tlog.1)?,
        })
    }

    /// Verifies under a policy that an id is not among the first entries of a log.
    ///
    /// # Errors
    ///
    /// If the policy names no log, or the proof is refused.
    pub fn verify(
        self,
        policy: &Policy,
        id: AssertionId,
        limits: &TimeLimits,
    ) -> Result<Absence, Error> {
        self.verify_with_secret(policy, id, limits, None)
    }

    /// As [`Self::verify`], for the log of a store with a secret: the id of the heads assertion
    /// follows from its body with the secret alone.
    ///
    /// # Errors
    ///
    /// If the policy names no log, or the proof is refused.
    pub fn verify_with_secret(
        self,
        policy: &Policy,
        id: AssertionId,
        limits: &TimeLimits,
        secret: Option<&[u8]>,
    ) -> Result<Absence, Error> {
        let Self { heads, heads_body, set, tlog } = self;
        let heads_id = assertion_id(&heads_body, secret);
        let inclusion = tlog.verify(policy, heads_id, limits)?;
        if heads.log != *inclusion.checkpoint.checkpoint().origin() {
            return Err(Refusal::HeadsOfOtherLog { origin: Box::new(heads.log) }.into());
        }
        if inclusion.index.0 < heads.upto.0 {
            return Err(Refusal::HeadsAhead { index: inclusion.index, upto: heads.upto }.into());
        }
        if set.proof.id != *id.as_bytes() {
            return Err(Refusal::SetProofOfOtherId.into());
        }
        if set.root != heads.set_root || set.proof.count != heads.upto.0 {
            return Err(Refusal::SetProofOfOtherHeads.into());
        }
        match set.proof.verify(&heads.set_root) {
            Ok(Presence::Absent) => Ok(Absence { id, upto: heads.upto, heads: inclusion }),
            Ok(Presence::Present) => Err(Refusal::Present.into()),
            Err(error) => Err(Refusal::Set(error).into()),
        }
    }
}

/// The error of a set proof that begins at a place of the file.
fn in_set_proof(error: ParseProofError, place: Place) -> Malformed {
    let (line, rule) = match error {
        ParseProofError::Missing { line, .. } => (line, "a line of the set proof is missing"),
        ParseProofError::Unended { line } => (line, "a line of the set proof is not ended"),
        ParseProofError::Surplus { line } => (line, "a line follows the end of the set proof"),
        ParseProofError::Malformed { line, .. } => (line, "it is no line of a set proof"),
        _ => (1, "the set proof is longer than any"),
    };
    let place = Place { line: place.line.saturating_add(line).saturating_sub(1), ..place };
    Malformed { format: Format::SetProof, place, rule }
}

/// Writes an absence proof from its parts: the heads assertion, a set proof of the id under its
/// root, and the proof file of the heads assertion.
pub fn write(heads: &Heads, set: &ProofFile, tlog: &str) -> String {
    let (heads, set) = (heads.to_body(), set.write());
    let mut file = alloc::format!("{FIRST_LINE}\n");
    for (word, part) in [("heads", heads.as_str()), ("set", set.as_str()), ("tlog", tlog)] {
        push_part(&mut file, word, part);
    }
    file
}

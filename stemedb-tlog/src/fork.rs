//! Fork evidence: two heads that a log has signed and that no one log can have.
//!
//! ```text
//! stemedb.dev/tlog-fork@v1
//! hashes <k>
//! <base64 of 32 bytes>            k lines
//! note <bytes>                    then the note of the smaller size
//! note <bytes>                    then the note of the larger size
//! ```
//!
//! The hashes are nodes of the larger tree, from which its signed root follows, and with it the
//! root that the same tree had at the smaller size: another than was signed.

use alloc::{string::String, vec::Vec};

use stemedb_merkle::{
    Hash,
    history::{ConsistencyNodes, HistoryProofError, TreeHead},
};

use crate::{
    base64,
    checkpoint::Extensions,
    error::Error,
    format::Format,
    limits::{EVIDENCE_HASHES_MAX, EVIDENCE_LEN_MAX},
    lines::{Lines, number, push_part},
    malformed::Malformed,
    policy::Policy,
    refusal::Refusal,
    refused::Refused,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
};

/// The first line of fork evidence.
pub const FIRST_LINE: &str = "stemedb.dev/tlog-fork@v1";

/// Fork evidence that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedFork {
    hashes: Vec<Hash>,
    smaller: UnverifiedCheckpoint,
    larger: UnverifiedCheckpoint,
}

/// A fork that is proven: the log has signed both heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    hashes: Vec<Hash>,
    smaller: SignedCheckpoint,
    larger: SignedCheckpoint,
}

impl UnverifiedFork {
    /// Reads fork evidence.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::of_file(file, EVIDENCE_LEN_MAX, Format::ForkEvidence)?;
        lines.literal(FIRST_LINE, "expected `stemedb.dev/tlog-fork@v1`")?;
        let rule = "expected `hashes` and a number up to 64";
        let count = lines.field("hashes", rule, |digits| {
            number(digits).filter(|count| *count <= EVIDENCE_HASHES_MAX as u64)
        })?;
        let mut hashes = Vec::new();
        for _ in 0..count {
            hashes.push(lines.read("expected 32 bytes in base64", base64::decode_hash)?);
        }
        let mut note = || {
            let (bytes, place) = lines.part("note", "expected `note` and a number of bytes")?;
            UnverifiedCheckpoint::parse_at(bytes, place, Extensions::Refuse)
        };
        let (smaller, larger) = (note()?, note()?);
        lines.end()?;
        Ok(Self { hashes, smaller, larger })
    }

    /// Verifies that a log of the policy has signed two heads that contradict each other.
    ///
    /// # Errors
    ///
    /// If the evidence proves no fork.
    pub fn verify(self, policy: &Policy) -> Result<Fork, Error> {
        policy.require_log()?;
        if self.smaller.unverified_origin() != self.larger.unverified_origin() {
            return Err(Refusal::TwoOrigins.into());
        }
        let smaller = policy.verify_signatures(self.smaller)?;
        let larger = policy.verify_signatures(self.larger)?;
        Ok(Fork::new(self.hashes, smaller, larger)?)
    }
}

impl Fork {
    /// A fork from two heads, the smaller first, and nodes of the larger tree for the two sizes;
    /// none if these are equal.
    ///
    /// # Errors
    ///
    /// If that proves no fork.
    pub fn new(
        hashes: Vec<Hash>,
        smaller: SignedCheckpoint,
        larger: SignedCheckpoint,
    ) -> Result<Self, Refused> {
        if smaller.checkpoint().origin() != larger.checkpoint().origin() {
            return Err(Refusal::TwoOrigins.into());
        }
        let nodes = ConsistencyNodes(hashes);
        check(&nodes, smaller.head(), larger.head())?;
        Ok(Self { hashes: nodes.0, smaller, larger })
    }

    /// The smaller head, or either if the sizes are equal.
    pub const fn smaller(&self) -> &SignedCheckpoint {
        &self.smaller
    }

    /// The larger head.
    pub const fn larger(&self) -> &SignedCheckpoint {
        &self.larger
    }

    /// The evidence as a file.
    pub fn write(&self) -> String {
        let mut file = alloc::format!("{FIRST_LINE}\nhashes {}\n", self.hashes.len());
        for hash in &self.hashes {
            file.push_str(&base64::encode(hash));
            file.push('\n');
        }
        for note in [self.smaller.to_note(), self.larger.to_note()] {
            push_part(&mut file, "note", &note);
        }
        file
    }
}

/// Checks that the heads contradict each other.
fn check(nodes: &ConsistencyNodes, smaller: &TreeHead, larger: &TreeHead) -> Result<(), Refusal> {
    let hash_count = Refusal::HashCount { found: nodes.0.len() };
    if smaller.size == larger.size {
        return match (nodes.0.is_empty(), smaller.root == larger.root) {
            (false, _) => Err(hash_count),
            (true, true) => Err(Refusal::Consistent),
            (true, false) => Ok(()),
        };
    }
    let roots = nodes.roots(smaller.size, larger.size).map_err(|error| match error {
        HistoryProofError::SizesOutOfOrder { old, new } => {
            Refusal::HeadsOutOfOrder { first: old, second: new }
        }
        _ => hash_count,
    });
    let (at_smaller, at_larger) = roots?;
    if at_larger != larger.root {
        return Err(Refusal::HashesOfOtherTree);
    }
    if at_smaller == smaller.root { Err(Refusal::Consistent) } else { Ok(()) }
}

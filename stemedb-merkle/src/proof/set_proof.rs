//! The proof of one id, and its verification: SPEC section 2.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    bits::{ID_BITS, bit, shared_bits},
    hash,
    id::{Hash, Root},
};

/// Largest number of siblings of a proof: one for each bit of an id.
pub const SIBLINGS_MAX: usize = ID_BITS;

/// A proof that an id is in a set, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProof {
    /// The id that the proof is about.
    pub id: Hash,
    /// Number of ids of the set.
    pub count: u64,
    /// The hashes beside the path, from the root down; at most [`SIBLINGS_MAX`] verify.
    pub siblings: Vec<Hash>,
    /// The end of the path.
    pub terminal: Terminal,
}

/// Content of the place where an id belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// No id of the set begins like this.
    Empty,
    /// The only id of the set that begins like this: the id of the proof, or another.
    Id(Hash),
}

/// Statement of a proof about its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The id is in the set.
    Present,
    /// The id is not in the set.
    Absent,
}

/// Reason why a proof does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// More siblings than an id has bits.
    TooManySiblings {
        /// Number of siblings.
        siblings: usize,
    },
    /// The id at the end belongs elsewhere.
    TerminalElsewhere {
        /// Number of siblings.
        depth: usize,
        /// Number of bits that the two ids share.
        shared: usize,
    },
    /// The proof leads to another root.
    OtherRoot,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManySiblings { siblings } => write!(
                f,
                "the proof has {siblings} siblings, and an id has only {ID_BITS} bits; it proves \
                 nothing"
            ),
            Self::TerminalElsewhere { depth, shared } => write!(
                f,
                "the proof ends {depth} bits down at an id that parts from the one asked about \
                 after {shared} bits; it proves nothing"
            ),
            Self::OtherRoot => f.write_str(
                "the proof leads to another root than the one trusted; it proves nothing",
            ),
        }
    }
}

impl core::error::Error for ProofError {}

impl SetProof {
    /// Checks the proof against a trusted set root, and says whether the id is in the set. Needs no
    /// store; one BLAKE3 block for each sibling and two more.
    ///
    /// # Errors
    ///
    /// If the proof proves nothing about that root.
    pub fn verify(&self, root: &Root) -> Result<Presence, ProofError> {
        if self.root()? != *root {
            return Err(ProofError::OtherRoot);
        }
        Ok(self.presence())
    }

    /// Statement of the proof, unchecked: [`verify`](Self::verify) checks it.
    pub fn presence(&self) -> Presence {
        match self.terminal {
            Terminal::Id(id) if id == self.id => Presence::Present,
            Terminal::Id(_) | Terminal::Empty => Presence::Absent,
        }
    }

    /// The set root that the proof leads to. It means nothing by itself: anybody can make up a
    /// proof that leads to some root.
    ///
    /// # Errors
    ///
    /// If there are too many siblings, or the terminal does not belong where the path ends.
    pub fn root(&self) -> Result<Root, ProofError> {
        let depth = self.siblings.len();
        if depth > SIBLINGS_MAX {
            return Err(ProofError::TooManySiblings { siblings: depth });
        }
        let bottom = match &self.terminal {
            Terminal::Empty => hash::EMPTY,
            Terminal::Id(id) => {
                let shared = shared_bits(id, &self.id);
                if shared < depth {
                    return Err(ProofError::TerminalElsewhere { depth, shared });
                }
                hash::leaf(id)
            }
        };
        let steps = self.siblings.iter().enumerate().rev();
        let steps = steps.map(|(depth, sibling)| (bit(&self.id, depth), sibling));
        let top = hash::path(bottom, steps);
        Ok(hash::root(self.count, &top))
    }
}

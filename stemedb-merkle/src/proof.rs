//! Proofs that an id is in a set, or is not, for whoever trusts a set root.
//!
//! A proof follows the bits of the id from the root of the set tree down to the place where the id
//! belongs, and shows what is there: the id itself, another id, or nothing.
//!
//! ```
//! use stemedb_merkle::proof::{Presence, SetProof, Terminal};
//!
//! let nothing = SetProof { id: [7; 32], count: 0, siblings: vec![], terminal: Terminal::Empty };
//! let root = nothing.root()?;
//! assert_eq!(nothing.verify(&root), Ok(Presence::Absent));
//! # Ok::<(), stemedb_merkle::proof::ProofError>(())
//! ```

mod base64;
pub mod file;

pub use file::{ParseProofError, ProofFile};

use crate::{Hash, hash, set::node::bit};

/// Siblings that a proof has at most: one for each bit of an id.
pub const SIBLINGS_MAX: usize = 256;

/// A proof that an id is in a set, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProof {
    /// The id that the proof is about.
    pub id: Hash,
    /// How many ids the set has.
    pub count: u64,
    /// The hashes beside the path, from the root down; at most [`SIBLINGS_MAX`] verify.
    pub siblings: Vec<Hash>,
    /// What is at the end of the path.
    pub terminal: Terminal,
}

/// What is found at the place where an id belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// No id of the set begins like this.
    Empty,
    /// The only id of the set that begins like this: the one asked about, or another.
    Id(Hash),
}

/// What a proof says of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The id is in the set.
    Present,
    /// The id is not in the set.
    Absent,
}

/// Why a proof does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// More siblings than an id has bits.
    #[error("the proof has {siblings} siblings, and an id has only 256 bits; it proves nothing")]
    TooManySiblings {
        /// How many there are.
        siblings: usize,
    },
    /// The id at the end belongs elsewhere.
    #[error(
        "the proof ends {depth} bits down at an id that parts from the one asked about after \
         {shared} bits; it proves nothing"
    )]
    TerminalElsewhere {
        /// How many siblings there are.
        depth: usize,
        /// How many bits the two ids share.
        shared: usize,
    },
    /// The proof leads elsewhere.
    #[error("the proof leads to another root than the one trusted; it proves nothing")]
    OtherRoot,
}

impl SetProof {
    /// Checks the proof against a set root that is trusted already, and says whether the id is in
    /// the set. Needs no store; a BLAKE3 block for each sibling and two more.
    ///
    /// # Errors
    ///
    /// If the proof proves nothing about that root.
    pub fn verify(&self, root: &Hash) -> Result<Presence, ProofError> {
        if self.root()? != *root {
            return Err(ProofError::OtherRoot);
        }
        Ok(self.presence())
    }

    /// What the proof claims; [`verify`](Self::verify) tells whether that is so.
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
    pub fn root(&self) -> Result<Hash, ProofError> {
        let depth = self.siblings.len();
        if depth > SIBLINGS_MAX {
            return Err(ProofError::TooManySiblings { siblings: depth });
        }
        let bottom = match &self.terminal {
            Terminal::Empty => [0; 32],
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
        let top = hash::path(bottom, steps, |_| {});
        Ok(hash::root(self.count, &top))
    }
}

/// How many bits two ids share before they part.
fn shared_bits(one: &Hash, other: &Hash) -> usize {
    let differing = one.iter().zip(other).enumerate().find(|(_, (one, other))| one != other);
    differing.map_or(256, |(index, (one, other))| {
        8 * index + usize::try_from((one ^ other).leading_zeros()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_from_the_most_significant() {
        for depth in 0..256 {
            let mut id = [0; 32];
            id[depth / 8] = 0x80 >> (depth % 8);
            let set: Vec<_> = (0..256).filter(|depth| bit(&id, *depth)).collect();
            assert_eq!(set, [depth]);
            assert_eq!(shared_bits(&id, &[0; 32]), depth);
        }
        assert_eq!(shared_bits(&[3; 32], &[3; 32]), 256);
    }
}

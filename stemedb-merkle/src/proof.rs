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

use crate::Hash;

/// Siblings that a proof has at most: one for each bit of an id.
pub const SIBLINGS_MAX: usize = 256;

/// `derive("set leaf")`.
const LEAF_KEY: [u8; 32] = [
    0x0b, 0x17, 0x1c, 0x92, 0xa5, 0xfa, 0x50, 0x7a, 0x04, 0x52, 0x52, 0xc5, 0xab, 0xc1, 0x29, 0x27,
    0x51, 0xb4, 0xf2, 0x42, 0xd0, 0xaa, 0xee, 0xd8, 0x0b, 0x2a, 0xc7, 0xbf, 0x51, 0xec, 0x4b, 0x19,
];

/// `derive("set node")`.
const NODE_KEY: [u8; 32] = [
    0x15, 0x81, 0x2b, 0xe7, 0xc4, 0x1a, 0xc2, 0x89, 0x4d, 0xce, 0x44, 0x6b, 0x87, 0xf3, 0x88, 0x42,
    0xfb, 0x40, 0xf7, 0x61, 0x72, 0xfb, 0x54, 0xf2, 0x4a, 0xe7, 0x3f, 0x1a, 0xe0, 0x77, 0x23, 0x52,
];

/// `derive("set root")`.
const ROOT_KEY: [u8; 32] = [
    0xce, 0xbd, 0x46, 0x94, 0xbb, 0x4e, 0xfc, 0x9e, 0x68, 0x0b, 0xc3, 0xf1, 0xe2, 0xbf, 0x18, 0x58,
    0x6c, 0x4e, 0x78, 0x1b, 0xf4, 0x2d, 0x4e, 0x90, 0xa5, 0xdc, 0xd0, 0xb7, 0x3e, 0x5f, 0x47, 0xd3,
];

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
        Ok(match self.terminal {
            Terminal::Id(id) if id == self.id => Presence::Present,
            Terminal::Id(_) | Terminal::Empty => Presence::Absent,
        })
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
        let mut hash = match &self.terminal {
            Terminal::Empty => [0; 32],
            Terminal::Id(id) => {
                let shared = shared_bits(id, &self.id);
                if shared < depth {
                    return Err(ProofError::TerminalElsewhere { depth, shared });
                }
                keyed(&LEAF_KEY, id)
            }
        };
        for (depth, sibling) in self.siblings.iter().enumerate().rev() {
            let (left, right) =
                if bit(&self.id, depth) { (sibling, &hash) } else { (&hash, sibling) };
            hash = keyed(&NODE_KEY, [*left, *right].as_flattened());
        }
        let mut message = [0; 8 + 32];
        let (count, node) = message.split_at_mut(8);
        count.copy_from_slice(&self.count.to_be_bytes());
        node.copy_from_slice(&hash);
        Ok(keyed(&ROOT_KEY, &message))
    }
}

fn keyed(key: &[u8; 32], message: &[u8]) -> Hash {
    blake3::keyed_hash(key, message).into()
}

/// The bit at a depth, the most significant of the first byte at depth 0.
fn bit(id: &Hash, depth: usize) -> bool {
    id.get(depth / 8).is_some_and(|byte| byte << (depth % 8) & 0x80 != 0)
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
    use crate::hash::derive;

    #[test]
    fn keys_are_derived_from_their_domains() {
        assert_eq!(LEAF_KEY, derive("set leaf", b""));
        assert_eq!(NODE_KEY, derive("set node", b""));
        assert_eq!(ROOT_KEY, derive("set root", b""));
    }

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

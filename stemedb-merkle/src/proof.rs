//! Proofs that an id is in a set, or is not, checked against a trusted set root.
//!
//! A proof follows the bits of the id from the root of the set tree down to the place where the id
//! belongs, and shows the terminal there: the id itself, another id, or nothing.
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
mod file;
mod set_proof;

pub use file::{Line, PROOF_FILE_LEN_MAX, ParseProofError, ProofFile};
pub use set_proof::{Presence, ProofError, SIBLINGS_MAX, SetProof, Terminal};

//! Proof together with the head that it belongs to.

use stemedb_merkle::{ProofFile, SetProof};

use crate::Head;

/// Proof together with the head of the same moment: others may append meanwhile, and a head that is
/// asked for afterwards is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven<P> {
    /// The proof.
    pub proof: P,
    /// Head of the store whose roots it verifies against.
    pub head: Head,
}

impl From<Proven<SetProof>> for ProofFile {
    fn from(proven: Proven<SetProof>) -> Self {
        Self { proof: proven.proof, root: proven.head.set_root }
    }
}

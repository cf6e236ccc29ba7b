//! The formats, by the names that errors have for them.

use core::fmt;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Absence proof, `.stemedb-absence`.
    AbsenceProof,
    /// Attestation: erasure receipt, shredding, key rotation, audit.
    Attestation,
    /// Checkpoint of a log.
    Checkpoint,
    /// Entry bundle.
    EntryBundle,
    /// Fence or record of a signer.
    Fence,
    /// Fork evidence.
    ForkEvidence,
    /// Heads assertion.
    Heads,
    /// Key file.
    KeyFile,
    /// Name of a key or a log.
    Name,
    /// Signed note.
    Note,
    /// Policy file.
    Policy,
    /// Proof file, `.tlog-proof`.
    Proof,
    /// Sealed body.
    SealedBody,
    /// Set proof, `.stemedb-proof`.
    SetProof,
    /// Hash tile.
    Tile,
    /// Path of a tile.
    TilePath,
    /// Key that verifies signatures.
    VerifierKey,
    /// Request to a witness.
    WitnessRequest,
    /// Response of a witness.
    WitnessResponse,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AbsenceProof => "absence proof",
            Self::Attestation => "attestation",
            Self::Checkpoint => "checkpoint",
            Self::EntryBundle => "entry bundle",
            Self::Fence => "fence",
            Self::ForkEvidence => "fork evidence",
            Self::Heads => "heads assertion",
            Self::KeyFile => "key file",
            Self::Name => "name",
            Self::Note => "signed note",
            Self::Policy => "policy",
            Self::Proof => "proof file",
            Self::SealedBody => "sealed body",
            Self::SetProof => "set proof",
            Self::Tile => "tile",
            Self::TilePath => "path of a tile",
            Self::VerifierKey => "vkey",
            Self::WitnessRequest => "request to a witness",
            Self::WitnessResponse => "response of a witness",
        })
    }
}

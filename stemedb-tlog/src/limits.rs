//! Limits of what is read. They are checked before any cryptography.

/// Longest name of a key or a log, in bytes.
pub const NAME_LEN_MAX: usize = 255;

/// Longest signed note, in bytes.
pub const NOTE_LEN_MAX: usize = 65_536;

/// Most signature lines of a note.
pub const SIGNATURES_MAX: usize = 64;

/// Most hashes of an inclusion proof, and of a request to a witness.
pub const PATH_LEN_MAX: usize = 63;

/// Seconds that a cosignature may be ahead of the clock.
pub const FUTURE_MAX: u64 = 300;

/// Longest proof file, in bytes.
pub const PROOF_LEN_MAX: usize = 131_072;

/// Longest fork evidence and longest absence proof, in bytes.
pub const EVIDENCE_LEN_MAX: usize = 262_144;

/// Most hashes of fork evidence.
pub const EVIDENCE_HASHES_MAX: usize = 64;

/// Longest request to a witness, in bytes.
pub const REQUEST_LEN_MAX: usize = 262_144;

/// Longest response of a witness that is read, in bytes.
pub const RESPONSE_LEN_MAX: usize = 65_536;

/// Longest policy, in bytes.
pub const POLICY_LEN_MAX: usize = 1_048_576;

/// Most inconsistent requests that a witness keeps for an origin.
pub const EVIDENCE_KEPT_MAX: usize = 1_000;

/// Numbers in text, sizes and times are below this.
pub const NUMBER_END: u64 = 1 << 63;

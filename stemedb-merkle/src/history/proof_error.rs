//! The error of the verifiers.

use core::fmt;

use crate::log::{LogIndex, LogSize};

/// Reason why a proof of the history tree does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryProofError {
    /// There is no such entry.
    IndexOutOfRange {
        /// The index of the proof.
        index: LogIndex,
        /// The log's size.
        size: LogSize,
    },
    /// The log would have shrunk.
    SizesOutOfOrder {
        /// The size given as the older.
        old: LogSize,
        /// The size given as the newer.
        new: LogSize,
    },
    /// The proof is too short for these sizes.
    MissingNodes,
    /// The proof is too long for these sizes.
    SurplusNodes,
    /// The proof leads elsewhere.
    OtherRoot,
}

impl fmt::Display for HistoryProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndexOutOfRange { index, size } => write!(
                f,
                "entry {index} is not among the {size} entries of the log; check index and size"
            ),
            Self::SizesOutOfOrder { old, new } => write!(
                f,
                "the older log of {old} entries is longer than the newer one of {new}; swap them"
            ),
            Self::MissingNodes => {
                f.write_str("the proof has fewer hashes than these sizes take; it proves nothing")
            }
            Self::SurplusNodes => {
                f.write_str("the proof has more hashes than these sizes take; it proves nothing")
            }
            Self::OtherRoot => f.write_str(
                "the proof leads to another root than the one trusted; it proves nothing",
            ),
        }
    }
}

impl core::error::Error for HistoryProofError {}

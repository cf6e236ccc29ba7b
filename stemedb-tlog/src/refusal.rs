//! Reasons why what parses does not verify.

use core::fmt;

use alloc::boxed::Box;

use stemedb_merkle::{LogIndex, LogSize, history::HistoryProofError, proof::ProofError};

use crate::{key_id::KeyId, name::KeyName};

/// Reason why what parses does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Two keys have one name and one id, so that a line does not tell which of them has signed.
    AmbiguousKeys {
        /// Their name.
        name: Box<KeyName>,
        /// Their id.
        id: KeyId,
    },
    /// A signature of a known key does not verify.
    Signature {
        /// The key's name.
        name: Box<KeyName>,
    },
    /// A signature of a known key has another length than its type.
    SignatureLen {
        /// The key's name.
        name: Box<KeyName>,
        /// The length in bytes.
        len: usize,
    },
    /// A cosignature of a known key has a time that its type does not allow.
    CosignatureTime {
        /// The key's name.
        name: Box<KeyName>,
        /// The time.
        time: u64,
    },
    /// A cosignature is ahead of the clock.
    CosignatureAhead {
        /// The key's name.
        name: Box<KeyName>,
        /// The time of the cosignature.
        time: u64,
        /// The time of the clock.
        now: u64,
    },
    /// None of the known keys has signed.
    NoKnownKey,
    /// Known witnesses have signed, and none of the log's keys.
    LogDidNotSign,
    /// The checkpoint is of a log that is not trusted.
    UnknownLog {
        /// Its origin.
        origin: Box<KeyName>,
    },
    /// Too few witnesses of the policy have cosigned, or not in time.
    QuorumNotMet {
        /// Number of witnesses of the policy that did.
        counted: usize,
    },
    /// A proof file without the entry's time.
    NoTime,
    /// The extra data of a proof file is not the entry's 8 bytes of time.
    ExtraLen {
        /// Its length in bytes.
        len: usize,
    },
    /// A proof of the history tree does not hold.
    History(HistoryProofError),
    /// A proof of the set tree does not hold.
    Set(ProofError),
    /// The set proof is of another id than asked for.
    SetProofOfOtherId,
    /// The set proof is of another root or count than the heads assertion.
    SetProofOfOtherHeads,
    /// The set proof says that the id is present.
    Present,
    /// The heads assertion is of another log than the checkpoint.
    HeadsOfOtherLog {
        /// The origin in the heads assertion.
        origin: Box<KeyName>,
    },
    /// The heads assertion claims entries that are not before its own.
    HeadsAhead {
        /// Its index.
        index: LogIndex,
        /// The number of entries that it claims to cover.
        upto: LogSize,
    },
    /// The two heads of fork evidence are of two logs.
    TwoOrigins,
    /// The two heads of fork evidence are not in the order of their sizes, or one is empty.
    HeadsOutOfOrder {
        /// The size of the first.
        first: LogSize,
        /// The size of the second.
        second: LogSize,
    },
    /// Fork evidence has more or fewer hashes than its sizes take.
    HashCount {
        /// Their number.
        found: usize,
    },
    /// The hashes of fork evidence are not nodes of the larger tree.
    HashesOfOtherTree,
    /// The two heads are consistent.
    Consistent,
    /// An attestation is signed by others than it must be.
    Signers,
    /// The old key of a rotation is not known.
    OldKeyUnknown,
    /// A tile does not have the hash that its parent tile has for it.
    TileHash,
    /// Tiles at the edge of the tree do not lead to the root of the head.
    TileRoot,
    /// Entries of a bundle do not have the hashes of their tile.
    EntryHash {
        /// The first that differs.
        index: LogIndex,
    },
    /// A sealed body is sealed with another key.
    Commitment,
    /// A sealed body was changed.
    Tag,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AmbiguousKeys { name, id } => {
                write!(f, "two known keys are both `{name}` with id {id}; remove one of them")
            }
            Self::Signature { name } => {
                write!(f, "the signature of `{name}` does not verify")
            }
            Self::SignatureLen { name, len } => {
                write!(f, "the signature of `{name}` has {len} bytes, which its key type never has")
            }
            Self::CosignatureTime { name, time } => {
                write!(f, "the cosignature of `{name}` has the time {time}, which is out of range")
            }
            Self::CosignatureAhead { name, time, now } => write!(
                f,
                "the cosignature of `{name}` is of the time {time}, and the clock is at {now}; \
                 check the clock"
            ),
            Self::NoKnownKey => f.write_str("no known key has signed; check the keys"),
            Self::LogDidNotSign => f.write_str("only witnesses have signed, not the log"),
            Self::UnknownLog { origin } => {
                write!(f, "no log `{origin}` is trusted; check the policy")
            }
            Self::QuorumNotMet { counted } => write!(
                f,
                "the quorum is not met: {counted} witnesses of the policy have cosigned in time; \
                 get more cosignatures"
            ),
            Self::NoTime => f.write_str("the file lacks the time of the entry (`extra`)"),
            Self::ExtraLen { len } => {
                write!(f, "the extra data has {len} bytes, and the time of an entry has 8")
            }
            Self::History(error) => error.fmt(f),
            Self::Set(error) => error.fmt(f),
            Self::SetProofOfOtherId => f.write_str("the set proof is about another id"),
            Self::SetProofOfOtherHeads => {
                f.write_str("the set proof has another root or count than the heads assertion")
            }
            Self::Present => f.write_str("the set proof says that the id is present"),
            Self::HeadsOfOtherLog { origin } => {
                write!(f, "the heads assertion is of the log `{origin}`, the checkpoint is not")
            }
            Self::HeadsAhead { index, upto } => write!(
                f,
                "the heads assertion is entry {index} and claims to cover {upto} entries before it"
            ),
            Self::TwoOrigins => f.write_str("the two heads are of two logs"),
            Self::HeadsOutOfOrder { first, second } => write!(
                f,
                "the heads have the sizes {first} and {second}; the smaller goes first, and has an \
                 entry"
            ),
            Self::HashCount { found } => {
                write!(f, "{found} hashes are not as many as these sizes take")
            }
            Self::HashesOfOtherTree => {
                f.write_str("the hashes do not lead to the root of the larger head")
            }
            Self::Consistent => f.write_str("the heads are consistent: this proves no fork"),
            Self::Signers => f.write_str("it is not signed by those, and only those, who must"),
            Self::OldKeyUnknown => f.write_str("the old key of the rotation is not known"),
            Self::TileHash => f.write_str("the tile does not have the hash of its parent tile"),
            Self::TileRoot => f.write_str("the tiles do not lead to the root of the checkpoint"),
            Self::EntryHash { index } => {
                write!(f, "entry {index} does not have the hash of its tile")
            }
            Self::Commitment => f.write_str("the body is sealed with another key"),
            Self::Tag => f.write_str("the sealed body was changed, or its key is another"),
        }
    }
}

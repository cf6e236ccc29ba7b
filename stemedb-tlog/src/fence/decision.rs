//! The decision whether a log may sign.

use core::fmt;

use stemedb_merkle::{LogSize, Root, history::TreeHead};

use super::{Fence, SignerIdentity, SignerState};
use crate::{
    checkpoint::Extensions, name::KeyName, signed_checkpoint::UnverifiedCheckpoint,
    vkey::VerifierKey,
};

/// What was read of the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceRead<'a> {
    /// It cannot be read, or could not be moved.
    Unreachable,
    /// There is none.
    Absent,
    /// The bytes of a fence; without one, those of the record.
    File(&'a [u8]),
    /// The checkpoint that a witness serves for the log, which knows no stores, nodes and states.
    Witness(&'a [u8]),
}

/// A log that wants to sign.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The log's origin.
    pub origin: &'a KeyName,
    /// Its keys that sign now.
    pub keys: &'a [VerifierKey],
    /// Who signs.
    pub signer: SignerIdentity,
    /// Number of durable entries.
    pub size: LogSize,
    /// Whether the operator says that the log was never signed.
    pub new_log: bool,
    /// Whether the operator says that this copy is to continue.
    pub continues: bool,
}

/// Decision whether a log may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceDecision {
    /// The fence cannot be read or moved.
    Unreachable,
    /// The record does not parse.
    RecordDamaged,
    /// The record or the fence says that the log never signs again.
    Retired,
    /// There is a record, and no fence.
    FenceLost,
    /// There is neither, and nobody said that the log is new.
    Unbound,
    /// The log is said to be new, and has a fence.
    Exists,
    /// The fence does not parse.
    FenceDamaged,
    /// The fence is of another origin, or not signed by this key.
    OtherKey,
    /// The fence is of another store.
    OtherStore,
    /// The record is newer than the fence: that was rolled back.
    FenceBehind,
    /// The fence is ahead of the log: that was rolled back.
    Rollback,
    /// The log had another root when it had the size of the fence.
    Fork,
    /// Another copy of this store has signed last.
    OtherCopy,
    /// It may sign.
    Sign,
}

/// Decides whether a log may sign, from the record in its store, what was read of the fence, and
/// the root that the log had at any size up to its own.
///
/// After a fence that failed to move, or did not answer, it is read and decided again.
pub fn decide(
    signing: &Signing<'_>,
    record: Option<&[u8]>,
    fence: FenceRead<'_>,
    root_at: impl FnOnce(LogSize) -> Root,
) -> FenceDecision {
    if fence == FenceRead::Unreachable {
        return FenceDecision::Unreachable;
    }
    let record = match record.map(Fence::parse) {
        Some(Err(_)) => return FenceDecision::RecordDamaged,
        Some(Ok(record)) => Some(record),
        None => None,
    };
    if record.as_ref().is_some_and(|record| record.state == SignerState::Retired) {
        return FenceDecision::Retired;
    }
    let (file, checkpoint) = match fence {
        FenceRead::Unreachable | FenceRead::Absent => {
            return match (&record, signing.new_log) {
                (Some(_), _) => FenceDecision::FenceLost,
                (None, false) => FenceDecision::Unbound,
                (None, true) => FenceDecision::Sign,
            };
        }
        _ if signing.new_log => return FenceDecision::Exists,
        FenceRead::File(file) => match Fence::parse(file) {
            Ok(fence) => (Some((fence.signer, fence.state)), fence.checkpoint),
            Err(_) => return FenceDecision::FenceDamaged,
        },
        FenceRead::Witness(note) => match UnverifiedCheckpoint::parse(note, Extensions::Refuse) {
            Ok(checkpoint) => (None, checkpoint),
            Err(_) => return FenceDecision::FenceDamaged,
        },
    };
    let same_origin = checkpoint.unverified_origin() == signing.origin;
    let head = match checkpoint.verify(signing.keys, &[]) {
        Ok(checkpoint) if same_origin => *checkpoint.head(),
        _ => return FenceDecision::OtherKey,
    };
    if let Some((signer, state)) = file {
        if state == SignerState::Retired {
            return FenceDecision::Retired;
        }
        if signer.store != signing.signer.store {
            return FenceDecision::OtherStore;
        }
    }
    let record_size = record.map(|record| record.checkpoint.unverified_head().size);
    let decision = against_head(signing.size, record_size, &head, root_at);
    let other_copy = file.is_some_and(|(signer, _)| signer != signing.signer);
    if decision == FenceDecision::Sign && other_copy && !signing.continues {
        return FenceDecision::OtherCopy;
    }
    decision
}

/// Holds the log and the record against the head of the fence.
fn against_head(
    size: LogSize,
    record_size: Option<LogSize>,
    head: &TreeHead,
    root_at: impl FnOnce(LogSize) -> Root,
) -> FenceDecision {
    if record_size.is_some_and(|record| record > head.size) {
        FenceDecision::FenceBehind
    } else if head.size > size {
        FenceDecision::Rollback
    } else if root_at(head.size) != head.root {
        FenceDecision::Fork
    } else {
        FenceDecision::Sign
    }
}

impl FenceDecision {
    /// The word for it in JSON, metrics and health.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RecordDamaged => "record-damaged",
            Self::Retired => "retired",
            Self::FenceLost => "fence-lost",
            Self::Unbound => "unbound",
            Self::Exists => "exists",
            Self::FenceDamaged => "fence-damaged",
            Self::OtherKey => "other-key",
            Self::OtherStore => "other-store",
            Self::FenceBehind => "fence-behind",
            Self::Rollback => "rollback",
            Self::Fork => "fork",
            Self::OtherCopy => "other-copy",
            Self::Sign => "sign",
        }
    }

    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Sign => 0,
            Self::Unreachable => 1,
            Self::Unbound | Self::Exists => 2,
            _ => 3,
        }
    }

    /// What happened, and what to do.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "the fence cannot be read or moved; check where it is kept",
            Self::RecordDamaged => {
                "the store's record of its last signature is damaged; give the log a new origin"
            }
            Self::Retired => "the log is retired and never signs again under this origin",
            Self::FenceLost => "the log has signed before, and its fence is gone; find it",
            Self::Unbound => {
                "there is no fence, and nobody said that this log is new and was never signed"
            }
            Self::Exists => "this origin has a fence: the log is not new",
            Self::FenceDamaged => "the fence is damaged; restore it, or give the log a new origin",
            Self::OtherKey => "the fence is of another origin or key; check both",
            Self::OtherStore => "another store signs under this origin; give this one its own",
            Self::FenceBehind => {
                "the fence is older than the store's record: it was rolled back; find the newer one"
            }
            Self::Rollback => {
                "the log has fewer entries than it has signed: it was rolled back; give it a new \
                 origin"
            }
            Self::Fork => {
                "the log has other entries than it has signed; give it a new origin, and keep both"
            }
            Self::OtherCopy => {
                "another copy of this store has signed last; this one has not been told to continue"
            }
            Self::Sign => "the log may sign",
        }
    }
}

impl fmt::Display for FenceDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.as_str(), self.sentence())
    }
}

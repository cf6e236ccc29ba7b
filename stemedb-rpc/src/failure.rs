//! Failure of a store or a node to do what was asked, as a peer is told of it.

use std::{error::Error, fmt};

use stemedb_merkle::history::{ProveError, ReadNodeError};
use stemedb_store::{
    AppendError, HistoryError, LogReadError, NodeError, ReadError, ResolveError, WatchError,
};
use stemedb_wal::error::AppendError as LogAppendError;

use crate::Reason;

/// Failure of a store or a node to do what was asked.
#[derive(Debug)]
pub struct Failure {
    reason: Reason,
    source: Box<dyn Error + Send + Sync>,
    /// Text for the peer about a failure of the store itself.
    detail: Option<String>,
}

impl Failure {
    /// A failure for a reason, and what the store says of it.
    ///
    /// The peer is told the latter if the request was at fault. What concerns the store itself
    /// ([`Reason::Damaged`], [`Reason::Failed`]) is told without particulars, which may be paths.
    pub fn new(reason: Reason, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { reason, source: source.into(), detail: None }
    }

    /// The kind of failure.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        match failure.reason {
            reason @ (Reason::Damaged | Reason::Failed) => match failure.detail {
                Some(detail) => reason.status(detail),
                None => reason.into(),
            },
            reason => reason.status(failure.to_string()),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let reason = match &error {
            AppendError::SecretMissing => Reason::SecretMissing,
            error if error.is_damage() => Reason::Damaged,
            AppendError::Log(LogAppendError::TooLong { .. }) => Reason::TooLarge,
            AppendError::Log(LogAppendError::Closed) => Reason::Stopping,
            _ => Reason::Failed,
        };
        // Without paths.
        let detail = match &error {
            AppendError::Log(LogAppendError::Poisoned(failure)) => Some(failure.without_path()),
            AppendError::ReadOnly => Some(error.to_string()),
            _ => None,
        };
        Self { detail, ..Self::new(reason, error) }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let reason = match &error {
            ReadError::SecretMissing => Reason::SecretMissing,
            error if error.is_damage() => Reason::Damaged,
            _ => Reason::Failed,
        };
        Self::new(reason, error)
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        let reason = match error {
            ResolveError::Read(error) => return error.into(),
            ResolveError::Malformed { .. } => Reason::Malformed,
            ResolveError::NotFound { .. } => Reason::NotFound,
            ResolveError::Ambiguous { .. } => Reason::Ambiguous,
            _ => Reason::Failed,
        };
        Self::new(reason, error)
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let reason = match &error {
            ProveError::SizeOutOfRange { .. } | ProveError::IndexOutOfRange { .. } => {
                Reason::NotFound
            }
            ProveError::SizesOutOfOrder { .. } => Reason::Malformed,
            ProveError::Read(ReadNodeError::Source(NodeError::Tile(_))) => Reason::Damaged,
            ProveError::Read(ReadNodeError::Source(NodeError::Entry(LogReadError::Damaged(_)))) => {
                Reason::Damaged
            }
            _ => Reason::Failed,
        };
        Self::new(reason, error)
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Read(error) => error.into(),
            WatchError::OtherLog => Reason::OtherLog.into(),
            _ => Self::new(Reason::Failed, error),
        }
    }
}

//! Error of a session that did not begin.

use std::io;

/// Reason for which no session began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// Bodies can't be checked without the secret.
    #[error("this store has a secret, and without it nothing can be synced: give its file")]
    SecretMissing,
    /// The set tree or the log can't be read.
    #[error("this store could not be read, so no session began: check it")]
    Unreadable,
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers: {0}")]
    Entropy(#[source] io::Error),
}

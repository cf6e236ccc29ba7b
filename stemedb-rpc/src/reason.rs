//! Why a call did not do what was asked: the one place that knows status codes.
//!
//! On the server an error becomes a [`Status`] here, on the client a [`Status`] becomes an error
//! again. The code says what to do; two words in the trailing metadata say what it was:
//! `stemedb-reason` for the store service and whatever concerns all calls, and `stemedb-refusal`
//! with the number of a [`Refusal`] for the replication service.

use stemedb_sync::message::Refusal;
use tonic::{Code, Status, metadata::MetadataValue};

/// The metadata key of a [`Reason`].
pub const REASON_KEY: &str = "stemedb-reason";
/// The metadata key of a [`Refusal`].
pub const REFUSAL_KEY: &str = "stemedb-refusal";

/// Why a server does not do what a call asks. The words are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The request breaks a rule of the protocol files.
    #[error("the request is not one that the protocol allows")]
    Malformed,
    /// The store has a secret that the server was not given.
    #[error("the store there has a secret, and the server was not given it")]
    SecretMissing,
    /// No token, or a wrong one.
    #[error("the server wants a token, and got none or a wrong one")]
    Token,
    /// The token that was shown, if any, does not permit the call.
    #[error(
        "that is not permitted: it needs a token of another scope; a node is controlled with a \
         token of an administrator, or through the control socket in its store"
    )]
    Forbidden,
    /// The store does not hold the assertion.
    #[error("the store there does not hold it")]
    NotFound,
    /// Several ids begin with the prefix.
    #[error("several ids in the store there begin so; give more digits")]
    Ambiguous,
    /// The log is not the one that was watched.
    #[error(
        "the log there is not the one that was watched: its store was restored from a copy, \
         repaired with loss of entries, or replaced; watch it again from entry 0"
    )]
    OtherLog,
    /// Something is larger than the store or the server takes.
    #[error("it is larger than the server takes")]
    TooLarge,
    /// The server has as many calls or sessions as it allows.
    #[error("the server is too busy now; try again later")]
    Busy,
    /// The server is on its way out.
    #[error("the server is about to stop; try again later")]
    Stopping,
    /// A message or an answer took too long.
    #[error("it took longer than the server waits")]
    Stalled,
    /// A message was changed on its way.
    #[error("a message was changed on its way and not taken; send it again")]
    Garbled,
    /// The store is damaged.
    #[error("the store there is damaged; check and repair it on its own machine")]
    Damaged,
    /// The store can't go on.
    #[error("the store there can't do it at present; see the messages of the server")]
    Failed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Malformed,
        Self::SecretMissing,
        Self::Token,
        Self::Forbidden,
        Self::NotFound,
        Self::Ambiguous,
        Self::OtherLog,
        Self::TooLarge,
        Self::Busy,
        Self::Stopping,
        Self::Stalled,
        Self::Garbled,
        Self::Damaged,
        Self::Failed,
    ];

    /// Its word in the metadata.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::SecretMissing => "secret-missing",
            Self::Token => "token",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Ambiguous => "ambiguous",
            Self::OtherLog => "other-log",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::Stopping => "stopping",
            Self::Stalled => "stalled",
            Self::Garbled => "garbled",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
        }
    }

    /// The reason of a word; `None` if this version knows none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }

    /// The status code that goes with it.
    pub const fn code(self) -> Code {
        match self {
            Self::Malformed => Code::InvalidArgument,
            Self::SecretMissing | Self::Ambiguous | Self::OtherLog => Code::FailedPrecondition,
            Self::Token => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::TooLarge => Code::ResourceExhausted,
            Self::Busy | Self::Stopping => Code::Unavailable,
            Self::Stalled => Code::DeadlineExceeded,
            Self::Garbled => Code::Aborted,
            Self::Damaged => Code::DataLoss,
            Self::Failed => Code::Internal,
        }
    }

    /// A status with a message of its own, which must not tell more than the peer may know.
    pub fn status(self, message: impl Into<String>) -> Status {
        let mut status = Status::new(self.code(), message);
        status.metadata_mut().insert(REASON_KEY, MetadataValue::from_static(self.word()));
        status
    }
}

impl From<Reason> for Status {
    fn from(reason: Reason) -> Self {
        reason.status(reason.to_string())
    }
}

/// The status code of a refusal.
pub const fn refusal_code(refusal: Refusal) -> Code {
    match refusal {
        Refusal::Version | Refusal::Itself => Code::FailedPrecondition,
        Refusal::Secret | Refusal::Token => Code::Unauthenticated,
        Refusal::SnapshotGone => Code::Aborted,
        Refusal::Busy | Refusal::Closing => Code::Unavailable,
        Refusal::TooLarge | Refusal::OverLimit | Refusal::Memory => Code::ResourceExhausted,
        Refusal::Malformed => Code::InvalidArgument,
        Refusal::Unknown => Code::NotFound,
        Refusal::Damaged => Code::DataLoss,
        Refusal::Taken => Code::AlreadyExists,
        _ => Code::Internal,
    }
}

/// The status that tells a refusal.
pub fn refusal_status(refusal: Refusal) -> Status {
    let mut status = Status::new(refusal_code(refusal), refusal.to_string());
    status.metadata_mut().insert(REFUSAL_KEY, MetadataValue::from(refusal.code()));
    status
}

/// The refusal that a status tells, if it tells one.
pub fn refusal_of(status: &Status) -> Option<Refusal> {
    let number = status.metadata().get(REFUSAL_KEY)?.to_str().ok()?;
    Refusal::from_code(number.parse().ok()?)
}

/// The word of the reason that a status tells.
pub(crate) fn reason_word(status: &Status) -> Option<&str> {
    status.metadata().get(REASON_KEY)?.to_str().ok()
}

/// The reason that a status tells, in its metadata or, from a server that sends none, by its code.
pub fn reason_of(status: &Status) -> Option<Reason> {
    reason_word(status).and_then(Reason::from_word).or_else(|| match status.code() {
        Code::Unauthenticated => Some(Reason::Token),
        Code::OutOfRange | Code::ResourceExhausted => Some(Reason::TooLarge),
        Code::NotFound => Some(Reason::NotFound),
        Code::DataLoss => Some(Reason::Damaged),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_refusal_comes_back_from_its_status() {
        for reason in Reason::ALL {
            let status = Status::from(reason);
            assert_eq!(reason_of(&status), Some(reason));
            assert_eq!(refusal_of(&status), None);
            assert_eq!(status.code(), reason.code());
        }
        for refusal in Refusal::ALL {
            let status = refusal_status(refusal);
            assert_eq!(refusal_of(&status), Some(refusal));
            assert_ne!(status.code(), Code::Ok);
        }
    }

    #[test]
    fn words_that_nobody_knows_are_not_taken_for_a_reason() {
        let mut status = Status::new(Code::Internal, "");
        status.metadata_mut().insert(REASON_KEY, MetadataValue::from_static("something-new"));
        status.metadata_mut().insert(REFUSAL_KEY, MetadataValue::from_static("99"));
        assert_eq!(reason_of(&status), None);
        assert_eq!(refusal_of(&status), None);
    }
}

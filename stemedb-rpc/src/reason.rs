//! Reasons of failed calls: the one place that knows status codes.
//!
//! On the server an error becomes a [`Status`] here, on the client a [`Status`] becomes an error
//! again. The code says what to do; the details (`google.rpc.Status` in `grpc-status-details-bin`)
//! have an `ErrorInfo` of the domain `stemedb.dev` that says what it was: its reason is the word of
//! a [`Reason`], or the name of a [`Refusal`], whose number is in the metadata under `refusal`.

use std::collections::HashMap;

use stemedb_sync::message::Refusal;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, ErrorInfo, StatusExt as _};

use crate::Malformed;

/// Domain of the reasons in an `ErrorInfo`.
pub const DOMAIN: &str = "stemedb.dev";

/// Key of the number of a refusal in the metadata of an error.
const REFUSAL: &str = "refusal";

/// Reason for which a server does not do what a call asks. The words are part of the protocol.
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
    /// The server serves a store and is not a member of a cluster.
    #[error("the server there serves a store only: it is not a member of a cluster")]
    NotMember,
    /// The configuration of a node can't be used, or not all of it.
    #[error("the node there cannot use its configuration, or not all of it")]
    Configuration,
    /// The store can't go on.
    #[error("the store there can't do it at present; see the messages of the server")]
    Failed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
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
        Self::NotMember,
        Self::Configuration,
        Self::Failed,
    ];

    /// Its word in the details of an error.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::SecretMissing => "SECRET_MISSING",
            Self::Token => "TOKEN",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Ambiguous => "AMBIGUOUS",
            Self::OtherLog => "OTHER_LOG",
            Self::TooLarge => "TOO_LARGE",
            Self::Busy => "BUSY",
            Self::Stopping => "STOPPING",
            Self::Stalled => "STALLED",
            Self::Garbled => "GARBLED",
            Self::Damaged => "DAMAGED",
            Self::NotMember => "NOT_A_MEMBER",
            Self::Configuration => "CONFIGURATION",
            Self::Failed => "FAILED",
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
            Self::SecretMissing | Self::Ambiguous | Self::OtherLog | Self::Configuration => {
                Code::FailedPrecondition
            }
            Self::NotMember => Code::Unimplemented,
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
        let details = ErrorDetails::with_error_info(self.word(), DOMAIN, HashMap::new());
        Status::with_error_details(self.code(), message, details)
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
        Refusal::Busy | Refusal::Closing | Refusal::BusyWithYou => Code::Unavailable,
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
    refusal_status_with(refusal, refusal.to_string())
}

/// The same, with a message of its own.
fn refusal_status_with(refusal: Refusal, message: String) -> Status {
    let metadata = HashMap::from([(REFUSAL.to_owned(), refusal.code().to_string())]);
    let details = ErrorDetails::with_error_info(refusal.name(), DOMAIN, metadata);
    Status::with_error_details(refusal_code(refusal), message, details)
}

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Self {
        Reason::Malformed.status(error.to_string())
    }
}

/// The refusal of a message that does not parse.
pub(crate) fn malformed(error: Malformed) -> Status {
    refusal_status_with(Refusal::Malformed, error.to_string())
}

/// Details of a status, if they are ours.
fn info(status: &Status) -> Option<ErrorInfo> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN)
}

/// The refusal that a status tells, if it tells one.
pub fn refusal_of(status: &Status) -> Option<Refusal> {
    Refusal::from_code(info(status)?.metadata.get(REFUSAL)?.parse().ok()?)
}

/// Whether a status has details of ours.
pub(crate) fn is_explained(status: &Status) -> bool {
    info(status).is_some()
}

/// The reason that a status tells, in its details or, from a server that sends none, by its code.
pub fn reason_of(status: &Status) -> Option<Reason> {
    info(status).and_then(|info| Reason::from_word(&info.reason)).or_else(|| match status.code() {
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
        let unknown = |reason: &str, domain: &str, refusal: &str| {
            let metadata = HashMap::from([(REFUSAL.to_owned(), refusal.to_owned())]);
            let details = ErrorDetails::with_error_info(reason, domain, metadata);
            Status::with_error_details(Code::Internal, "", details)
        };
        for status in [unknown("SOMETHING_NEW", DOMAIN, "99"), unknown("BUSY", "else.where", "1")] {
            assert_eq!(reason_of(&status), None);
            assert_eq!(refusal_of(&status), None);
        }
        let garbled = Status::with_details(Code::Internal, "", vec![0xff; 40].into());
        assert_eq!((reason_of(&garbled), refusal_of(&garbled)), (None, None));
    }
}

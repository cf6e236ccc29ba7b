//! Errors of calls, as the client sees them.

use std::{fmt, ops::RangeInclusive};

use stemedb_merkle::{AssertionId, history::HistoryProofError, proof::ProofError};
use stemedb_sync::message::Refusal;
use tonic::{Code, Status};

use super::PeerAddress;
use crate::{
    Malformed, Reason,
    reason::{reason_of, refusal_of},
};

/// Error of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server can't be reached.
    #[error("cannot connect to {peer}: is it running, and is TLS on or off on both sides?")]
    Connect {
        /// Its address.
        peer: PeerAddress,
        /// The system's error.
        source: tonic::transport::Error,
    },
    /// The certificates given can't be used.
    #[error("the certificate, its key or the authority can't be used")]
    Options(#[source] tonic::transport::Error),
    /// The address is one with TLS, and no authority is given.
    #[error("{peer} wants TLS: give the authority that its certificate comes from")]
    AuthorityMissing {
        /// The address.
        peer: PeerAddress,
    },
    /// The address is one without TLS, and certificates are given.
    #[error("{peer} is an address without TLS: write https:// to use the certificates")]
    TlsUnwanted {
        /// The address.
        peer: PeerAddress,
    },
    /// Others could read the token.
    #[error("the token would go to {peer} in plaintext, where others can read along: use TLS")]
    TokenInPlaintext {
        /// The address.
        peer: PeerAddress,
    },
    /// The server refuses, and why.
    #[error("{reason} (the server says: {message})")]
    Refused {
        /// The reason.
        reason: Reason,
        /// In its own words.
        message: PeerText,
    },
    /// The responder of a session refuses, and why.
    #[error(transparent)]
    Refusal(Refusal),
    /// There is a server, and it does not know the call.
    #[error(
        "there is a server at {peer}, but it is no stemedb, or one too old for this call (it says: \
         {message})"
    )]
    Unimplemented {
        /// Its address.
        peer: PeerAddress,
        /// In its own words, or what is made of them.
        message: PeerText,
    },
    /// The call failed otherwise, on the server or on the way.
    #[error("the call failed: {code} (the server says: {message})")]
    Status {
        /// The status code.
        code: Code,
        /// In the server's words.
        message: PeerText,
    },
    /// No answer in time.
    #[error("the server did not answer in time")]
    Stalled,
    /// The answer breaks the protocol.
    #[error("the server's answer breaks the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// The body does not hash to its id.
    #[error("the server gave a body that does not hash to the id {id}: don't trust it")]
    WrongBody {
        /// The id.
        id: AssertionId,
    },
    /// The proof proves nothing.
    #[error("the server gave a proof that proves nothing: {0}")]
    WrongProof(#[source] ProofError),
    /// The proof of the history proves nothing.
    #[error("the server gave a proof that proves nothing: {0}")]
    WrongHistoryProof(#[source] HistoryProofError),
}

impl CallError {
    /// Whether the same call may well succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Refused { reason, .. } => {
                matches!(reason, Reason::Busy | Reason::Stopping | Reason::Garbled)
            }
            Self::Refusal(refusal) => {
                matches!(refusal, Refusal::Busy | Refusal::Closing | Refusal::Memory)
            }
            // Besides what a server says: what a connection gives that is closed under a call.
            Self::Status { code, .. } => {
                matches!(code, Code::Unavailable | Code::Cancelled | Code::Unknown)
            }
            _ => false,
        }
    }

    /// Error of a server that did not take a call.
    pub(super) fn answered(peer: &PeerAddress, status: Status) -> Self {
        // Also what a web server gives that knows no such page: 404.
        if status.code() == Code::Unimplemented {
            let message = PeerText::new(status.message());
            return Self::Unimplemented { peer: peer.clone(), message };
        }
        status.into()
    }

    /// Reason of a refusal by the server, if it is one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        if let Some(refusal) = refusal_of(&status) {
            return Self::Refusal(refusal);
        }
        let message = PeerText::new(status.message());
        match reason_of(&status) {
            Some(reason) => Self::Refused { reason, message },
            None => Self::Status { code: status.code(), message },
        }
    }
}

/// Text from a peer, fit to be shown on a terminal: one line, not long, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerText(Box<str>);

/// Characters that can't be seen, or that reorder what is seen.
const UNSEEN: [RangeInclusive<char>; 4] = [
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
];

/// Characters of a peer's text that are kept.
const TEXT_LEN_MAX: usize = 300;

impl PeerText {
    pub(crate) fn new(text: &str) -> Self {
        let shown = |c: char| {
            let unseen = UNSEEN.iter().any(|range| range.contains(&c));
            if c.is_control() || unseen { char::REPLACEMENT_CHARACTER } else { c }
        };
        Self(text.chars().take(TEXT_LEN_MAX).map(shown).collect())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "nothing" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::refusal_status;

    #[test]
    fn what_a_server_says_is_understood() {
        let error = CallError::from(Status::from(Reason::Busy));
        assert!(error.may_pass() && error.reason() == Some(Reason::Busy));
        let error = CallError::from(refusal_status(Refusal::Itself));
        assert!(matches!(error, CallError::Refusal(Refusal::Itself)) && !error.may_pass());
        let error = CallError::from(Status::unavailable(""));
        assert!(error.may_pass() && error.reason().is_none());
        let error = CallError::from(Status::internal("x"));
        assert!(!error.may_pass(), "{error}");
    }

    #[test]
    fn what_a_server_says_does_no_harm_on_a_terminal() {
        let text = PeerText::new("a\u{1b}[31m\n\u{202e}é\0");
        assert_eq!(text.to_string(), "a\u{fffd}[31m\u{fffd}\u{fffd}é\u{fffd}");
        assert_eq!(PeerText::new(&"é".repeat(1000)).to_string().chars().count(), TEXT_LEN_MAX);
        assert_eq!(PeerText::new("").to_string(), "nothing");
    }
}

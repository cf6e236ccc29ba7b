//! Errors of calls, as the client sees them.

use std::{fmt, ops::RangeInclusive};

use stemedb_merkle::{AssertionId, history::HistoryProofError, proof::ProofError};
use stemedb_sync::message::Refusal;
use tonic::{Code, Status};

use super::{PeerAddress, connect_failure::ConnectFailure, connector::Link};
use crate::{
    Malformed, Reason,
    reason::{is_explained, reason_of, refusal_of},
    tls::TlsError,
};

/// Error of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server can't be reached.
    #[error("cannot connect to {peer}: {cause}")]
    Connect {
        /// Its address.
        peer: PeerAddress,
        /// The reason.
        cause: ConnectFailure,
    },
    /// The connection ended while something was asked on it.
    #[error("the connection to {peer} broke: the server ended, or the network did")]
    Broken {
        /// Its address.
        peer: PeerAddress,
    },
    /// The certificates given can't be used.
    #[error("the certificates given cannot be used: {0}")]
    Tls(#[from] TlsError),
    /// The address can't be called.
    #[error("the address cannot be used")]
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
    #[error("{}", Said { reason: *reason, message })]
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

/// A reason, and what the server says of it where that is more.
struct Said<'a> {
    reason: Reason,
    message: &'a PeerText,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, message } = self;
        let sentence = reason.to_string();
        if message.0.is_empty() || *message.0 == *sentence {
            return f.write_str(&sentence);
        }
        write!(f, "{sentence} (the server says: {message})")
    }
}

impl CallError {
    /// Whether the same call may well succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => cause.may_pass(),
            Self::Broken { .. } => true,
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

    /// Error of a call that failed on the way, or that a server did not take.
    pub(super) fn of(status: Status, link: &Link) -> Self {
        let Link { peer, diagnosis } = link;
        // A status that a server sent has no source.
        let is_here = std::error::Error::source(&status).is_some();
        if is_here && !is_explained(&status) {
            let peer = peer.clone();
            return match diagnosis.get() {
                Some(cause) => Self::Connect { peer, cause },
                None if is_broken(&status) => Self::Broken { peer },
                None => status.into(),
            };
        }
        // Also what a web server gives that knows no such page: 404.
        if status.code() == Code::Unimplemented && !is_explained(&status) {
            let message = PeerText::new(status.message());
            return Self::Unimplemented { peer: peer.clone(), message };
        }
        status.into()
    }

    /// A word for it, one of a few: a label of a metric.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connect { cause, .. } => cause.word(),
            Self::Tls(_) | Self::Options(_) => "own_certificate",
            Self::AuthorityMissing { .. } => "tls_wanted",
            Self::TlsUnwanted { .. } => "tls_unwanted",
            Self::Refused { reason: Reason::Token | Reason::Forbidden, .. }
            | Self::TokenInPlaintext { .. }
            | Self::Refusal(Refusal::Token) => "token",
            Self::Refusal(Refusal::Secret) => "secret",
            Self::Unimplemented { .. } => "not_a_server",
            Self::Refused { reason: Reason::NotMember, .. } => "not_a_member",
            Self::Stalled => "no_answer",
            Self::Broken { .. } => "closed",
            _ => "other",
        }
    }

    /// Words that [`word`](Self::word) has beside those of
    /// [`ConnectFailure`](ConnectFailure::WORDS).
    pub const OTHER_WORDS: [&'static str; 4] = ["token", "secret", "not_a_member", "other"];

    /// Whether something is set wrongly on one of the two sides, so that it does not pass.
    pub fn is_misconfigured(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => cause.is_misconfigured(),
            Self::Tls(_)
            | Self::Options(_)
            | Self::AuthorityMissing { .. }
            | Self::TlsUnwanted { .. }
            | Self::TokenInPlaintext { .. }
            | Self::Unimplemented { .. }
            | Self::Refusal(Refusal::Secret | Refusal::Token) => true,
            Self::Refused { reason, .. } => {
                matches!(reason, Reason::Token | Reason::Forbidden | Reason::NotMember)
            }
            _ => false,
        }
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

/// Whether a status that was made on this side is that of a connection which ended.
fn is_broken(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown)
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

//! Reason for which there is no connection.

use std::{io, time::Duration};

use tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage};

use crate::tls::Moment;

/// Reason for which there is no connection to a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// The host has no address.
    #[error("no such host: {0}")]
    UnknownHost(String),
    /// Nobody listens there.
    #[error("connection refused: nothing listens there")]
    Refused,
    /// There was no answer.
    #[error("no answer within {} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// The system's error.
    #[error("{0}")]
    Io(String),
    /// The server speaks TLS, and this side does not.
    #[error("the server wants TLS: use https://, and give the authority of its certificate")]
    TlsWanted,
    /// This side speaks TLS, and the server does not.
    #[error("the server does not use TLS: use http://, without an authority")]
    TlsUnwanted,
    /// Something else answers there.
    #[error("a web server answers there, not a stemedb server: is it the port of the console?")]
    NotAServer,
    /// The server hung up before anything was said.
    #[error(
        "the server closed the connection before it said anything: does it use TLS, and is it a \
         stemedb server?"
    )]
    Closed,
    /// The server's certificate is not one to trust.
    #[error("the server's certificate {0}")]
    ServerCertificate(CertificateFault),
    /// The server does not take this side's certificate.
    #[error("the server refuses this side's certificate: {0}")]
    OwnCertificate(&'static str),
    /// TLS failed otherwise.
    #[error("TLS failed: {0}")]
    Tls(String),
}

/// Reason for which a certificate is not one to trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// Its time is over.
    #[error("expired on {0}")]
    Expired(Moment),
    /// Its time has not come.
    #[error("is not valid before {0}")]
    NotYetValid(Moment),
    /// It is of somebody else's authority.
    #[error("comes from another authority than the one that is trusted")]
    OtherAuthority,
    /// It is for other names.
    #[error("is for {names}, not for {wanted}")]
    OtherName {
        /// The names in it.
        names: String,
        /// The name that is wanted.
        wanted: String,
    },
    /// Something else.
    #[error("cannot be used: {0}")]
    Other(String),
}

impl ConnectFailure {
    /// Words for all of them: labels of a metric.
    pub const WORDS: [&'static str; 11] = [
        "unknown_host",
        "refused",
        "no_answer",
        "io",
        "tls_wanted",
        "tls_unwanted",
        "not_a_server",
        "closed",
        "server_certificate",
        "own_certificate",
        "tls",
    ];

    /// Its word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::UnknownHost(_) => "unknown_host",
            Self::Refused => "refused",
            Self::NoAnswer(_) => "no_answer",
            Self::Io(_) => "io",
            Self::TlsWanted => "tls_wanted",
            Self::TlsUnwanted => "tls_unwanted",
            Self::NotAServer => "not_a_server",
            Self::Closed => "closed",
            Self::ServerCertificate(_) => "server_certificate",
            Self::OwnCertificate(_) => "own_certificate",
            Self::Tls(_) => "tls",
        }
    }

    /// Whether it may be over soon, by itself.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::UnknownHost(_) | Self::Refused | Self::NoAnswer(_) | Self::Io(_) | Self::Closed
        )
    }

    /// Whether there is a server, with which something is wrong: not one that is down.
    pub fn is_misconfigured(&self) -> bool {
        !self.may_pass()
    }

    pub(super) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ => Self::Io(error.to_string()),
        }
    }

    /// Failure of a handshake.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match Self::of_tls(error) {
            Some(failure) => failure,
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Io(error.to_string()),
            },
        }
    }

    /// Failure that TLS tells, also later than in the handshake: only then does a client learn
    /// that its certificate is refused.
    pub(super) fn of_tls(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match error {
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::TlsUnwanted,
            rustls::Error::InvalidCertificate(error) => Self::ServerCertificate(error.into()),
            rustls::Error::AlertReceived(alert) => match refusal(*alert) {
                Some(reason) => Self::OwnCertificate(reason),
                None => Self::Tls(error.to_string()),
            },
            _ => Self::Tls(error.to_string()),
        })
    }

    /// Failure that the first bytes show that a server says in plaintext.
    pub(super) fn of_plaintext(first: &[u8]) -> Option<Self> {
        let is_alert = first.starts_with(&[0x15, 0x03]);
        // Empty settings, then a GOAWAY with the reason INADEQUATE_SECURITY.
        let is_refusal = first.starts_with(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
            && first.get(12) == Some(&7)
            && first.get(22..FIRST_LEN) == Some(&[0, 0, 0, 0xc]);
        if is_alert || is_refusal {
            return Some(Self::TlsWanted);
        }
        first.starts_with(b"HTTP/").then_some(Self::NotAServer)
    }
}

/// Bytes by which [`ConnectFailure::of_plaintext`] knows a server.
pub(super) const FIRST_LEN: usize = 26;

/// What an alert says of the certificate of whom it is sent to, if it says anything of it.
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "it wants one, and got none"
        }
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet",
        // The second: of one with the same name.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it comes from another authority than the one it trusts"
        }
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => "it cannot be used there",
        _ => return None,
    })
}

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::ExpiredContext { not_after, .. } => {
                Self::Expired(Moment(not_after.as_secs()))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid(Moment(not_before.as_secs()))
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::OtherAuthority
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names = match presented.as_slice() {
                    [] => "no name".to_owned(),
                    names => names.iter().map(|name| name_of(name)).collect::<Vec<_>>().join(", "),
                };
                Self::OtherName { names, wanted: expected.to_str().into_owned() }
            }
            other => Self::Other(other.to_string()),
        }
    }
}

/// A name of a certificate without the word that the library puts around it: `DnsName("a")`.
fn name_of(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_of_a_server_identify_it() {
        let tls = Some(ConnectFailure::TlsWanted);
        let web = Some(ConnectFailure::NotAServer);
        let go_away = crate::server::refusal_in_plaintext(true);
        for (first, failure) in [
            (&b"\x15\x03\x03\0\x02\x02\x46"[..], &tls),
            (&go_away, &tls),
            (b"HTTP/1.1 400 Bad Request", &web),
            // Settings of a server that serves.
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x20\0\x04\0\x10\0\0\0\x06\0\0\x20\0", &None),
            (b"", &None),
        ] {
            assert_eq!(ConnectFailure::of_plaintext(first), *failure, "{first:?}");
        }
    }

    #[test]
    fn words_are_of_the_list() {
        let fault = CertificateFault::OtherAuthority;
        for failure in [
            ConnectFailure::UnknownHost(String::new()),
            ConnectFailure::Refused,
            ConnectFailure::NoAnswer(Duration::ZERO),
            ConnectFailure::Io(String::new()),
            ConnectFailure::TlsWanted,
            ConnectFailure::TlsUnwanted,
            ConnectFailure::NotAServer,
            ConnectFailure::Closed,
            ConnectFailure::ServerCertificate(fault),
            ConnectFailure::OwnCertificate(""),
            ConnectFailure::Tls(String::new()),
        ] {
            assert!(ConnectFailure::WORDS.contains(&failure.word()));
        }
    }
}

//! Address of a server.

use std::{fmt, net::IpAddr, str::FromStr};

use tonic::codegen::http::{Uri, uri::Authority};

/// The port of a server whose address names none.
pub const DEFAULT_PORT: u16 = 7845;

/// The address of a server: `HOST`, `HOST:PORT`, or the same after `http://` (plaintext) or
/// `https://` (with TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    scheme: Option<Scheme>,
    host: Host,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    /// A Unix socket, whose path is the host. Never parsed: nobody else names one to this machine.
    Unix,
}

impl FromStr for Scheme {
    type Err = ParseAddressError;

    /// Upper and lower case are the same (RFC 3986, section 3.1).
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        if text.eq_ignore_ascii_case("http") {
            Ok(Self::Http)
        } else if text.eq_ignore_ascii_case("https") {
            Ok(Self::Https)
        } else {
            Err(ParseAddressError)
        }
    }
}

/// As it stands in the address, an IPv6 address in brackets; or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host(String);

/// Error of parsing the address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a peer is HOST, HOST:PORT, http://HOST:PORT or https://HOST:PORT, and an IPv6 address stands \
     in brackets"
)]
pub struct ParseAddressError;

impl FromStr for PeerAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        Self::with_default_port(text, DEFAULT_PORT)
    }
}

impl PeerAddress {
    /// Parses an address; `port` is that of one that names none.
    ///
    /// # Errors
    ///
    /// If the text is not an address, or its port, given or not, is 0.
    pub fn with_default_port(text: &str, port: u16) -> Result<Self, ParseAddressError> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => (Some(scheme.parse()?), rest),
        };
        let rest = rest.strip_suffix('/').filter(|_| scheme.is_some()).unwrap_or(rest);
        let authority = Authority::from_str(rest).map_err(|_| ParseAddressError)?;
        let host = authority.host();
        let after_host = rest.strip_prefix(host).ok_or(ParseAddressError)?;
        let port = match after_host.strip_prefix(':') {
            None if after_host.is_empty() => port,
            None => return Err(ParseAddressError),
            // A sign would be taken for part of the number.
            Some(port) if port.starts_with('+') => return Err(ParseAddressError),
            Some(port) => port.parse().map_err(|_| ParseAddressError)?,
        };
        if host.is_empty() || port == 0 {
            return Err(ParseAddressError);
        }
        let address = Self { scheme, host: Host(host.to_owned()), port };
        match Uri::from_str(&address.uri(false)) {
            Ok(_) => Ok(address),
            Err(_) => Err(ParseAddressError),
        }
    }

    /// The Unix socket at a path, of at most 100 bytes.
    pub fn unix(path: &str) -> Self {
        Self { scheme: Some(Scheme::Unix), host: Host(path.to_owned()), port: 0 }
    }

    /// Whether it says that TLS is wanted.
    pub fn wants_tls(&self) -> bool {
        self.scheme == Some(Scheme::Https)
    }

    /// Whether it says that TLS is not wanted.
    pub fn refuses_tls(&self) -> bool {
        matches!(self.scheme, Some(Scheme::Http | Scheme::Unix))
    }

    /// Whether it is on this machine, so that nobody can read along.
    pub fn is_here(&self) -> bool {
        if self.scheme == Some(Scheme::Unix) {
            return true;
        }
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether both are the same host and port, however they are reached.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let unix = |address: &Self| address.scheme == Some(Scheme::Unix);
        self.host.0.eq_ignore_ascii_case(&other.host.0)
            && self.port == other.port
            && unix(self) == unix(other)
    }

    /// The host, an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        self.host.0.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is a Unix socket.
    pub(super) fn is_socket(&self) -> bool {
        self.scheme == Some(Scheme::Unix)
    }

    pub(super) fn uri(&self, tls: bool) -> String {
        if self.scheme == Some(Scheme::Unix) {
            return format!("unix:{}", self.host.0);
        }
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host.0, self.port)
    }
}

impl From<std::net::SocketAddr> for PeerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        Self { scheme: None, host: Host(host), port: address.port() }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            None => {}
            Some(Scheme::Http) => f.write_str("http://")?,
            Some(Scheme::Https) => f.write_str("https://")?,
            Some(Scheme::Unix) => return write!(f, "unix:{}", self.host.0),
        }
        write!(f, "{}:{}", self.host.0, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written, here) in [
            ("localhost", "localhost:7845", true),
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("[::1]:80", "[::1]:80", true),
            ("[::2]", "[::2]:7845", false),
            ("http://a.example/", "http://a.example:7845", false),
            ("https://a.example:65535", "https://a.example:65535", false),
            ("HTTPS://a.example", "https://a.example:7845", false),
            ("Http://localhost:1", "http://localhost:1", true),
        ] {
            let address: PeerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(address.is_here(), here, "{text}");
            assert_eq!(written.parse(), Ok(address));
        }
        let socket = PeerAddress::unix("/var/lib/stemedb/CONTROL");
        assert_eq!(socket.to_string(), "unix:/var/lib/stemedb/CONTROL");
        assert!(socket.is_here() && socket.refuses_tls() && !socket.wants_tls());
        let address = |text: &str| text.parse::<PeerAddress>().unwrap();
        assert!(address("a.example").is_same_place(&address("https://A.example:7845")));
        assert!(!address("a.example").is_same_place(&address("a.example:1")));
        assert!(!address("a.example").is_same_place(&address("b.example")));
        let v6: std::net::SocketAddr = "[::1]:9".parse().unwrap();
        assert_eq!(PeerAddress::from(v6).to_string(), "[::1]:9");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:-1",
            "a:+1",
            "[::1]:+1",
            "a b",
            "a/b",
            "ftp://a",
            "http://",
            "a@b:1",
            "http://a/b",
            "a?b",
            "http://a:1:2",
            "::1",
            "a/",
            "x\u{1b}[31m",
            "unix:/run/socket",
            "unix:///run/socket",
        ] {
            assert_eq!(text.parse::<PeerAddress>(), Err(ParseAddressError), "{text:?}");
        }
    }
}

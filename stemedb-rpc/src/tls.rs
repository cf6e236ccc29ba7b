//! Certificates and keys, as PEM, and what TLS is set up with.

mod system_roots;
mod validity;

use std::{fmt, sync::Arc};

use tokio_rustls::rustls::{
    self, ClientConfig, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::WebPkiClientVerifier,
};

pub use self::{
    system_roots::SystemRoots,
    validity::{CertificateError, Moment, Validity},
};

/// The only protocol that is spoken inside TLS: HTTP/2.
pub(crate) const ALPN: &[u8] = b"h2";

stemedb_merkle::options! {
    /// How a server shows who it is, and whom it lets in.
    #[derive(Clone)]
    pub struct ServerTls {
        new {
            /// Its certificate, followed by those that lead to the authority.
            pub certificate: Vec<u8>,
            /// The key of its certificate.
            pub key: Vec<u8>,
        }
        /// The authority whose certificates clients must show; `None` lets clients in without any.
        pub client_ca: Option<Vec<u8>> = None,
    }
}

stemedb_merkle::options! {
    /// How a client knows a server, and shows who it is.
    #[derive(Clone)]
    pub struct ClientTls {
        new {
            /// The authority that the server's certificate must come from; empty for none but
            /// those of the system.
            pub ca: Vec<u8>,
        }
        /// Authorities that the system trusts, to be trusted as well; `None` for none of them.
        pub system_roots: Option<SystemRoots> = None,
        /// The client's certificate and its key, for a server that wants one.
        pub identity: Option<ClientIdentity> = None,
        /// The name that the server's certificate must have; `None` for the host of its address.
        pub server_name: Option<String> = None,
    }
}

/// A client's certificate and key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate, followed by those that lead to the authority.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// Error of setting TLS up with certificates and a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A certificate can't be used.
    #[error("{part}: {source}")]
    Certificate {
        /// Which.
        part: TlsPart,
        /// The reason.
        source: CertificateError,
    },
    /// The key can't be used.
    #[error("the key: not a private key as PEM")]
    Key(#[source] pem::Error),
    /// The key is that of another certificate.
    #[error("the key is not that of the certificate: they must be a pair")]
    WrongPair,
    /// The system has no authorities that it trusts.
    #[error("the system trusts no authority, or its list cannot be read: give the authority")]
    NoSystemRoots,
    /// The name of the server is none.
    #[error("the name that the server's certificate is to have is neither a host nor an address")]
    ServerName,
    /// The library does not take them.
    #[error(transparent)]
    Other(rustls::Error),
}

/// A file of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum TlsPart {
    /// The own certificate.
    #[strum(serialize = "the certificate")]
    Certificate,
    /// The authority of the other side.
    #[strum(serialize = "the authority")]
    Authority,
}

impl TlsPart {
    fn failed(self) -> impl Fn(CertificateError) -> TlsError {
        move |source| TlsError::Certificate { part: self, source }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of one party, of which the first is its own and has to be valid.
fn chain(pem: &[u8], now: UnixTime) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = validity::certificates(pem).map_err(TlsPart::Certificate.failed())?;
    let own = chain.first().ok_or(CertificateError::Missing);
    let valid = own.and_then(|own| Validity::of(own)?.check(now));
    valid.map_err(TlsPart::Certificate.failed())?;
    Ok(chain)
}

/// Authorities, at least one of which has to be valid: an old one may stand beside its successor.
fn authorities(pem: &[u8], now: UnixTime) -> Result<RootCertStore, TlsError> {
    let failed = TlsPart::Authority.failed();
    let all = validity::certificates(pem).map_err(&failed)?;
    let mut roots = RootCertStore::empty();
    let mut invalid = None;
    for authority in all {
        match Validity::of(&authority).and_then(|validity| validity.check(now)) {
            Ok(()) => roots.add(authority).map_err(TlsError::Other)?,
            Err(error) => invalid = Some(error),
        }
    }
    match invalid {
        Some(error) if roots.is_empty() => Err(failed(error)),
        _ => Ok(roots),
    }
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(TlsError::Key)
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Self::WrongPair,
            other => Self::Other(other),
        }
    }
}

impl ServerTls {
    /// What connections are accepted with.
    ///
    /// # Errors
    ///
    /// If certificate, key or authority can't be used at this time.
    pub(crate) fn config(&self, now: UnixTime) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let roots = Arc::new(authorities(ca, now)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                    .build()
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (chain, key) = (chain(&self.certificate, now)?, key(&self.key)?);
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

impl ClientTls {
    /// What connections are made with.
    ///
    /// # Errors
    ///
    /// If certificate, key or authority can't be used at this time.
    pub(crate) fn config(&self, now: UnixTime) -> Result<ClientConfig, TlsError> {
        let roots = match (self.ca.as_slice(), &self.system_roots) {
            ([], Some(system)) => Arc::clone(system.store()),
            (ca, None) => Arc::new(authorities(ca, now)?),
            (ca, Some(system)) => {
                let mut roots = authorities(ca, now)?;
                roots.extend(system.store().roots.iter().cloned());
                Arc::new(roots)
            }
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(ClientIdentity { certificate, key: pem }) => {
                builder.with_client_auth_cert(chain(certificate, now)?, key(pem)?)?
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    /// Whether it can be used now.
    ///
    /// # Errors
    ///
    /// If certificate, key or authority can't.
    pub fn check(&self) -> Result<(), TlsError> {
        self.config(UnixTime::now()).map(drop)
    }
}

impl ServerTls {
    /// Whether it can be used now.
    ///
    /// # Errors
    ///
    /// If certificate, key or authority can't.
    pub fn check(&self) -> Result<(), TlsError> {
        self.config(UnixTime::now()).map(drop)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("mutual", &self.client_ca.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity(..)")
    }
}

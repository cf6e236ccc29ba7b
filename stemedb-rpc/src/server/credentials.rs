//! Certificates and tokens of a server, which can be replaced while it serves.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use tokio_rustls::rustls::{ServerConfig, pki_types::UnixTime};

use super::{ServeError, ServerOptions, access::Access};

/// Certificates and tokens of a server. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Where the server listens: in plaintext only where that is safe.
    address: SocketAddr,
    current: Arc<RwLock<Current>>,
}

#[derive(Clone, Debug)]
struct Current {
    /// `None` serves in plaintext.
    tls: Option<Arc<ServerConfig>>,
    access: Arc<Access>,
}

impl Credentials {
    pub(super) fn of(options: &ServerOptions, address: SocketAddr) -> Result<Self, ServeError> {
        let tls = tls(options, address)?;
        let current = Current { tls, access: Arc::new(Access::of(options)) };
        Ok(Self { address, current: Arc::new(RwLock::new(current)) })
    }

    /// Replaces them: certificates for new connections, tokens for all calls from now on.
    ///
    /// # Errors
    ///
    /// If the server could not begin with these certificates, or without any. The previous ones are
    /// kept then; the tokens are replaced all the same, since one may have to be revoked at once.
    pub fn replace(&self, options: &ServerOptions) -> Result<(), ServeError> {
        let tls = tls(options, self.address);
        let access = Arc::new(Access::of(options));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.access = access;
        current.tls = tls?;
        Ok(())
    }

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current().tls
    }

    pub(super) fn access(&self) -> Arc<Access> {
        self.current().access
    }
}

/// What connections at an address are accepted with.
fn tls(
    options: &ServerOptions,
    address: SocketAddr,
) -> Result<Option<Arc<ServerConfig>>, ServeError> {
    options.check_plaintext(address)?;
    let tls = options.tls.as_ref().map(|tls| tls.config(UnixTime::now())).transpose()?;
    Ok(tls.map(Arc::new))
}

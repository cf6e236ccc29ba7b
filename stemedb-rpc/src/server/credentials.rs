//! Certificates and tokens of a server, which can be replaced while it serves.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::rustls::{ServerConfig, pki_types::UnixTime};

use super::{ServerOptions, access::Access};
use crate::tls::TlsError;

/// Certificates and tokens of a server. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Credentials(Arc<RwLock<Current>>);

#[derive(Clone, Debug)]
struct Current {
    /// `None` serves in plaintext.
    tls: Option<Arc<ServerConfig>>,
    access: Arc<Access>,
}

impl Current {
    fn of(options: &ServerOptions) -> Result<Self, TlsError> {
        let tls = options.tls.as_ref().map(|tls| tls.config(UnixTime::now())).transpose()?;
        Ok(Self { tls: tls.map(Arc::new), access: Arc::new(Access::of(options)) })
    }
}

impl Credentials {
    pub(super) fn of(options: &ServerOptions) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(Current::of(options)?))))
    }

    /// Replaces them, for new connections and all calls from now on.
    ///
    /// # Errors
    ///
    /// If the certificates can't be used. The previous ones are kept then.
    pub fn replace(&self, options: &ServerOptions) -> Result<(), TlsError> {
        let current = Current::of(options)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    fn current(&self) -> Current {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current().tls
    }

    pub(super) fn access(&self) -> Arc<Access> {
        self.current().access
    }
}

//! Authorities that the system trusts.

use std::{fmt, sync::Arc};

use tokio_rustls::rustls::RootCertStore;

use super::TlsError;

/// Authorities that the system trusts, as they were when they were read. Clones share them.
#[derive(Clone)]
pub struct SystemRoots(Arc<RootCertStore>);

impl SystemRoots {
    /// Reads them from the files of the system, or from those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name. Blocks: not for a thread of an async runtime.
    ///
    /// # Errors
    ///
    /// If there is none that can be used.
    pub fn load() -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        // Some of those that a system has are of a form that nobody can use.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemRoots);
        }
        Ok(Self(Arc::new(roots)))
    }

    pub(super) fn store(&self) -> &Arc<RootCertStore> {
        &self.0
    }
}

impl fmt::Debug for SystemRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemRoots").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

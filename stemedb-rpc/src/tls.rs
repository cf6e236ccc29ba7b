//! Certificates and keys, as PEM.

use std::{fmt, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

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
            /// The authority that the server's certificate must come from.
            pub ca: Vec<u8>,
        }
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

impl ServerTls {
    pub(crate) fn config(&self, handshake_time_max: Duration) -> ServerTlsConfig {
        let config = ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.certificate, &self.key))
            .timeout(handshake_time_max);
        match &self.client_ca {
            Some(ca) => config.client_ca_root(Certificate::from_pem(ca)),
            None => config,
        }
    }
}

impl ClientTls {
    pub(crate) fn config(&self, handshake_time_max: Duration) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .timeout(handshake_time_max);
        if let Some(ClientIdentity { certificate, key }) = &self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        match &self.server_name {
            Some(name) => config.domain_name(name),
            None => config,
        }
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

//! Reaching a served store: the flags for it, the runtime, and the connection.

use std::path::{Path, PathBuf};

use stemedb::rpc::{
    Client, ClientIdentity, ClientOptions, ClientTls, PeerAddress, Token, token::TokenError,
};
use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// How a served store is reached.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for the connection")]
pub(super) struct Connection {
    /// The authority that the server's certificate comes from, as PEM: turns TLS on
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// This client's certificate as PEM, for a server that wants one
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"])]
    cert: Option<PathBuf>,
    /// The key of this client's certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name that the server's certificate has, where that is not the host of its address
    #[arg(long, value_name = "NAME", requires = "ca")]
    server_name: Option<String>,
    /// The file whose first line is the token to show
    #[arg(long, env = "STEMEDB_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Show the token to another machine without TLS, where others can read along
    #[arg(long, alias = "token-in-clear", requires = "token_file")]
    send_token_in_plaintext: bool,
}

impl Connection {
    /// Options of the flags.
    fn options(&self) -> Result<ClientOptions, Failure> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        Ok(ClientOptions::default()
            .tls(self.tls()?)
            .token(token)
            .send_token_in_plaintext(self.send_token_in_plaintext))
    }

    fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let identity = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(ClientIdentity { certificate: pem(certificate)?, key: pem(key)? })
            }
            _ => None,
        };
        Ok(Some(ClientTls::new(pem(ca)?).identity(identity).server_name(self.server_name.clone())))
    }

    /// Whether there is a token to show.
    pub(super) fn has_token(&self) -> bool {
        self.token_file.is_some()
    }

    /// Connects.
    pub(super) async fn connect(&self, peer: &PeerAddress) -> Result<Client, Failure> {
        Ok(Client::connect(peer, self.options()?).await?)
    }
}

/// Reads the first token of a file.
fn token(path: &Path) -> Result<Token, Failure> {
    Token::parse(&read(path, "read the token")?).map_err(|source| bad_token(path, source))
}

/// A file that holds no tokens.
pub(super) fn bad_token(path: &Path, source: TokenError) -> Failure {
    Failure::Token { path: path.to_path_buf(), source }
}

/// Reads a file of certificates or a key.
pub(super) fn pem(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, "read the certificate or key")
}

/// Reads a small file.
pub(super) fn read(path: &Path, action: &'static str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::File { action, path: path.to_path_buf(), source })
}

/// Runtime for the network. Dropping it waits for the reads and appends that it began.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Failure::System { action: "start the threads for the network", source })
}

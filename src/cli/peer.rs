//! Reaching a served store: the flags for it, the runtime, and the connection.

use std::future::Future;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use stemedb::Entry;
use stemedb::error::with_causes;
use stemedb::rpc::client::ParseAddressError;
use stemedb::rpc::{
    CallError, Client, ClientIdentity, ClientOptions, ClientTls, PeerAddress, Token, Which,
    tls::SystemRoots, token::TokenError,
};
use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// How a served store is reached.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for the connection")]
#[command(group = clap::ArgGroup::new("trust").args(["tls_ca", "tls_system_roots"]).multiple(true))]
pub(super) struct Connection {
    /// The authority that the server's certificate comes from, as PEM: turns TLS on
    #[arg(long, alias = "ca", value_name = "FILE", value_hint = ValueHint::FilePath)]
    tls_ca: Option<PathBuf>,
    /// Trust the authorities that the system trusts, beside --tls-ca: turns TLS on
    #[arg(long)]
    tls_system_roots: bool,
    /// This client's certificate as PEM, for a server that wants one
    #[arg(
        long,
        alias = "cert",
        value_name = "FILE",
        requires_all = ["trust", "tls_key"],
        value_hint = ValueHint::FilePath
    )]
    tls_cert: Option<PathBuf>,
    /// The key of this client's certificate, as PEM
    #[arg(
        long,
        alias = "key",
        value_name = "FILE",
        requires = "tls_cert",
        value_hint = ValueHint::FilePath
    )]
    tls_key: Option<PathBuf>,
    /// The name that the server's certificate has, where that is not the host of its address
    #[arg(long, alias = "server-name", value_name = "NAME", requires = "trust")]
    tls_server_name: Option<String>,
    /// The file whose first line is the token to show
    #[arg(
        long,
        env = "STEMEDB_TOKEN_FILE",
        value_name = "FILE",
        value_hint = ValueHint::FilePath
    )]
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
        if self.tls_ca.is_none() && !self.tls_system_roots {
            return Ok(None);
        }
        let ca = self.tls_ca.as_deref().map(pem).transpose()?.unwrap_or_default();
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(ClientIdentity { certificate: pem(certificate)?, key: pem(key)? })
            }
            _ => None,
        };
        let system_roots = self.tls_system_roots.then(SystemRoots::load).transpose();
        let system_roots = system_roots.map_err(CallError::Tls)?;
        let tls = ClientTls::new(ca).system_roots(system_roots).identity(identity);
        Ok(Some(tls.server_name(self.tls_server_name.clone())))
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

/// A served store that is read in place of the one here, if one is named.
#[derive(Debug, clap::Args)]
pub(super) struct ReadFrom {
    /// Read from a served store: HOST or HOST:PORT, with https:// before it for TLS
    #[arg(long, value_name = "PEER", value_parser = address)]
    from: Option<PeerAddress>,
    #[command(flatten)]
    connection: Connection,
}

/// A served store, and the threads to reach it.
pub(super) struct Remote {
    pub(super) client: Client,
    runtime: Runtime,
}

impl ReadFrom {
    /// Whether a served store is read.
    pub(super) fn is_remote(&self) -> bool {
        self.from.is_some()
    }

    /// Connects to the served store, if one is named.
    pub(super) fn connect(&self) -> Result<Option<Remote>, Failure> {
        let Some(peer) = &self.from else { return Ok(None) };
        let runtime = runtime()?;
        let client = runtime.block_on(self.connection.connect(peer))?;
        Ok(Some(Remote { client, runtime }))
    }
}

impl Remote {
    /// Waits for the answer to a call.
    pub(super) fn wait<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, Failure> {
        Ok(self.runtime.block_on(call)?)
    }

    /// Waits for the next of several answers.
    pub(super) fn wait_for<T>(
        &self,
        next: impl Future<Output = Option<Result<T, CallError>>>,
    ) -> Option<Result<T, Failure>> {
        Some(self.runtime.block_on(next)?.map_err(Failure::from))
    }

    /// The entry of an assertion.
    pub(super) fn find(&self, which: &Which) -> Result<Entry, Failure> {
        let found = self.wait(self.client.find(which))?;
        found.ok_or_else(|| self.not_there(&which))
    }

    /// A failure to find something.
    pub(super) fn not_there(&self, what: &impl ToString) -> Failure {
        Failure::NotThere { what: what.to_string(), peer: self.client.peer().to_string() }
    }
}

/// Reads an address. A number alone is none: `log` and `watch` took indexes there.
pub(super) fn address(text: &str) -> Result<PeerAddress, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "an address is HOST or HOST:PORT; the first index is given by --first: --first {text}"
        ));
    }
    text.parse().map_err(|error: ParseAddressError| with_causes(&error))
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

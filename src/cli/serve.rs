//! `stemedb serve`: lets others reach a store.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use stemedb::Store;
use stemedb::error::with_causes;
use stemedb::node::config::{LogFormat, LogLevel};
use stemedb::node::status::HeadStatus;
use stemedb::rpc::server::Credentials;
use stemedb::rpc::{Server, ServerLimits, ServerOptions, ServerTls, Tokens};
use stemedb::sync::Limits;
use tokio::task::spawn_blocking;

use super::failure::Failure;
use super::file_watch::FileWatch;
use super::format::counted;
use super::logging::Logging;
use super::peer;
use super::signals::Signals;
use super::{Globals, open, output};

/// Serve the store, so that others can sync with it and append, get and watch over the network
///
/// Prints the address once it is ready. Without TLS it listens on this machine only, unless told
/// that plain text is meant. With --client-ca clients must show a certificate of that authority,
/// with --token-file one of the tokens in it.
///
/// Certificates and tokens are read again at SIGHUP, and within seconds when their files change.
///
/// Ctrl-C or SIGTERM stops well: new calls are refused, what runs has 10 seconds to end.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb serve
  stemedb serve --listen 127.0.0.1:0           Any free port; the address is printed
  stemedb serve --listen 0.0.0.0:7845 --tls-cert server.pem --tls-key server.key \\
                --client-ca authority.pem
  openssl rand -hex 32 > token && stemedb serve --token-file token

JSON, one line when it is ready: {address, count, set_root, log_size, log_root}")]
pub(super) struct Args {
    /// The address to listen on; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7845")]
    listen: SocketAddr,
    /// The server's certificate as PEM, followed by those that lead to its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authority whose certificates clients must show, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// The file of tokens, one on each line, one of which clients and peers must show
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The file of tokens of clients, which may append, get, prove and watch, and no more
    #[arg(long, value_name = "FILE")]
    client_tokens: Option<PathBuf>,
    /// The file of tokens of peers, which may sync, and no more
    #[arg(long, value_name = "FILE")]
    peer_tokens: Option<PathBuf>,
    /// Connections at the same time from one address; others are refused
    #[arg(long, value_name = "N", default_value_t = connections_per_address_max())]
    connections_per_address_max: usize,
    /// Serve other machines without TLS, where others can read along
    #[arg(long, alias = "clear-to-others", conflicts_with = "tls_cert")]
    allow_plaintext: bool,
    /// Tell clients that ask what services there are (gRPC reflection)
    #[arg(long)]
    reflection: bool,
}

fn connections_per_address_max() -> usize {
    ServerLimits::default().connections_per_address_max
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = options(args)?;
    // What the server warns of: connections that it refuses.
    Logging::start(LogFormat::Human, LogLevel::Warn)?;
    open::or_make_or_read(globals, |store| {
        open::require_secret(store, globals)?;
        peer::runtime()?.block_on(serve(args, options, store, globals))
    })
}

async fn serve(
    args: &Args,
    options: ServerOptions,
    store: &Arc<Store>,
    globals: &Globals,
) -> Result<(), Failure> {
    let signals = Signals::of_server()?;
    let mut files = FileWatch::new(args.files());
    let server = Server::bind(args.listen, options.clone()).await?;
    ready(server.address(), store, globals)?;
    let asked = async {
        signals.stop().await;
        output::note("stopping; what runs is finished first, and Ctrl-C again ends it at once");
    };
    let (mut options, credentials) = (options, server.credentials());
    let reloading = async {
        loop {
            tokio::select! {
                () = signals.hangup() => {}
                () = files.changed() => {}
            }
            let (args, credentials) = (args.clone(), credentials.clone());
            let current = options.clone();
            // It reads files.
            let read = move || reload(&args, current, &credentials);
            if let Ok(newer) = spawn_blocking(read).await {
                options = newer;
            }
        }
    };
    let stopped = tokio::select! {
        stopped = stemedb::node::serve(store, server, Limits::default(), asked) => stopped?,
        never = reloading => never,
    };
    if stopped.cut > 0 {
        output::note(format_args!(
            "{} did not end in time and were cut; nothing durable is lost",
            counted(stopped.cut as u64, "call or session", "calls and sessions")
        ));
    }
    Ok(())
}

#[derive(Serialize)]
struct Ready {
    address: SocketAddr,
    #[serde(flatten)]
    head: HeadStatus,
}

fn ready(address: SocketAddr, store: &Store, globals: &Globals) -> Result<(), Failure> {
    if !globals.json {
        return output::raw(
            format!("serving {} on {address}\n", globals.store.display()).as_bytes(),
        );
    }
    output::json(&Ready { address, head: HeadStatus::from(&store.head()?) })
}

impl Args {
    /// Files with certificates and tokens.
    fn files(&self) -> Vec<PathBuf> {
        let files = [
            &self.tls_cert,
            &self.tls_key,
            &self.client_ca,
            &self.token_file,
            &self.client_tokens,
            &self.peer_tokens,
        ];
        files.into_iter().flatten().cloned().collect()
    }
}

fn tls(args: &Args) -> Result<Option<ServerTls>, Failure> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let client_ca = args.client_ca.as_deref().map(peer::pem).transpose()?;
    Ok(Some(ServerTls::new(peer::pem(certificate)?, peer::pem(key)?).client_ca(client_ca)))
}

/// Reads certificates and tokens again, and puts those in force that can be used.
fn reload(args: &Args, current: ServerOptions, credentials: &Credentials) -> ServerOptions {
    let mut options = current;
    let mut is_whole = true;
    let mut keep = |what: &str, reason: String| {
        is_whole = false;
        tracing::error!("keeping the previous {what}: {reason}");
    };
    match tls(args) {
        Ok(tls) => options.tls = tls,
        Err(failure) => keep("certificates", with_causes(&failure)),
    }
    for (path, tokens_in_force) in [
        (&args.token_file, &mut options.tokens),
        (&args.client_tokens, &mut options.client_tokens),
        (&args.peer_tokens, &mut options.peer_tokens),
    ] {
        match tokens(path.as_deref()) {
            Ok(tokens) => *tokens_in_force = tokens,
            Err(failure) => keep("tokens", with_causes(&failure)),
        }
    }
    if let Err(error) = credentials.replace(&options) {
        keep("certificates", with_causes(&error));
    }
    if is_whole {
        output::note("certificates and tokens are read again");
    }
    options
}

fn options(args: &Args) -> Result<ServerOptions, Failure> {
    let tls = tls(args)?;
    let limits =
        ServerLimits::default().connections_per_address_max(args.connections_per_address_max);
    // No administrators' tokens: there is no node to control.
    Ok(ServerOptions::default()
        .tls(tls)
        .tokens(tokens(args.token_file.as_deref())?)
        .client_tokens(tokens(args.client_tokens.as_deref())?)
        .peer_tokens(tokens(args.peer_tokens.as_deref())?)
        .allow_plaintext(args.allow_plaintext)
        .reflection(args.reflection)
        .limits(limits))
}

/// The tokens in a file, if one is named.
fn tokens(path: Option<&Path>) -> Result<Option<Tokens>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let tokens = Tokens::parse(&peer::read(path, "read the tokens")?);
    Ok(Some(tokens.map_err(|source| peer::bad_token(path, source))?))
}

//! Errors of a node.

use std::{io, net::SocketAddr, path::PathBuf};

use stemedb_rpc::{TlsError, client::ParseAddressError, server::ServeError};

use super::http::HttpError;
use stemedb_rpc::SyncError;

/// Error of a node that does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The store's secret is missing.
    #[error("the store has a secret, and without it nothing can be synced: give its file")]
    SecretMissing,
    /// The system has no random numbers to give, or the store can't be read.
    #[error("the node could not begin: {0}")]
    Begin(#[source] SyncError),
    /// The certificates by which it calls others can't be used.
    #[error("the certificates for calls to other nodes cannot be used: {0}")]
    ClientTls(#[source] TlsError),
    /// It can't serve.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// It can't serve console, metrics and health.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The address by which others are to reach it is none.
    #[error("advertise: invalid address {address}: {source}")]
    Advertise {
        /// The address that was given, or follows from where it listens.
        address: String,
        /// The reason.
        source: ParseAddressError,
    },
    /// Anybody could become a member.
    #[error(
        "listening on {address} with neither a secret nor client certificates would let anybody \
         who reaches this node become a member of its cluster: make the store with a secret, ask \
         for client certificates, listen on the loopback, or allow open membership"
    )]
    OpenMembership {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The file with the node's key can't be read or written.
    #[error("{}: cannot read or write the key of this node: {source}", path.display())]
    NodeKey {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process has this node's id, and was there first.
    #[error(
        "a node with the id of this one runs at {address}, and was there first: this store is a \
         copy of that one's. Stop one of the two; a store that is restored from a backup has an id \
         of its own"
    )]
    DuplicateNodeId {
        /// Where the other one is.
        address: String,
    },
}

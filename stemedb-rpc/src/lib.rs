//! gRPC for stemedb: the only crate that knows the wire.
//!
//! `proto/stemedb/v1/` has three services: *store*, which appends, gets, proves and watches
//! over the network, *replication*, the messages of [`stemedb_sync`] one to one, and *node*, for
//! gossip and for operators. Here are their [`server`], which serves a
//! [`Store`](stemedb_store::Store) and a [`Node`], and their [`client`]. Decisions are made
//! elsewhere; limits are kept here.

mod blocking;
mod check;
pub mod client;
mod compress;
mod computing;
mod convert;
mod decimal;
mod failure;
pub mod history;
pub mod limiter;
pub mod limits;
mod malformed;
pub mod node;
pub mod observer;
pub mod proto;
pub mod reason;
pub mod responder_service;
pub mod server;
pub mod status;
pub mod store;
mod stream;
pub mod sync;
pub mod tls;
pub mod token;
pub mod warning_rate;
mod which;
pub mod wire_len;

pub use client::{CallError, Client, ClientOptions, ConnectFailure, PeerAddress};

pub use failure::Failure;
pub use limiter::Limiter;
pub use limits::ServerLimits;
pub use malformed::Malformed;
pub use node::{Control, Controlled, Node, Reloaded};
pub use observer::{Observer, StoreEvent};
pub use reason::Reason;
pub use responder_service::ResponderService;
pub use server::{Server, ServerOptions, serve_control};
pub use status::Status;
pub use store::{PeerStore, Replicate, SyncError, SyncOptions};
pub use tls::{ClientIdentity, ClientTls, ServerTls, TlsError};
pub use token::{Token, Tokens};
pub use warning_rate::WarningRate;
pub use which::Which;
